/*
 * Protect and unprotect: the order of things for channels. SPEC sections 5, 7, 8.
 */
import { job } from "./aead";
import { BEACON_V, beaconStep, checkBeacon, checkChain } from "./beacon";
import { pub16, pub32, pub8, wipe } from "./bytes";
import { aheadOf, baseHere, closeRow, isShut, markBlock, openRow, turnTo } from "./channel";
import { discard, FRAMING, here, progress, setShape, textSize } from "./context";
import { addCredit, countPayload, countRefusal, isPausing, pauseBeacons, takeCredit } from "./credit";
import { advance } from "./epoch";
import { openFrame, PART_LAST, sealFrame, setNonce } from "./frame";
import { cachedLeaf, covers, nameHere, senderKey } from "./keytree";
import {
  CH_BLOCK,
  CH_COUNTER,
  CH_FROM,
  CH_HOLD,
  CH_KEY,
  CH_KEY_NAME,
  CH_LEAVES,
  CH_OPEN,
  CH_OWN,
  CH_OWN_LIMIT,
  CH_PREV_COUNT,
  CH_PREV_FIRST,
  CH_PREV_SHAPE,
  CH_SENDER,
  CH_SHAPE,
  CH_STEP,
  CH_TO,
  CLASS_NEITHER,
  COUNTERS,
  FLAG_NARROW,
  FLAG_STORED,
  FLAG_TOPIC_MODE,
  FRAME,
  HEADER_SIZE,
  HELD_EPOCH,
  hasStorage,
  KEY_SIZE,
  NONCE,
  OUT,
  OWN_SIZE,
  PAIR_SIZE,
  PAYLOAD_KEY,
  PREV_EPOCH,
  ROW_COPY,
  ROW_KEY,
  ROW_KEYED,
  self,
} from "./layout";
import { MARK_PEER, movedState, ready, setOwn, upTo, writeMark } from "./state";
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
  STORE_MARK,
  UNKNOWN_EPOCH,
} from "./status";
import { check, isNewest, isPastMark, mark, setBound } from "./window";

export const FIRST: i32 = 1;
export const FINAL: i32 = 2;
export const STORED: i32 = 4;

const MESSAGE_MAX: i32 = 64;
const BLOCK_FIRST: i32 = 16;
const BLOCK_MAX: i32 = 1024;

/** First four header bytes and next counter of the payload in progress. */
let rxHead: i32 = 0;
let rxCounter: i32 = 0;
let rxIndex: i32 = 0;
/** Where its row belongs in the table; 0 in stored mode. */
let rxRow: usize = 0;

// The mark being stored: without own it is that of the row at hand.
let pendingOwn: usize = 0;
let pendingStep: i32 = 0;
let pendingCounter: i32 = 0;

// Sealing.

/** See index.ts. */
export function protect(slot: i32, what: i32, index: i32, count: i32, chunkLen: i32, topicLen: i32): i32 {
  let status = ready(0, topicLen);
  if (status != OK) return status;
  if (!turnTo(slot)) return NO_CHANNEL;
  if (i32(<u32>count - 1 >= <u32>MESSAGE_MAX) | i32(<u32>index >= <u32>count) | i32(<u32>what > 1))
    return BAD_ARGUMENT;
  here.sender = pub16(here.ch + CH_SENDER + what * 2);
  if (!here.sender) return BAD_ARGUMENT;
  const max = textSize() - FRAMING;
  const isLast = i32(index == count - 1);
  if (i32(<u32>chunkLen > <u32>max) | (i32(chunkLen != max) & ~isLast)) return BAD_LENGTH;
  const place = (((slot << 1) | what) << 14) | (count << 7) | index;
  if (!index) discard();
  else if (progress.next != ~place) return BAD_ORDER;
  const own = here.ch + what * OWN_SIZE;
  status = takeCounters(own, what, count, count - index);
  if (status != OK) return status;
  // Below 0, unlike the place of a payload.
  progress.next = ~place - 1;
  sealNext(own, index | (isLast << 7), chunkLen, topicLen);
  return OK;
}

/**
 * Checks P-2 to P-5.
 *
 * @param own channel, or OWN_SIZE after it for the will number
 * @param count frames of the message
 * @param left frames of it that are not sealed yet
 * @returns OK, STORE_MARK with the mark prepared, or why there are no counters
 */
