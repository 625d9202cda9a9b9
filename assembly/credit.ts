/*
 * What junk may cost: derivation credit, pauses after bad beacons, and when to ask the server.
 * SPEC B-4, R-13, R-14. None of it is state: it begins anew at every boot.
 */
import { pub8, pub32 } from "./bytes";
import { ASK, BEACON_AT, BUSY_COUNT, CREDIT, FAILURES, PAYLOADS } from "./layout";
import { BAD_TAG, BUSY, UNKNOWN_EPOCH } from "./status";

const CREDIT_MAX: i32 = 16;
const BUSY_PERIOD: i32 = 16;
const BUSY_CREDIT: i32 = 8;
const BEACON_PAUSE: i32 = 16;

/** Gives credit, up to 16. */
export function addCredit(more: i32): void {
  const credit = pub8(CREDIT) + more;
  store<u8>(CREDIT, credit < CREDIT_MAX ? credit : CREDIT_MAX);
}

/** Takes one credit; false when there is none. */
export function takeCredit(): bool {
  const credit = pub8(CREDIT);
  if (!credit) return false;
  store<u8>(CREDIT, credit - 1);
  return true;
}

/** Counts a refusal that counts. */
export function countRefusal(status: i32): void {
  if (status == BUSY) {
    const busy = (pub8(BUSY_COUNT) + 1) & (BUSY_PERIOD - 1);
    store<u8>(BUSY_COUNT, busy);
    if (!busy) addCredit(BUSY_CREDIT);
  }
  if (status != BAD_TAG && status != UNKNOWN_EPOCH) return;
  const failures = pub32(FAILURES) + 1;
  store<u32>(FAILURES, failures);
  if (!(failures & (failures - 1))) store<u8>(ASK, 1);
}

/** An applied revision: the server answers. */
export function forgetFailures(): void {
  store<u32>(FAILURES, 0);
  store<u8>(ASK, 0);
}

/** Counts a channel or control payload. */
export function countPayload(): void {
  store<u32>(PAYLOADS, pub32(PAYLOADS) + 1);
}

/** One tick of the host. */
export function tick(): void {
  addCredit(1);
  store<u32>(PAYLOADS, pub32(PAYLOADS) + BEACON_PAUSE);
}

/** Counts a beacon, as a payload for all channels but its own; returns whether its own channel pauses. */
export function countBeacon(slot: i32): bool {
  const left = pub32(BEACON_AT + slot * 4) - pub32(PAYLOADS);
  countPayload();
  if (left <= 0) return false;
  store<u32>(BEACON_AT + slot * 4, pub32(PAYLOADS) + left);
  return true;
}

/** Ends the pause of a channel. */
export function resumeBeacons(slot: i32): void {
  store<u32>(BEACON_AT + slot * 4, pub32(PAYLOADS));
}

/** Pauses beacons of a channel after a bad one. */
export function pauseBeacons(slot: i32): void {
  store<u32>(BEACON_AT + slot * 4, pub32(PAYLOADS) + BEACON_PAUSE);
}
