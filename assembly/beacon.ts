/*
 * The beacon chain: the server's step, public and unforgeable. SPEC section 5.
 */
import { equalPublic, pub8, pub16, pub32, wipe } from "./bytes";
import { base, deriveHere } from "./context";
import { suiteOf } from "./form";
import { A1_STEP } from "./kdf";
import { CHILDREN, CH_FORM, CH_GENERATION, CH_STEP, CH_V, FRAME, KEY_SIZE, STEPS } from "./layout";
import { BAD_BEACON, FAR_BEACON, OK, OLD_BEACON, UNKNOWN_EPOCH } from "./status";

export const BEACON_SIZE: i32 = 25;
/** Where the beacon in FRAME has its v. */
export const BEACON_V: usize = FRAME + 9;
const FAR: i32 = 256;

/** Step of the beacon in FRAME. */
export function beaconStep(): i32 {
  return pub32(FRAME + 5);
}

/** Checks the beacon in FRAME but for its hash chain (SPEC B-3). */
export function checkBeacon(ch: usize, len: i32): i32 {
  if (len != BEACON_SIZE || pub8(FRAME) != pub8(ch + CH_FORM)) return BAD_BEACON;
  if (pub32(FRAME + 1) != pub32(ch + CH_GENERATION)) return UNKNOWN_EPOCH;
  const step = beaconStep();
  if (<u32>step <= <u32>pub16(ch + CH_STEP)) return OLD_BEACON;
  if (<u32>step >= <u32>STEPS || step - pub16(ch + CH_STEP) > FAR) return FAR_BEACON;
  return OK;
}

/** Hashes v of the beacon in FRAME down to the held step. Returns OK or BAD_BEACON. */
export function checkChain(ch: usize): i32 {
  const suite = suiteOf(pub8(ch + CH_FORM));
  memory.copy(CHILDREN, BEACON_V, KEY_SIZE);
  for (let step = beaconStep() - 1; step >= pub16(ch + CH_STEP); --step) {
    const extra = base(suite, KEY_SIZE, ch, pub32(ch + CH_GENERATION));
    store<u16>(extra, step);
    deriveHere(suite, CHILDREN, A1_STEP, 2, CHILDREN);
  }
  const agrees = equalPublic(CHILDREN, ch + CH_V, KEY_SIZE);
  wipe(CHILDREN, KEY_SIZE);
  return agrees ? OK : BAD_BEACON;
}
