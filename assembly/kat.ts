/*
 * The exports of the known-answer build: modes and suites of the shipped builds
 * with every length and address in the caller's hand. Contracts are those of
 * the functions called.
 */
import * as aead from "./aead";
import * as ascon from "./ascon";
import * as xoodyak from "./xoodyak";
import * as kdf from "./kdf";
import { NONCE } from "./layout";
import { lane, P12, P8, permute, state, wordOf } from "./ascon-p";
import * as xoodoo from "./xoodoo";

/** aead.seal and aead.open; whatever lies between text and tag may change. */
export function seal(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  topicPtr: usize,
  topicLen: i32,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
  tagLen: i32,
): void {
  prepare(suite, noncePtr, topicPtr, topicLen, tagLen);
  aead.seal(keyPtr, textPtr, textLen);
  memory.copy(tagPtr, textPtr + textLen, tagLen);
  memory.fill(NONCE, 0, 16);
}

export function open(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  topicPtr: usize,
  topicLen: i32,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
  tagLen: i32,
): i32 {
  prepare(suite, noncePtr, topicPtr, topicLen, tagLen);
  memory.copy(textPtr + textLen, tagPtr, tagLen);
  const status = aead.open(keyPtr, textPtr, textLen);
  memory.fill(NONCE, 0, 16);
  return status;
}

function prepare(suite: i32, noncePtr: usize, topicPtr: usize, topicLen: i32, tagLen: i32): void {
  aead.job.form = (suite << 2) | (tagLen == 8 ? 16 : 0);
  aead.job.adPtr = topicPtr;
  aead.job.adLen = topicLen;
  memory.copy(NONCE, noncePtr, 16);
}

/** Bytes at areaPtr(), for the caller's inputs and outputs. */
const AREA_SIZE: i32 = 8192;
const area = memory.data(8192, 16);

export function areaPtr(): usize {
  return area;
}

export function areaSize(): i32 {
  return AREA_SIZE;
}

/** Ascon-p on the 40 bytes at ptr. rounds: 12 or 8. */
export function asconP(ptr: usize, rounds: i32): void {
  state.S0 = lane(load<u64>(ptr));
  state.S1 = lane(load<u64>(ptr, 8));
  state.S2 = lane(load<u64>(ptr, 16));
  state.S3 = lane(load<u64>(ptr, 24));
  state.S4 = lane(load<u64>(ptr, 32));
  permute(rounds == 12 ? P12 : P8);
  store<u64>(ptr, wordOf(state.S0));
  store<u64>(ptr, wordOf(state.S1), 8);
  store<u64>(ptr, wordOf(state.S2), 16);
  store<u64>(ptr, wordOf(state.S3), 24);
  store<u64>(ptr, wordOf(state.S4), 32);
  ascon.wipe();
}

/** Xoodoo[12] on the 48 bytes at ptr. */
export function xoodoo12(ptr: usize): void {
  memory.copy(xoodoo.state, ptr, xoodoo.STATE_SIZE);
  xoodoo.permute();
  memory.copy(ptr, xoodoo.state, xoodoo.STATE_SIZE);
  xoodoo.wipeState();
}

export function asconHash256(ptr: usize, len: i32, outPtr: usize): void {
  ascon.hash256Init();
  asconEnd(ptr, len, outPtr, 32);
}

export function asconXof128(ptr: usize, len: i32, outPtr: usize, outLen: i32): void {
  ascon.xof128Init();
  asconEnd(ptr, len, outPtr, outLen);
}

export function asconCxof128(zPtr: usize, zLen: i32, ptr: usize, len: i32, outPtr: usize, outLen: i32): void {
  ascon.cxof128Init(zPtr, zLen);
  asconEnd(ptr, len, outPtr, outLen);
}

function asconEnd(ptr: usize, len: i32, outPtr: usize, outLen: i32): void {
  ascon.absorb(ptr, len);
  ascon.endAbsorb();
  ascon.squeeze(outPtr, outLen);
  ascon.wipe();
}

export function xoodyakHash(ptr: usize, len: i32, outPtr: usize, outLen: i32): void {
  xoodyak.hashInit();
  xoodyak.absorbBegin();
  xoodyak.absorb(ptr, len);
  xoodyak.absorbEnd();
  xoodyak.squeeze(outPtr, outLen);
  xoodyak.wipe();
}

/** kdf.derive; labelPtr: 8 bytes, the label and a zero. */
export function derive(
  suite: i32,
  keyPtr: usize,
  labelPtr: usize,
  contextPtr: usize,
  contextLen: i32,
  outPtr: usize,
  outLen: i32,
): void {
  kdf.derive(suite, keyPtr, load<u64>(labelPtr), contextPtr, contextLen, outPtr, outLen);
}

/** kdf.hashLabel; labelPtr: 8 bytes, the label and a zero. */
export function hashLabel(
  labelPtr: usize,
  aPtr: usize,
  aLen: i32,
  bPtr: usize,
  bLen: i32,
  outPtr: usize,
  outLen: i32,
): void {
  kdf.hashLabel(load<u64>(labelPtr), aPtr, aLen, bPtr, bLen, outPtr, outLen);
}
