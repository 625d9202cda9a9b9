// The modules of this build, as the bench takes them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { memorySizeOf } from "../../scripts/aot.ts";

const BUILD = join(import.meta.dirname, "..", "..", "build");

export interface Module {
  wasm: Uint8Array<ArrayBuffer>;
  /** Bytes of linear memory that it is given. */
  memorySize: number;
  /** Its permutation is the host's. */
  isHosted: boolean;
}

/** A module of this build, by its target. */
export function readModule(name: string): Module {
  const wasm = new Uint8Array(readFileSync(join(BUILD, `ampoule-${name}.wasm`)));
  return { wasm, memorySize: (memorySizeOf(wasm) + 7) & ~7, isHosted: name.endsWith("-hosted") };
}
