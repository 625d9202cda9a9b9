// V8 as an engine. The one file that says WebAssembly.
//
// Plain WebAssembly and not @assemblyscript/loader: the module has no imports, no heap and an ABI of
// i32 alone, so there is nothing for a loader to translate.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Build, CoreTrapError, type Engine, type Instance } from "./engine.ts";

const modules = new Map<Build, WebAssembly.Module>();

function compile(build: Build): WebAssembly.Module {
  let module = modules.get(build);
  if (module === undefined) {
    const path = fileURLToPath(new URL(`../../build/ampoule-${build}.wasm`, import.meta.url));
    module = new WebAssembly.Module(readFileSync(path));
    modules.set(build, module);
  }
  return module;
}

/** Runs the shipped modules in the engine this process has. */
export function v8Engine(): Engine {
  return {
    name: "v8",
    instantiate(build: Build): Instance {
      const { exports } = new WebAssembly.Instance(compile(build), {});
      const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer);
      const calls: Instance["calls"] = {};
      for (const [name, value] of Object.entries(exports)) {
        if (typeof value === "function") calls[name] = value as (...args: number[]) => number;
      }
      return { calls, memory };
    },
  };
}

/** Turns a trap into a CoreTrapError. */
export function trapped(error: unknown): unknown {
  return error instanceof WebAssembly.RuntimeError ? new CoreTrapError(error) : error;
}
