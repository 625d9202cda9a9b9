/*
 * The four suites: seal and open a text under a key, a nonce and a topic.
 * SPEC section 3, S-1 to S-5.
 *
 * Suite and lengths are public. Times depend on them and on the verdict alone.
 * Nothing is left of keys, tags and states after a call.
 */
import * as ascon from "./ascon";
import * as xoodyak from "./xoodyak";
import { DECRYPT, ENCRYPT, pub32, wipe } from "./bytes";
import { BAD_TAG, OK } from "./status";

const KEY_SIZE: i32 = 16;
const NONCE_SIZE: i32 = 16;
const TAG_SIZE: i32 = 16;
const SHORT_TAG_SIZE: i32 = 8;

// Scratch, zero between calls: the whole tag, and N of the SIV suites.
const tag = memory.data(TAG_SIZE + NONCE_SIZE, 8);
const sivNonce = tag + TAG_SIZE;
export const verdict = memory.data(4, 4);

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

/** Absorbs the associated data a || b. */
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

function crypt(suite: i32, textPtr: usize, textLen: i32, mode: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return xoodyak.crypt(textPtr, textLen, mode);
  }
  ascon.aeadCrypt(textPtr, textLen, mode);
}

function finish(suite: i32, keyPtr: usize): void {
  if (AMP_XOODYAK) {
    if (isXoodyak(suite)) return xoodyak.tag(tag);
  }
  ascon.aeadTag(keyPtr, tag);
}

/** Text or C of a SIV suite, under Ke and N: T, or T || nonce[8..16). */
function sivCrypt(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
  tagLen: i32,
  mode: i32,
): void {
  memory.copy(sivNonce, noncePtr, NONCE_SIZE);
  memory.copy(sivNonce, tagPtr, tagLen);
  begin(suite, keyPtr + KEY_SIZE, sivNonce);
  // Xoodyak has no Absorb here; Ascon separates domains even after an empty one.
  if (!AMP_XOODYAK || !isXoodyak(suite)) ascon.aeadEndAd(0);
  crypt(suite, textPtr, textLen, mode);
}

/**
 * The pass that gives the tag, whole and into scratch: over topic || text for
 * SIV suites, else over topic and the text it replaces. It never writes to
 * tagPtr: a fault in open that overwrote the received tag would accept a forgery.
 */
function tagPass(
  suite: i32,
  keyPtr: usize,
  noncePtr: usize,
  topicPtr: usize,
  topicLen: i32,
  textPtr: usize,
  textLen: i32,
  mode: i32,
): void {
  begin(suite, keyPtr, noncePtr);
  absorb(suite, topicPtr, topicLen, textPtr, isAead(suite) ? 0 : textLen);
  if (isAead(suite)) crypt(suite, textPtr, textLen, mode);
  finish(suite, keyPtr);
}

function wipeScratch(): void {
  wipe(tag, TAG_SIZE + NONCE_SIZE);
  ascon.wipe();
  if (AMP_XOODYAK) xoodyak.wipe();
}

/**
 * Seals a text in place.
 *
 * @param suite 0..3; 2 and 3 only if the build has Xoodyak
 * @param keyPtr in, 32 bytes Km || Ke for suites 0 and 2, else 16
 * @param noncePtr in, 16 bytes
 * @param topicPtr in, topicLen bytes
 * @param textPtr in: text, out: ciphertext; textLen bytes
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
  tagPass(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen, ENCRYPT);
  memory.copy(tagPtr, tag, tagLen);
  if (!isAead(suite)) sivCrypt(suite, keyPtr, noncePtr, textPtr, textLen, tagPtr, tagLen, ENCRYPT);
  wipeScratch();
}

/**
 * Opens a sealed text in place.
 *
 * @param suite 0..3; 2 and 3 only if the build has Xoodyak
 * @param keyPtr in, 32 bytes Km || Ke for suites 0 and 2, else 16
 * @param noncePtr in, 16 bytes
 * @param topicPtr in, topicLen bytes
 * @param textPtr in: ciphertext, out: text; textLen bytes
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
  if (!isAead(suite)) sivCrypt(suite, keyPtr, noncePtr, textPtr, textLen, tagPtr, tagLen, DECRYPT);
  tagPass(suite, keyPtr, noncePtr, topicPtr, topicLen, textPtr, textLen, DECRYPT);

  // Whatever tagLen is, 8 bytes at least have to agree.
  let bits = load<u64>(tag) ^ load<u64>(tagPtr);
  if (tagLen != SHORT_TAG_SIZE) bits |= load<u64>(tag, 8) ^ load<u64>(tagPtr, 8);
  // A key of zeros is one that by some fault was not there: anyone could have sealed under it.
  const noKey = u32((load<u64>(keyPtr) | load<u64>(keyPtr, 8)) == 0);
  if (reveal(u32(bits != 0) | noKey)) {
    refuse(textPtr, textLen);
    return BAD_TAG;
  }

  // At most 16 times 255.
  let sum: u32 = 0;
  for (let i = 0; i < tagLen; ++i) sum += load<u8>(tag + i) ^ load<u8>(tagPtr + i);
  wipeScratch();
  if (reveal(u32(sum != 0))) {
    refuse(textPtr, textLen);
    return BAD_TAG;
  }
  return OK;
}

/** Makes a bit public: whether the tags differ. */
function reveal(bit: u32): i32 {
  store<u32>(verdict, bit);
  return pub32(verdict);
}

function refuse(textPtr: usize, textLen: i32): void {
  wipeScratch();
  wipe(textPtr, textLen);
}
