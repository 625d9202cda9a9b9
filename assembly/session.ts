/*
 * Protect and unprotect: the order of things for channels. SPEC sections 5, 7, 8.
 */
import { BEACON_V, beaconStep, checkBeacon, checkChain } from "./beacon";
import { pub8, pub16, pub32, wipe } from "./bytes";
import { aheadOf, baseOf, beginRow, channelIn, findRow, freeRow, generationOf, markBlock } from "./channel";
import { addCredit, countBeacon, countPayload, countRefusal, pauseBeacons, takeCredit } from "./credit";
import { advance } from "./epoch";
import { chunkMax, keySizeOf, suiteOf } from "./form";
import { openFrame, PART_LAST, sealFrame, setNonce, TOPIC_MODE_LEN } from "./frame";
import { covers, leaf, senderKey } from "./keytree";
import {
  CACHE_GENERATION,
  CACHE_SLOT,
  CACHE_STEP,
  CH_BLOCK,
  CH_FLAGS,
  CH_FORM,
  CH_FROM,
  CH_GENERATION,
  CH_HOLD,
  CH_KEY,
  CH_KEY_SENDER,
  CH_KEY_STEP,
  CH_LEAVES,
  CH_LIMIT,
  CH_OPEN,
  CH_OWN,
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
  CH_TO,
  CH_V,
  CH_WILL,
  CLASS,
  CLASS_NEITHER,
  CLASS_STORAGE,
  COUNTERS,
  FLAG_STORED,
  FLAG_TOPIC_MODE,
  FRAME,
  FRAME_MAX,
  HEADER_SIZE,
  KEY_SIZE,
  LEAF_CACHE,
  OUT,
  OWN_COUNTER,
  OWN_SIZE,
  OWN_STEP,
  PAIR_SIZE,
  PAYLOAD_KEY,
  ROW_COPY,
  ROW_FLAGS,
  ROW_KEY,
  ROW_SIZE,
  R_KEY,
  TOPIC,
  TOPIC_MAX,
} from "./layout";
import { MARK_PEER, ready, setDirty, setOwn, upTo, writeMark } from "./state";
import {
  BAD_ARGUMENT,
  BAD_FORM,
  BAD_LENGTH,
  BAD_ORDER,
  BAD_PART,
  BUSY,
  CLOSED,
  EXHAUSTED,
  EXPIRED,
  HOLD,
  MORE,
  NO_CHANNEL,
  NO_GRANT,
  NO_LEASE,
  NO_ROOM,
  NO_STORED_MODE,
  NOT_YET,
  OK,
  REFLECTED,
  SINGLE_ONLY,
  STORE_BLOB,
  STORE_MARK,
  UNKNOWN_EPOCH,
} from "./status";
import { check, isNewest, mark, pastMark, setBound } from "./window";

export const FIRST: i32 = 1;
export const FINAL: i32 = 2;
export const STORED: i32 = 4;

const MESSAGE_MAX: i32 = 64;
const BLOCK_FIRST: i32 = 16;
const BLOCK_MAX: i32 = 1024;

// The message being sealed.
let txCount: i32 = 0;
let txIndex: i32 = 0;
let txSlot: i32 = 0;
let txWhat: i32 = 0;

// The payload being opened.
let rxActive: bool = false;
let rxSlot: i32 = 0;
let rxStored: i32 = 0;
let rxPrev: i32 = 0;
let rxStep: i32 = 0;
let rxSender: i32 = 0;
let rxCounter: i32 = 0;
let rxIndex: i32 = 0;
let rxRow: usize = 0;

// The mark being stored: 0 none, 1 own or will, 2 peer.
let pendingMark: i32 = 0;
let pendingSlot: i32 = 0;
let pendingWhat: i32 = 0;
let pendingStep: i32 = 0;
let pendingCounter: i32 = 0;
let pendingBound: i32 = 0;

