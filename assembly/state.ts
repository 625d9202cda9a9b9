/*
 * Stored records: blob and marks. SPEC section 12.
 *
 * Saving and loading go chunk by chunk through FRAME. Nothing here touches storage: the host does, and
 * says so by stored().
 */
import { open, seal } from "./aead";
import { equalPublic, pub8, pub16, pub32, wipe } from "./bytes";
import {
  aheadOf,
  beginRow,
  channelAt,
  findChannel,
  findRow,
  freeRow,
  generationOf,
  markBlock,
  rowAt,
} from "./channel";
import { packNodes } from "./keytree";
import {
  ACK_COUNT,
  ACK_STATUSES,
  BEACON_AT,
  CHANNELS,
  CHANNEL_SIZE,
  CHANNEL_STORED,
  CHANNEL_TABLE,
  CH_GENERATION,
  CH_HOLD,
  CH_LIMIT,
  CH_NODES,
  CH_OWN,
  CH_PREV_COUNT,
  CH_SENDER,
  CH_STEP,
  CH_USED,
  CLASS,
  CLASS_STORAGE,
  CONTROL_KEY,
  COUNTERS,
  COUNTS,
  CREDIT,
  DEVICE,
  DIRTY,
  ECHO,
  FLAGS,
  FRAME,
  HAS_NEXT,
  KEY_SIZE,
  LAYOUT,
  LEAF_CACHE,
  MARK_NUMBER,
  NEXT_KEY,
  NONCE,
  OWN_COUNTER,
  OWN_SIZE,
  OWN_STEP,
  REALM,
  RECORD,
  REVISION,
  ROWS,
  ROW_FLAGS,
  ROW_SENDER,
  ROW_SIZE,
  ROW_SLOT,
  ROW_STEP1,
  ROW_TABLE,
  ROW_USED,
  R_MARK,
  R_PINNED,
  SEQUENCE,
  SESSION_KEY,
  STORAGE_KEY,
  TORN,
  VERSION,
} from "./layout";
import { BAD_RECORD, MORE, NO_IDENTITY, NO_ROOM, OK, PENDING } from "./status";
import { boundOf, isLater, newestIsPrevious, restore } from "./window";

export const MARK_OWN: i32 = 0;
export const MARK_WILL: i32 = 1;
export const MARK_PEER: i32 = 2;

const TAG_SIZE: i32 = 16;
const HEAD_SIZE: i32 = 96;
const ROW_RECORD: i32 = 16;
const ROWS_IN_CHUNK: i32 = 16;
const MARK_TEXT: i32 = 24;
const MARK_CIPHER: usize = RECORD + 8;
const LOST_BLOCK: i32 = 1024;
const MAGIC: u32 = 0x42504d41;
const KIND_BLOB: i32 = 1;
const KIND_MARK: i32 = 2;

/** realm || device || previous tag. */
const AD: usize = memory.data(32, 8);
const PREVIOUS: usize = AD + 16;
const TEXT: usize = FRAME + TAG_SIZE;

let chunkIndex: i32 = 0;
let chunkCount: i32 = 0;
let channelCount: i32 = 0;
let rowCount: i32 = 0;
let cursor: i32 = 0;

/** OK, or why nothing may be protected, opened or answered now. */
export function ready(): i32 {
  return !pub8(CLASS) ? NO_IDENTITY : pub8(DIRTY) ? PENDING : OK;
}

/** Notes that keys, epochs or the revision changed; a device without storage has nothing to store. */
export function setDirty(): void {
  store<u8>(DIRTY, i32(pub8(CLASS) == CLASS_STORAGE));
}

/** Zero state but for the identity and storage key. */
export function blank(): void {
  wipe(REVISION, 14);
  store<u8>(DIRTY, 0);
  wipe(CONTROL_KEY, 2 * KEY_SIZE);
  wipe(ACK_STATUSES, 24);
  wipe(SESSION_KEY, KEY_SIZE);
  wipe(SEQUENCE, 9);
  wipe(CHANNEL_TABLE, CHANNELS * CHANNEL_SIZE);
  wipe(ROW_TABLE, ROWS * ROW_SIZE);
  wipe(LEAF_CACHE, 24);
  wipe(COUNTS, 12);
  wipe(BEACON_AT, CHANNELS * 4);
  store<u8>(CREDIT, 16);
}

// Records.

function setRecordNonce(kind: i32, layout: i32, chunk: i32, sequence: i32, number: i32): void {
  store<u8>(NONCE, kind);
  store<u8>(NONCE, layout, 1);
  store<u16>(NONCE, chunk, 2);
  store<u32>(NONCE, sequence, 4);
  store<u32>(NONCE, number, 8);
  store<u32>(NONCE, 0, 12);
  store<u64>(AD, load<u64>(REALM));
  store<u64>(AD, load<u64>(DEVICE), 8);
}

