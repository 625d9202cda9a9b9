// wasm3 as an engine: the interpreter that microcontrollers run the core in, with as little memory as they give it.

import { type Build, CoreTrapError, type Engine, type Instance } from "./core/engine.ts";
import { type Modules, readModule } from "./core/wasm.ts";
import { type LoadOptions, loadWasm3, type Value, type Wasm3Instance } from "./wasm3/index.ts";

/** Bytes of linear memory a device gives the core: one page is declared, 4,308 bytes are used. */
const DEVICE_MEMORY = 8192;
/** Bytes of wasm3's own stack. */
const STACK = 16_384;

/**
 * Runs the core in wasm3.
 *
 * @param modules as for v8Engine()
 * @param options what loadWasm3() takes: the first engine in a clone brings and compiles wasm3
 *
 * Throws Wasm3Error where this machine has no wasm3.
 */
export function wasm3Engine(modules: Modules = {}, options: LoadOptions = {}): Engine {
  const { wasm3, reason } = loadWasm3(options);
  if (wasm3 === null) throw reason;
  const known = new Map<Build, Uint8Array>();
  const bytesOf = (build: Build): Uint8Array => {
    const bytes = known.get(build) ?? modules[build] ?? readModule(build);
    known.set(build, bytes);
    return bytes;
  };
  return {
    name: "wasm3",
    instantiate(build: Build): Instance {
      const limits = build === "host" ? {} : { memoryLimit: DEVICE_MEMORY };
      const instance = wasm3.instantiate(bytesOf(build), { stackSize: STACK, ...limits });
      const calls: Instance["calls"] = {};
      for (const [name, call] of Object.entries(instance.exports)) calls[name] = guarded(call, instance);
      const { memory } = instance;
      return options.counting ? { calls, memory, operations: instance.operations } : { calls, memory };
    },
  };
}

type Call = (...args: Value[]) => unknown;

function guarded(call: Call, instance: Wasm3Instance): (...args: number[]) => number {
  return (...args) => {
    try {
      return call(...args) as number;
    } catch (error) {
      throw trapped(error, instance);
    }
  };
}

/** After a trap nothing of the instance may be used, and no key may stay. */
function trapped(error: unknown, instance: Wasm3Instance): unknown {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "WASM3_TRAP") return error;
  instance.wipe();
  return new CoreTrapError(error);
}
