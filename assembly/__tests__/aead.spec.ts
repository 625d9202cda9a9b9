import { open, seal } from "../kat";
import { state as ascon } from "../ascon-p";
import { BAD_TAG, OK } from "../status";
import { STATE_SIZE, state as xoodoo } from "../xoodoo";

const KEY = memory.data(32, 8);
const NONCE = memory.data(16, 8);
const TOPIC = memory.data(32, 8);
const TEXT_MOST: i32 = 49;
/** The text and its tag behind it, as in a frame. */
const FRAME = memory.data(TEXT_MOST + 16, 8);
const SEALED = memory.data(TEXT_MOST + 16, 8);

function count(ptr: usize, len: i32, first: i32): void {
  for (let i = 0; i < len; ++i) store<u8>(ptr + i, first + i);
}

function prepare(suite: i32, topicLen: i32, textLen: i32, tagLen: i32): void {
  count(KEY, 32, 1);
  count(NONCE, 16, 0x40);
  count(TOPIC, topicLen, 0x60);
  count(FRAME, textLen, 0x80);
  seal(suite, KEY, NONCE, TOPIC, topicLen, FRAME, textLen, FRAME + textLen, tagLen);
  memory.copy(SEALED, FRAME, textLen + tagLen);
}

function openFrame(suite: i32, topicLen: i32, textLen: i32, tagLen: i32): i32 {
  return open(suite, KEY, NONCE, TOPIC, topicLen, FRAME, textLen, FRAME + textLen, tagLen);
}

function isText(textLen: i32): bool {
  let bits = 0;
  for (let i = 0; i < textLen; ++i) bits |= load<u8>(FRAME + i) ^ (<u8>(0x80 + i));
  return bits == 0;
}

function isZero(ptr: usize, len: i32): bool {
  let bits = 0;
  for (let i = 0; i < len; ++i) bits |= load<u8>(ptr + i);
  return bits == 0;
}

/** Whether nothing is left in the states. */
function isWiped(): bool {
  return (ascon.S0 | ascon.S1 | ascon.S2 | ascon.S3 | ascon.S4) == 0 && isZero(xoodoo, STATE_SIZE);
}

/** Flips each bit of len bytes in turn and expects a refusal that leaves no text. */
function refuseFlips(suite: i32, ptr: usize, len: i32, textLen: i32, tagLen: i32): void {
  for (let bit = 0; bit < 8 * len; ++bit) {
    prepare(suite, 5, textLen, tagLen);
    const at = ptr + (bit >> 3);
    const mask = 1 << (bit & 7);
    store<u8>(at, load<u8>(at) ^ (mask as u8));
    const status = openFrame(suite, 5, textLen, tagLen);
    expect(status == BAD_TAG && isZero(FRAME, textLen) && isWiped()).toBe(true);
  }
}

describe("aead", () => {
  it("opens what it sealed, at every length, in every suite, with both tags", () => {
    for (let suite = 0; suite < 4; ++suite) {
      for (let tagLen = 8; tagLen <= 16; tagLen += 8) {
        for (let textLen = 0; textLen <= TEXT_MOST; ++textLen) {
          prepare(suite, textLen & 31, textLen, tagLen);
          expect(isWiped()).toBe(true);
          expect(openFrame(suite, textLen & 31, textLen, tagLen)).toBe(OK);
          expect(isText(textLen) && isWiped()).toBe(true);
          expect(memory.compare(FRAME + textLen, SEALED + textLen, tagLen)).toBe(0);
        }
      }
    }
  });

  it("refuses every flipped bit of tag, ciphertext, nonce and topic, and leaves no text", () => {
    for (let suite = 0; suite < 4; ++suite) {
      for (let tagLen = 8; tagLen <= 16; tagLen += 8) {
        refuseFlips(suite, FRAME, 18 + tagLen, 18, tagLen);
        refuseFlips(suite, NONCE, 16, 18, tagLen);
        refuseFlips(suite, TOPIC, 5, 18, tagLen);
      }
    }
  });

  it("refuses every flipped bit of the key it uses", () => {
    for (let suite = 0; suite < 4; ++suite) refuseFlips(suite, KEY, suite & 1 ? 16 : 32, 18, 16);
  });

  it("refuses a byte moved from the topic into the text, even under SIV", () => {
    // The tag of a SIV suite is over topic || text; topicLen in the nonce tells them apart.
    for (let suite = 0; suite < 4; ++suite) {
      prepare(suite, 5, 18, 16);
      store<u8>(NONCE, load<u8>(NONCE) ^ 1);
      expect(openFrame(suite, 4, 18, 16)).toBe(BAD_TAG);
    }
  });

  it("refuses a tag of zeros", () => {
    for (let suite = 0; suite < 4; ++suite) {
      prepare(suite, 5, 18, 16);
      memory.fill(FRAME + 18, 0, 16);
      expect(openFrame(suite, 5, 18, 16)).toBe(BAD_TAG);
      expect(isZero(FRAME, 18)).toBe(true);
    }
  });

  it("gives SIV suites the same frame twice, and another for any other text", () => {
    for (let suite = 0; suite < 4; suite += 2) {
      prepare(suite, 5, 18, 16);
      count(FRAME, 18, 0x80);
      seal(suite, KEY, NONCE, TOPIC, 5, FRAME, 18, FRAME + 18, 16);
      expect(memory.compare(FRAME, SEALED, 34)).toBe(0);
      count(FRAME, 18, 0x80);
      store<u8>(FRAME + 17, 0);
      seal(suite, KEY, NONCE, TOPIC, 5, FRAME, 18, FRAME + 18, 16);
      expect(memory.compare(FRAME, SEALED, 17)).not.toBe(0);
    }
  });
});