/** Drops whatever message, payload or mark is in progress, and its keys. */
export function discard(): void {
  txCount = 0;
  rxActive = false;
  pendingMark = 0;
  wipe(PAYLOAD_KEY, PAIR_SIZE);
  wipe(ROW_COPY, ROW_SIZE);
}

// Sealing.

/** See index.ts. */
export function protect(slot: i32, what: i32, index: i32, count: i32, chunkLen: i32, topicLen: i32): i32 {
  let status = ready();
  if (status != OK) return status;
  const ch = channelIn(slot);
  if (!ch) return NO_CHANNEL;
  const max = chunkMax(pub8(ch + CH_FORM), pub8(ch + CH_SIZE8) << 3);
  if (<u32>count - 1 >= <u32>MESSAGE_MAX || <u32>index >= <u32>count || <u32>topicLen > <u32>TOPIC_MAX)
    return BAD_ARGUMENT;
  if (<u32>what > 1 || !pub16(ch + CH_SENDER + what * 2)) return BAD_ARGUMENT;
  if (<u32>chunkLen > <u32>max || (index < count - 1 && chunkLen != max)) return BAD_LENGTH;
  if (!index) {
    discard();
    status = takeCounters(ch, slot, what, count);
    if (status != OK) return status;
    txCount = count;
    txIndex = 0;
    txSlot = slot;
    txWhat = what;
  } else if (txCount != count || txIndex != index || txSlot != slot || txWhat != what) return BAD_ORDER;
  sealNext(ch, chunkLen, topicLen);
  if (txIndex == count) txCount = 0;
  return OK;
}

/** Checks P-2 to P-5 and moves to the position of the next frame, or prepares a mark and returns STORE_MARK. */
function takeCounters(ch: usize, slot: i32, what: i32, count: i32): i32 {
  const own = ch + CH_OWN + what * OWN_SIZE;
  const current = pub16(ch + CH_STEP);
  if (pub8(CLASS) == CLASS_NEITHER && count > 1) return SINGLE_ONLY;
  if (current < pub16(ch + CH_FROM)) return NOT_YET;
  let step = pub16(own + OWN_STEP);
  let counter = pub32(own + OWN_COUNTER);
  let limit = pub32(ch + CH_LIMIT + what * 4);
  if (step < current) {
    step = current;
    counter = limit = 0;
  }
  if (counter + count > COUNTERS) {
    ++step;
    counter = limit = 0;
  }
  if (step > current + aheadOf(ch)) return EXHAUSTED;
  if (step > pub16(ch + CH_TO)) return EXPIRED;
  if (!covers(ch, step)) return NO_LEASE;
  if (suiteOf(pub8(ch + CH_FORM)) & 1 && step < pub16(ch + CH_HOLD)) return HOLD;
  if (counter + count > limit) {
    if (pub8(CLASS) != CLASS_STORAGE) return NO_GRANT;
    return reserve(ch, slot, what, step, counter, count);
  }
  return OK;
}

/** Prepares the mark of a reservation (SPEC P-3). */
function reserve(ch: usize, slot: i32, what: i32, step: i32, counter: i32, count: i32): i32 {
  const block = blockOf(ch, what);
  pendingMark = 1;
  pendingSlot = slot;
  pendingWhat = what;
  pendingStep = step;
  pendingCounter = counter;
  pendingBound = upTo(counter + (count > block ? count : block));
  writeMark(ch, pub32(ch + CH_GENERATION), step, pub16(ch + CH_SENDER + what * 2), pendingBound, what);
  return STORE_MARK;
}

function blockOf(ch: usize, what: i32): i32 {
  const block = pub16(ch + CH_BLOCK + what * 2);
  return block ? block : BLOCK_FIRST;
}

