/*
 * Replay windows of the row at hand, for the epoch and counter at hand. SPEC section 9.
 */
import { pub16, pub32, pub8 } from "./bytes";
import { here } from "./context";
import { ROW_BOUND, ROW_COPY, ROW_KEYED, ROW_NEW, ROW_OLD, WINDOW_SIZE, W_BITS, W_TOP } from "./layout";
import { CLOSED, OK, REPLAYED } from "./status";

const NEW: usize = ROW_COPY + ROW_NEW;
const OLD: usize = ROW_COPY + ROW_OLD;
const BOUND: usize = ROW_COPY + ROW_BOUND;
/** Bits of a bound: positions are compared as epoch and bound in one number below 2^31. */
export const BOUND_BITS: i32 = 17;

/** Whether the epoch is the newest the sender was accepted in. */
export function isNewest(): bool {
  return pub16(NEW) == here.epoch;
}

/** The window that has the epoch or would take it: n1 unless the epoch is older. */
function windowHere(): usize {
  return here.epoch < pub16(NEW) ? OLD : NEW;
}

/** Returns OK for a fresh counter, REPLAYED or CLOSED (SPEC W-1 to W-3). */
export function check(): i32 {
  const w = windowHere();
  if (pub16(w) != here.epoch) return here.epoch < pub16(w) ? CLOSED : OK;
  const behind = pub16(w + W_TOP) - here.counter;
  if (behind < 0) return OK;
  if (behind > 63) return CLOSED;
  // One byte of the bitmap, so that a public bit is read by a public load.
  return (pub8(w + W_BITS + (behind >> 3)) >> (behind & 7)) & 1 ? REPLAYED : OK;
}

/** Marks a counter that check() found fresh. */
export function mark(): void {
  const w = windowHere();
  if (pub16(w) != here.epoch) begin(w);
  const behind = pub16(w + W_TOP) - here.counter;
  let bits = load<u64>(w + W_BITS);
  if (behind >= 0) bits |= (<u64>1) << behind;
  else {
    store<u16>(w + W_TOP, here.counter);
    bits = behind < -63 ? 1 : (bits << -behind) | 1;
  }
  store<u64>(w + W_BITS, bits);
}

/** Begins a window (SPEC W-4). In a new n1 the former becomes n0; the mark was in the former: it goes. */
function begin(w: usize): void {
  if (w == NEW) {
    memory.copy(OLD, NEW, WINDOW_SIZE);
    setBound(0);
  }
  setWindow(w, here.counter, 0);
}

function setWindow(w: usize, top: i32, bits: i64): void {
  store<u16>(w, here.epoch);
  store<u16>(w + W_TOP, top);
  store<u64>(w + W_BITS, bits);
}

/** Whether the counter, in n1, lies at or past the stored mark (SPEC W-5). */
export function isPastMark(): bool {
  return here.counter >= pub32(BOUND);
}

/** Notes a stored mark. */
export function setBound(bound: i32): void {
  store<u32>(BOUND, bound);
}

/** Raises the row to a mark of the epoch at hand, unless it is as far (SPEC T-6). */
export function raise(bound: i32): void {
  const held = (pub16(NEW) << BOUND_BITS) + pub32(BOUND);
  if ((here.epoch << BOUND_BITS) + bound > held) restore(bound);
}

/** The row after a restart: everything up to the bound is closed, and everything older (SPEC W-6). */
export function restore(bound: i32): void {
  setWindow(NEW, bound - 1, -1);
  store<u16>(OLD, here.epoch);
  setBound(bound);
  store<u8>(ROW_COPY + ROW_KEYED, 0);
}
