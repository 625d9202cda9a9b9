/*
 * The control channel: commands from the key server, acks and hellos. SPEC section 10.
 */
import { equalPublic, pub8, pub16, pub32, wipe } from "./bytes";
import { baseOf, channelAt, checkParameters, findChannel, freeChannel } from "./channel";
import { base, deriveHere } from "./context";
import { countPayload, countRefusal, forgetFailures } from "./credit";
import { advance, dropChannel, IMAGE_SIZE, replaceGeneration } from "./epoch";
import { hintOf } from "./form";
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
  CH_FORM,
  CH_FROM,
  CH_GENERATION,
  CH_LOCK,
  CH_OPEN,
  CH_SENDER,
  CH_STEP,
  CH_TO,
  CH_USED,
  CH_V,
  CLASS,
  CLASS_STORAGE,
  CONTROL_FRAME,
  CONTROL_FRAMES,
  CONTROL_KEY,
  COUNTERS,
  DEVICE,
  ECHO,
  FLAGS,
  FLAG_KEEP,
  FRAME,
  FRAME_MAX,
  HAS_NEXT,
  HAS_SESSION,
  HEADER_SIZE,
  KEY_SIZE,
  LATE_AHEAD_MAX,
  NEXT_KEY,
  OUT,
  PAIR_SIZE,
  PAYLOAD_KEY,
  REVISION,
  SENDERS,
  SEQUENCE,
  SESSION_KEY,
  SUITES,
  TOPIC,
  TOPIC_MAX,
  VERSION,
} from "./layout";
import { ready, setDirty, setOwn } from "./state";
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
  STORE_BLOB,
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

const NODE_SIZE: i32 = 2 + KEY_SIZE;
const CHUNK: usize = FRAME + HEADER_SIZE + 1;
const CODE: usize = CHUNK + 8;
const BODY: usize = CHUNK + 9;
/** Suites that need no stored counters (SPEC P-5). */
const SIV_SUITES: i32 = 5;
const ACK_SIZE: i32 = 57;
const HELLO_SIZE: i32 = 52;

/** Image of a channel as `set channel` brings it, in the order of a channel. */
const IMAGE: usize = memory.data(IMAGE_SIZE, 4);
const STATUSES: usize = memory.data(CONTROL_FRAMES, 4);
const DIGEST: usize = memory.data(KEY_SIZE, 8);

/** Keys of a payload: 0 K(v), 1 K(v+1), 2 session. */
const BY_SESSION: i32 = 2;

let payloadPass: i32 = 0;
let payloadIndex: i32 = 0;
let payloadCount: i32 = 0;
let payloadKey: i32 = 0;
let payloadRevision: u64 = 0;
/** Code of the frame opened last. */
let payloadCode: i32 = 0;
let changed: bool = false;

/** Forgets a payload in progress. */
export function discardControl(): void {
  payloadPass = 0;
  wipe(PAYLOAD_KEY, PAIR_SIZE);
}

/** See index.ts. */
export function control(frameLen: i32, topicLen: i32, index: i32, count: i32, pass: i32): i32 {
  let status = ready();
  if (status != OK) return status;
  if (<u32>frameLen > <u32>FRAME_MAX || <u32>topicLen > <u32>TOPIC_MAX) return BAD_ARGUMENT;
  if (<u32>count - 1 >= <u32>CONTROL_FRAMES || <u32>index >= <u32>count) return BAD_ARGUMENT;
  if (!index && pass == VERIFY) {
    countPayload();
    payloadPass = 0;
  } else if (payloadPass != pass || payloadIndex != index || payloadCount != count) return BAD_ORDER;
  status = openCommand(frameLen, topicLen, index, count, pass);
  if (status == OK && index == count - 1 && pass == VERIFY) status = checkPayload(count);
  if (status == OK) return next(index, count, pass);
  discardControl();
  wipe(FRAME, frameLen);
  countRefusal(status);
  return status;
}

