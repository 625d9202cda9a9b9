// wasm3 as an engine: the interpreter that microcontrollers run the core in, with as little memory as they give it.

import { type Build, CoreTrapError, type Engine, type Instance } from "./core/engine.ts";
import { type Modules, readModule } from "./core/wasm.ts";
import { type LoadOptions, loadWasm3, type Value, type Wasm3Instance } from "./wasm3/index.ts";

/** Bytes of linear memory a device gives the core, of the page that is declared; build/sizes.json says what is used. */
const MEMORY: { readonly [build in Build]?: number } = {
  device: 8192,
  "device-ascon": 8192,
  "device-ascon-volatile": 8192,
};
/** Bytes of wasm3's own stack. */
const STACK = 16_384;

export interface Wasm3EngineOptions extends LoadOptions {
  /** Bytes of linear memory; without a number a build has all that it declares. Default 8,192 for devices. */
  memory?: { readonly [build in Build]?: number };
}

/**
 * Runs the core in wasm3. The first engine in a clone brings and compiles wasm3.
 *
 * @param modules as for v8Engine()
 *
 * Throws Wasm3Error where this machine has no wasm3.
 */
export function wasm3Engine(modules: Modules = {}, options: Wasm3EngineOptions = {}): Engine {
  const { memory: limits = MEMORY, ...load } = options;
  const { wasm3, reason } = loadWasm3(load);
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
      const limit = limits[build];
      const room = limit === undefined ? {} : { memoryLimit: limit };
      const instance = wasm3.instantiate(bytesOf(build), { stackSize: STACK, ...room });
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
