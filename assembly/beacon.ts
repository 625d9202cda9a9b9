/*
 * The beacon chain: the server's step, public and unforgeable. SPEC section 5.
 */
import { job } from "./aead";
import { copy16, equalPublic, pub8, pub16, pub32, wipe } from "./bytes";
import { deriveHere, EXTRA, here } from "./context";
import { A1_STEP } from "./kdf";
import { CHILDREN, CH_STEP, CH_V, FRAME, KEY_SIZE, STEPS } from "./layout";
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
export function checkBeacon(len: i32): i32 {
  if (i32(len != BEACON_SIZE) | i32(pub8(FRAME) != job.form)) return BAD_BEACON;
  if (pub32(FRAME + 1) != here.generation) return UNKNOWN_EPOCH;
  const current = pub16(here.ch + CH_STEP);
  const step = beaconStep();
  if (<u32>step <= <u32>current) return OLD_BEACON;
  if (i32(<u32>step >= <u32>STEPS) | i32(step - current > FAR)) return FAR_BEACON;
  return OK;
}

/** Hashes v of the beacon in FRAME down to the held step. Returns OK or BAD_BEACON. */
export function checkChain(): i32 {
  copy16(CHILDREN, BEACON_V);
  for (let step = beaconStep(); step > pub16(here.ch + CH_STEP);) {
    store<u16>(EXTRA, --step);
    deriveHere(KEY_SIZE, A1_STEP, 2, CHILDREN, CHILDREN);
  }
  const agrees = equalPublic(CHILDREN, here.ch + CH_V, KEY_SIZE);
  wipe(CHILDREN, KEY_SIZE);
  return agrees ? OK : BAD_BEACON;
}