/** What can be said only when all frames verified (SPEC C-4, C-5). */
function checkPayload(count: i32): i32 {
  if (pub8(CLASS) != CLASS_STORAGE && payloadKey != BY_SESSION && (count > 1 || payloadCode != GRANT_SESSION))
    return NO_SESSION;
  return payloadRevision < load<u64>(REVISION) ? OLD_REVISION : OK;
}

/** Opens frame `index`, checks what C-1 to C-5 ask of it, and in the second pass applies it. */
function openCommand(frameLen: i32, topicLen: i32, index: i32, count: i32, pass: i32): i32 {
  if (frameLen != CONTROL_FRAME) return BAD_LENGTH;
  if (pub8(FRAME)) return BAD_FORM;
  const hint = pub8(FRAME + 1);
  if (!index && pass == VERIFY) {
    const status = choosePayloadKey(hint);
    if (status != OK) return status;
  }
  const step = i32(payloadKey == BY_SESSION);
  const version = pub32(VERSION) + (payloadKey == 1 ? 1 : 0);
  if (hint != hintOf(version, step)) return BAD_PART;
  if (pub16(FRAME + 2) != DOWN_SENDER || pub16(FRAME + 4) != index) return BAD_PART;
  setNonce(0, CONTROL_FRAME, DOWN_SENDER, version, step, index, topicLen);
  const status = openFrame(PAYLOAD_KEY, TOPIC, topicLen);
  if (status != OK) return status;
  if (pub8(OUT) != (index | (index == count - 1 ? PART_LAST : 0)) || pub16(OUT + 4) < 8) return BAD_PART;
  const revision = load<u64>(CHUNK);
  if (!index && pass == VERIFY) {
    payloadRevision = revision;
  }
  if (revision != payloadRevision) return BAD_PART;
  payloadCode = pub16(OUT + 4) > 8 ? pub8(CODE) : 0;
  if (pass == APPLY) store<u8>(STATUSES + index, execute(pub16(OUT + 4) - 9));
  wipe(CHUNK, CONTROL_FRAME - HEADER_SIZE - 1);
  return OK;
}

/** Derives PAYLOAD_KEY for the control key that the hint names (SPEC C-4). */
function choosePayloadKey(hint: i32): i32 {
  let version = pub32(VERSION);
  const step = hint & 15;
  let key = CONTROL_KEY;
  payloadKey = 0;
  if ((version & 15) != hint >> 4) {
    if (!(pub8(FLAGS) & HAS_NEXT) || (++version & 15) != hint >> 4) return UNKNOWN_EPOCH;
    payloadKey = 1;
    key = NEXT_KEY;
  }
  if (step > 1) return UNKNOWN_EPOCH;
  if (step) {
    if (!(pub8(FLAGS) & HAS_SESSION)) return NO_SESSION;
    payloadKey = BY_SESSION;
    key = SESSION_KEY;
  }
  senderKey(0, DEVICE, version, step, DOWN_SENDER, key, PAYLOAD_KEY);
  return OK;
}

/** After a good frame: the next frame, the second pass, or the end. */
function next(index: i32, count: i32, pass: i32): i32 {
  payloadPass = pass;
  payloadCount = count;
  payloadIndex = index + 1;
  if (payloadIndex < count) return MORE;
  if (pass == VERIFY) {
    payloadPass = APPLY;
    payloadIndex = 0;
    changed = false;
    if (payloadKey == 1 && payloadRevision != load<u64>(REVISION)) settle();
    wipe(STATUSES, CONTROL_FRAMES);
    return MORE;
  }
  discardControl();
  return finish(count);
}

/** The payload is applied: hold its revision and answer (SPEC C-5, C-6, C-16). */
function finish(count: i32): i32 {
  if (payloadRevision == load<u64>(REVISION)) return OK;
  store<u64>(REVISION, payloadRevision);
  store<u8>(ACK_COUNT, count);
  memory.copy(ACK_STATUSES, STATUSES, CONTROL_FRAMES);
  forgetFailures();
  if (!changed) return OK;
  setDirty();
  return pub8(CLASS) == CLASS_STORAGE ? STORE_BLOB : OK;
}

