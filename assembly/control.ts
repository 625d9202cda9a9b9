/*
 * The control channel: commands from the key server, acks and hellos. SPEC section 10.
 */
import { copy16, equalPublic, pub16, pub32, pub8, wipe } from "./bytes";
import { baseHere, BEFORE_FIRST, checkParameters, findChannel, nextChannel, turnTo } from "./channel";
import { deriveHere, discard, EXTRA, here, progress } from "./context";
import { countPayload, countRefusal, forgetFailures } from "./credit";
import { advance, dropChannel, replaceGeneration } from "./epoch";
import { openFrame, PART_LAST, sealFrame, setNonce } from "./frame";
import { A1_NEXT, A1_SESS, A1_SYNC } from "./kdf";
import { addNode, senderKey, setLock } from "./keytree";
import {
  ACK_COUNT,
  ACK_STATUSES,
  BOOT_NONCE,
  CHANNELS,
  CHILDREN,
  CH_FLAGS,
  CH_FROM,
  CH_GENERATION,
  CH_LOCK,
  CH_OPEN,
  CH_SENDER,
  CH_SHAPE,
  CH_STEP,
  CH_TO,
  CH_V,
  CONTROL_FRAME,
  CONTROL_FRAMES,
  CONTROL_KEY,
  COUNTERS,
  DEVICE,
  ECHO,
  FRAME,
  FRAME_MAX,
  HAS_NEXT,
  HAS_SESSION,
  HEADER_SIZE,
  KEY_SIZE,
  LATE_AHEAD_MAX,
  NEXT_KEY,
  NODE_SIZE,
  OUT,
  OWN_SIZE,
  PAIR_SIZE,
  PAYLOAD_KEY,
  REVISION,
  self,
  SENDERS,
  SEQUENCE,
  SESSION_KEY,
  STATUSES,
  SUITES,
  VERSION,
} from "./layout";
import { blank, movedState, ready, setOwn } from "./state";
import {
  BAD_ARGUMENT,
  BAD_CHANGE,
  BAD_COMMAND,
  BAD_FORM,
  BAD_LENGTH,
  BAD_ORDER,
  BAD_PART,
  BAD_RATCHET,
  BAD_SESSION,
  CHANNEL_FULL,
  HELD,
  MORE,
  NO_CHANNEL,
  NO_SESSION,
  OK,
  OLD_GENERATION,
  OLD_REVISION,
  UNKNOWN_EPOCH,
} from "./status";

export const VERIFY: i32 = 1;
export const APPLY: i32 = 2;

const DOWN_SENDER: i32 = 0;
const UP_SENDER: i32 = 1;
const HELLO: i32 = 0;
const ACK: i32 = 1;

const SET_CHANNEL: i32 = 1;
const ADD_NODES: i32 = 2;
const DROP_CHANNEL: i32 = 3;
const RESET: i32 = 4;
const RATCHET: i32 = 5;
const GRANT_SESSION: i32 = 6;
const GRANT_COUNTERS: i32 = 7;
const QUERY: i32 = 8;

/** Sizes of the bodies by code, SET_CHANNEL first; of ADD_NODES without its nodes. */
const BODY_SIZES: usize = memory.data<u8>([44, 13, 8, 0, 36, 24, 24, 8]);
const NODES_MAX: i32 = 4;

const CHUNK: usize = FRAME + HEADER_SIZE + 1;
const CODE: usize = CHUNK + 8;
const BODY: usize = CHUNK + 9;
const DIGEST: usize = CHUNK + 16;
/** Suites that need no stored counters (SPEC P-5). */
const SIV_SUITES: i32 = 5;
const ACK_SIZE: i32 = 57;
const HELLO_SIZE: i32 = 52;

// The place of a frame: pass, index and count.
const PASS_SHIFT: i32 = 16;
const NEXT: i32 = 256;

