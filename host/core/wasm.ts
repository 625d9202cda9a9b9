// V8 as an engine. The one file that says WebAssembly.
//
// Plain WebAssembly and not @assemblyscript/loader: the module has no imports, no heap and an ABI of
// i32 alone, so there is nothing for a loader to translate.

import { type Build, CoreTrapError, type Engine, type Instance } from "./engine.ts";

/** Bytes of modules, for programs that cannot read the shipped files: browsers, and bundles. */
export type Modules = { readonly [build in Build]?: Uint8Array<ArrayBuffer> };

const shipped = new Map<Build, WebAssembly.Module>();

/** What is shipped beside the builds that engines here run: the same device, with a permutation that its host brings. */
export type Shipped = Build | "device-ascon-hosted";

/**
 * Bytes of a module as it is shipped.
 *
 * Asked for when it is needed: an import of node:fs would keep bundlers for browsers from this file.
 */
export function readModule(build: Shipped): Uint8Array<ArrayBuffer> {
  const fs = globalThis.process?.getBuiltinModule?.("node:fs");
  if (fs === undefined) throw new Error(`no files here: pass the bytes of module ${build} to v8Engine()`);
  return new Uint8Array(fs.readFileSync(new URL(`../../build/ampoule-${build}.wasm`, import.meta.url)));
}

function compile(
  build: Build,
  modules: Modules,
  compiled: Map<Build, WebAssembly.Module>,
): WebAssembly.Module {
  const known = modules[build] === undefined ? shipped : compiled;
  let module = known.get(build);
  if (module === undefined) {
    module = new WebAssembly.Module(modules[build] ?? readModule(build));
    known.set(build, module);
  }
  return module;
}

/**
 * Runs the core in the engine this process has.
 *
 * @param modules bytes in place of the shipped files, which are read otherwise when first needed
 */
export function v8Engine(modules: Modules = {}): Engine {
  const compiled = new Map<Build, WebAssembly.Module>();
  return {
    name: "v8",
    instantiate(build: Build): Instance {
      const { exports } = new WebAssembly.Instance(compile(build, modules, compiled), {});
      const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer);
      const calls: Instance["calls"] = {};
      for (const [name, value] of Object.entries(exports)) {
        if (typeof value === "function") calls[name] = guarded(value as Call, memory);
      }
      return { calls, memory };
    },
  };
}

type Call = (...args: number[]) => number;

/** At most nine arguments, named: a rest parameter would cost an array for each call. */
function guarded(call: Call, memory: Uint8Array): Call {
  const guard = (
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
    g: number,
    h: number,
    i: number,
  ): number => {
    try {
      return call(a, b, c, d, e, f, g, h, i);
    } catch (error) {
      throw trapped(error, memory);
    }
  };
  return guard as Call;
}

/** After a trap nothing of the instance may be used, and no key may stay. */
function trapped(error: unknown, memory: Uint8Array): unknown {
  if (!(error instanceof WebAssembly.RuntimeError)) return error;
  memory.fill(0);
  return new CoreTrapError(error);
}
