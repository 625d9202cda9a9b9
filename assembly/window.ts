/*
 * Replay windows of one sender row. SPEC section 9.
 *
 * An epoch is named by `prev` (1: the previous generation) and step.
 */
import { pub16, pub8 } from "./bytes";
import {
  COUNTERS,
  ROW_BITS0,
  ROW_BITS1,
  ROW_FLAGS,
  ROW_MARK,
  ROW_STEP0,
  ROW_STEP1,
  ROW_TOP0,
  ROW_TOP1,
  R_CLOSED_BELOW,
  R_MARK,
  R_N0,
  R_N0_PREV,
  R_N1,
  R_N1_PREV,
} from "./layout";
import { CLOSED, OK, REPLAYED } from "./status";

/** Epochs in order: the previous generation comes before the held one. */
function order(prev: i32, step: i32): i32 {
  return step + (prev ? 0 : COUNTERS);
}

function order1(row: usize): i32 {
  return pub8(row + ROW_FLAGS) & R_N1 ? order(pub8(row + ROW_FLAGS) & R_N1_PREV, pub16(row + ROW_STEP1)) : -1;
}

function order0(row: usize): i32 {
  return pub8(row + ROW_FLAGS) & R_N0 ? order(pub8(row + ROW_FLAGS) & R_N0_PREV, pub16(row + ROW_STEP0)) : -1;
}

/** Whether the epoch is the newest the sender was accepted in. */
export function isNewest(row: usize, prev: i32, step: i32): bool {
  return order1(row) == order(prev, step);
}

/** Returns OK for a fresh counter, REPLAYED or CLOSED (SPEC W-1 to W-3). */
export function check(row: usize, prev: i32, step: i32, counter: i32): i32 {
  const at = order(prev, step);
  const n1 = order1(row);
  const n0 = order0(row);
  if (at > n1) return OK;
  if (at == n1) return checkBits(pub16(row + ROW_TOP1), row + ROW_BITS1, counter);
  if (at == n0) return checkBits(pub16(row + ROW_TOP0), row + ROW_BITS0, counter);
  if (n0 < 0 ? pub8(row + ROW_FLAGS) & R_CLOSED_BELOW : at < n0) return CLOSED;
  return OK;
}

function checkBits(top: i32, bitsPtr: usize, counter: i32): i32 {
  const behind = top - counter;
  if (behind < 0) return OK;
  if (behind > 63) return CLOSED;
  // One byte of the bitmap, so that a public bit is read by a public load.
  return (pub8(bitsPtr + (behind >> 3)) >> (behind & 7)) & 1 ? REPLAYED : OK;
}

/** Marks a counter that check() found fresh. */
export function mark(row: usize, prev: i32, step: i32, counter: i32): void {
  const at = order(prev, step);
  const n1 = order1(row);
  if (at == n1) return markBits(row + ROW_TOP1, row + ROW_BITS1, counter);
  if (at == order0(row)) return markBits(row + ROW_TOP0, row + ROW_BITS0, counter);
  if (at > n1) return begin(row, prev, step, counter);
  const flags = pub8(row + ROW_FLAGS);
  store<u8>(row + ROW_FLAGS, (flags & ~R_N0_PREV) | R_N0 | (prev ? R_N0_PREV : 0));
  store<u16>(row + ROW_STEP0, step);
  store<u16>(row + ROW_TOP0, counter);
  store<u64>(row + ROW_BITS0, 1);
}

/** Makes the epoch n1 and the former n1 n0. The mark was in the former: it goes. */
function begin(row: usize, prev: i32, step: i32, counter: i32): void {
  const flags = pub8(row + ROW_FLAGS);
  let next = flags & ~(R_N1_PREV | R_N0_PREV | R_MARK);
  if (flags & R_N1) {
    next = (next | R_N0) & ~R_CLOSED_BELOW;
    if (flags & R_N1_PREV) next |= R_N0_PREV;
    store<u16>(row + ROW_STEP0, pub16(row + ROW_STEP1));
    store<u16>(row + ROW_TOP0, pub16(row + ROW_TOP1));
    store<u64>(row + ROW_BITS0, load<u64>(row + ROW_BITS1));
  }
  store<u8>(row + ROW_FLAGS, next | R_N1 | (prev ? R_N1_PREV : 0));
  store<u16>(row + ROW_STEP1, step);
  store<u16>(row + ROW_TOP1, counter);
  store<u64>(row + ROW_BITS1, 1);
}

function markBits(topPtr: usize, bitsPtr: usize, counter: i32): void {
  const behind = pub16(topPtr) - counter;
  const bits = load<u64>(bitsPtr);
  if (behind >= 0) {
    store<u64>(bitsPtr, bits | ((<u64>1) << behind));
    return;
  }
  store<u16>(topPtr, counter);
  store<u64>(bitsPtr, behind < -63 ? 1 : (bits << -behind) | 1);
}

/** Whether a counter of n1 lies at or past the stored mark (SPEC W-5). */
export function pastMark(row: usize, counter: i32): bool {
  return !(pub8(row + ROW_FLAGS) & R_MARK) || counter > pub16(row + ROW_MARK);
}

/** Exclusive bound of the stored mark, 1..65536; only with R_MARK. */
export function boundOf(row: usize): i32 {
  return pub16(row + ROW_MARK) + 1;
}

/** Notes a stored mark. */
export function setBound(row: usize, bound: i32): void {
  store<u16>(row + ROW_MARK, bound - 1);
  store<u8>(row + ROW_FLAGS, pub8(row + ROW_FLAGS) | R_MARK);
}

/** A row after a restart: everything up to the bound is closed (SPEC W-6). */
export function restore(row: usize, prev: i32, step: i32, bound: i32): void {
  store<u8>(
    row + ROW_FLAGS,
    (pub8(row + ROW_FLAGS) & ~(R_N1_PREV | R_N0)) | R_N1 | R_CLOSED_BELOW | (prev ? R_N1_PREV : 0),
  );
  store<u16>(row + ROW_STEP1, step);
  store<u16>(row + ROW_TOP1, bound - 1);
  store<u64>(row + ROW_BITS1, -1);
  setBound(row, bound);
}

/** Compares the mark of the row with a position: whether the position is later. */
export function isLater(row: usize, prev: i32, step: i32, bound: i32): bool {
  const at = order(prev, step);
  const n1 = order1(row);
  return at > n1 || (at == n1 && bound > boundOf(row));
}

/** The held generation becomes the previous one. Returns whether the row still has a readable epoch. */
export function age(row: usize): bool {
  const flags = pub8(row + ROW_FLAGS);
  if (!(flags & R_N1) || flags & R_N1_PREV) return false;
  let next = flags | R_N1_PREV;
  if (flags & R_N0) next = flags & R_N0_PREV ? next & ~(R_N0 | R_N0_PREV) : next | R_N0_PREV;
  store<u8>(row + ROW_FLAGS, next);
  return true;
}

/** Whether n1 is of the previous generation. */
export function newestIsPrevious(row: usize): i32 {
  return (pub8(row + ROW_FLAGS) & R_N1_PREV) >> 1;
}
