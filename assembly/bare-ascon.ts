/*
 * Ascon-AEAD128 alone, for the bench: what one call of the standard costs, without suites and frames.
 */
import * as ascon from "./ascon";
import { DECRYPT, ENCRYPT, wipe } from "./bytes";
import { BAD_TAG, OK } from "./status";

const TAG_SIZE: i32 = 16;
const tag = memory.data(TAG_SIZE, 8);

/** Bytes at areaPtr(): key, nonce, associated data, text and tag of the caller. */
const area = memory.data(1280, 16);

export function areaPtr(): usize {
  return area;
}

/** End of the static data. */
export function memoryEnd(): i32 {
  return __heap_base as i32;
}

function crypt(
  keyPtr: usize,
  noncePtr: usize,
  adPtr: usize,
  adLen: i32,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
  mode: i32,
): void {
  ascon.aeadInit(keyPtr, noncePtr);
  ascon.absorb(adPtr, adLen);
  ascon.aeadEndAd(adLen);
  ascon.aeadCrypt(textPtr, textLen, mode);
  ascon.aeadTag(keyPtr, tagPtr);
  ascon.wipe();
}

/** Seals in place: SP 800-232, Algorithm 3. */
export function seal(
  keyPtr: usize,
  noncePtr: usize,
  adPtr: usize,
  adLen: i32,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
): void {
  crypt(keyPtr, noncePtr, adPtr, adLen, textPtr, textLen, tagPtr, ENCRYPT);
}

/** Opens in place: SP 800-232, Algorithm 4. OK or BAD_TAG; then the text is zero. */
export function open(
  keyPtr: usize,
  noncePtr: usize,
  adPtr: usize,
  adLen: i32,
  textPtr: usize,
  textLen: i32,
  tagPtr: usize,
): i32 {
  crypt(keyPtr, noncePtr, adPtr, adLen, textPtr, textLen, tag, DECRYPT);
  const bits = (load<u64>(tag) ^ load<u64>(tagPtr)) | (load<u64>(tag, 8) ^ load<u64>(tagPtr, 8));
  wipe(tag, TAG_SIZE);
  if (!bits) return OK;
  wipe(textPtr, textLen);
  return BAD_TAG;
}