function sealRecord(textPtr: usize, textLen: i32, tagPtr: usize): void {
  seal(0, STORAGE_KEY, NONCE, AD, 32, textPtr, textLen, tagPtr, TAG_SIZE);
}

function openRecord(textPtr: usize, textLen: i32, tagPtr: usize): i32 {
  return open(0, STORAGE_KEY, NONCE, AD, 32, textPtr, textLen, tagPtr, TAG_SIZE);
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
  for (let slot = 0; slot < CHANNELS; ++slot) {
    if (pub8(channelAt(slot) + CH_USED)) ++channelCount;
  }
  rowCount = 0;
  for (let i = 0; i < ROWS; ++i) if (isStored(rowAt(i))) ++rowCount;
  chunkIndex = 0;
  chunkCount = chunksOf();
  cursor = 0;
  store<u32>(FRAME, MAGIC);
  store<u16>(FRAME, LAYOUT, 4);
  store<u16>(FRAME, chunkCount, 6);
  store<u32>(FRAME, pub32(SEQUENCE), 8);
  store<u32>(FRAME, 0, 12);
  wipe(PREVIOUS, TAG_SIZE);
  return chunkCount;
}

function chunksOf(): i32 {
  return 1 + channelCount + (rowCount + ROWS_IN_CHUNK - 1) / ROWS_IN_CHUNK;
}

function isStored(row: usize): bool {
  return pub16(row + ROW_SLOT) >= ROW_USED && (pub8(row + ROW_FLAGS) & R_MARK) != 0;
}

/**
 * Writes the next chunk, tag first, at FRAME.
 *
 * @returns its length in bytes; 0 when the blob is complete
 */
export function saveNext(): i32 {
  if (chunkIndex >= chunkCount) return 0;
  let len = HEAD_SIZE;
  if (!chunkIndex) writeHead();
  else if (chunkIndex <= channelCount) {
    writeChannel();
    len = CHANNEL_STORED;
  } else len = writeRows();
  setRecordNonce(KIND_BLOB, LAYOUT, chunkIndex, pub32(SEQUENCE), 0);
  sealRecord(TEXT, len, FRAME);
  memory.copy(PREVIOUS, FRAME, TAG_SIZE);
  if (++chunkIndex == channelCount + 1) cursor = 0;
  return TAG_SIZE + len;
}

function writeHead(): void {
  wipe(TEXT, HEAD_SIZE);
  store<u8>(TEXT, LAYOUT);
  store<u8>(TEXT, pub8(FLAGS) & HAS_NEXT, 1);
  store<u16>(TEXT, channelCount, 2);
  store<u32>(TEXT, rowCount, 4);
  memory.copy(TEXT + 8, REALM, 29);
  memory.copy(TEXT + 40, CONTROL_KEY, 56);
}

function writeChannel(): void {
  let ch = channelAt(cursor);
  while (!pub8(ch + CH_USED)) ch = channelAt(++cursor);
  ++cursor;
  memory.copy(TEXT, ch, CHANNEL_STORED);
  packNodes(ch, TEXT + CH_NODES);
  store<u32>(TEXT + CH_OWN + OWN_COUNTER, pub32(ch + CH_LIMIT));
  store<u32>(TEXT + CH_OWN + OWN_SIZE + OWN_COUNTER, pub32(ch + CH_LIMIT + 4));
}

function writeRows(): i32 {
  let len = 0;
  for (; cursor < ROWS && len < ROWS_IN_CHUNK * ROW_RECORD; ++cursor) {
    const row = rowAt(cursor);
    if (!isStored(row)) continue;
    const slot = pub16(row + ROW_SLOT) - ROW_USED;
    const at = TEXT + len;
    store<u16>(at, ordinalOf(slot));
    store<u16>(at, pub16(row + ROW_SENDER), 2);
    store<u32>(at, generationOf(channelAt(slot), newestIsPrevious(row)), 4);
    store<u32>(at, boundOf(row), 8);
    store<u16>(at, pub16(row + ROW_STEP1), 12);
    store<u16>(at, (pub8(row + ROW_FLAGS) & R_PINNED) >> 5, 14);
    len += ROW_RECORD;
  }
  return len;
}

/** Which of the used slots a slot is. */
function ordinalOf(slot: i32): i32 {
  let n = 0;
  for (let i = 0; i < slot; ++i) if (pub8(channelAt(i) + CH_USED)) ++n;
  return n;
}