function takeCounters(own: usize, what: i32, count: i32, left: i32): i32 {
  const current = pub16(here.ch + CH_STEP);
  const held = pub16(own + CH_OWN);
  if (i32(self.kind == CLASS_NEITHER) & i32(count > 1)) return SINGLE_ONLY;
  if (current < pub16(here.ch + CH_FROM)) return NOT_YET;
  here.counter = pub32(own + CH_COUNTER);
  here.step = held < current ? current : held + i32(here.counter + left > COUNTERS);
  let limit = pub32(own + CH_OWN_LIMIT);
  if (here.step != held) here.counter = limit = 0;
  if (here.step > current + aheadOf(here.ch)) return EXHAUSTED;
  if (here.step > pub16(here.ch + CH_TO)) return EXPIRED;
  if (!covers(here.step)) return NO_LEASE;
  if (AMP_STORAGE && i32(here.step < pub16(here.ch + CH_HOLD)) & ((job.form >> 2) | isShut())) return HOLD;
  if (here.counter + left <= limit) return OK;
  return hasStorage() ? reserve(own, what, left) : NO_GRANT;
}

/** Prepares the mark of a reservation (SPEC P-3). */
function reserve(own: usize, what: i32, count: i32): i32 {
  const block = blockOf(own);
  pendingOwn = own;
  pendingStep = here.step;
  pendingCounter = here.counter;
  progress.bound = upTo(here.counter + (count > block ? count : block));
  writeMark(what, progress.bound);
  return STORE_MARK;
}

function blockOf(own: usize): i32 {
  return pub16(own + CH_BLOCK) + BLOCK_FIRST;
}

function sealNext(own: usize, part: i32, chunkLen: i32, topicLen: i32): void {
  store<u32>(own + CH_COUNTER, here.counter + 1);
  useOwnKey();
  setNonce(here.flags & FLAG_TOPIC_MODE, topicLen);
  sealFrame(here.ch + CH_KEY, part, chunkLen);
}

/** Makes the cached own key that of the sender and step at hand. */
function useOwnKey(): void {
  if (pub32(here.ch + CH_KEY_NAME) == nameHere()) return;
  senderKey(cachedLeaf(), here.ch + CH_KEY);
  store<u32>(here.ch + CH_KEY_NAME, nameHere());
}

// Opening.

/** See index.ts. */
export function unprotect(slot: i32, frameLen: i32, topicLen: i32, flags: i32): i32 {
  let status = ready(frameLen, topicLen);
  if (status != OK) return status;
  const place = (slot << 3) | (flags & STORED) | 1;
  if (flags & FIRST) {
    discard();
    countPayload();
    progress.next = place;
    rxRow = 0;
  } else if (progress.next != place) return BAD_ORDER;
  status = openNext(slot, frameLen, topicLen, flags);
  if (status <= STORE_MARK) return status;
  discard();
  wipe(FRAME, frameLen);
  memory.fill(OUT, 0xff, 20);
  countRefusal(status);
  return status;
}

/** The checks in their order, and the commit or the mark it needs. */
function openNext(slot: i32, frameLen: i32, topicLen: i32, flags: i32): i32 {
  if (!turnTo(slot)) return NO_CHANNEL;
  if (frameLen < HEADER_SIZE) return BAD_LENGTH;
  let status = turnToEpoch(frameLen);
  if (status != OK) return status;
  if (isShut()) return CLOSED;
  here.sender = pub16(FRAME + 2);
  here.counter = pub16(FRAME + 4);
  if (isOwn()) return REFLECTED;
  const windowed = !(flags & STORED);
  if (!windowed && !(here.flags & FLAG_STORED)) return NO_STORED_MODE;
  if (!(flags & FIRST)) {
    // Equal header bytes of one channel name one sender and epoch.
    if (i32(pub32(FRAME) != rxHead) | i32(here.counter != rxCounter)) return BAD_PART;
  } else if (windowed) {
    rxRow = openRow();
    if (!rxRow) return NO_ROOM;
  }
  if (windowed) {
    status = check();
    if (status != OK) return status;
  }
  if (flags & FIRST) {
    if (!setPayloadKey()) return BUSY;
    rxHead = pub32(FRAME);
    rxIndex = 0;
  }
  return accept(topicLen, windowed, flags & FINAL);
}