/** Epoch hint of all frames of the payload. */
let payloadHint: i32 = 0;
/** 1 under K(v+1), else 0. */
let payloadAhead: i32 = 0;
/** 1 under the session secret, else 0. */
let payloadStep: i32 = 0;
let payloadRevision: u64 = 0;
/** Code of the frame opened last. */
let payloadCode: i32 = 0;
/** Not 0: the frame opened last begins its body with this boot's nonce. */
let payloadMine: i32 = 0;
/** Not 0: the payload changed something that is stored. */
let changed: i32 = 0;

/** See index.ts. */
export function control(frameLen: i32, topicLen: i32, index: i32, count: i32, pass: i32): i32 {
  let status = ready(frameLen, topicLen);
  if (status != OK) return status;
  if (i32(<u32>count - 1 >= <u32>CONTROL_FRAMES) | i32(<u32>index >= <u32>count)) return BAD_ARGUMENT;
  const place = (pass << PASS_SHIFT) | (index * NEXT) | count;
  const isFirst = place == ((VERIFY << PASS_SHIFT) | count);
  if (isFirst) countPayload();
  else if (progress.next != place) return BAD_ORDER;
  const isLast = i32(index == count - 1);
  // No other pass has a place.
  const apply = i32(place >> PASS_SHIFT == APPLY);
  status = openCommand(frameLen, topicLen, index, isFirst, isLast, apply);
  if (i32(status == OK) & isLast & ~apply) status = checkPayload(count);
  if (status == OK) return next(place, count, isLast, apply);
  discard();
  wipe(FRAME, frameLen);
  countRefusal(status);
  // The second pass got other bytes than the first: what is half applied must not go on, nor be stored.
  if (apply) blank();
  return status;
}

/** What can be said only when all frames verified (SPEC C-4, C-5). */
function checkPayload(count: i32): i32 {
  const single = i32(count == 1) & i32(payloadCode == GRANT_SESSION);
  if (i32(self.kind != 0) & ~payloadStep) {
    if (!single) return NO_SESSION;
    if (!payloadMine) return BAD_SESSION;
  }
  return payloadRevision < load<u64>(REVISION) ? OLD_REVISION : OK;
}

/** Opens frame `index`, checks what C-1 to C-5 ask of it, and in the second pass applies it. */
function openCommand(frameLen: i32, topicLen: i32, index: i32, isFirst: bool, isLast: i32, apply: i32): i32 {
  if (frameLen != CONTROL_FRAME) return BAD_LENGTH;
  if (pub8(FRAME)) return BAD_FORM;
  if (isFirst) {
    const status = choosePayloadKey();
    if (status != OK) return status;
  }
  turnToDevice(payloadAhead, payloadStep, DOWN_SENDER, index);
  if (isFirst) setPayloadKey();
  // Sender 0 and the counter.
  if (i32(pub8(FRAME + 1) != payloadHint) | i32(pub32(FRAME + 2) != index << 16)) return BAD_PART;
  setNonce(0, topicLen);
  const status = openFrame(PAYLOAD_KEY);
  if (status != OK) return status;
  const len = pub32(OUT + 4) - 9;
  if (i32(pub8(OUT) != (index | (isLast << 7))) | i32(len < -1)) return BAD_PART;
  const revision = load<u64>(CHUNK);
  if (isFirst) payloadRevision = revision;
  if (revision != payloadRevision) return BAD_PART;
  payloadCode = len < 0 ? 0 : pub8(CODE);
  payloadMine = i32(equalPublic(BODY, BOOT_NONCE, 8));
  if (apply) {
    progress.half = 1;
    if (payloadAhead & i32(isFresh())) settle();
    store<u8>(STATUSES + index, execute(len));
  }
  wipe(CHUNK, CONTROL_FRAME - HEADER_SIZE - 1);
  return OK;
}

