// Engines the demo can run its devices on.

import type { Engine } from "../core/engine.ts";
import { v8Engine } from "../core/wasm.ts";

const ENGINES: Record<string, () => Engine> = { v8: v8Engine };

export const ENGINE_NAMES: readonly string[] = Object.keys(ENGINES);

/** Throws for a name that is not among ENGINE_NAMES. */
export function engineOf(name: string): Engine {
  const make = ENGINES[name];
  if (make === undefined) throw new RangeError(`no engine ${JSON.stringify(name)}`);
  return make();
}