function sealNext(ch: usize, chunkLen: i32, topicLen: i32): void {
  const own = ch + CH_OWN + txWhat * OWN_SIZE;
  const sender = pub16(ch + CH_SENDER + txWhat * 2);
  const step = pub16(own + OWN_STEP);
  const counter = pub32(own + OWN_COUNTER);
  useOwnKey(ch, sender, step);
  store<u32>(own, counter + 1, OWN_COUNTER);
  const last = txIndex == txCount - 1 ? PART_LAST : 0;
  setFrameNonce(ch, 0, sender, step, counter, topicLen);
  const byId = pub8(ch + CH_FLAGS) & FLAG_TOPIC_MODE;
  sealFrame(ch + CH_KEY, byId ? ch : TOPIC, byId ? 8 : topicLen, txIndex | last, chunkLen);
  ++txIndex;
}

/** Makes the cached own key that of sender and step. */
function useOwnKey(ch: usize, sender: i32, step: i32): void {
  if (pub16(ch + CH_KEY_SENDER) == sender && pub16(ch + CH_KEY_STEP) == step) return;
  leaf(ch, step, PAYLOAD_KEY);
  senderKey(
    suiteOf(pub8(ch + CH_FORM)),
    ch,
    pub32(ch + CH_GENERATION),
    step,
    sender,
    PAYLOAD_KEY,
    ch + CH_KEY,
  );
  wipe(PAYLOAD_KEY, KEY_SIZE);
  store<u16>(ch + CH_KEY_SENDER, sender);
  store<u16>(ch + CH_KEY_STEP, step);
}

function setFrameNonce(ch: usize, prev: i32, sender: i32, step: i32, counter: i32, topicLen: i32): void {
  setNonce(
    pub8(ch + (prev ? CH_PREV_FORM : CH_FORM)),
    pub8(ch + (prev ? CH_PREV_SIZE8 : CH_SIZE8)) << 3,
    sender,
    generationOf(ch, prev),
    step,
    counter,
    pub8(ch + (prev ? CH_PREV_FLAGS : CH_FLAGS)) & FLAG_TOPIC_MODE ? TOPIC_MODE_LEN : topicLen,
  );
}

// Opening.

/** See index.ts. */
export function unprotect(slot: i32, frameLen: i32, topicLen: i32, flags: i32): i32 {
  let status = ready();
  if (status != OK) return status;
  if (<u32>frameLen > <u32>FRAME_MAX || <u32>topicLen > <u32>TOPIC_MAX) return BAD_ARGUMENT;
  if (flags & FIRST) {
    discard();
    countPayload();
    rxSlot = slot;
    rxStored = flags & STORED;
  } else if (!rxActive || rxSlot != slot || rxStored != (flags & STORED)) return BAD_ORDER;
  status = openNext(slot, frameLen, topicLen, flags);
  if (status <= STORE_MARK) return status;
  discard();
  wipe(FRAME, frameLen);
  wipe(OUT, 20);
  countRefusal(status);
  return status;
}

function openNext(slot: i32, frameLen: i32, topicLen: i32, flags: i32): i32 {
  const ch = channelIn(slot);
  if (!ch) return NO_CHANNEL;
  if (frameLen < HEADER_SIZE) return BAD_LENGTH;
  const hint = pub8(FRAME + 1);
  const generation = pub32(ch + CH_GENERATION);
  const held = ((hint >> 4) ^ generation) & 15;
  const prev = (held && pub8(ch + CH_PREV_COUNT) && !(((hint >> 4) ^ (generation - 1)) & 15)) as i32;
  if (frameLen != pub8(ch + (prev ? CH_PREV_SIZE8 : CH_SIZE8)) << 3) return BAD_LENGTH;
  if (pub8(FRAME) != pub8(ch + (prev ? CH_PREV_FORM : CH_FORM))) return BAD_FORM;
  if (held && !prev) return UNKNOWN_EPOCH;
  const step = stepOf(ch, prev, hint);
  if (step < 0) return UNKNOWN_EPOCH;
  if (!prev) {
    if (step < pub16(ch + CH_OPEN)) return CLOSED;
    if (!covers(ch, step)) return NO_LEASE;
  }
  const sender = pub16(FRAME + 2);
  const counter = pub16(FRAME + 4);
  if (isOwn(ch, prev, sender)) return REFLECTED;
  if (rxStored && !(pub8(ch + (prev ? CH_PREV_FLAGS : CH_FLAGS)) & FLAG_STORED)) return NO_STORED_MODE;
  let status: i32;
  if (flags & FIRST) {
    status = begin(ch, slot, prev, step, sender, counter);
    if (status != OK) return status;
  } else if (prev != rxPrev || step != rxStep || sender != rxSender || counter != rxCounter + 1)
    return BAD_PART;
  if (!rxStored) {
    status = check(ROW_COPY, prev, step, counter);
    if (status != OK) return status;
  }
  return accept(ch, slot, prev, step, sender, counter, topicLen, flags);
}