/** Notes which control key the hint of a first frame names, if it is held (SPEC C-4). */
function choosePayloadKey(): i32 {
  payloadHint = pub8(FRAME + 1);
  payloadAhead = ((payloadHint >> 4) - pub32(VERSION)) & 15;
  payloadStep = payloadHint & 15;
  if (i32(payloadAhead > pub8(HAS_NEXT)) | i32(payloadStep > 1)) return UNKNOWN_EPOCH;
  return payloadStep > pub8(HAS_SESSION) ? NO_SESSION : OK;
}

/** Turns to the control channel (SPEC C-1): a position under K(v + ahead). */
function turnToDevice(ahead: i32, step: i32, sender: i32, counter: i32): void {
  here.ch = DEVICE;
  here.form = here.suite = 0;
  here.size = CONTROL_FRAME;
  here.generation = pub32(VERSION) + ahead;
  here.step = step;
  here.sender = sender;
  here.counter = counter;
}

/** Derives PAYLOAD_KEY for the position at hand. */
function setPayloadKey(): void {
  const ahead = here.generation - pub32(VERSION);
  senderKey(here.step ? SESSION_KEY : ahead ? NEXT_KEY : CONTROL_KEY, PAYLOAD_KEY);
}

/** After a good frame: the next frame, the second pass, or the end. */
function next(place: i32, count: i32, isLast: i32, apply: i32): i32 {
  progress.next = place + NEXT;
  if (!isLast) return MORE;
  if (!apply) {
    progress.next = (APPLY << PASS_SHIFT) | count;
    changed = 0;
    wipe(STATUSES, CONTROL_FRAMES);
    return MORE;
  }
  progress.half = 0;
  discard();
  return isFresh() ? finish(count) : OK;
}

/** Whether the payload's revision is not the held one; it is never lower. */
function isFresh(): bool {
  return payloadRevision != load<u64>(REVISION);
}

/** The payload is applied: hold its revision and answer (SPEC C-5, C-6). */
function finish(count: i32): i32 {
  store<u64>(REVISION, payloadRevision);
  store<u8>(ACK_COUNT, count);
  copy16(ACK_STATUSES, STATUSES);
  forgetFailures();
  return changed ? movedState() : OK;
}

/** A new revision under K(v+1) verified: K(v) goes, K(v+1) becomes K(v) (SPEC C-16). */
function settle(): void {
  store<u32>(VERSION, pub32(VERSION) + 1);
  copy16(CONTROL_KEY, NEXT_KEY);
  wipe(NEXT_KEY, KEY_SIZE);
  store<u8>(HAS_NEXT, 0);
  payloadAhead = 0;
  changed = 1;
}

// Commands.

/** Applies the command at CODE with a body of `len` bytes; returns its status. */
function execute(len: i32): i32 {
  const code = pub8(CODE);
  if (i32(len < 0) | i32(<u32>(code - SET_CHANNEL) >= <u32>QUERY)) return BAD_COMMAND;
  if (code == ADD_NODES) {
    const nodes = pub8(BODY + 12);
    if (<u32>(nodes - 1) >= <u32>NODES_MAX) return BAD_COMMAND;
    len -= nodes * NODE_SIZE;
  }
  if (len != pub8(BODY_SIZES + code - SET_CHANNEL)) return BAD_COMMAND;
  if (code == QUERY) {
    store<u64>(ECHO, load<u64>(BODY));
    return OK;
  }
  if (!isFresh()) return OK;
  if (code == SET_CHANNEL) return setChannel();
  if (code == ADD_NODES) return addNodes();
  if (code == DROP_CHANNEL) return drop();
  if (code == RESET) return reset();
  if (code == RATCHET) return ratchet();
  if (code == GRANT_SESSION) return grantSession();
  return grantCounters();
}

