/*
 * The two tables: channels by slot, sender rows by channel and sender.
 */
import { equalPublic, pub8, pub16, pub32, wipe } from "./bytes";
import { chunkMax, suiteOf } from "./form";
import {
  CHANNELS,
  CHANNEL_SIZE,
  CHANNEL_TABLE,
  CH_FLAGS,
  CH_FORM,
  CH_FROM,
  CH_GENERATION,
  CH_LA,
  CH_OPEN,
  CH_SENDER,
  CH_SIZE8,
  CH_STEP,
  CH_TO,
  CH_USED,
  CH_WILL,
  CLASS,
  CLASS_STORAGE,
  FRAME_MAX,
  LATE_AHEAD_MAX,
  ROWS,
  ROW_FREE,
  ROW_FREED,
  ROW_FLAGS,
  ROW_SENDER,
  ROW_SIZE,
  ROW_SLOT,
  ROW_TABLE,
  ROW_USED,
  R_PINNED,
  SENDERS,
  STEPS,
  SUITES,
} from "./layout";
import { BAD_COMMAND, BAD_SUITE, OK } from "./status";

/** Chunk of the smallest frame (SPEC section 1). */
const CHUNK_MIN: i32 = 8;

/** Address of a channel slot, 0..CHANNELS-1. */
export function channelAt(slot: i32): usize {
  return CHANNEL_TABLE + slot * CHANNEL_SIZE;
}

/** Address of the channel in a slot, or 0 if the slot is out of range or empty. */
export function channelIn(slot: i32): usize {
  if (<u32>slot >= <u32>CHANNELS) return 0;
  const ch = channelAt(slot);
  return pub8(ch + CH_USED) ? ch : 0;
}

/** Slot of a channel id, or -1. */
export function findChannel(idPtr: usize): i32 {
  for (let slot = 0; slot < CHANNELS; ++slot) {
    const ch = channelAt(slot);
    if (pub8(ch + CH_USED) && equalPublic(ch, idPtr, 8)) return slot;
  }
  return -1;
}

/** First empty slot, or -1. */
export function freeChannel(): i32 {
  for (let slot = 0; slot < CHANNELS; ++slot) {
    if (!pub8(channelAt(slot) + CH_USED)) return slot;
  }
  return -1;
}

export function lateOf(ch: usize): i32 {
  return pub8(ch + CH_LA) & 15;
}

export function aheadOf(ch: usize): i32 {
  return pub8(ch + CH_LA) >> 4;
}

/** First step that is still readable: max(current - late, 0). */
export function baseOf(ch: usize): i32 {
  const from = pub16(ch + CH_STEP) - lateOf(ch);
  return from < 0 ? 0 : from;
}

/** Number of the held generation (prev 0) or the previous one (prev 1). */
export function generationOf(ch: usize, prev: i32): i32 {
  return pub32(ch + CH_GENERATION) - prev;
}

/** R of SPEC W-5: 1, 16 or 64. */
export function markBlock(ch: usize): i32 {
  const code = (pub8(ch + CH_FLAGS) >> 3) & 3;
  return code == 2 ? 64 : code ? 16 : 1;
}

/**
 * Checks the parameters of a channel image (SPEC C-8).
 *
 * @param image in, the first 28 bytes of a channel
 * @returns OK, BAD_COMMAND or BAD_SUITE
 */
export function checkParameters(image: usize): i32 {
  const form = pub8(image + CH_FORM);
  const size = pub8(image + CH_SIZE8) << 3;
  const late = lateOf(image);
  const ahead = aheadOf(image);
  const flags = pub8(image + CH_FLAGS);
  if (form & 0xe3) return BAD_COMMAND;
  const suite = suiteOf(form);
  if (!((SUITES >> suite) & 1) || (suite & 1 && pub8(CLASS) != CLASS_STORAGE)) return BAD_SUITE;
  if (chunkMax(form, size) < CHUNK_MIN || size > FRAME_MAX || size < 24) return BAD_COMMAND;
  if (late > 7 || ahead > 7 || late <= ahead || late + ahead > LATE_AHEAD_MAX) return BAD_COMMAND;
  if (flags & 0x60 || (flags & 0x18) == 0x18) return BAD_COMMAND;
  if (!pub32(image + CH_GENERATION)) return BAD_COMMAND;
  if (
    (pub16(image + CH_STEP) | pub16(image + CH_FROM) | pub16(image + CH_OPEN) | pub16(image + CH_TO)) >=
    STEPS
  )
    return BAD_COMMAND;
  if (pub16(image + CH_FROM) > pub16(image + CH_TO)) return BAD_COMMAND;
  if (!pub16(image + CH_SENDER) || pub16(image + CH_SENDER) == pub16(image + CH_WILL)) return BAD_COMMAND;
  return OK;
}

/** Address of a row of the table. */
export function rowAt(index: i32): usize {
  return ROW_TABLE + index * ROW_SIZE;
}

/** Whether the row belongs to the channel in `slot`. */
export function isRowOf(row: usize, slot: i32): bool {
  return pub16(row + ROW_SLOT) == slot + ROW_USED;
}

/** Where the search for a sender begins; spread over the table where it is large. */
function startOf(slot: i32, sender: i32): i32 {
  return SENDERS > 256 ? <i32>(<u32>(slot * 40503 + sender * 9973) % <u32>SENDERS) : 0;
}

/** Row of a sender, or 0 (SPEC R-6). */
export function findRow(slot: i32, sender: i32): usize {
  if (!sender) {
    const row = rowAt(SENDERS + slot);
    return isRowOf(row, slot) ? row : 0;
  }
  let at = startOf(slot, sender);
  for (let i = 0; i < SENDERS; ++i) {
    const row = rowAt(at);
    if (isRowOf(row, slot) && pub16(row + ROW_SENDER) == sender) return row;
    if (pub16(row + ROW_SLOT) == ROW_FREE) return 0;
    if (++at == SENDERS) at = 0;
  }
  return 0;
}

/** A free row for a sender that has none, or 0. Nothing is written. */
export function freeRow(slot: i32, sender: i32): usize {
  if (!sender) return rowAt(SENDERS + slot);
  let at = startOf(slot, sender);
  for (let i = 0; i < SENDERS; ++i) {
    const row = rowAt(at);
    if (pub16(row + ROW_SLOT) < ROW_USED) return row;
    if (++at == SENDERS) at = 0;
  }
  return 0;
}

/** Begins a row at `row`, which may also be a copy outside the table. */
export function beginRow(row: usize, slot: i32, sender: i32): void {
  wipe(row, ROW_SIZE);
  store<u16>(row + ROW_SLOT, slot + ROW_USED);
  store<u16>(row + ROW_SENDER, sender);
}

/** Frees a row: every byte of it goes. A pinned row stays, empty. */
export function freeTableRow(row: usize): void {
  const flags = pub8(row + ROW_FLAGS) & R_PINNED;
  const slot = pub16(row + ROW_SLOT);
  const sender = pub16(row + ROW_SENDER);
  wipe(row, ROW_SIZE);
  if (flags) {
    store<u16>(row + ROW_SLOT, slot);
    store<u16>(row + ROW_SENDER, sender);
    store<u8>(row + ROW_FLAGS, flags);
  } else store<u16>(row + ROW_SLOT, ROW_FREED);
}

/** Frees all rows of a channel, pinned ones too. */
export function freeRows(slot: i32): void {
  for (let i = 0; i < ROWS; ++i) {
    const row = rowAt(i);
    if (!isRowOf(row, slot)) continue;
    wipe(row, ROW_SIZE);
    store<u16>(row + ROW_SLOT, ROW_FREED);
  }
}
