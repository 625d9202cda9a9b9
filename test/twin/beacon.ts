/** SPEC section 5: the hash chain of a generation and the beacon that shows one link of it. */

import { at, type Bytes, concat, getU32, u8, u16, u32 } from "./bytes.ts";
import { deriveIn, type Scope } from "./suites.ts";

export const BEACON_SIZE = 25;
export const BEACON_REACH = 256;
export const LAST_STEP = 4095;

export function chainSeed(scope: Scope, secret: Bytes): Bytes {
  return deriveIn(scope, secret, "A1-seed", new Uint8Array(0), 16);
}

/** B-1: v(s) from v(s+1), or from the seed for s = 4095. */
export function chainDown(scope: Scope, above: Bytes, s: number): Bytes {
  return deriveIn(scope, above, "A1-step", u16(s), 16);
}

/** v(low) from v(high), low <= high. */
export function hashDown(scope: Scope, v: Bytes, high: number, low: number): Bytes {
  let here = v;
  for (let s = high - 1; s >= low; s--) here = chainDown(scope, here, s);
  return here;
}

/** The whole chain, v(0) to v(4095). */
export function chain(scope: Scope, seed: Bytes): Bytes[] {
  const out: Bytes[] = [];
  let here = seed;
  for (let s = LAST_STEP; s >= 0; s--) {
    here = chainDown(scope, here, s);
    out[s] = here;
  }
  return out;
}

export interface Beacon {
  readonly form: number;
  readonly generation: number;
  readonly step: number;
  readonly v: Bytes;
}

export function packBeacon(beacon: Beacon): Bytes {
  return concat(u8(beacon.form), u32(beacon.generation), u32(beacon.step), beacon.v);
}

export function parseBeacon(payload: Bytes): Beacon | null {
  if (payload.length !== BEACON_SIZE) return null;
  return {
    form: at(payload, 0),
    generation: getU32(payload, 1),
    step: getU32(payload, 5),
    v: payload.slice(9),
  };
}
