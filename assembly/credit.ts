/*
 * What junk may cost: derivation credit, pauses after bad beacons, and when to ask the server.
 * SPEC B-4, R-13, R-14. None of it is state: it begins anew at every boot.
 */
import { ASK } from "./layout";
import { BAD_TAG, BUSY, UNKNOWN_EPOCH } from "./status";

const CREDIT_MAX: i32 = 16;
const BUSY_PERIOD: i32 = 16;
const BUSY_CREDIT: i32 = 8;
const BEACON_PAUSE: i32 = 16;

let credit: i32 = 0;
let busy: i32 = 0;
let failures: i32 = 0;
/** Payloads left until beacons are tried again. */
let pause: i32 = 0;

/** Begins anew. */
export function resetCredit(): void {
  credit = CREDIT_MAX;
  busy = 0;
  pause = 0;
  forgetFailures();
}

/** Gives credit, up to 16. */
export function addCredit(more: i32): void {
  credit += more;
  if (credit > CREDIT_MAX) credit = CREDIT_MAX;
}

/** Takes one credit; 0 when there is none. */
export function takeCredit(): i32 {
  if (!credit) return 0;
  --credit;
  return 1;
}

/** Counts a refusal that counts. */
export function countRefusal(status: i32): void {
  if (status == BUSY && !(++busy & (BUSY_PERIOD - 1))) addCredit(BUSY_CREDIT);
  if (i32(status != BAD_TAG) & i32(status != UNKNOWN_EPOCH)) return;
  ++failures;
  if (!(failures & (failures - 1))) store<u8>(ASK, 1);
}

/** An applied revision: the server answers. */
export function forgetFailures(): void {
  failures = 0;
  store<u8>(ASK, 0);
}

/** Counts a channel or control payload. */
export function countPayload(): void {
  if (pause) --pause;
}

/** One tick of the host. */
export function tick(): void {
  addCredit(1);
  pause = 0;
}

/** Whether beacons pause. */
export function isPausing(): i32 {
  return pause;
}

/** Pauses beacons after a bad one. */
export function pauseBeacons(): void {
  pause = BEACON_PAUSE;
}
