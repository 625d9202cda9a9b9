/*
 * Stored records: blob and marks. SPEC section 12.
 *
 * Saving and loading go chunk by chunk through FRAME. Nothing here touches storage: the host does, and
 * says so by stored().
 */
import { open, seal } from "./aead";
import { copy16, pub16, pub32, pub8, wipe } from "./bytes";
import {
  aheadOf,
  BEFORE_FIRST,
  closeRow,
  findChannel,
  isReadable,
  markBlock,
  nextChannel,
  openRow,
  turnTo,
} from "./channel";
import { here } from "./context";
import { resetCredit } from "./credit";
import { forgetLeaf } from "./keytree";
import {
  BEACON_AT,
  CHANNELS,
  CLASS_STORAGE,
  CHANNEL_STORED,
  CH_COUNTER,
  CH_HOLD,
  CH_OWN,
  CH_OWN_LIMIT,
  CH_SENDER,
  CH_STEP,
  COUNTERS,
  DEVICE_STORED,
  DIRTY,
  FRAME,
  FRAME_MAX,
  HELD_EPOCH,
  LAYOUT,
  MARK_NUMBER,
  NONCE,
  NO_CLASS,
  OWN_SIZE,
  PREV_EPOCH,
  REALM,
  REVISION,
  RECORD,
  RECORD_AD,
  ROW_BOUND,
  ROW_COPY,
  ROW_END,
  ROW_KEY,
  ROW_NAME,
  ROW_NEW,
  ROW_PINNED,
  ROW_SIZE,
  ROW_TABLE,
  ROW_USED,
  self,
  SENDERS,
  SEQUENCE,
  STATE,
  STEPS,
  STORAGE_KEY,
  TOPIC_MAX,
  TORN,
} from "./layout";
import {
  BAD_ARGUMENT,
  BAD_ORDER,
  BAD_RECORD,
  MORE,
  NO_IDENTITY,
  NO_ROOM,
  OK,
  PENDING,
  STORE_BLOB,
} from "./status";
import { BOUND_BITS, raise, restore } from "./window";

export const MARK_PEER: i32 = 2;

const TAG_SIZE: i32 = 16;
const ROWS_IN_CHUNK: i32 = 8;
const MARK_TEXT: i32 = 24;
/** As many as rows can fill. */
const ROW_CHUNKS_MAX: i32 = (SENDERS + CHANNELS + ROWS_IN_CHUNK - 1) / ROWS_IN_CHUNK;
const ROWS_SIZE: i32 = ROWS_IN_CHUNK * MARK_TEXT;
const MARK_CIPHER: usize = RECORD + 8;
const LOST_BLOCK: i32 = 1024;
const MAGIC: u32 = 0x42504d41;
const KIND_BLOB: i32 = 1;
const KIND_MARK: i32 = 2;

const PREVIOUS: usize = RECORD_AD + 16;
const TEXT: usize = FRAME + TAG_SIZE;

let chunkIndex: i32 = 0;
let chunkCount: i32 = 0;
let channelCount: i32 = 0;
/** Slot of the channel that was saved last, and address after the row. */
let nextSlot: i32 = 0;
let nextRow: usize = 0;

/** OK, or why nothing may be protected, opened or answered now; BAD_ARGUMENT for lengths beyond the buffers. */
export function ready(frameLen: i32, topicLen: i32): i32 {
  if (self.kind == NO_CLASS) return NO_IDENTITY;
  // Chunks of a blob, saved or loaded, are worked on with scratch that everything else uses too.
  if (chunkIndex < chunkCount) return BAD_ORDER;
  if (pub8(DIRTY)) return PENDING;
  return i32(<u32>frameLen > <u32>FRAME_MAX) | i32(<u32>topicLen > <u32>TOPIC_MAX) ? BAD_ARGUMENT : OK;
}

/** Notes that keys, epochs or the revision changed. STORE_BLOB; OK on a device that has nothing to store. */
export function movedState(): i32 {
  if (self.kind) return OK;
  store<u8>(DIRTY, 1);
  return STORE_BLOB;
}