/** Writes a sealed mark at RECORD (SPEC T-5). */
export function writeMark(ch: usize, generation: i32, step: i32, sender: i32, bound: i32, what: i32): void {
  const number = pub32(MARK_NUMBER) + 1;
  store<u32>(MARK_NUMBER, number);
  store<u32>(RECORD, pub32(SEQUENCE));
  store<u32>(RECORD, number, 4);
  store<u64>(MARK_CIPHER, load<u64>(ch));
  store<u32>(MARK_CIPHER, generation, 8);
  store<u32>(MARK_CIPHER, bound, 12);
  store<u16>(MARK_CIPHER, step, 16);
  store<u16>(MARK_CIPHER, sender, 18);
  store<u32>(MARK_CIPHER, what, 20);
  setRecordNonce(KIND_MARK, LAYOUT, 0, pub32(SEQUENCE), number);
  wipe(PREVIOUS, TAG_SIZE);
  sealRecord(MARK_CIPHER, MARK_TEXT, RECORD + 32);
}

// Loading.

/**
 * Begins to load the blob whose 16-byte header is at FRAME.
 *
 * @returns OK or BAD_RECORD
 */
export function loadBegin(): i32 {
  blank();
  chunkIndex = 0;
  chunkCount = pub16(FRAME + 6);
  if (pub32(FRAME) != MAGIC || pub16(FRAME + 4) != LAYOUT || pub32(FRAME + 12) || !chunkCount) {
    chunkCount = 0;
    return BAD_RECORD;
  }
  store<u32>(SEQUENCE, pub32(FRAME + 8));
  wipe(PREVIOUS, TAG_SIZE);
  return OK;
}

/** Size in bytes, tag included, of the chunk that loadNext() expects; 0 when the blob is complete. */
export function loadSize(): i32 {
  if (chunkIndex >= chunkCount) return 0;
  if (!chunkIndex) return TAG_SIZE + HEAD_SIZE;
  if (chunkIndex <= channelCount) return TAG_SIZE + CHANNEL_STORED;
  const left = rowCount - (chunkIndex - channelCount - 1) * ROWS_IN_CHUNK;
  return TAG_SIZE + (left < ROWS_IN_CHUNK ? left : ROWS_IN_CHUNK) * ROW_RECORD;
}

/**
 * Loads the next chunk, loadSize() bytes at FRAME.
 *
 * @returns MORE, OK after the last, BAD_RECORD or NO_ROOM
 *
 * After failure: the state is blank.
 */
export function loadNext(): i32 {
  const len = loadSize();
  const status = len ? loadChunk(len - TAG_SIZE) : BAD_RECORD;
  wipe(TEXT, CHANNEL_STORED);
  if (status <= MORE) return status;
  chunkCount = 0;
  blank();
  return status;
}

function loadChunk(textLen: i32): i32 {
  setRecordNonce(KIND_BLOB, LAYOUT, chunkIndex, pub32(SEQUENCE), 0);
  memory.copy(RECORD, FRAME, TAG_SIZE);
  if (openRecord(TEXT, textLen, FRAME) != OK) return BAD_RECORD;
  memory.copy(PREVIOUS, RECORD, TAG_SIZE);
  let status = OK;
  if (!chunkIndex) status = readHead();
  else if (chunkIndex <= channelCount) readChannel(chunkIndex - 1);
  else status = readRows(textLen);
  if (status != OK) return status;
  return ++chunkIndex == chunkCount ? OK : MORE;
}

function readHead(): i32 {
  channelCount = pub16(TEXT + 2);
  rowCount = pub32(TEXT + 4);
  if (pub8(TEXT) != LAYOUT || !equalPublic(TEXT + 8, REALM, 16)) return BAD_RECORD;
  if (channelCount > CHANNELS || <u32>rowCount > <u32>ROWS) return NO_ROOM;
  if (chunksOf() != chunkCount) return BAD_RECORD;
  store<u8>(FLAGS, pub8(TEXT + 1) & HAS_NEXT);
  memory.copy(REVISION, TEXT + 24, 13);
  memory.copy(CONTROL_KEY, TEXT + 40, 56);
  return OK;
}

/** Counters below the stored limit may be spent: the next one is the limit. */
function readChannel(slot: i32): void {
  const ch = channelAt(slot);
  memory.copy(ch, TEXT, CHANNEL_STORED);
  store<u32>(ch + CH_LIMIT, pub32(ch + CH_OWN + OWN_COUNTER));
  store<u32>(ch + CH_LIMIT + 4, pub32(ch + CH_OWN + OWN_SIZE + OWN_COUNTER));
  store<u8>(ch + CH_USED, 1);
}

function readRows(len: i32): i32 {
  for (let at = TEXT; at < TEXT + len; at += ROW_RECORD) {
    const slot = pub16(at);
    if (slot >= channelCount) return BAD_RECORD;
    const status = raisePeer(
      slot,
      pub32(at + 4),
      pub16(at + 12),
      pub16(at + 2),
      pub32(at + 8),
      pub16(at + 14),
    );
    if (status != OK) return status;
  }
  return OK;
}

