// One engine runs one of the shipped modules. V8 is `wasm.ts`, wasm3 is `../wasm3-engine.ts`.

/** "device-ascon-volatile" is for devices without storage: classes 1 and 2 (SPEC C-17). */
export type Build = "device" | "device-ascon" | "device-ascon-volatile" | "host";

/** An instance of the module: exported functions take and return i32 only. */
export interface Instance {
  /** Calls an export by name. Throws CoreTrapError if the engine traps. */
  readonly calls: Record<string, (...args: number[]) => number>;
  /** The whole linear memory. It never grows: the view stays valid. */
  readonly memory: Uint8Array;
  /** Operations executed so far, where the engine counts them. */
  readonly operations?: () => number;
}

export interface Engine {
  readonly name: string;
  instantiate(build: Build): Instance;
}

/** The engine trapped: the instance must not be used again. */
export class CoreTrapError extends Error {
  constructor(cause: unknown) {
    super("the core stopped (trap)", { cause });
    this.name = "CoreTrapError";
  }
}
