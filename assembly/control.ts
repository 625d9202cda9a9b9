/*
 * The control channel: commands from the key server, acks and hellos. SPEC section 10.
 */
import { job } from "./aead";
import { copy16, equalPublic, pub16, pub32, pub8, wipe } from "./bytes";
import { baseHere, BEFORE_FIRST, checkParameters, findChannel, isShut, nextChannel, turnTo } from "./channel";
import { deriveHere, discard, EXTRA, here } from "./context";
import { countPayload, countRefusal, forgetFailures } from "./credit";
import { advance, dropChannel, replaceGeneration } from "./epoch";
import { openFrame, PART_LAST, sealFrame, setNonce } from "./frame";
import { A1_NEXT, A1_SESS, A1_SYNC } from "./kdf";
import { addNode, senderKey, setLock } from "./keytree";
import {
  ACK,
  ACK_SIZE,
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
  CONTROL_KEY,
  COUNTERS,
  DEVICE,
  ECHO,
  FRAME,
  FRAME_MAX,
  HAS_NEXT,
  hasStorage,
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
  SENDERS,
  SEQUENCE,
  SESSION,
  SESSION_KEY,
  SUITES,
  VERSION,
  self,
} from "./layout";
import { movedState, ready, setOwn } from "./state";
import {
  BAD_CHANGE,
  BAD_COMMAND,
  BAD_FORM,
  BAD_LENGTH,
  BAD_PART,
  BAD_RATCHET,
  BAD_SESSION,
  CHANNEL_FULL,
  HELD,
  NO_CHANNEL,
  NO_SESSION,
  OK,
  OLD_GENERATION,
  OLD_REVISION,
  UNKNOWN_EPOCH,
} from "./status";

const DOWN_SENDER: i32 = 0;
const UP_SENDER: i32 = 1;
/** Kinds of answers, and their counters. */
const HELLO: i32 = 0;

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

/** Where the revision of a frame begins, with the chunk. */
const REVISION_AT: i32 = HEADER_SIZE + 1;
const CHUNK: usize = FRAME + REVISION_AT;
const CODE: usize = CHUNK + 8;
const BODY: usize = CHUNK + 9;
const DIGEST: usize = CHUNK + 24;
/** Suites that need no stored counters (SPEC P-5). */
const SIV_SUITES: i32 = 5;
const ANSWER_SIZE: i32 = 77;

/** 1 under K(v+1), else 0. */
let payloadAhead: i32 = 0;
/** 1 under the session secret, else 0. */
let payloadStep: i32 = 0;
/** Not 0: the payload changed something that is stored. */
let changed: i32 = 0;

/** See index.ts. */
export function control(len: i32, topicLen: i32): i32 {
  let status = ready(len, topicLen);
  if (status != OK) return status;
  countPayload();
  status = verify(len, topicLen);
  // OUT says whether the last frame was opened: one skipped instruction must not apply what was not.
  if (i32(status == OK) & i32(pub32(OUT + 4) >= 0)) status = apply(len >> 7);
  discard();
  wipe(FRAME, len);
  countRefusal(status);
  return status;
}

/** Opens all frames of the payload in place, and checks what C-1 to C-5 ask of them. */
function verify(len: i32, topicLen: i32): i32 {
  if (i32(!len) | (len & (CONTROL_FRAME - 1))) return BAD_LENGTH;
  let frame = FRAME;
  const hint = pub8(FRAME + 1);
  for (let index = 0; len; ++index) {
    if (pub8(frame)) return BAD_FORM;
    if (!index) {
      const status = choosePayloadKey(hint);
      if (status != OK) return status;
    }
    // Hint, sender 0 and the counter.
    if (i32(pub8(frame + 1) != hint) | i32(pub32(frame + 2) != index << 16)) return BAD_PART;
    here.counter = index;
    setNonce(0, topicLen);
    const status = openFrame(PAYLOAD_KEY, frame);
    if (status != OK) return status;
    len -= CONTROL_FRAME;
    // Code and body; the header is not needed any more.
    const size = pub32(OUT + 4) - 8;
    if (i32(pub8(OUT) != (index | (len ? 0 : PART_LAST))) | i32(size < 0)) return BAD_PART;
    if (!equalPublic(frame + REVISION_AT, CHUNK, 8)) return BAD_PART;
    store<u8>(frame, size);
    frame += CONTROL_FRAME;
  }
  // What can be said only when all frames verified.
  if (i32(!hasStorage()) & ~payloadStep) {
    if (i32(frame != FRAME + CONTROL_FRAME) | i32(pub8(CODE) != GRANT_SESSION)) return NO_SESSION;
    if (!equalPublic(BODY, BOOT_NONCE, 8)) return BAD_SESSION;
  }
  return load<u64>(CHUNK) < load<u64>(REVISION) ? OLD_REVISION : OK;
}

/** Applies the commands of a verified payload, each at the place of the first (SPEC C-5, C-6). */
function apply(count: i32): i32 {
  const fresh = i32(load<u64>(CHUNK) != load<u64>(REVISION));
  changed = 0;
  if (fresh) {
    if (AMP_STORAGE && payloadAhead) settle();
    store<u64>(REVISION, load<u64>(CHUNK));
    wipe(ACK, ACK_SIZE);
    store<u8>(ACK, count);
    forgetFailures();
  }
  for (let i = 0; i < count; ++i) {
    memory.copy(FRAME, FRAME + i * CONTROL_FRAME, CONTROL_FRAME);
    turnToDevice();
    const status = execute(pub8(FRAME) - 1, fresh);
    if (fresh) store<u8>(ACK + 1 + i, status);
  }
  if (payloadStep) store<u8>(SESSION, 3);
  return changed ? movedState() : OK;
}

