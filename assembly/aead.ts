/*
 * The four suites: seal and open a text under a key, a nonce and a topic.
 * SPEC section 3.
 *
 * Suite and lengths are public; a suite that hasSuite() denies must not come
 * here. Times depend on suite, lengths and the verdict alone. Nothing is left of
 * keys, tags and states after a call.
 */
import * as ascon from "./ascon";
import * as xoodyak from "./xoodyak";
import { pub32, wipe } from "./bytes";
import { BAD_TAG, OK } from "./status";

export const ASCON_SIV: i32 = 0;
export const ASCON_AEAD: i32 = 1;
export const XOODYAK_SIV: i32 = 2;
export const XOODYAK_AEAD: i32 = 3;

export const NONCE_SIZE: i32 = 16;
export const TAG_SIZE: i32 = 16;
export const SHORT_TAG_SIZE: i32 = 8;

/** Size of one key of a permutation; SIV suites hold two, Km and Ke. */
const HALF_KEY_SIZE: i32 = 16;

// 48 bytes of scratch, zero between calls.
const tag = memory.data(TAG_SIZE, 8);
const sivNonce = memory.data(NONCE_SIZE, 8);
const verdict = memory.data(4, 4);

/** The suites of this build, one bit for each. */
export const SUITES: i32 = AMP_XOODYAK ? 0x0f : 0x03;

/** Returns 1 if this build has the suite. suite: 0..3. */
export function hasSuite(suite: i32): i32 {
  return (SUITES >> suite) & 1;
}

/** Returns the key size of a suite: 32 for SIV, 16 for AEAD. */
export function keySize(suite: i32): i32 {
  return isAead(suite) ? HALF_KEY_SIZE : 2 * HALF_KEY_SIZE;
}

function isAead(suite: i32): i32 {
  return suite & 1;
}

function isXoodyak(suite: i32): i32 {
  return suite & 2;
}

function begin(suite: i32, keyPtr: usize, noncePtr: usize): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return xoodyak.keyedInit(keyPtr, noncePtr);
  }
  ascon.aeadInit(keyPtr, noncePtr);
}

/** Associated data a || b. */
function absorb(suite: i32, aPtr: usize, aLen: i32, bPtr: usize, bLen: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) {
      xoodyak.absorbBegin();
      xoodyak.absorb(aPtr, aLen);
      xoodyak.absorb(bPtr, bLen);
      return xoodyak.absorbEnd();
    }
  }
  ascon.absorb(aPtr, aLen);
  ascon.absorb(bPtr, bLen);
  ascon.aeadEndAd(aLen + bLen);
}

function crypt(suite: i32, textPtr: usize, textLen: i32, decrypt: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return xoodyak.crypt(textPtr, textLen, decrypt);
  }
  ascon.aeadCrypt(textPtr, textLen, decrypt);
}

/** Computes the tag. */
function finish(suite: i32, keyPtr: usize): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return xoodyak.squeeze(tag, TAG_SIZE);
  }
  ascon.aeadTag(keyPtr, tag);
}

/** Ends the associated data of a computation that has none. */
function skipAd(suite: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return;
  }
  ascon.aeadEndAd(0);
}

/** S-1, S-3: T over topic || text under Km. */
function sivTag(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  topicPtr: usize,
  topicLen: i32,
  textPtr: usize,
  textLen: i32,
): void {
  begin(suite, keyPtr, noncePtr);
  absorb(suite, topicPtr, topicLen, textPtr, textLen);
  finish(suite, keyPtr);
}

/** S-1, S-3: text or C under Ke and N, N being T or T || nonce[8..16). */
function sivCrypt(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
  tagLen: i32,
  decrypt: i32,
): void {
  memory.copy(sivNonce, noncePtr, NONCE_SIZE);
  memory.copy(sivNonce, tagPtr, tagLen);
  begin(suite, keyPtr + HALF_KEY_SIZE, sivNonce);
  skipAd(suite);
  crypt(suite, textPtr, textLen, decrypt);
}

/** S-2, S-4: text or C, and T. */
function aead(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  topicPtr: usize,
  topicLen: i32,
  textPtr: usize,
  textLen: i32,
  decrypt: i32,
): void {
  begin(suite, keyPtr, noncePtr);
  absorb(suite, topicPtr, topicLen, 0, 0);
  crypt(suite, textPtr, textLen, decrypt);
  finish(suite, keyPtr);
}

function wipeScratch(): void {
  wipe(tag, TAG_SIZE);
  wipe(sivNonce, NONCE_SIZE);
  ascon.wipe();
  if (AMP_XOODYAK) xoodyak.wipe();
}

/**
 * Seals a text in place.
 *
 * @param suite one that hasSuite() allows
 * @param keyPtr in, keySize(suite) bytes
 * @param noncePtr in, 16 bytes, public
 * @param topicPtr in, topicLen bytes, public
 * @param textPtr in: text, out: ciphertext, textLen bytes
 * @param tagPtr out, tagLen bytes
 * @param tagLen 16 or 8
 *
 * Overlap: none; the tag may follow the text directly. Any alignment.
 */
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
  if (isAead(suite)) {
    aead(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen, 0);
    memory.copy(tagPtr, tag, tagLen);
  } else {
    sivTag(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen);
    memory.copy(tagPtr, tag, tagLen);
    sivCrypt(suite, keyPtr, noncePtr, textPtr, textLen, tagPtr, tagLen, 0);
  }
  wipeScratch();
}

/** Tells, and so makes public, whether a word is zero. */
function isNonzero(word: u64): i32 {
  store<u32>(verdict, (word | -word) >> 63);
  return pub32(verdict);
}

function refuse(textPtr: usize, textLen: i32): i32 {
  wipeScratch();
  wipe(textPtr, textLen);
  return BAD_TAG;
}

/**
 * Opens a sealed text in place.
 *
 * @param suite one that hasSuite() allows
 * @param keyPtr in, keySize(suite) bytes
 * @param noncePtr in, 16 bytes, public
 * @param topicPtr in, topicLen bytes, public
 * @param textPtr in: ciphertext, out: text, textLen bytes
 * @param tagPtr in, tagLen bytes
 * @param tagLen 16 or 8
 * @returns OK or BAD_TAG
 *
 * Overlap: none; the tag may follow the text directly. Any alignment.
 * After BAD_TAG: textPtr[0..textLen) is zero.
 *
 * The tag is judged twice, by different sums and on both sides of a wipe, so
 * that no compiler joins the two: one skipped instruction does not accept a
 * forgery.
 */
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
  // A tag that for some reason is not computed must not match.
  store<u64>(tag, ~load<u64>(tagPtr));
  if (isAead(suite)) {
    aead(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen, 1);
  } else {
    sivCrypt(suite, keyPtr, noncePtr, textPtr, textLen, tagPtr, tagLen, 1);
    sivTag(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen);
  }

  let bits = load<u64>(tag) ^ load<u64>(tagPtr);
  if (tagLen != SHORT_TAG_SIZE) bits |= load<u64>(tag, 8) ^ load<u64>(tagPtr, 8);
  if (isNonzero(bits)) return refuse(textPtr, textLen);

  // At most 16 times 255.
  let sum: u64 = 0;
  for (let i = 0; i < tagLen; ++i) sum += load<u8>(tag + i) ^ load<u8>(tagPtr + i);
  wipeScratch();
  if (isNonzero(sum)) return refuse(textPtr, textLen);
  return OK;
}
