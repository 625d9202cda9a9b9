/*
 * What the key server asks of the core, with keys it brings itself. Host build only. SPEC sections 3 to 6, 10.
 */
import { job } from "./aead";
import { wipe } from "./bytes";
import { here } from "./context";
import { chunkMax } from "./form";
import { openFrame, sealFrame, setNonce } from "./frame";
import {
  A1_CHAN,
  A1_LOCK,
  A1_NEXT,
  A1_ROOT,
  A1_SEED,
  A1_SEND,
  A1_SESS,
  A1_STEP,
  A1_STOR,
  A1_SYNC,
  A1_TREE,
  derive,
  hashLabel,
} from "./kdf";
import { senderKey } from "./keytree";
import { FRAME, FRAME_MAX, OUT, PAIR_SIZE, REALM, TOPIC, TOPIC_MAX } from "./layout";
import { BAD_ARGUMENT, BAD_FORM, BAD_LENGTH, OK } from "./status";

const A: usize = memory.data(16, 16);
const B: usize = memory.data(64, 16);
const RESULT: usize = memory.data(64, 16);
const KEY: usize = memory.data(PAIR_SIZE, 16);
/** Longest topicLen that is not topic mode 1. */
const BY_ID: i32 = 0xffff;

/** Address of 16 bytes: key of kitDerive, step secret of kitSeal and kitOpen, realm of kitChannelId. */
export function kitA(): i32 {
  return A as i32;
}

/** Address of 64 bytes: context of kitDerive; realm(8) id(8) of kitSeal and kitOpen. */
export function kitB(): i32 {
  return B as i32;
}

/** Address of 64 bytes: results. */
export function kitOut(): i32 {
  return RESULT as i32;
}

/** derive (SPEC S-6); label 0..9 in the order root tree send seed step next sess stor sync lock. n 1..64. */
export function kitDerive(suite: i32, label: i32, contextLen: i32, n: i32): i32 {
  if (<u32>suite > 3 || <u32>contextLen > 64 || n < 1 || n > 64) return BAD_ARGUMENT;
  const name = labelOf(label);
  if (!name) return BAD_ARGUMENT;
  derive(suite, A, name, B, contextLen, RESULT, n);
  return OK;
}

function labelOf(label: i32): u64 {
  switch (label) {
    case 0:
      return A1_ROOT;
    case 1:
      return A1_TREE;
    case 2:
      return A1_SEND;
    case 3:
      return A1_SEED;
    case 4:
      return A1_STEP;
    case 5:
      return A1_NEXT;
    case 6:
      return A1_SESS;
    case 7:
      return A1_STOR;
    case 8:
      return A1_SYNC;
    case 9:
      return A1_LOCK;
    default:
      return 0;
  }
}

/** Channel id of the realm at A and the filter of filterLen bytes at TOPIC; 8 bytes at the result. */
export function kitChannelId(filterLen: i32): i32 {
  if (<u32>filterLen > <u32>TOPIC_MAX) return BAD_ARGUMENT;
  hashLabel(A1_CHAN, A, 8, TOPIC, filterLen, RESULT, 8);
  return OK;
}

/** Sender key for the frame head given; REALM is borrowed and given back. */
function prepare(
  form: i32,
  size: i32,
  sender: i32,
  generation: i32,
  step: i32,
  counter: i32,
  topicLen: i32,
): i32 {
  if (form & 0xe3) return BAD_FORM;
  if (<u32>size > <u32>FRAME_MAX || size & 7 || chunkMax(form, size) < 0) return BAD_LENGTH;
  if (<u32>topicLen > <u32>TOPIC_MAX && topicLen != BY_ID) return BAD_ARGUMENT;
  const realm = load<u64>(REALM);
  store<u64>(REALM, load<u64>(B));
  here.ch = B + 8;
  job.form = form;
  here.size = size;
  here.generation = generation;
  here.step = step;
  here.sender = sender;
  here.counter = counter;
  senderKey(A, KEY);
  store<u64>(REALM, realm);
  setNonce(i32(topicLen == BY_ID), topicLen);
  return OK;
}

/** Seals the chunk at FRAME + 7; part as in SPEC F-3. OK, BAD_FORM, BAD_LENGTH, BAD_ARGUMENT. */
export function kitSeal(
  form: i32,
  size: i32,
  sender: i32,
  generation: i32,
  step: i32,
  counter: i32,
  topicLen: i32,
  part: i32,
  chunkLen: i32,
): i32 {
  if (<u32>chunkLen > <u32>chunkMax(form, size)) return BAD_LENGTH;
  const status = prepare(form, size, sender, generation, step, counter, topicLen);
  if (status != OK) return status;
  sealFrame(KEY, part, chunkLen);
  wipe(KEY, PAIR_SIZE);
  return OK;
}

/** Opens the frame at FRAME; part(1) zero(3) chunkLen(4) at the result. OK or as kitSeal, BAD_TAG, BAD_PADDING. */
export function kitOpen(
  form: i32,
  size: i32,
  sender: i32,
  generation: i32,
  step: i32,
  counter: i32,
  topicLen: i32,
): i32 {
  let status = prepare(form, size, sender, generation, step, counter, topicLen);
  if (status != OK) return status;
  status = openFrame(KEY, FRAME);
  store<u64>(RESULT, load<u64>(OUT));
  wipe(KEY, PAIR_SIZE);
  return status;
}
