/*
 * Frames: header, nonce, padding. SPEC section 6.
 *
 * The frame lies in FRAME, its topic (or channel id) wherever the caller says.
 * Nothing here knows which key or whether a counter is fresh.
 */
import { open, seal } from "./aead";
import { pub8, pub16, pub32, wipe } from "./bytes";
import { chunkMax, hintOf, suiteOf, tagSize } from "./form";
import { FRAME, HEADER_SIZE, NONCE, OUT } from "./layout";
import { BAD_PADDING, OK } from "./status";

export const PART_LAST: i32 = 128;
export const TOPIC_MODE_LEN: i32 = 0xffff;

const CHUNK: usize = FRAME + HEADER_SIZE + 1;
const END_MARK: i32 = 0x80;

/** Writes A16 (SPEC F-1) at NONCE. */
export function setNonce(
  form: i32,
  size: i32,
  sender: i32,
  generation: i32,
  step: i32,
  counter: i32,
  topicLen: i32,
): void {
  store<u8>(NONCE, form);
  store<u8>(NONCE, size >> 3, 1);
  store<u16>(NONCE, sender, 2);
  store<u32>(NONCE, generation, 4);
  store<u16>(NONCE, step, 8);
  store<u32>(NONCE, counter, 10);
  store<u16>(NONCE, topicLen, 14);
}

/**
 * Seals the chunk at FRAME + 7 into a frame in place, with the nonce at NONCE.
 *
 * @param keyPtr in, sender key
 * @param adPtr in, adLen bytes: topic, or channel id in topic mode 1
 * @param part part byte (SPEC F-3)
 * @param chunkLen 0..chunkMax
 */
export function sealFrame(keyPtr: usize, adPtr: usize, adLen: i32, part: i32, chunkLen: i32): void {
  const form = pub8(NONCE);
  const size = pub8(NONCE + 1) << 3;
  const tag = tagSize(form);
  store<u8>(FRAME, form);
  store<u8>(FRAME, hintOf(pub8(NONCE + 4), pub8(NONCE + 8)), 1);
  store<u16>(FRAME, pub16(NONCE + 2), 2);
  store<u16>(FRAME, pub16(NONCE + 10), 4);
  store<u8>(FRAME, part, 6);
  store<u8>(CHUNK + chunkLen, END_MARK);
  wipe(CHUNK + chunkLen + 1, chunkMax(form, size) - chunkLen);
  seal(
    suiteOf(form),
    keyPtr,
    NONCE,
    adPtr,
    adLen,
    FRAME + HEADER_SIZE,
    size - HEADER_SIZE - tag,
    FRAME + size - tag,
    tag,
  );
}

/**
 * Opens the frame in FRAME in place, with the nonce at NONCE; writes part and chunk length at OUT.
 *
 * @returns OK, BAD_TAG or BAD_PADDING
 *
 * After failure: no text is in FRAME.
 */
export function openFrame(keyPtr: usize, adPtr: usize, adLen: i32): i32 {
  const form = pub8(NONCE);
  const size = pub8(NONCE + 1) << 3;
  const tag = tagSize(form);
  const textLen = size - HEADER_SIZE - tag;
  const status = open(
    suiteOf(form),
    keyPtr,
    NONCE,
    adPtr,
    adLen,
    FRAME + HEADER_SIZE,
    textLen,
    FRAME + size - tag,
    tag,
  );
  if (status != OK) return status;
  findEnd(FRAME + HEADER_SIZE, textLen);
  if (pub32(OUT + 4) == 0) {
    wipe(FRAME, size);
    return BAD_PADDING;
  }
  store<u32>(OUT, pub32(OUT + 4) - 2, 4);
  return OK;
}

/**
 * Finds the end mark without branching on text: OUT + 4 becomes chunk length + 2, or 0 when there is no
 * end mark or bit 6 of part is set; OUT becomes part.
 */
function findEnd(textPtr: usize, textLen: i32): void {
  let found = 0;
  let end = 0;
  for (let i = textLen - 1; i > 0; --i) {
    const byte: i32 = load<u8>(textPtr + i);
    // byte is 0..255: only 0 - 1 borrows into bit 31.
    const first = ~((byte - 1) >> 31) & 1 & ~found;
    const mark = (((byte ^ END_MARK) - 1) >> 31) & 1;
    end |= (i + 1) & -(first & mark);
    found |= first;
  }
  const part: i32 = load<u8>(textPtr);
  store<u32>(OUT, part);
  store<u32>(OUT, end & (((part >> 6) & 1) - 1), 4);
}