/** Step the hint names, or -1 (SPEC R-3). */
function stepOf(ch: usize, prev: i32, hint: i32): i32 {
  const first = prev ? pub16(ch + CH_PREV_FIRST) : baseOf(ch);
  const off = (hint - first) & 15;
  return prev && off >= pub8(ch + CH_PREV_COUNT) ? -1 : first + off;
}

function isOwn(ch: usize, prev: i32, sender: i32): bool {
  if (!sender) return false;
  return (
    sender == pub16(ch + (prev ? CH_PREV_SENDER : CH_SENDER)) ||
    sender == pub16(ch + (prev ? CH_PREV_WILL : CH_WILL))
  );
}

/** First frame of a payload: row on a copy, window, key. */
function begin(ch: usize, slot: i32, prev: i32, step: i32, sender: i32, counter: i32): i32 {
  rxRow = 0;
  let cached: bool = false;
  if (!rxStored) {
    rxRow = findRow(slot, sender);
    if (rxRow) memory.copy(ROW_COPY, rxRow, ROW_SIZE);
    else {
      rxRow = freeRow(slot, sender);
      if (!rxRow) return NO_ROOM;
      beginRow(ROW_COPY, slot, sender);
    }
    const status = check(ROW_COPY, prev, step, counter);
    if (status != OK) return status;
    cached = (pub8(ROW_COPY + ROW_FLAGS) & R_KEY) != 0 && isNewest(ROW_COPY, prev, step);
  }
  if (cached) memory.copy(PAYLOAD_KEY, ROW_COPY + ROW_KEY, PAIR_SIZE);
  else if (!deriveFor(ch, slot, prev, step, sender)) return BUSY;
  rxActive = true;
  rxPrev = prev;
  rxStep = step;
  rxSender = sender;
  rxIndex = 0;
  return OK;
}

/** Derives PAYLOAD_KEY for one credit; false when there is none. */
function deriveFor(ch: usize, slot: i32, prev: i32, step: i32, sender: i32): bool {
  if (!takeCredit()) return false;
  const generation = generationOf(ch, prev);
  let secret = ch + CH_LEAVES + (step - pub16(ch + CH_PREV_FIRST)) * KEY_SIZE;
  if (!prev) {
    secret = LEAF_CACHE;
    if (pub16(CACHE_SLOT) != slot + 1 || pub16(CACHE_STEP) != step || pub32(CACHE_GENERATION) != generation) {
      leaf(ch, step, LEAF_CACHE);
      store<u16>(CACHE_SLOT, slot + 1);
      store<u16>(CACHE_STEP, step);
      store<u32>(CACHE_GENERATION, generation);
    }
  }
  senderKey(
    suiteOf(pub8(ch + (prev ? CH_PREV_FORM : CH_FORM))),
    ch,
    generation,
    step,
    sender,
    secret,
    PAYLOAD_KEY,
  );
  return true;
}

