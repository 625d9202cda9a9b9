/*
 * Stored records: blob and marks. SPEC section 12.
 *
 * Saving and loading go chunk by chunk through FRAME. Nothing here touches storage: the host does, and
 * says so by stored().
 */
import { job, open, seal } from "./aead";
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
  BOOT_SEQUENCE,
  CHANNELS,
  CHANNEL_STORED,
  CH_COUNTER,
  CH_HOLD,
  CH_OWN,
  CH_OWN_LIMIT,
  CH_SENDER,
  CH_STEP,
  CLASS_STORAGE,
  COUNTERS,
  DEVICE_STORED,
  DIRTY,
  FRAME,
  FRAME_MAX,
  HELD_EPOCH,
  hasStorage,
  LAYOUT,
  MARK_NUMBER,
  NONCE,
  NO_CLASS,
  OUT,
  OWN_SIZE,
  PREV_EPOCH,
  REALM,
  RECORD,
  RECORD_AD,
  REVISION,
  ROW_BOUND,
  ROW_COPY,
  ROW_END,
  ROW_KEY,
  ROW_NAME,
  ROW_NEW,
  ROW_SIZE,
  ROW_TABLE,
  ROW_USED,
  SENDERS,
  SEQUENCE,
  SHUT,
  STATE,
  STEPS,
  STORAGE_KEY,
  TOPIC_MAX,
  self,
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
const MARK_TEXT: i32 = 24;
/** A chunk of rows is zeros(8) and this many rows; layout 1 never needs a second one. */
const ROWS_IN_CHUNK: i32 = AMP_HOST ? 20 : 13;
const ROWS_AT: i32 = 8;
/** Size of the text of every chunk of a blob. */
const CHUNK_TEXT: i32 = ROWS_AT + ROWS_IN_CHUNK * MARK_TEXT;
const MARK_CIPHER: usize = RECORD + 8;
const LOST_BLOCK: i32 = 1024;
const MAGIC: u32 = 0x42504d41;
const KIND_BLOB: i32 = 1;
const KIND_MARK: i32 = 2;
/** How far above the last blob's the sequence of a torn slot is believed. */
const SEQUENCE_REACH: i32 = 65536;

const PREVIOUS: usize = RECORD_AD + 16;
const TEXT: usize = FRAME;
const TEXT_END: usize = TEXT + CHUNK_TEXT;

if (CHUNK_TEXT < CHANNEL_STORED) ERROR("state: a channel must fit a chunk");
if (!AMP_HOST && ROWS_IN_CHUNK <= SENDERS + CHANNELS)
  ERROR("state: the rows must leave a chunk room at its end");

/** Index of the next chunk of a blob that is being saved or loaded; 0 before it and after it. */
let chunkIndex: i32 = 0;
/** 1 while a blob is saved or loaded. */
let between: i32 = 0;
/** Slot of the channel that was saved or loaded last, and address after the row that was saved last. */
let lastSlot: i32 = 0;
let nextRow: usize = 0;

/**
 * OK, or why nothing may be protected, opened or answered now; BAD_ARGUMENT for lengths beyond the buffers. Afterwards OUT
 * says of no frame that it was opened.
 */
export function ready(frameLen: i32, topicLen: i32): i32 {
  store<i32>(OUT, -1, 4);
  if (self.kind == NO_CLASS) return NO_IDENTITY;
  // Chunks of a blob, saved or loaded, are worked on with scratch that everything else uses too.
  if (between) return BAD_ORDER;
  if (AMP_STORAGE && pub8(DIRTY)) return PENDING;
  return i32(<u32>frameLen > <u32>FRAME_MAX) | i32(<u32>topicLen > <u32>TOPIC_MAX) ? BAD_ARGUMENT : OK;
}

/** Notes that keys, epochs or the revision changed. STORE_BLOB; OK on a device that has nothing to store. */
export function movedState(): i32 {
  if (!hasStorage()) return OK;
  store<u8>(DIRTY, 1);
  return STORE_BLOB;
}

/** Forgets everything: there is no identity any more. */
export function blank(): void {
  self.kind = NO_CLASS;
  between = 0;
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
  job.form = 0;
  job.adPtr = RECORD_AD;
  job.adLen = 32;
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
  seal(STORAGE_KEY, MARK_CIPHER, MARK_TEXT);
}

// Saving.

/** Begins a blob under a fresh sequence and writes its 16-byte header at FRAME. */
export function saveBegin(): void {
  // No answer tells of a sequence, and no mark is of one, of which no blob was stored.
  movedState();
  store<u32>(MARK_NUMBER, 0);
  store<u32>(FRAME, MAGIC);
  store<u32>(FRAME, LAYOUT, 4);
  store<u32>(FRAME, pub32(SEQUENCE) + 1, 8);
  store<u32>(FRAME, 0, 12);
  beginChunks();
}

