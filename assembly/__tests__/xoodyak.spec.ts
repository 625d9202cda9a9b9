import { DECRYPT, ENCRYPT } from "../bytes";
import {
  absorb,
  absorbBegin,
  absorbEnd,
  absorbLabel,
  crypt,
  hashInit,
  keyedInit,
  squeeze,
  wipe,
} from "../xoodyak";
import { STATE_SIZE, state } from "../xoodoo";

const KEY = memory.data(24, 8);
const ID = memory.data(24, 8);
const AD = memory.data(104, 8);
const TEXT = memory.data(104, 8);
const TEXT2 = memory.data(104, 8);
const OUT = memory.data(80, 8);
const OUT2 = memory.data(80, 8);

/** Twice Rkin and one; twice Rhash and one. */
const MOST: i32 = 89;
const HASH_MOST: i32 = 33;

function count(ptr: usize, len: i32, first: i32): void {
  for (let i = 0; i < len; ++i) store<u8>(ptr + i, first + i);
}

function expectEqual(a: usize, b: usize, len: i32): void {
  expect(memory.compare(a, b, len)).toBe(0);
}

function begin(): void {
  count(KEY, 16, 0);
  count(ID, 16, 0x10);
  keyedInit(KEY, ID);
}

/** One Absorb of len bytes in pieces. */
function absorbPieces(ptr: usize, len: i32, piece: i32): void {
  absorbBegin();
  for (let i = 0; i < len; i += piece) absorb(ptr + i, min(piece, len - i));
  absorbEnd();
}

describe("xoodyak: keyed mode", () => {
  it("takes one Absorb in pieces of any size", () => {
    count(AD, MOST, 0x30);
    for (let len = 0; len <= MOST; ++len) {
      begin();
      absorbPieces(AD, len, MOST);
      squeeze(OUT, 16);
      for (let piece = 1; piece <= 47; piece += 2) {
        begin();
        absorbPieces(AD, len, piece);
        squeeze(OUT2, 16);
        expectEqual(OUT, OUT2, 16);
      }
    }
  });

  it("tells one Absorb from two", () => {
    begin();
    absorbPieces(AD, 24, 24);
    squeeze(OUT, 16);
    begin();
    absorbPieces(AD, 12, 12);
    absorbPieces(AD + 12, 12, 12);
    squeeze(OUT2, 16);
    expect(memory.compare(OUT, OUT2, 16)).not.toBe(0);
  });

  it("decrypts what it encrypted, at every length", () => {
    for (let len = 0; len <= MOST; ++len) {
      count(TEXT, len, 0x20);
      count(TEXT2, len, 0x20);
      begin();
      crypt(TEXT, len, ENCRYPT);
      squeeze(OUT, 16);
      begin();
      crypt(TEXT, len, DECRYPT);
      squeeze(OUT2, 16);
      expectEqual(TEXT, TEXT2, len);
      expectEqual(OUT, OUT2, 16);
    }
  });

  it("takes unaligned pointers", () => {
    count(TEXT, MOST, 0x20);
    begin();
    absorbPieces(AD, 31, 31);
    crypt(TEXT, MOST, ENCRYPT);
    squeeze(OUT, 64);
    for (let shift = 1; shift < 8; ++shift) {
      count(KEY + shift, 16, 0);
      count(ID + shift, 16, 0x10);
      count(TEXT2 + shift, MOST, 0x20);
      keyedInit(KEY + shift, ID + shift);
      absorbPieces(AD, 31, 31);
      crypt(TEXT2 + shift, MOST, ENCRYPT);
      squeeze(OUT2 + shift, 64);
      expectEqual(TEXT, TEXT2 + shift, MOST);
      expectEqual(OUT, OUT2 + shift, 64);
    }
  });
});

describe("xoodyak: hash mode", () => {
  it("takes a message in pieces of any size", () => {
    for (let len = 0; len <= HASH_MOST; ++len) {
      hashInit();
      absorbPieces(AD, len, HASH_MOST);
      squeeze(OUT, 32);
      for (let piece = 1; piece <= 17; piece += 2) {
        hashInit();
        absorbPieces(AD, len, piece);
        squeeze(OUT2, 32);
        expectEqual(OUT, OUT2, 32);
      }
    }
  });

  it("absorbs a label as it does 7 bytes", () => {
    count(AD, 7, 0x41);
    hashInit();
    absorbLabel(0x47464544434241);
    squeeze(OUT, 32);
    hashInit();
    absorbPieces(AD, 7, 7);
    squeeze(OUT2, 32);
    expectEqual(OUT, OUT2, 32);
  });

  it("squeezes outputs that are prefixes of each other", () => {
    hashInit();
    absorbPieces(AD, 5, 5);
    squeeze(OUT, 64);
    for (let len = 1; len <= 64; ++len) {
      memory.fill(OUT2, 0xee, 80);
      hashInit();
      absorbPieces(AD, 5, 5);
      squeeze(OUT2, len);
      expectEqual(OUT, OUT2, len);
      expect(load<u8>(OUT2 + len)).toBe(0xee);
    }
  });

  it("does not depend on what was computed before", () => {
    hashInit();
    absorbPieces(AD, 5, 5);
    squeeze(OUT, 32);
    begin();
    absorbPieces(AD, 50, 50);
    hashInit();
    absorbPieces(AD, 5, 5);
    squeeze(OUT2, 32);
    expectEqual(OUT, OUT2, 32);
  });

  it("is wiped to zero", () => {
    wipe();
    for (let i = 0; i < STATE_SIZE; ++i) expect(load<u8>(state + i)).toBe(0);
  });
});
