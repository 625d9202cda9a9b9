/*
 * What moves when a step or a generation moves: nodes, kept leaves, rows, own key.
 * SPEC K-5, W-7, C-11, C-14.
 */
import { copy16, pub16, pub8, wipe } from "./bytes";
import { aheadOf, baseHere, isReadable, lateOf } from "./channel";
import { here } from "./context";
import { covers, cut, forgetLeaf, leaf } from "./keytree";
import {
  CHANNEL_SIZE,
  CH_BLOCK,
  CH_KEY,
  CH_KEY_NAME,
  CH_LEAVES,
  CH_NODES,
  CH_OPEN,
  CH_PREV_COUNT,
  CH_PREV_FIRST,
  CH_PREV_SHAPE,
  CH_SHAPE,
  CH_STEP,
  CH_V,
  KEY_SIZE,
  PAIR_SIZE,
  ROW_END,
  ROW_FREED,
  ROW_NEW,
  ROW_OLD,
  ROW_SIZE,
  ROW_TABLE,
  ROW_USED,
  STEPS,
} from "./layout";

/** Bytes of a channel image that `set channel` brings (SPEC C-10): all before v, then v. */
export const IMAGE_SIZE: i32 = CH_V + KEY_SIZE;

/** By how much sweep() ages the epochs of rows: one generation, or more than there are. */
const ONE_GENERATION: i32 = STEPS;
const ALL_GENERATIONS: i32 = 2 * STEPS;

/**
 * Moves current to a later step with its beacon value, 16 bytes at vPtr.
 *
 * Afterwards nothing left of max(current - late, 0) can be derived.
 */
export function advance(step: i32, vPtr: usize): void {
  copy16(here.ch + CH_V, vPtr);
  store<u16>(here.ch + CH_STEP, step);
  cut(baseHere());
  if (step > lateOf(here.ch)) erasePrevious();
  // The step of the own key's name.
  if (pub16(here.ch + CH_KEY_NAME) < step) forgetOwnKey();
  forgetLeaf();
  sweep(0);
}

/**
 * Replaces the generation by the one in `image`, IMAGE_SIZE bytes. With keep the steps still readable of the
 * old one stay, as leaves.
 */
export function replaceGeneration(image: usize, keep: i32): void {
  erasePrevious();
  const kept = keep ? keepLeaves() : 0;
  memory.copy(here.ch, image, IMAGE_SIZE);
  wipe(here.ch + IMAGE_SIZE, CH_PREV_FIRST - IMAGE_SIZE);
  wipe(here.ch + CH_NODES, CH_BLOCK - CH_NODES);
  forgetLeaf();
  if (kept && pub16(here.ch + CH_STEP) <= lateOf(here.ch)) return sweep(ONE_GENERATION);
  erasePrevious();
  sweep(ALL_GENERATIONS);
}

/** Erases a channel and its rows. */
export function dropChannel(): void {
  wipe(here.ch, CHANNEL_SIZE);
  forgetLeaf();
  sweep(ALL_GENERATIONS);
}

/** Keeps the held ones of the readable steps, from the first one held on without a gap; returns how many. */
function keepLeaves(): i32 {
  const last = pub16(here.ch + CH_STEP) + aheadOf(here.ch);
  const open = pub16(here.ch + CH_OPEN);
  let step = baseHere();
  if (step < open) step = open;
  while (step <= last && !covers(step)) ++step;
  store<u16>(here.ch + CH_PREV_FIRST, step);
  memory.copy(here.ch + CH_PREV_SHAPE, here.ch + CH_SHAPE, 8);
  let count = 0;
  for (; step <= last && covers(step); ++step) leaf(step, here.ch + CH_LEAVES + count++ * KEY_SIZE);
  store<u8>(here.ch + CH_PREV_COUNT, count);
  return count;
}

function forgetOwnKey(): void {
  store<u32>(here.ch + CH_KEY_NAME, 0);
  wipe(here.ch + CH_KEY, PAIR_SIZE);
}

function erasePrevious(): void {
  wipe(here.ch + CH_PREV_FIRST, CH_NODES - CH_PREV_FIRST);
}

/** Ages the channel's rows and frees those whose newest epoch can no longer be read. */
function sweep(by: i32): void {
  let row = ROW_TABLE - ROW_SIZE;
  while ((row += ROW_SIZE) < ROW_END) {
    if (pub16(row) != here.slot + ROW_USED) continue;
    age(row + ROW_OLD, by);
    if (isReadable(age(row + ROW_NEW, by))) continue;
    wipe(row, ROW_SIZE);
    if (AMP_HOST) store<u16>(row, ROW_FREED);
  }
}

/** Ages the epoch of a window; one that is not of the new generations any more becomes none. */
function age(window: usize, by: i32): i32 {
  let epoch = pub16(window) - by;
  if (epoch < 0) epoch = 0;
  store<u16>(window, epoch);
  return epoch;
}
