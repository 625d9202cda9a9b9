/*
 * The two tables: channels by slot, sender rows by channel and sender.
 */
import { job } from "./aead";
import { equalPublic, pub16, pub32, pub8, wipe } from "./bytes";
import { FRAMING, here, setShape, textSize, turnToId } from "./context";
import { suiteOf } from "./form";
import {
  CH_FROM,
  CH_GENERATION,
  CH_HOLD,
  CH_LA,
  CH_OPEN,
  CH_PREV_COUNT,
  CH_PREV_FIRST,
  CH_SENDER,
  CH_SHAPE,
  CH_STEP,
  CH_TO,
  CH_WILL,
  CHANNEL_SIZE,
  CHANNEL_TABLE,
  CHANNELS,
  FRAME_MAX,
  HELD_EPOCH,
  hasStorage,
  LATE_AHEAD_MAX,
  PREV_EPOCH,
  ROW_COPY,
  ROW_FREE,
  ROW_SIZE,
  ROW_TABLE,
  ROW_USED,
  SENDERS,
  SHUT,
  STEPS,
  SUITES,
} from "./layout";
import { BAD_COMMAND, BAD_SUITE, OK } from "./status";

/** Chunk of the smallest frame (SPEC section 1). */
const CHUNK_MIN: i32 = 8;
/** Value of here.slot from which nextChannel() gives the first channel. */
export const BEFORE_FIRST: i32 = -1;

/** Turns to a slot. Returns the generation of the channel in it, 0 if the slot is empty or out of range. */
export function turnTo(slot: i32): i32 {
  if (<u32>slot >= <u32>CHANNELS) return 0;
  here.slot = slot;
  turnToId(CHANNEL_TABLE + slot * CHANNEL_SIZE);
  setShape(here.ch + CH_SHAPE);
  return here.generation;
}

/** Turns to the next slot with a channel; returns whether there is one. */
export function nextChannel(): i32 {
  while (++here.slot < CHANNELS) if (turnTo(here.slot)) return 1;
  return 0;
}

/** Turns to the channel with the id; returns whether there is one. */
export function findChannel(idPtr: usize): i32 {
  here.slot = BEFORE_FIRST;
  while (nextChannel()) if (equalPublic(here.ch, idPtr, 8)) return 1;
  return 0;
}

export function lateOf(ch: usize): i32 {
  return pub8(ch + CH_LA) & 15;
}

export function aheadOf(ch: usize): i32 {
  return pub8(ch + CH_LA) >> 4;
}

/** First step that is still readable: max(current - late, 0). */
export function baseHere(): i32 {
  const from = pub16(here.ch + CH_STEP) - lateOf(here.ch);
  return from < 0 ? 0 : from;
}

/** Whether a frame of that epoch, or of an older one, could still find its key (SPEC W-7). */
export function isReadable(epoch: i32): i32 {
  if (epoch >= HELD_EPOCH) return i32(epoch - HELD_EPOCH >= baseHere());
  // Frames were taken ahead of what is kept: a newer epoch guards the kept ones below it.
  return i32(pub8(here.ch + CH_PREV_COUNT) != 0) & i32(epoch - PREV_EPOCH >= pub16(here.ch + CH_PREV_FIRST));
}

/** Whether nothing of the channel is sealed or opened (SPEC T-8). */
export function isShut(): i32 {
  return AMP_STORAGE ? i32(pub16(here.ch + CH_HOLD) == SHUT) : 0;
}

/** R of SPEC W-5: 1, 16 or 64. */
export function markBlock(): i32 {
  const code = (here.flags >> 3) & 3;
  return code == 2 ? 64 : code ? 16 : 1;
}

/**
 * Checks the parameters of a channel image (SPEC C-8).
 *
 * @param image in, the first 28 bytes of a channel
 * @returns OK, BAD_COMMAND or BAD_SUITE
 */
export function checkParameters(image: usize): i32 {
  setShape(image + CH_SHAPE);
  if (job.form & 0xe3) return BAD_COMMAND;
  // A suite of the build, and an AEAD suite only with storage.
  const suite = suiteOf(job.form);
  if ((~(SUITES >> suite) & 1) | (suite & i32(!hasStorage()))) return BAD_SUITE;
  const late = lateOf(image);
  const ahead = aheadOf(image);
  const from = pub16(image + CH_FROM);
  const to = pub16(image + CH_TO);
  const sender = pub16(image + CH_SENDER);
  const bad =
    i32(textSize() < CHUNK_MIN + FRAMING) |
    i32(here.size > FRAME_MAX) |
    i32((late | ahead) > 7) |
    i32(late <= ahead) |
    i32(late + ahead > LATE_AHEAD_MAX) |
    (here.flags & 0x60) |
    i32((here.flags & 0x18) == 0x18) |
    i32(!pub32(image + CH_GENERATION)) |
    i32((pub16(image + CH_STEP) | from | pub16(image + CH_OPEN) | to) >= STEPS) |
    i32(from > to) |
    i32(!sender) |
    i32(sender == pub16(image + CH_WILL));
  return bad ? BAD_COMMAND : OK;
}

// Rows.

/** Where the search for a sender begins; spread over the table where it is large. */
function startOf(sender: i32): i32 {
  return AMP_HOST ? here.slot * 40503 + sender * 9973 : 0;
}

/** Row of the name, or the first free one where it may stand, or 0. */
function search(name: i32, sender: i32): usize {
  let free: usize = 0;
  let i = -1;
  while (++i < SENDERS) {
    const at = AMP_HOST ? i32(<u32>(startOf(sender) + i) % <u32>SENDERS) : i;
    const row = ROW_TABLE + at * ROW_SIZE;
    if (pub32(row) == name) return row;
    if (pub16(row) >= ROW_USED) continue;
    if (!free) free = row;
    if (AMP_HOST && pub16(row) == ROW_FREE) return free;
  }
  return free;
}

/**
 * Copies the row of the sender at hand to ROW_COPY, or begins one there (SPEC R-6).
 *
 * @returns the address it belongs to in the table, or 0: there is no room
 */
export function openRow(): usize {
  const name = (here.slot + ROW_USED) | (here.sender << 16);
  const row = here.sender ? search(name, here.sender) : ROW_TABLE + (SENDERS + here.slot) * ROW_SIZE;
  if (!row) return 0;
  memory.copy(ROW_COPY, row, ROW_SIZE);
  if (pub32(row) != name) {
    wipe(ROW_COPY, ROW_SIZE);
    store<u32>(ROW_COPY, name);
  }
  return row;
}

/** Puts the row at hand into the table. */
export function closeRow(row: usize): void {
  memory.copy(row, ROW_COPY, ROW_SIZE);
}
