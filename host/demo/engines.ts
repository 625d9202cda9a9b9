// Engines the demo can run its devices on.

import type { Engine } from "../core/engine.ts";
import { v8Engine } from "../core/wasm.ts";
import { wasm3Engine } from "../wasm3-engine.ts";

type Say = (line: string) => void;

const ENGINES: Record<string, (say?: Say) => Engine> = {
  v8: () => v8Engine(),
  wasm3: (say) => wasm3Engine({}, { say }),
};

export const ENGINE_NAMES: readonly string[] = Object.keys(ENGINES);

/**
 * Throws for a name that is not among ENGINE_NAMES, and Wasm3Error where this machine has no wasm3.
 *
 * @param say called with a line before something is brought or compiled, which takes some seconds once
 */
export function engineOf(name: string, say?: Say): Engine {
  const make = ENGINES[name];
  if (make === undefined) throw new RangeError(`no engine ${JSON.stringify(name)}`);
  return make(say);
}
