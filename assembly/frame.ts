/*
 * Frames: header, nonce, padding. SPEC section 6.
 *
 * The frame lies in FRAME. Nothing here knows which key or whether a counter is fresh.
 */
import { job, open, seal } from "./aead";
import { pub32, wipe } from "./bytes";
import { FRAMING, here, textSize } from "./context";
import { hintOf } from "./form";
import { FRAME, HEADER_SIZE, NONCE, OUT, TOPIC } from "./layout";
import { BAD_PADDING, OK } from "./status";

export const PART_LAST: i32 = 128;

const TEXT: usize = FRAME + HEADER_SIZE;
const CHUNK: usize = TEXT + 1;
const END_MARK: i32 = 0x80;
const ID_SIZE: i32 = 8;

/**
 * Writes A16 (SPEC F-1) of the position at hand at NONCE.
 *
 * @param byId 1 in topic mode 1, else 0 (SPEC F-2)
 * @param topicLen bytes at TOPIC
 */
export function setNonce(byId: i32, topicLen: i32): void {
  job.adPtr = byId ? here.ch : TOPIC;
  job.adLen = byId ? ID_SIZE : topicLen;
  // here.size << 5: F/8 in the second byte.
  store<u32>(NONCE, job.form | (here.size << 5) | (here.sender << 16));
  store<u32>(NONCE, here.generation, 4);
  store<u32>(NONCE, here.step | (here.counter << 16), 8);
  store<u32>(NONCE, (topicLen | -byId) << 16, 12);
}

/**
 * Seals the chunk at FRAME + 7 into a frame in place, with the nonce at NONCE.
 *
 * @param keyPtr in, sender key
 * @param part part byte (SPEC F-3)
 * @param chunkLen 0..chunkMax
 */
export function sealFrame(keyPtr: usize, part: i32, chunkLen: i32): void {
  const len = textSize();
  store<u32>(FRAME, job.form | (hintOf(here.generation, here.step) << 8) | (here.sender << 16));
  store<u16>(FRAME, here.counter, 4);
  store<u8>(TEXT, part);
  store<u8>(CHUNK + chunkLen, END_MARK);
  wipe(CHUNK + chunkLen + 1, len - FRAMING - chunkLen);
  seal(keyPtr, TEXT, len);
}

/**
 * Opens the frame at framePtr in place, with the nonce at NONCE; writes part and chunk length at OUT.
 *
 * @param framePtr in FRAME
 * @returns OK, BAD_TAG or BAD_PADDING
 *
 * After failure: no text is in the frame.
 */
export function openFrame(keyPtr: usize, framePtr: usize): i32 {
  const text = framePtr + HEADER_SIZE;
  const len = textSize();
  const status = open(keyPtr, text, len);
  if (status != OK) return status;
  findEnd(text, len);
  if (pub32(OUT + 4) >= 0) return OK;
  wipe(text, len);
  return BAD_PADDING;
}

/**
 * Finds the end mark without branching on text: OUT + 4 becomes the chunk length, or -2 when there is no
 * end mark or bit 6 of part is set; OUT becomes part.
 *
 * By words from the one on that ends with the byte behind part. The last one that is not zero is looked at byte by byte.
 */
function findEnd(text: usize, len: i32): void {
  let last: i32 = 0;
  let lastAt = 0;
  let mask = 0xff << 24;
  for (let at = -2; at < len; at += 4) {
    const word: i32 = load<u32>(text + at) & mask;
    mask = -1;
    const isText = (word | -word) >> 31;
    last ^= (last ^ word) & isText;
    lastAt ^= (lastAt ^ at) & isText;
  }
  // Zero is `rest` only where the mark is the last byte that is not zero; only then has the sum bit 31 set.
  let end = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const rest = (last >>> shift) ^ END_MARK;
    end |= ++lastAt & (((rest - 1) & ~rest) >> 31);
  }
  const part: i32 = load<u8>(text);
  store<u32>(OUT, part);
  store<u32>(OUT, pub32(OUT + 4) | ((end & (((part >> 6) & 1) - 1)) - FRAMING), 4);
}
