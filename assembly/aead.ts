/*
 * The four suites: seal and open a text under a key, a nonce and a topic.
 * SPEC section 3, S-1 to S-5.
 *
 * Form and lengths are public. Times depend on them and on the verdict alone.
 * Nothing is left of keys, tags and states after a call.
 */
import * as ascon from "./ascon";
import * as xoodyak from "./xoodyak";
import { DECRYPT, ENCRYPT, pub32, wipe } from "./bytes";
import { tagSize } from "./form";
import { NONCE, OUT } from "./layout";
import { BAD_TAG } from "./status";

const KEY_SIZE: i32 = 16;
const NONCE_SIZE: i32 = 16;
const TAG_SIZE: i32 = 16;
const SHORT_TAG_SIZE: i32 = 8;

/** What is at hand beside key and text, and the nonce at NONCE: the caller sets it before each call. */
export namespace job {
  /** Suite and size of the tag, as in a frame (SPEC section 6). */
  export let form: i32 = 0;
  /** What is authenticated beside the text. */
  export let adPtr: usize = 0;
  export let adLen: i32 = 0;
}

// Scratch, zero between calls: the whole tag, and N of the SIV suites.
const tag = memory.data(TAG_SIZE + NONCE_SIZE, 8);
const sivNonce = tag + TAG_SIZE;

function isAead(): i32 {
  return job.form & 4;
}

function isXoodyak(): i32 {
  return job.form & 8;
}

function begin(keyPtr: usize, noncePtr: usize): void {
  if (AMP_XOODYAK) {
    if (isXoodyak()) return xoodyak.keyedInit(keyPtr, noncePtr);
  }
  ascon.aeadInit(keyPtr, noncePtr);
}

/** Absorbs the associated data, and len bytes of text behind it. */
function absorb(textPtr: usize, len: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak()) {
      xoodyak.absorbBegin();
      xoodyak.absorb(job.adPtr, job.adLen);
      xoodyak.absorb(textPtr, len);
      return xoodyak.absorbEnd();
    }
  }
  ascon.absorb(job.adPtr, job.adLen);
  ascon.absorb(textPtr, len);
  ascon.aeadEndAd(job.adLen + len);
}

function crypt(textPtr: usize, textLen: i32, mode: i32): void {
  if (AMP_XOODYAK) {
    if (isXoodyak()) return xoodyak.crypt(textPtr, textLen, mode);
  }
  ascon.aeadCrypt(textPtr, textLen, mode);
}

function finish(keyPtr: usize): void {
  if (AMP_XOODYAK) {
    if (isXoodyak()) return xoodyak.tag(tag);
  }
  ascon.aeadTag(keyPtr, tag);
}

/** Text or C of a SIV suite, under Ke and N: T, or T || nonce[8..16). */
function sivCrypt(keyPtr: usize, textPtr: usize, textLen: i32, mode: i32): void {
  if (isAead()) return;
  memory.copy(sivNonce, NONCE, NONCE_SIZE);
  memory.copy(sivNonce, textPtr + textLen, tagSize(job.form));
  begin(keyPtr + KEY_SIZE, sivNonce);
  // Xoodyak has no Absorb here; Ascon separates domains even after an empty one.
  if (!AMP_XOODYAK || !isXoodyak()) ascon.aeadEndAd(0);
  crypt(textPtr, textLen, mode);
}

/**
 * The pass that gives the tag, whole and into scratch: over topic || text for
 * SIV suites, else over topic and the text it replaces. It never writes behind
 * the text: a fault in open that overwrote the received tag would accept a forgery.
 */
function tagPass(keyPtr: usize, textPtr: usize, textLen: i32, mode: i32): void {
  begin(keyPtr, NONCE);
  absorb(textPtr, isAead() ? 0 : textLen);
  if (isAead()) crypt(textPtr, textLen, mode);
  finish(keyPtr);
}

function wipeScratch(): void {
  wipe(tag, TAG_SIZE + NONCE_SIZE);
  ascon.wipe();
  if (AMP_XOODYAK) xoodyak.wipe();
}

/**
 * Seals a text in place; the tag follows it.
 *
 * @param keyPtr in, 32 bytes Km || Ke for suites 0 and 2, else 16
 * @param textPtr in: text, out: ciphertext, textLen bytes; out: tag
 *
 * Overlap: none. Any alignment.
 */
export function seal(keyPtr: usize, textPtr: usize, textLen: i32): void {
  tagPass(keyPtr, textPtr, textLen, ENCRYPT);
  memory.copy(textPtr + textLen, tag, tagSize(job.form));
  sivCrypt(keyPtr, textPtr, textLen, ENCRYPT);
  wipeScratch();
}

/**
 * Opens a sealed text in place.
 *
 * @param keyPtr in, 32 bytes Km || Ke for suites 0 and 2, else 16
 * @param textPtr in: ciphertext, out: text, textLen bytes; in: the tag that follows
 * @returns OK or BAD_TAG
 *
 * Overlap: none. Any alignment.
 * After BAD_TAG: textPtr[0..textLen) is zero.
 *
 * The tag is judged twice, by different sums and on both sides of a wipe, so
 * that no compiler joins the two: one skipped instruction does not accept a
 * forgery.
 */
export function open(keyPtr: usize, textPtr: usize, textLen: i32): i32 {
  const tagPtr = textPtr + textLen;
  const tagLen = tagSize(job.form);
  // A tag that for some reason is not computed must not match.
  store<u64>(tag, ~load<u64>(tagPtr));
  sivCrypt(keyPtr, textPtr, textLen, DECRYPT);
  tagPass(keyPtr, textPtr, textLen, DECRYPT);

  // Whatever tagLen is, 8 bytes at least have to agree.
  let bits = load<u64>(tag) ^ load<u64>(tagPtr);
  if (tagLen != SHORT_TAG_SIZE) bits |= load<u64>(tag, 8) ^ load<u64>(tagPtr, 8);
  // A key of zeros is one that by some fault was not there: anyone could have sealed under it.
  const noKey = i32((load<u64>(keyPtr) | load<u64>(keyPtr, 8)) == 0);
  if (reveal(i32(bits != 0) | noKey)) {
    wipeScratch();
    wipe(textPtr, textLen);
    return BAD_TAG;
  }

  // It falls: a compiler may let it begin at the verdict, which is -1 where its branch was skipped.
  let sum: i32 = 0;
  for (let i = 0; i < tagLen; ++i) sum -= load<u8>(tag + i) ^ load<u8>(tagPtr + i);
  wipeScratch();
  return reveal(i32(sum != 0)) & BAD_TAG;
}

/** Makes a bit public: whether the tags differ. */
function reveal(bit: i32): i32 {
  store<i32>(OUT, -bit, 4);
  return pub32(OUT + 4);
}