/** form, generation and step that the frame names. */
function turnToEpoch(frameLen: i32): i32 {
  const hint = pub8(FRAME + 1);
  const behind = (here.generation - (hint >> 4)) & 15;
  const kept = behind == 1 ? pub8(here.ch + CH_PREV_COUNT) : 0;
  if (kept) setShape(here.ch + CH_PREV_SHAPE);
  if (frameLen != here.size) return BAD_LENGTH;
  if (pub8(FRAME) != job.form) return BAD_FORM;
  const first = kept ? pub16(here.ch + CH_PREV_FIRST) : baseHere();
  const off = (hint - first) & 15;
  here.step = first + off;
  if (kept) {
    --here.generation;
    here.epoch = here.step + PREV_EPOCH;
    return off < kept ? OK : UNKNOWN_EPOCH;
  }
  here.epoch = here.step + HELD_EPOCH;
  if (behind) return UNKNOWN_EPOCH;
  if (here.step < pub16(here.ch + CH_OPEN)) return CLOSED;
  return covers(here.step) ? OK : NO_LEASE;
}

/** Whether the sender is the own or will number of that generation (SPEC R-5); 0 is neither. */
function isOwn(): i32 {
  const own = here.shape + CH_SENDER - CH_SHAPE;
  return i32(here.sender != 0) & (i32(here.sender == pub16(own)) | i32(here.sender == pub16(own + 2)));
}

/** Makes PAYLOAD_KEY the sender key, cached or derived for one credit; 0 when there is none. */
function setPayloadKey(): i32 {
  if (pub8(ROW_COPY + ROW_KEYED) & i32(isNewest())) {
    memory.copy(PAYLOAD_KEY, ROW_COPY + ROW_KEY, PAIR_SIZE);
    return 1;
  }
  if (!takeCredit()) return 0;
  const kept = here.ch + CH_LEAVES + (here.step - pub16(here.ch + CH_PREV_FIRST)) * KEY_SIZE;
  senderKey(here.epoch < HELD_EPOCH ? kept : cachedLeaf(), PAYLOAD_KEY);
  return 1;
}

/** Tag, part, window on the copy, and after the last frame the commit or the mark it needs. */
function accept(topicLen: i32, windowed: bool, final: i32): i32 {
  setNonce(here.flags & FLAG_TOPIC_MODE, topicLen);
  const status = openFrame(PAYLOAD_KEY, FRAME);
  if (status != OK) return status;
  if (here.flags & FLAG_NARROW) {
    if (!final) return BAD_LENGTH;
  } else if (pub8(OUT) != (rxIndex | (final ? PART_LAST : 0))) return BAD_PART;
  // generation, step and counter
  store<u64>(OUT, load<u64>(NONCE, 4), 8);
  store<u32>(OUT, here.sender, 16);
  rxCounter = here.counter + 1;
  ++rxIndex;
  if (windowed) mark();
  if (!final) return rxIndex < MESSAGE_MAX ? MORE : BAD_PART;
  // In stored mode the row at hand is empty: no epoch is its newest.
  if (isNewest()) {
    memory.copy(ROW_COPY + ROW_KEY, PAYLOAD_KEY, PAIR_SIZE);
    store<u8>(ROW_COPY + ROW_KEYED, 1);
    if (hasStorage() & i32(isPastMark())) {
      pendingOwn = 0;
      progress.bound = upTo(here.counter + markBlock());
      writeMark(MARK_PEER, progress.bound);
      return STORE_MARK;
    }
  }
  commit();
  return OK;
}

function commit(): void {
  if (rxRow) closeRow(rxRow);
  addCredit(rxIndex);
  discard();
}

/** The host stored the mark at RECORD: what waited for it happens. Returns 0 if no mark was asked for. */
export function markStored(): i32 {
  if (!progress.bound) return 0;
  if (!pendingOwn) {
    setBound(progress.bound);
    commit();
    return 1;
  }
  setOwn(pendingOwn, pendingStep, pendingCounter, progress.bound);
  const block = blockOf(pendingOwn) * 2;
  store<u16>(pendingOwn + CH_BLOCK, (block < BLOCK_MAX ? block : BLOCK_MAX) - BLOCK_FIRST);
  discard();
  return 1;
}

// Beacon.

/** See index.ts. */
export function beacon(slot: i32, len: i32): i32 {
  let status = ready(0, 0);
  if (status != OK) return status;
  if (!turnTo(slot)) return NO_CHANNEL;
  if (isPausing()) return BUSY;
  status = checkBeacon(len);
  if (status == OK) {
    status = checkChain();
    if (status == OK) {
      advance(beaconStep(), BEACON_V);
      return movedState();
    }
    pauseBeacons();
  }
  countRefusal(status);
  return status;
}
