/*
 * What junk may cost: derivation credit, pauses after bad beacons, and when to ask the server.
 * SPEC B-4, R-13, R-14. None of it is state: it begins anew at every boot.
 */
import { pub32 } from "./bytes";
import { here } from "./context";
import { ASK, BEACON_AT } from "./layout";
import { BAD_TAG, BUSY, UNKNOWN_EPOCH } from "./status";

const CREDIT_MAX: i32 = 16;
const BUSY_PERIOD: i32 = 16;
const BUSY_CREDIT: i32 = 8;
const BEACON_PAUSE: i32 = 16;

let credit: i32 = 0;
let busy: i32 = 0;
let failures: i32 = 0;
let payloads: i32 = 0;

/** Begins anew; the caller has made BEACON_AT zero. */
export function resetCredit(): void {
  credit = CREDIT_MAX;
  busy = 0;
  payloads = 0;
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
  ++payloads;
}

/** One tick of the host. */
export function tick(): void {
  addCredit(1);
  payloads += BEACON_PAUSE;
}

/** Where the payload count stands at which beacons of the channel at hand are tried again. */
function beaconAt(): usize {
  return BEACON_AT + here.slot * 4;
}

/** Counts a beacon, as a payload for all channels but its own; returns whether its own channel pauses. */
export function countBeacon(): bool {
  const left = pub32(beaconAt()) - payloads;
  ++payloads;
  // Far ahead is far behind: the count has gone round.
  if (<u32>(left - 1) >= <u32>BEACON_PAUSE) return false;
  store<u32>(beaconAt(), payloads + left);
  return true;
}

/** Ends the pause of the channel at hand. */
export function resumeBeacons(): void {
  store<u32>(beaconAt(), payloads);
}

/** Pauses beacons of the channel at hand after a bad one. */
export function pauseBeacons(): void {
  store<u32>(beaconAt(), payloads + BEACON_PAUSE);
}