/** Forgets everything: there is no identity any more. */
export function blank(): void {
  self.kind = NO_CLASS;
  chunkIndex = chunkCount = 0;
  wipe(BEACON_AT, CHANNELS * 4);
  wipe(STATE, <i32>(ROW_END - STATE));
  forgetLeaf();
  resetCredit();
}

// Records.

function setRecordNonce(kind: i32, chunk: i32, sequence: i32, number: i32): void {
  store<u32>(NONCE, kind | (LAYOUT << 8) | (chunk << 16));
  store<u32>(NONCE, sequence, 4);
  store<u64>(NONCE, <u32>number, 8);
  copy16(RECORD_AD, REALM);
}

function sealRecord(textPtr: usize, textLen: i32, tagPtr: usize): void {
  seal(0, STORAGE_KEY, NONCE, RECORD_AD, 32, textPtr, textLen, tagPtr, TAG_SIZE);
}

function openRecord(textPtr: usize, textLen: i32, tagPtr: usize): i32 {
  return open(0, STORAGE_KEY, NONCE, RECORD_AD, 32, textPtr, textLen, tagPtr, TAG_SIZE);
}

/** Size of the text of the present chunk; 0 after the last (SPEC T-3). */
function chunkSize(): i32 {
  if (chunkIndex >= chunkCount) return 0;
  return !chunkIndex ? DEVICE_STORED : chunkIndex <= channelCount ? CHANNEL_STORED : ROWS_SIZE;
}

/** Writes the text of a mark for the channel, step and sender at hand (SPEC T-5). */
function writeText(to: usize, what: i32, bound: i32): void {
  store<u64>(to, load<u64>(here.ch));
  store<u32>(to, here.generation, 8);
  store<u32>(to, bound, 12);
  store<u16>(to, here.step, 16);
  store<u16>(to, here.sender, 18);
  store<u32>(to, what, 20);
}

/** Writes a sealed mark at RECORD (SPEC T-5). */
export function writeMark(what: i32, bound: i32): void {
  const number = pub32(MARK_NUMBER) + 1;
  store<u32>(MARK_NUMBER, number);
  store<u32>(RECORD, pub32(SEQUENCE));
  store<u32>(RECORD, number, 4);
  writeText(MARK_CIPHER, what, bound);
  setRecordNonce(KIND_MARK, 0, pub32(SEQUENCE), number);
  wipe(PREVIOUS, TAG_SIZE);
  sealRecord(MARK_CIPHER, MARK_TEXT, MARK_CIPHER + MARK_TEXT);
}

// Saving.

/**
 * Begins a blob under a fresh sequence and writes its 16-byte header at FRAME.
 *
 * @returns number of chunks that saveNext() will give
 */
export function saveBegin(): i32 {
  store<u32>(SEQUENCE, pub32(SEQUENCE) + 1 + pub8(TORN));
  store<u8>(TORN, 0);
  store<u32>(MARK_NUMBER, 0);
  channelCount = 0;
  nextSlot = BEFORE_FIRST;
  here.slot = BEFORE_FIRST;
  while (nextChannel()) ++channelCount;
  let rows = ROWS_IN_CHUNK - 1;
  for (nextRow = ROW_TABLE; turnToRow();) ++rows;
  nextRow = ROW_TABLE;
  rows = <u32>rows / ROWS_IN_CHUNK;
  store<u32>(FRAME, MAGIC);
  store<u32>(FRAME, LAYOUT | (channelCount << 16), 4);
  store<u32>(FRAME, pub32(SEQUENCE), 8);
  store<u32>(FRAME, rows, 12);
  return beginChunks(rows);
}

/** After the header at FRAME: chunk 0 is bound to it (SPEC T-2). Returns the number of chunks. */
function beginChunks(rowChunks: i32): i32 {
  copy16(PREVIOUS, FRAME);
  chunkIndex = 0;
  chunkCount = 1 + channelCount + rowChunks;
  return chunkCount;
}