/** Tag, part, window on the copy, and after the last frame the commit or the mark it needs. */
function accept(
  ch: usize,
  slot: i32,
  prev: i32,
  step: i32,
  sender: i32,
  counter: i32,
  topicLen: i32,
  flags: i32,
): i32 {
  setFrameNonce(ch, prev, sender, step, counter, topicLen);
  const byId = pub8(ch + (prev ? CH_PREV_FLAGS : CH_FLAGS)) & FLAG_TOPIC_MODE;
  const status = openFrame(PAYLOAD_KEY, byId ? ch : TOPIC, byId ? 8 : topicLen);
  if (status != OK) return status;
  const part = pub8(OUT);
  if (!isNarrow(ch, prev)) {
    if ((part & 63) != rxIndex || part >> 7 != (flags & FINAL) >> 1) return BAD_PART;
  } else if (!(flags & FINAL)) return BAD_LENGTH;
  store<u32>(OUT, generationOf(ch, prev), 8);
  store<u16>(OUT, step, 12);
  store<u16>(OUT, counter, 14);
  store<u32>(OUT, sender, 16);
  rxCounter = counter;
  ++rxIndex;
  if (!rxStored) mark(ROW_COPY, prev, step, counter);
  if (!(flags & FINAL)) return rxIndex < MESSAGE_MAX ? MORE : BAD_PART;
  if (!rxStored && isNewest(ROW_COPY, prev, step)) {
    memory.copy(
      ROW_COPY + ROW_KEY,
      PAYLOAD_KEY,
      keySizeOf(suiteOf(pub8(ch + (prev ? CH_PREV_FORM : CH_FORM)))),
    );
    store<u8>(ROW_COPY + ROW_FLAGS, pub8(ROW_COPY + ROW_FLAGS) | R_KEY);
    if (pub8(CLASS) == CLASS_STORAGE && pastMark(ROW_COPY, counter)) {
      pendingMark = 2;
      pendingBound = upTo(counter + markBlock(ch));
      writeMark(ch, generationOf(ch, prev), step, sender, pendingBound, MARK_PEER);
      return STORE_MARK;
    }
  }
  commit();
  return OK;
}

function isNarrow(ch: usize, prev: i32): i32 {
  return pub8(ch + (prev ? CH_PREV_FLAGS : CH_FLAGS)) & 4;
}

function commit(): void {
  if (rxRow) memory.copy(rxRow, ROW_COPY, ROW_SIZE);
  addCredit(rxIndex);
  discard();
}

/** The host stored the mark at RECORD: what waited for it happens. Returns false if no mark was asked for. */
export function markStored(): bool {
  if (pendingMark == 1) {
    const ch = channelIn(pendingSlot);
    setOwn(ch, pendingWhat, pendingStep, pendingCounter, pendingBound);
    const block = blockOf(ch, pendingWhat) * 2;
    store<u16>(ch + CH_BLOCK + pendingWhat * 2, block < BLOCK_MAX ? block : BLOCK_MAX);
    pendingMark = 0;
    return true;
  }
  if (pendingMark != 2) return false;
  setBound(ROW_COPY, pendingBound);
  commit();
  return true;
}

// Beacon.

/** See index.ts. */
export function beacon(slot: i32, len: i32): i32 {
  let status = ready();
  if (status != OK) return status;
  const ch = channelIn(slot);
  if (!ch) return NO_CHANNEL;
  if (countBeacon(slot)) return BUSY;
  status = checkBeacon(ch, len);
  if (status != OK) {
    countRefusal(status);
    return status;
  }
  status = checkChain(ch);
  if (status != OK) {
    pauseBeacons(slot);
    return status;
  }
  memory.copy(ch + CH_V, BEACON_V, KEY_SIZE);
  advance(slot, beaconStep());
  setDirty();
  return pub8(CLASS) == CLASS_STORAGE ? STORE_BLOB : OK;
}
