/*
 * What moves when a step or a generation moves: nodes, kept leaves, rows, own key.
 * SPEC K-5, W-7, C-11, C-14.
 */
import { pub8, pub16, wipe } from "./bytes";
import { aheadOf, baseOf, channelAt, freeRows, freeTableRow, isRowOf, lateOf, rowAt } from "./channel";
import { resumeBeacons } from "./credit";
import { covers, cut, leaf } from "./keytree";
import {
  CHANNEL_SIZE,
  CH_LIMIT,
  CH_FLAGS,
  CH_FORM,
  CH_KEY,
  CH_KEY_SENDER,
  CH_KEY_STEP,
  CH_LEAVES,
  CH_OPEN,
  CH_PREV_COUNT,
  CH_PREV_FIRST,
  CH_PREV_FLAGS,
  CH_PREV_FORM,
  CH_PREV_SENDER,
  CH_PREV_SIZE8,
  CH_PREV_WILL,
  CH_SENDER,
  CH_SIZE8,
  CH_STEP,
  CH_V,
  CH_WILL,
  KEY_SIZE,
  LEAF_CACHE,
  LEAVES,
  PAIR_SIZE,
  ROWS,
  ROW_FLAGS,
  ROW_STEP1,
  R_N1,
  STEPS,
} from "./layout";
import { age, newestIsPrevious } from "./window";

/** Bytes of a channel image that `set channel` brings (SPEC C-10): all before v, then v. */
export const IMAGE_SIZE: i32 = CH_V + KEY_SIZE;

/**
 * Moves current to a later step; the caller has set v.
 *
 * Afterwards nothing left of max(current - late, 0) can be derived.
 */
export function advance(slot: i32, step: i32): void {
  const ch = channelAt(slot);
  store<u16>(ch + CH_STEP, step);
  cut(ch, baseOf(ch));
  if (step > lateOf(ch)) erasePrevious(ch);
  if (pub16(ch + CH_KEY_STEP) < step) forgetOwnKey(ch);
  forgetLeaf();
  sweep(slot);
}

/**
 * Replaces the generation by the one in `image`, IMAGE_SIZE bytes. With keep the steps still readable of the
 * old one stay, as leaves.
 */
export function replaceGeneration(slot: i32, image: usize, keep: bool): void {
  const ch = channelAt(slot);
  let count = 0;
  const first = firstKept(ch);
  erasePrevious(ch);
  if (keep && first >= 0) {
    count = keepLeaves(ch, first);
    store<u16>(ch + CH_PREV_FIRST, first);
    store<u8>(ch + CH_PREV_COUNT, count);
    store<u8>(ch + CH_PREV_FORM, pub8(ch + CH_FORM));
    store<u8>(ch + CH_PREV_SIZE8, pub8(ch + CH_SIZE8));
    store<u8>(ch + CH_PREV_FLAGS, pub8(ch + CH_FLAGS));
    store<u16>(ch + CH_PREV_SENDER, pub16(ch + CH_SENDER));
    store<u16>(ch + CH_PREV_WILL, pub16(ch + CH_WILL));
  }
  memory.copy(ch, image, IMAGE_SIZE);
  wipe(ch + IMAGE_SIZE, CH_PREV_FIRST - IMAGE_SIZE);
  wipe(ch + CH_PREV_WILL + 2, CH_LEAVES - CH_PREV_WILL - 2);
  wipe(ch + CH_LIMIT, 8);
  forgetOwnKey(ch);
  forgetLeaf();
  if (count && pub16(ch + CH_STEP) > lateOf(ch)) {
    erasePrevious(ch);
    count = 0;
  }
  if (count) ageRows(slot);
  else freeRows(slot);
}

/** Erases a channel and its rows. */
export function dropChannel(slot: i32): void {
  wipe(channelAt(slot), CHANNEL_SIZE);
  resumeBeacons(slot);
  freeRows(slot);
  forgetLeaf();
}

/** First held step of those that may be kept (SPEC C-11), or -1. */
function firstKept(ch: usize): i32 {
  let step = baseOf(ch);
  if (step < pub16(ch + CH_OPEN)) step = pub16(ch + CH_OPEN);
  for (; step <= lastReadable(ch); ++step) if (covers(ch, step)) return step;
  return -1;
}

function lastReadable(ch: usize): i32 {
  const last = pub16(ch + CH_STEP) + aheadOf(ch);
  return last < STEPS ? last : STEPS - 1;
}

/** Derives the leaves from `first` on to the last readable one, as far as they are held; returns how many. */
function keepLeaves(ch: usize, first: i32): i32 {
  let step = first;
  for (; step <= lastReadable(ch) && covers(ch, step); ++step) {
    leaf(ch, step, ch + CH_LEAVES + (step - first) * KEY_SIZE);
  }
  return step - first;
}

function erasePrevious(ch: usize): void {
  wipe(ch + CH_PREV_FIRST, CH_PREV_WILL + 2 - CH_PREV_FIRST);
  wipe(ch + CH_LEAVES, LEAVES * KEY_SIZE);
}

function forgetOwnKey(ch: usize): void {
  store<u16>(ch + CH_KEY_SENDER, 0);
  wipe(ch + CH_KEY, PAIR_SIZE);
}

function forgetLeaf(): void {
  wipe(LEAF_CACHE, 24);
}

function ageRows(slot: i32): void {
  for (let i = 0; i < ROWS; ++i) {
    const row = rowAt(i);
    if (isRowOf(row, slot) && !age(row)) freeTableRow(row);
  }
  sweep(slot);
}

/** Frees the rows whose newest epoch can no longer be read. */
function sweep(slot: i32): void {
  const ch = channelAt(slot);
  for (let i = 0; i < ROWS; ++i) {
    const row = rowAt(i);
    if (!isRowOf(row, slot) || !(pub8(row + ROW_FLAGS) & R_N1)) continue;
    if (!isReadable(ch, newestIsPrevious(row), pub16(row + ROW_STEP1))) freeTableRow(row);
  }
}

function isReadable(ch: usize, prev: i32, step: i32): bool {
  if (!prev) return step >= baseOf(ch);
  return <u32>(step - pub16(ch + CH_PREV_FIRST)) < <u32>pub8(ch + CH_PREV_COUNT);
}