/** Copies the next row that has a mark to ROW_COPY, with its epoch at hand; returns 0 after the last. */
function turnToRow(): i32 {
  while (nextRow < ROW_END) {
    // All but the cached key.
    memory.copy(ROW_COPY, nextRow, ROW_KEY);
    nextRow += ROW_SIZE;
    if (!pub32(ROW_COPY + ROW_BOUND)) continue;
    turnTo(pub16(ROW_COPY) - ROW_USED);
    here.sender = pub16(ROW_COPY + ROW_NAME + 2);
    here.epoch = pub16(ROW_COPY + ROW_NEW);
    here.step = (here.epoch - PREV_EPOCH) & (STEPS - 1);
    here.generation -= i32(here.epoch < HELD_EPOCH);
    return 1;
  }
  return 0;
}

/**
 * Writes the next chunk, tag first, at FRAME.
 *
 * @returns its length in bytes; 0 when the blob is complete
 */
export function saveNext(): i32 {
  const len = chunkSize();
  if (!len) return 0;
  if (!chunkIndex) memory.copy(TEXT, REVISION, DEVICE_STORED);
  else if (chunkIndex <= channelCount) {
    here.slot = nextSlot;
    nextChannel();
    nextSlot = here.slot;
    memory.copy(TEXT, here.ch, CHANNEL_STORED);
  } else writeRows();
  setRecordNonce(KIND_BLOB, chunkIndex++, pub32(SEQUENCE), 0);
  sealRecord(TEXT, len, FRAME);
  copy16(PREVIOUS, FRAME);
  return TAG_SIZE + len;
}

function writeRows(): void {
  wipe(TEXT, ROWS_SIZE);
  for (let at = TEXT; at < TEXT + ROWS_SIZE && turnToRow(); at += MARK_TEXT) {
    writeText(at, MARK_PEER | (pub8(ROW_COPY + ROW_PINNED) << 8), pub32(ROW_COPY + ROW_BOUND));
  }
}

// Loading.

/**
 * Begins to load the blob whose 16-byte header is at FRAME, into a device that was just initialised.
 *
 * @returns OK or BAD_RECORD
 */
export function loadBegin(): i32 {
  chunkCount = 0;
  channelCount = pub16(FRAME + 6);
  if (i32(pub32(FRAME) != MAGIC) | i32(pub16(FRAME + 4) != LAYOUT) | i32(channelCount > CHANNELS))
    return BAD_RECORD;
  // Without a bound the sum of chunks could wrap, and a header alone would be a whole blob.
  if (<u32>pub32(FRAME + 12) > <u32>ROW_CHUNKS_MAX) return BAD_RECORD;
  store<u32>(SEQUENCE, pub32(FRAME + 8));
  beginChunks(pub32(FRAME + 12));
  return OK;
}

/** Size in bytes, tag included, of the chunk that loadNext() expects; 0 when the blob is complete. */
export function loadSize(): i32 {
  const len = chunkSize();
  return len ? TAG_SIZE + len : 0;
}

/**
 * Loads the next chunk, loadSize() bytes at FRAME.
 *
 * @returns MORE, OK after the last, BAD_RECORD or NO_ROOM
 *
 * After failure: everything is blank.
 */
export function loadNext(): i32 {
  const len = chunkSize();
  const status = len ? loadChunk(len) : BAD_RECORD;
  wipe(FRAME, FRAME_MAX);
  if (status == OK) {
    if (++chunkIndex < chunkCount) return MORE;
    // Only now is there a control key that verified.
    self.kind = CLASS_STORAGE;
    return OK;
  }
  chunkCount = 0;
  blank();
  return status;
}

function loadChunk(len: i32): i32 {
  setRecordNonce(KIND_BLOB, chunkIndex, pub32(SEQUENCE), 0);
  if (openRecord(TEXT, len, FRAME) != OK) return BAD_RECORD;
  copy16(PREVIOUS, FRAME);
  if (!chunkIndex) memory.copy(REVISION, TEXT, DEVICE_STORED);
  else if (chunkIndex <= channelCount) readChannel();
  else {
    let status = OK;
    for (let at = TEXT; at < TEXT + len && status == OK; at += MARK_TEXT) status = applyMark(at);
    return status;
  }
  return OK;
}

/** Counters below the stored limit may be spent: the next one is the limit. */
function readChannel(): void {
  turnTo(chunkIndex - 1);
  memory.copy(here.ch, TEXT, CHANNEL_STORED);
  store<u32>(here.ch + CH_COUNTER, pub32(here.ch + CH_OWN_LIMIT));
  store<u32>(here.ch + CH_COUNTER + OWN_SIZE, pub32(here.ch + CH_OWN_LIMIT + OWN_SIZE));
}