/** The body is an image of the channel. */
function setChannel(): i32 {
  const status = checkParameters(BODY);
  if (status != OK) return status;
  if (!findChannel(BODY)) {
    let slot = 0;
    while (turnTo(slot)) ++slot;
    if (slot == CHANNELS) return CHANNEL_FULL;
  }
  // In an empty slot 0 is held.
  const given = pub32(BODY + CH_GENERATION);
  if (<u32>given < <u32>here.generation) return OLD_GENERATION;
  if (given == here.generation) return mergeChannel();
  replaceGeneration(BODY, (pub8(BODY + CH_FLAGS) >> 7) & i32(given - here.generation == 1));
  changed = 1;
  return OK;
}

/** Same generation: limits and step only rise, all else must be as held (SPEC C-10). */
function mergeChannel(): i32 {
  // Of form, F/8, la and flags the top bit, keep previous, may differ.
  const difference = pub32(here.ch + CH_SHAPE) ^ pub32(BODY + CH_SHAPE);
  if (
    (difference << 1) |
    (pub32(here.ch + CH_SENDER) ^ pub32(BODY + CH_SENDER)) |
    (pub16(here.ch + CH_FROM) ^ pub16(BODY + CH_FROM))
  )
    return BAD_CHANGE;
  store<u8>(here.ch + CH_FLAGS, pub8(BODY + CH_FLAGS));
  changed |= difference;
  raise(CH_OPEN);
  if (raise(CH_TO)) {
    wipe(here.ch + CH_LOCK, 8);
    setLock();
  }
  const step = pub16(BODY + CH_STEP);
  if (step > pub16(here.ch + CH_STEP)) {
    advance(step, BODY + CH_V);
    changed = 1;
  }
  return OK;
}

/** Takes over a field of 16 bits if it is higher; returns whether it was. */
function raise(field: i32): i32 {
  const given = pub16(BODY + field);
  if (given <= pub16(here.ch + field)) return 0;
  store<u16>(here.ch + field, given);
  changed = 1;
  return 1;
}

/** Turns to the channel and generation that a body begins with. OK, NO_CHANNEL or UNKNOWN_EPOCH. */
function turnToBody(): i32 {
  if (!findChannel(BODY)) return NO_CHANNEL;
  return pub32(BODY + CH_GENERATION) == here.generation ? OK : UNKNOWN_EPOCH;
}

function addNodes(): i32 {
  let result = turnToBody();
  if (result != OK) return result;
  result = HELD;
  let node = BODY + 13;
  for (let left = pub8(BODY + 12); left; --left) {
    const status = addNode(node, baseHere());
    changed |= i32(status == OK);
    // The first refusal, else OK, else HELD.
    if (i32(status != HELD) & (i32(result == HELD) | i32(result == OK))) result = status;
    node += NODE_SIZE;
  }
  setLock();
  return result;
}

function drop(): i32 {
  if (!findChannel(BODY)) return NO_CHANNEL;
  dropChannel();
  changed = 1;
  return OK;
}

function reset(): i32 {
  here.slot = BEFORE_FIRST;
  while (nextChannel()) {
    dropChannel();
    changed = 1;
  }
  return OK;
}

function ratchet(): i32 {
  const ahead = pub32(BODY) - pub32(VERSION);
  if (self.kind | i32(<u32>ahead > 1)) return BAD_RATCHET;
  if (ahead <= pub8(HAS_NEXT)) return OK;
  memory.copy(EXTRA, BODY + 4, 32);
  deriveHere(KEY_SIZE, A1_NEXT, 32, CONTROL_KEY, NEXT_KEY);
  store<u8>(HAS_NEXT, 1);
  changed = 1;
  return OK;
}

/** SPEC C-20. */
function grantSession(): i32 {
  if (i32(!self.kind) | payloadStep) return BAD_COMMAND;
  memory.copy(EXTRA, BODY, 24);
  deriveHere(KEY_SIZE, A1_SESS, 24, CONTROL_KEY, SESSION_KEY);
  store<u8>(HAS_SESSION, 1);
  return reset();
}