/** A new revision under K(v+1) verified: K(v) goes, K(v+1) becomes K(v) (SPEC C-16). */
function settle(): void {
  store<u32>(VERSION, pub32(VERSION) + 1);
  memory.copy(CONTROL_KEY, NEXT_KEY, KEY_SIZE);
  wipe(NEXT_KEY, KEY_SIZE);
  store<u8>(FLAGS, pub8(FLAGS) & ~HAS_NEXT);
  payloadKey = 0;
  changed = true;
}

// Commands.

/** Applies the command at CODE with a body of `len` bytes; returns its status. */
function execute(len: i32): i32 {
  const code = pub8(CODE);
  const fresh = payloadRevision != load<u64>(REVISION);
  if (len < 0 || len != bodySize(code)) return BAD_COMMAND;
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

/** Size of a command's body; -1 for an unknown code or an impossible count of nodes. */
function bodySize(code: i32): i32 {
  if (code == SET_CHANNEL) return 44;
  if (code == ADD_NODES) {
    const nodes = pub8(BODY + 12);
    return nodes - 1 < 4 && nodes ? 13 + nodes * NODE_SIZE : -1;
  }
  if (code == DROP_CHANNEL || code == QUERY) return 8;
  if (code == RESET) return 0;
  if (code == RATCHET) return 36;
  if (code == GRANT_SESSION) return 24;
  return code == GRANT_COUNTERS ? 24 : -1;
}

function setChannel(): i32 {
  memory.copy(IMAGE, BODY, IMAGE_SIZE);
  const status = checkParameters(IMAGE);
  if (status != OK) return status;
  let slot = findChannel(IMAGE);
  if (slot >= 0) {
    const held = pub32(channelAt(slot) + CH_GENERATION);
    const given = pub32(IMAGE + CH_GENERATION);
    if (<u32>given < <u32>held) return OLD_GENERATION;
    if (given == held) return mergeChannel(slot);
    const keep = pub8(IMAGE + CH_FLAGS) >> 7 && given - held == 1;
    replaceGeneration(slot, IMAGE, keep as bool);
  } else {
    slot = freeChannel();
    if (slot < 0) return CHANNEL_FULL;
    dropChannel(slot);
    memory.copy(channelAt(slot), IMAGE, IMAGE_SIZE);
    store<u8>(channelAt(slot) + CH_USED, 1);
  }
  changed = true;
  return OK;
}

/** Same generation: limits and step only rise, all else must be as held (SPEC C-10). */
function mergeChannel(slot: i32): i32 {
  const ch = channelAt(slot);
  const flags = pub8(IMAGE + CH_FLAGS);
  if (
    !equalPublic(ch + CH_FORM, IMAGE + CH_FORM, 3) ||
    (flags ^ pub8(ch + CH_FLAGS)) & ~FLAG_KEEP ||
    !equalPublic(ch + CH_SENDER, IMAGE + CH_SENDER, 4) ||
    pub16(ch + CH_FROM) != pub16(IMAGE + CH_FROM)
  )
    return BAD_CHANGE;
  if (flags != pub8(ch + CH_FLAGS)) {
    store<u8>(ch + CH_FLAGS, flags);
    changed = true;
  }
  raise(ch, CH_OPEN);
  if (raise(ch, CH_TO)) {
    wipe(ch + CH_LOCK, 8);
    setLock(ch);
  }
  const step = pub16(IMAGE + CH_STEP);
  if (step > pub16(ch + CH_STEP)) {
    memory.copy(ch + CH_V, IMAGE + CH_V, KEY_SIZE);
    advance(slot, step);
    changed = true;
  }
  return OK;
}

function raise(ch: usize, field: i32): bool {
  const given = pub16(IMAGE + field);
  if (given <= pub16(ch + field)) return false;
  store<u16>(ch + field, given);
  changed = true;
  return true;
}

function addNodes(): i32 {
  const slot = findChannel(BODY);
  if (slot < 0) return NO_CHANNEL;
  const ch = channelAt(slot);
  if (pub32(BODY + 8) != pub32(ch + CH_GENERATION)) return UNKNOWN_EPOCH;
  let result = HELD;
  for (let i = 0; i < pub8(BODY + 12); ++i) {
    const node = BODY + 13 + i * NODE_SIZE;
    const status = addNode(ch, pub16(node), node + 2, baseOf(ch));
    if (status == OK) {
      changed = true;
      if (result == HELD) result = OK;
    } else if (status != HELD && (result == OK || result == HELD)) result = status;
  }
  setLock(ch);
  return result;
}

function drop(): i32 {
  const slot = findChannel(BODY);
  if (slot < 0) return NO_CHANNEL;
  dropChannel(slot);
  changed = true;
  return OK;
}

function reset(): i32 {
  for (let slot = 0; slot < CHANNELS; ++slot) {
    if (!pub8(channelAt(slot) + CH_USED)) continue;
    dropChannel(slot);
    changed = true;
  }
  return OK;
}

function ratchet(): i32 {
  const version = pub32(VERSION);
  const target = pub32(BODY);
  const hasNext = pub8(FLAGS) & HAS_NEXT;
  if (pub8(CLASS) != CLASS_STORAGE) return BAD_RATCHET;
  if (target == version || (hasNext && target == version + 1)) return OK;
  if (target != version + 1) return BAD_RATCHET;
  memory.copy(base(0, KEY_SIZE, DEVICE, version), BODY + 4, 32);
  deriveHere(0, CONTROL_KEY, A1_NEXT, 32, NEXT_KEY);
  store<u8>(FLAGS, pub8(FLAGS) | HAS_NEXT);
  changed = true;
  return OK;
}

/** SPEC C-20. PAYLOAD_KEY of this payload is not needed any more: it has one frame. */
function grantSession(): i32 {
  if (pub8(CLASS) == CLASS_STORAGE || payloadKey == BY_SESSION) return BAD_COMMAND;
  if (!equalPublic(BODY, BOOT_NONCE, 8)) return BAD_SESSION;
  reset();
  memory.copy(base(0, KEY_SIZE, DEVICE, pub32(VERSION)), BODY, 24);
  deriveHere(0, CONTROL_KEY, A1_SESS, 24, SESSION_KEY);
  store<u8>(FLAGS, pub8(FLAGS) | HAS_SESSION);
  return OK;
}

function grantCounters(): i32 {
  const slot = findChannel(BODY);
  if (pub8(CLASS) == CLASS_STORAGE) return BAD_COMMAND;
  if (slot < 0) return NO_CHANNEL;
  const ch = channelAt(slot);
  const step = pub16(BODY + 12);
  const sender = pub16(BODY + 14);
  const first = pub32(BODY + 16);
  const end = pub32(BODY + 20);
  if (pub32(BODY + 8) != pub32(ch + CH_GENERATION)) return UNKNOWN_EPOCH;
  if (!sender || <u32>first > <u32>end || <u32>end > <u32>COUNTERS || step > pub16(ch + CH_TO))
    return BAD_COMMAND;
  const what = i32(sender != pub16(ch + CH_SENDER));
  if (sender != pub16(ch + CH_SENDER + what * 2)) return BAD_COMMAND;
  setOwn(ch, what, step, first, end);
  return OK;
}

// Answers.

/** See index.ts. */
export function ack(topicLen: i32): i32 {
  const status = begin(topicLen);
  if (status != OK) return status;
  store<u64>(CHUNK, load<u64>(ECHO), 8);
  memory.copy(CHUNK + 16, DIGEST, KEY_SIZE);
  store<u32>(CHUNK, pub32(SEQUENCE), 32);
  store<u32>(CHUNK, pub32(VERSION) + (pub8(FLAGS) & HAS_NEXT), 36);
  store<u8>(CHUNK, pub8(ACK_COUNT), 40);
  memory.copy(CHUNK + 41, ACK_STATUSES, CONTROL_FRAMES);
  return answer(ACK, ACK_SIZE, topicLen);
}

/** See index.ts. */
export function hello(topicLen: i32): i32 {
  const status = begin(topicLen);
  if (status != OK) return status;
  store<u64>(CHUNK, load<u64>(BOOT_NONCE), 8);
  memory.copy(CHUNK + 16, DIGEST, KEY_SIZE);
  store<u32>(CHUNK, pub32(SEQUENCE), 32);
  store<u8>(CHUNK, pub8(CLASS) - 1, 36);
  store<u8>(CHUNK, pub8(CLASS) == CLASS_STORAGE ? SUITES : SUITES & SIV_SUITES, 37);
  store<u16>(CHUNK, CHANNELS, 38);
  store<u16>(CHUNK, SENDERS < 65535 ? SENDERS : 65535, 40);
  store<u8>(CHUNK, FRAME_MAX >> 3, 42);
  store<u8>(CHUNK, LATE_AHEAD_MAX, 43);
  return answer(HELLO, HELLO_SIZE, topicLen);
}

function begin(topicLen: i32): i32 {
  const status = ready();
  if (status != OK) return status;
  if (<u32>topicLen > <u32>TOPIC_MAX) return BAD_ARGUMENT;
  discardControl();
  writeDigest();
  store<u64>(CHUNK, load<u64>(REVISION));
  return OK;
}

/** Seals the chunk under the newest control key or the session secret (SPEC C-1, C-16). */
function answer(counter: i32, size: i32, topicLen: i32): i32 {
  const flags = pub8(FLAGS);
  const step = (flags & HAS_SESSION) >> 1;
  const version = pub32(VERSION) + (flags & HAS_NEXT);
  if (counter == ACK && pub8(CLASS) != CLASS_STORAGE && !step) return NO_SESSION;
  const key = step ? SESSION_KEY : flags & HAS_NEXT ? NEXT_KEY : CONTROL_KEY;
  senderKey(0, DEVICE, version, step, UP_SENDER, key, PAYLOAD_KEY);
  setNonce(0, CONTROL_FRAME, UP_SENDER, version, step, counter, topicLen);
  sealFrame(PAYLOAD_KEY, TOPIC, topicLen, PART_LAST, size);
  wipe(PAYLOAD_KEY, PAIR_SIZE);
  return OK;
}

/** Digest of what the server set (SPEC C-19), at DIGEST. */
function writeDigest(): void {
  wipe(DIGEST, KEY_SIZE);
  for (let slot = 0; slot < CHANNELS; ++slot) {
    const ch = channelAt(slot);
    if (!pub8(ch + CH_USED)) continue;
    const extra = base(0, KEY_SIZE, ch, pub32(ch + CH_GENERATION));
    store<u32>(extra, pub32(ch + CH_FORM));
    store<u16>(extra, pub16(ch + CH_FROM), 4);
    store<u32>(extra, pub32(ch + CH_OPEN), 6);
    store<u32>(extra, pub32(ch + CH_SENDER), 10);
    store<u64>(CHILDREN, load<u64>(ch + CH_LOCK));
    deriveHere(0, CHILDREN, A1_SYNC, 14, CHILDREN);
    store<u64>(DIGEST, load<u64>(DIGEST) ^ load<u64>(CHILDREN));
    store<u64>(DIGEST, load<u64>(DIGEST, 8) ^ load<u64>(CHILDREN, 8), 8);
    wipe(CHILDREN, KEY_SIZE);
  }
}