/** Raises a peer's row to a bound, if it is later. Returns OK, NO_ROOM or BAD_RECORD. */
function raisePeer(slot: i32, generation: i32, step: i32, sender: i32, bound: i32, pinned: i32): i32 {
  const ch = channelAt(slot);
  const prev = pub32(ch + CH_GENERATION) - generation;
  if (bound < 1 || bound > COUNTERS) return BAD_RECORD;
  if (<u32>prev > 1 || (prev && !pub8(ch + CH_PREV_COUNT))) return OK;
  let row = findRow(slot, sender);
  if (!row) {
    row = freeRow(slot, sender);
    if (!row) return NO_ROOM;
    beginRow(row, slot, sender);
  }
  if (pinned) store<u8>(row + ROW_FLAGS, pub8(row + ROW_FLAGS) | R_PINNED);
  if (isLater(row, prev, step, bound)) restore(row, prev, step, bound);
  return OK;
}

/**
 * Takes the mark of 48 bytes at FRAME into account (SPEC T-6).
 *
 * @returns OK, also for a mark that concerns nothing held; BAD_RECORD, NO_ROOM
 */
export function loadMark(): i32 {
  const sequence = pub32(FRAME);
  const number = pub32(FRAME + 4);
  setRecordNonce(KIND_MARK, LAYOUT, 0, sequence, number);
  wipe(PREVIOUS, TAG_SIZE);
  if (openRecord(FRAME + 8, MARK_TEXT, FRAME + 32) != OK) return BAD_RECORD;
  if (sequence == pub32(SEQUENCE) && <u32>number > <u32>pub32(MARK_NUMBER)) store<u32>(MARK_NUMBER, number);
  const status = applyMark(FRAME + 8);
  wipe(FRAME, 48);
  return status;
}

function applyMark(text: usize): i32 {
  const slot = findChannel(text);
  if (slot < 0) return OK;
  const ch = channelAt(slot);
  const what = pub8(text + 20);
  const step = pub16(text + 16);
  const sender = pub16(text + 18);
  const bound = pub32(text + 12);
  if (what == MARK_PEER) return raisePeer(slot, pub32(text + 8), step, sender, bound, 0);
  if (what > MARK_PEER || <u32>bound > <u32>COUNTERS) return BAD_RECORD;
  if (pub32(text + 8) != pub32(ch + CH_GENERATION) || sender != pub16(ch + CH_SENDER + what * 2)) return OK;
  const own = ch + CH_OWN + what * OWN_SIZE;
  const held = pub16(own + OWN_STEP);
  if (step > held || (step == held && bound > pub32(own + OWN_COUNTER))) setOwn(ch, what, step, bound, bound);
  return OK;
}

/** Sets step, next counter and limit of the own (0) or will (1) number. */
export function setOwn(ch: usize, what: i32, step: i32, counter: i32, limit: i32): void {
  const own = ch + CH_OWN + what * OWN_SIZE;
  store<u16>(own, step, OWN_STEP);
  store<u32>(own, counter, OWN_COUNTER);
  store<u32>(ch + CH_LIMIT + what * 4, limit);
}

/**
 * Ends loading after blob and marks.
 *
 * @param torn 1 if a slot was neither valid nor blank (SPEC T-8)
 */
export function loadEnd(torn: i32): void {
  if (!torn) return;
  store<u8>(TORN, 1);
  for (let slot = 0; slot < CHANNELS; ++slot) {
    const ch = channelAt(slot);
    if (!pub8(ch + CH_USED)) continue;
    skipOwn(ch, MARK_OWN);
    skipOwn(ch, MARK_WILL);
    store<u16>(ch + CH_HOLD, pub16(ch + CH_STEP) + aheadOf(ch) + 1);
  }
  for (let i = 0; i < ROWS; ++i) {
    const row = rowAt(i);
    if (isStored(row)) skipPeer(row);
  }
}

function skipOwn(ch: usize, what: i32): void {
  const own = ch + CH_OWN + what * OWN_SIZE;
  const bound = upTo(pub32(own + OWN_COUNTER) + LOST_BLOCK);
  setOwn(ch, what, pub16(own + OWN_STEP), bound, bound);
}

function skipPeer(row: usize): void {
  const ch = channelAt(pub16(row + ROW_SLOT) - ROW_USED);
  restore(row, newestIsPrevious(row), pub16(row + ROW_STEP1), upTo(boundOf(row) + markBlock(ch)));
}

/** A bound, at most 65536. */
export function upTo(bound: i32): i32 {
  return bound < COUNTERS ? bound : COUNTERS;
}