/** 1 where K(v+1) is held. */
function hasNext(): i32 {
  return AMP_STORAGE ? pub8(HAS_NEXT) : 0;
}

/** Derives the key that the hint of the first frame names, if there is one (SPEC C-4). */
function choosePayloadKey(hint: i32): i32 {
  payloadAhead = ((hint >> 4) - pub32(VERSION)) & 15;
  payloadStep = hint & 15;
  if (i32(payloadAhead > hasNext()) | i32(payloadStep > 1)) return UNKNOWN_EPOCH;
  if (payloadStep > (pub8(SESSION) & 1)) return NO_SESSION;
  turnToSender(payloadAhead, payloadStep, DOWN_SENDER);
  return OK;
}

/** Turns to the control channel under K(v) (SPEC C-1). */
export function turnToDevice(): void {
  here.ch = DEVICE;
  job.form = 0;
  here.size = CONTROL_FRAME;
  here.generation = pub32(VERSION);
}

/** Turns to a position of the control channel under K(v + ahead), and derives PAYLOAD_KEY. */
function turnToSender(ahead: i32, step: i32, sender: i32): void {
  turnToDevice();
  if (AMP_STORAGE) here.generation += ahead;
  here.step = step;
  here.sender = sender;
  // Whether they are held is asked here too, by other loads, which no compiler joins with the first: for want of one
  // instruction zeros must not be taken for a key.
  const isNext = AMP_STORAGE ? ahead & pub32(HAS_NEXT) : 0;
  const key = step & pub16(SESSION) ? SESSION_KEY : isNext ? NEXT_KEY : CONTROL_KEY;
  senderKey(key, PAYLOAD_KEY);
}

/** A new revision under K(v+1) verified: K(v) goes, K(v+1) becomes K(v) (SPEC C-16). */
function settle(): void {
  store<u32>(VERSION, pub32(VERSION) + 1);
  copy16(CONTROL_KEY, NEXT_KEY);
  wipe(NEXT_KEY, KEY_SIZE);
  store<u8>(HAS_NEXT, 0);
  changed = 1;
}

// Commands.

/** Applies the command at CODE with a body of `len` bytes, unless it is only read; returns its status. */
function execute(len: i32, fresh: i32): i32 {
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
  if (!fresh) return OK;
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
  // Nothing of a channel that is shut is kept (SPEC T-8).
  const keep = i32(given - here.generation == 1) & i32(!isShut());
  replaceGeneration(BODY, (pub8(BODY + CH_FLAGS) >> 7) & keep);
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
    wipe(here.ch + CH_LOCK, KEY_SIZE);
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
  if (i32(!hasStorage()) | i32(<u32>ahead > 1)) return BAD_RATCHET;
  if (ahead <= hasNext()) return OK;
  memory.copy(EXTRA, BODY + 4, 32);
  deriveHere(KEY_SIZE, A1_NEXT, 32, CONTROL_KEY, NEXT_KEY);
  store<u8>(HAS_NEXT, 1);
  changed = 1;
  return OK;
}

/** SPEC C-20. */
function grantSession(): i32 {
  if (hasStorage() | payloadStep) return BAD_COMMAND;
  memory.copy(EXTRA, BODY, 24);
  deriveHere(KEY_SIZE, A1_SESS, 24, CONTROL_KEY, SESSION_KEY);
  store<u8>(SESSION, 1);
  return reset();
}

/** SPEC C-21. */
function grantCounters(): i32 {
  if (hasStorage()) return BAD_COMMAND;
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
export function answer(kind: i32, topicLen: i32): i32 {
  const status = ready(0, topicLen);
  if (status != OK) return status;
  // A hello under a session that the server may not know is said but once (SPEC C-18).
  let step = pub8(SESSION);
  if (kind == HELLO) {
    store<u8>(SESSION, step & 1);
    step >>= 1;
  } else {
    step &= 1;
    if (i32(!hasStorage()) & ~step) return NO_SESSION;
  }
  memory.copy(CHUNK, REVISION, 24);
  memory.copy(CHUNK + 40, SEQUENCE, 8);
  writeDigest();
  const suites = hasStorage() ? SUITES : SUITES & SIV_SUITES;
  const senders = SENDERS < 65535 ? SENDERS : 65535;
  store<u32>(CHUNK, pub32(VERSION) + hasNext(), 48);
  store<u32>(CHUNK, self.kind | (suites << 8) | (CHANNELS << 16), 52);
  store<u32>(CHUNK, senders | (FRAME_MAX << 13) | (LATE_AHEAD_MAX << 24), 56);
  memory.copy(CHUNK + 68, ACK, ACK_SIZE);
  turnToSender(hasNext(), step, UP_SENDER);
  here.counter = kind;
  setNonce(0, topicLen);
  sealFrame(PAYLOAD_KEY, PART_LAST, ANSWER_SIZE);
  wipe(PAYLOAD_KEY, PAIR_SIZE);
  return OK;
}

/** Digest of what the server set (SPEC C-19). A channel that is shut shows as a blob sequence that never is. */
function writeDigest(): void {
  wipe(DIGEST, KEY_SIZE);
  here.slot = BEFORE_FIRST;
  while (nextChannel()) {
    memory.copy(EXTRA, here.ch + CH_FROM, CH_V - CH_FROM);
    deriveHere(KEY_SIZE, A1_SYNC, CH_V - CH_FROM, here.ch + CH_LOCK, CHILDREN);
    store<u64>(DIGEST, load<u64>(DIGEST) ^ load<u64>(CHILDREN));
    store<u64>(DIGEST, load<u64>(DIGEST, 8) ^ load<u64>(CHILDREN, 8), 8);
    if (isShut()) store<u32>(CHUNK, -1, 44);
  }
  wipe(CHILDREN, KEY_SIZE);
}