/** After the header at FRAME: chunk 0 is bound to it (SPEC T-2). */
function beginChunks(): void {
  copy16(PREVIOUS, FRAME);
  store<u32>(SEQUENCE, pub32(FRAME + 8));
  chunkIndex = 0;
  between = 1;
  lastSlot = BEFORE_FIRST;
  nextRow = ROW_TABLE;
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
 * Writes the next chunk at FRAME.
 *
 * @returns its length in bytes; 0 when the blob is complete
 */
export function saveNext(): i32 {
  if (!between) return 0;
  wipe(TEXT, CHUNK_TEXT);
  here.slot = lastSlot;
  if (!chunkIndex) memory.copy(TEXT, REVISION, DEVICE_STORED);
  else if (nextChannel()) {
    memory.copy(TEXT, here.ch, CHANNEL_STORED);
    lastSlot = here.slot;
  } else {
    let to = TEXT + ROWS_AT;
    for (; to < TEXT_END && turnToRow(); to += MARK_TEXT)
      writeText(to, MARK_PEER, pub32(ROW_COPY + ROW_BOUND));
    between = i32(to == TEXT_END);
  }
  setRecordNonce(KIND_BLOB, chunkIndex++, pub32(SEQUENCE), 0);
  seal(STORAGE_KEY, TEXT, CHUNK_TEXT);
  copy16(PREVIOUS, TEXT_END);
  return TAG_SIZE + CHUNK_TEXT;
}

// Loading.

/** Begins to load the blob whose 16-byte header is at FRAME, into a device that was just initialised. */
export function loadBegin(): void {
  beginChunks();
  store<u32>(BOOT_SEQUENCE, pub32(SEQUENCE));
}

/**
 * Loads the next chunk at FRAME.
 *
 * @returns MORE, OK after the last, BAD_RECORD or NO_ROOM
 *
 * After failure: everything is blank.
 */
export function loadNext(): i32 {
  const status = between ? loadChunk() : BAD_RECORD;
  wipe(FRAME, FRAME_MAX);
  if (status > MORE) blank();
  return status;
}

function loadChunk(): i32 {
  setRecordNonce(KIND_BLOB, chunkIndex, pub32(SEQUENCE), 0);
  if (open(STORAGE_KEY, TEXT, CHUNK_TEXT) != OK) return BAD_RECORD;
  copy16(PREVIOUS, TEXT_END);
  if (!chunkIndex++) {
    memory.copy(REVISION, TEXT, DEVICE_STORED);
    return MORE;
  }
  if (hasId(TEXT)) return readChannel();
  for (let row = TEXT + ROWS_AT; row < TEXT_END; row += MARK_TEXT) {
    // The first room that is empty ends the blob. Only now is there a control key that verified.
    if (!hasId(row)) {
      between = 0;
      self.kind = CLASS_STORAGE;
      return OK;
    }
    const status = applyMark(row);
    if (status != OK) return status;
  }
  return MORE;
}

/** Whether 8 bytes of a text are a channel's id, and not zeros. */
function hasId(ptr: usize): i32 {
  return pub32(ptr) | pub32(ptr + 4);
}

/** Counters below the stored limit may be spent: the next one is the limit. */
function readChannel(): i32 {
  if (++lastSlot >= CHANNELS) return NO_ROOM;
  turnTo(lastSlot);
  memory.copy(here.ch, TEXT, CHANNEL_STORED);
  store<u32>(here.ch + CH_COUNTER, pub32(here.ch + CH_OWN_LIMIT));
  store<u32>(here.ch + CH_COUNTER + OWN_SIZE, pub32(here.ch + CH_OWN_LIMIT + OWN_SIZE));
  return MORE;
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
  if (open(STORAGE_KEY, FRAME + 8, MARK_TEXT) != OK) return BAD_RECORD;
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
  if (what == MARK_PEER) return bound ? raisePeer(behind, bound) : BAD_RECORD;
  if (behind | i32(here.sender != pub16(here.ch + CH_SENDER + what * 2))) return OK;
  const own = here.ch + what * OWN_SIZE;
  const held = pub16(own + CH_OWN);
  if ((here.step << BOUND_BITS) + bound > (held << BOUND_BITS) + pub32(own + CH_COUNTER))
    setOwn(own, here.step, bound, bound);
  return OK;
}

/** Raises the row of the sender at hand, in the held generation or the one kept behind it. */
function raisePeer(behind: i32, bound: i32): i32 {
  here.epoch = here.step + (behind ? PREV_EPOCH : HELD_EPOCH);
  if (i32(<u32>behind > 1) | i32(!isReadable(here.epoch))) return OK;
  const row = openRow();
  if (!row) return NO_ROOM;
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
 * Ends loading after blob and marks (SPEC T-7, T-8).
 *
 * @param torn 1 if a slot was neither valid nor blank
 * @param sequence that of the torn slot's header, if it has one
 * @param broken 1 if a mark did not verify
 * @returns OK; STORE_BLOB after a lost write
 */
export function loadEnd(torn: i32, sequence: i32, broken: i32): i32 {
  if (!(torn | broken)) return OK;
  const above = sequence - pub32(SEQUENCE);
  store<u32>(SEQUENCE, pub32(SEQUENCE) + (<u32>(above - 1) < <u32>SEQUENCE_REACH ? above : 1));
  here.slot = BEFORE_FIRST;
  while (nextChannel()) {
    skipOwn(here.ch);
    skipOwn(here.ch + OWN_SIZE);
    const hold = here.ch + CH_HOLD;
    if (pub16(hold) != SHUT)
      store<u16>(hold, broken ? SHUT : pub16(here.ch + CH_STEP) + aheadOf(here.ch) + 1);
  }
  nextRow = ROW_TABLE;
  while (turnToRow()) {
    restore(upTo(pub32(ROW_COPY + ROW_BOUND) + markBlock()));
    closeRow(nextRow - ROW_SIZE);
  }
  return movedState();
}

function skipOwn(own: usize): void {
  const bound = upTo(pub32(own + CH_COUNTER) + LOST_BLOCK);
  setOwn(own, pub16(own + CH_OWN), bound, bound);
}

/** A bound, at most 65536. */
export function upTo(bound: i32): i32 {
  return bound < COUNTERS ? bound : COUNTERS;
}
