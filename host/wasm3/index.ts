// wasm3 as Node sees it: instances of WebAssembly modules in an interpreter made for microcontrollers.

import { createRequire } from "node:module";
import { compiledAddon } from "./compile.ts";
import { Wasm3Error } from "./source.ts";

export { Wasm3Error, wasm3Source } from "./source.ts";

/** i32, f32 and f64 are numbers, i64 is a bigint. */
export type Value = number | bigint;
export type Result = Value | undefined | Value[];

export interface InstanceOptions {
  /** Size of the interpreter's own stack in bytes, 1024 to 65536; the default is 65536. */
  stackSize?: number;
  /** Bytes of linear memory, if less than the module's pages have: what lies beyond traps. */
  memoryLimit?: number;
}

export interface Wasm3Instance {
  /**
   * The exported functions. Arguments become what the function takes as they do in WebAssembly's own interface;
   * several results come as an array. The interpreter's stack is zero after each call.
   *
   * Throws an Error with `code` WASM3_TRAP when the module traps, WASM3_WIPED after wipe().
   */
  readonly exports: { readonly [name: string]: (...args: Value[]) => Result };
  /** The whole linear memory. It never moves or grows: memory.grow answers -1. Usable as long as anybody has it. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** Operations of wasm3 executed so far. Throws Wasm3Error NOT_COUNTING unless loaded to count. */
  operations(): number;
  /** Zeroes linear memory, mutable globals and the interpreter's stack. Nothing can be called afterwards. */
  wipe(): void;
}

export interface Wasm3 {
  /**
   * Compiles a module, which must have no imports, and runs its start function.
   *
   * @param bytes copied
   *
   * Throws an Error with `code` WASM3_FAILED when wasm3 cannot take the module, WASM3_TRAP when its start traps.
   */
  instantiate(bytes: Uint8Array, options?: InstanceOptions): Wasm3Instance;
}

export interface LoadOptions {
  /** Counts executed operations; runs at a third of the speed. */
  counting?: boolean;
  /** Called with a line before something is brought or compiled, which takes some seconds once. */
  say?: ((line: string) => void) | undefined;
}

type Handle = object;
interface Addon {
  instantiate(bytes: Uint8Array, stackSize: number, memoryLimit: number): [Handle, ArrayBuffer, string[]];
  call(handle: Handle, index: number, ...args: Value[]): Result;
  operations(handle: Handle): number;
  wipe(handle: Handle): void;
}

const STACK_MIN = 1024;
const STACK_MAX = 65536;

/** Returns wasm3, or null and why this machine has none. Brings and compiles it when it is first asked for. */
export function loadWasm3(
  options: LoadOptions = {},
): { wasm3: Wasm3; reason: null } | { wasm3: null; reason: Wasm3Error } {
  const { counting = false, say } = options;
  try {
    const addon = loadAddon(compiledAddon(counting, say));
    return {
      wasm3: { instantiate: (bytes, options) => instantiate(addon, counting, bytes, options) },
      reason: null,
    };
  } catch (error) {
    return { wasm3: null, reason: reasonOf(error) };
  }
}

function reasonOf(error: unknown): Wasm3Error {
  if (error instanceof Wasm3Error) return error;
  const { code, path, message } = error as NodeJS.ErrnoException;
  if (path === undefined) throw error;
  return new Wasm3Error("CANNOT_WRITE", message, `${code}: the binding is compiled below its own folder`);
}

function loadAddon(path: string): Addon {
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    throw new Wasm3Error(
      "CANNOT_LOAD",
      `the compiled addon cannot be loaded: ${(error as Error).message}`,
      `remove ${path}, it is made again`,
    );
  }
}

function instantiate(
  addon: Addon,
  counting: boolean,
  bytes: Uint8Array,
  { stackSize = STACK_MAX, memoryLimit }: InstanceOptions = {},
): Wasm3Instance {
  if (!Number.isInteger(stackSize) || stackSize < STACK_MIN || stackSize > STACK_MAX) {
    throw new RangeError(`stackSize is ${STACK_MIN} to ${STACK_MAX} bytes`);
  }
  if (memoryLimit !== undefined && (!Number.isInteger(memoryLimit) || memoryLimit < 1)) {
    throw new RangeError("memoryLimit is at least 1 byte");
  }
  const [handle, buffer, names] = addon.instantiate(bytes, stackSize, memoryLimit ?? 0);
  const exports: Record<string, (...args: Value[]) => Result> = Object.create(null);
  // Bound functions hold the handle: an export that somebody kept keeps its instance.
  names.forEach((name, index) => {
    exports[name] = addon.call.bind(undefined, handle, index);
  });
  return {
    exports,
    memory: new Uint8Array(buffer),
    operations() {
      if (counting) return addon.operations(handle);
      throw new Wasm3Error("NOT_COUNTING", "this wasm3 does not count", "load it with counting: true");
    },
    wipe: () => addon.wipe(handle),
  };
}