/** SPEC C-21. */
function grantCounters(): i32 {
  if (!self.kind) return BAD_COMMAND;
  const status = turnToBody();
  if (status != OK) return status;
  const step = pub16(BODY + 12);
  const sender = pub16(BODY + 14);
  const first = pub32(BODY + 16);
  const end = pub32(BODY + 20);
  const what = i32(sender != pub16(here.ch + CH_SENDER));
  if (
    i32(!sender) |
    i32(<u32>first > <u32>end) |
    i32(<u32>end > <u32>COUNTERS) |
    i32(step > pub16(here.ch + CH_TO)) |
    i32(sender != pub16(here.ch + CH_SENDER + what * 2))
  )
    return BAD_COMMAND;
  setOwn(here.ch + what * OWN_SIZE, step, first, end);
  return OK;
}

// Answers.

/** See index.ts. */
export function ack(topicLen: i32): i32 {
  const status = begin(topicLen, ECHO);
  if (status != OK) return status;
  if (i32(self.kind != 0) & ~pub8(HAS_SESSION)) return NO_SESSION;
  store<u32>(CHUNK, pub32(VERSION) + pub8(HAS_NEXT), 36);
  store<u8>(CHUNK, pub8(ACK_COUNT), 40);
  copy16(CHUNK + 41, ACK_STATUSES);
  return answer(ACK, ACK_SIZE, topicLen);
}

/** See index.ts. */
export function hello(topicLen: i32): i32 {
  const status = begin(topicLen, BOOT_NONCE);
  if (status != OK) return status;
  const suites = self.kind ? SUITES & SIV_SUITES : SUITES;
  store<u32>(CHUNK, self.kind | (suites << 8) | (CHANNELS << 16), 36);
  const senders = SENDERS < 65535 ? SENDERS : 65535;
  store<u32>(CHUNK, senders | (FRAME_MAX << 13) | (LATE_AHEAD_MAX << 24), 40);
  return answer(HELLO, HELLO_SIZE, topicLen);
}

/** Writes what ack and hello have in common: revision, a nonce, digest and blob sequence. */
function begin(topicLen: i32, noncePtr: usize): i32 {
  const status = ready(0, topicLen);
  if (status != OK) return status;
  store<u64>(CHUNK, load<u64>(REVISION));
  store<u64>(CHUNK, load<u64>(noncePtr), 8);
  writeDigest();
  store<u32>(CHUNK, pub32(SEQUENCE), 32);
  return OK;
}

/** Seals the chunk under the newest control key or the session secret (SPEC C-1, C-16). */
function answer(counter: i32, size: i32, topicLen: i32): i32 {
  turnToDevice(pub8(HAS_NEXT), pub8(HAS_SESSION), UP_SENDER, counter);
  setPayloadKey();
  setNonce(0, topicLen);
  sealFrame(PAYLOAD_KEY, PART_LAST, size);
  wipe(PAYLOAD_KEY, PAIR_SIZE);
  return OK;
}

/** Digest of what the server set (SPEC C-19), at DIGEST. */
function writeDigest(): void {
  wipe(DIGEST, KEY_SIZE);
  here.slot = BEFORE_FIRST;
  while (nextChannel()) {
    here.suite = 0;
    store<u32>(EXTRA, pub32(here.ch + CH_SHAPE));
    store<u16>(EXTRA, pub16(here.ch + CH_FROM), 4);
    store<u32>(EXTRA, pub32(here.ch + CH_OPEN), 6);
    store<u32>(EXTRA, pub32(here.ch + CH_SENDER), 10);
    store<u64>(CHILDREN, load<u64>(here.ch + CH_LOCK));
    deriveHere(KEY_SIZE, A1_SYNC, 14, CHILDREN, CHILDREN);
    store<u64>(DIGEST, load<u64>(DIGEST) ^ load<u64>(CHILDREN));
    store<u64>(DIGEST, load<u64>(DIGEST, 8) ^ load<u64>(CHILDREN, 8), 8);
    wipe(CHILDREN, KEY_SIZE);
  }
}