/**
 * Takes the mark of 48 bytes at FRAME into account (SPEC T-6).
 *
 * @returns OK, also for a mark that concerns nothing held; BAD_RECORD, NO_ROOM
 */
export function loadMark(): i32 {
  const sequence = pub32(FRAME);
  const number = pub32(FRAME + 4);
  setRecordNonce(KIND_MARK, 0, sequence, number);
  wipe(PREVIOUS, TAG_SIZE);
  if (openRecord(FRAME + 8, MARK_TEXT, FRAME + 8 + MARK_TEXT) != OK) return BAD_RECORD;
  if (sequence == pub32(SEQUENCE) && <u32>number > <u32>pub32(MARK_NUMBER)) store<u32>(MARK_NUMBER, number);
  const status = applyMark(FRAME + 8);
  wipe(FRAME, 48);
  return status;
}

/** Raises what the text of a mark names, if it is held and the mark is later. OK, BAD_RECORD or NO_ROOM. */
function applyMark(text: usize): i32 {
  if (!findChannel(text)) return OK;
  const what = pub8(text + 20);
  const bound = pub32(text + 12);
  const behind = here.generation - pub32(text + 8);
  here.step = pub16(text + 16);
  here.sender = pub16(text + 18);
  if (i32(what > MARK_PEER) | i32(<u32>bound > <u32>COUNTERS)) return BAD_RECORD;
  if (what == MARK_PEER) return bound ? raisePeer(behind, bound, pub8(text + 21)) : BAD_RECORD;
  if (behind | i32(here.sender != pub16(here.ch + CH_SENDER + what * 2))) return OK;
  const own = here.ch + what * OWN_SIZE;
  const held = pub16(own + CH_OWN);
  if ((here.step << BOUND_BITS) + bound > (held << BOUND_BITS) + pub32(own + CH_COUNTER))
    setOwn(own, here.step, bound, bound);
  return OK;
}

/** Raises the row of the sender at hand, in the held generation or the one kept behind it. */
function raisePeer(behind: i32, bound: i32, pinned: i32): i32 {
  here.epoch = here.step + (behind ? PREV_EPOCH : HELD_EPOCH);
  if (i32(<u32>behind > 1) | i32(!isReadable(here.epoch))) return OK;
  const row = openRow();
  if (!row) return NO_ROOM;
  store<u8>(ROW_COPY + ROW_PINNED, pub8(ROW_COPY + ROW_PINNED) | pinned);
  raise(bound);
  closeRow(row);
  return OK;
}

/**
 * Sets step, next counter and limit of a number.
 *
 * @param own channel, or OWN_SIZE after it for the will number
 */
export function setOwn(own: usize, step: i32, counter: i32, limit: i32): void {
  store<u16>(own + CH_OWN, step);
  store<u32>(own + CH_OWN_LIMIT, limit);
  store<u32>(own + CH_COUNTER, counter);
}

/**
 * Ends loading after blob and marks.
 *
 * @param torn 1 if a slot was neither valid nor blank (SPEC T-8)
 */
export function loadEnd(torn: i32): void {
  if (!torn) return;
  store<u8>(TORN, 1);
  here.slot = BEFORE_FIRST;
  while (nextChannel()) {
    skipOwn(here.ch);
    skipOwn(here.ch + OWN_SIZE);
    store<u16>(here.ch + CH_HOLD, pub16(here.ch + CH_STEP) + aheadOf(here.ch) + 1);
  }
  nextRow = ROW_TABLE;
  while (turnToRow()) {
    restore(upTo(pub32(ROW_COPY + ROW_BOUND) + markBlock()));
    closeRow(nextRow - ROW_SIZE);
  }
}

function skipOwn(own: usize): void {
  const bound = upTo(pub32(own + CH_COUNTER) + LOST_BLOCK);
  setOwn(own, pub16(own + CH_OWN), bound, bound);
}

/** A bound, at most 65536. */
export function upTo(bound: i32): i32 {
  return bound < COUNTERS ? bound : COUNTERS;
}
