import {
  absorb,
  aeadCrypt,
  aeadEndAd,
  aeadInit,
  aeadTag,
  cxof128Init,
  cxof128Label,
  endAbsorb,
  hash256Init,
  squeeze,
  wipe,
  xof128Init,
} from "../ascon";
import { P8, permute, state } from "../ascon-p";
import { DECRYPT, ENCRYPT } from "../bytes";
import { A1_CHAN } from "../kdf";

const KEY = memory.data(24, 8);
const NONCE = memory.data(24, 8);
const AD = memory.data(48, 8);
const TEXT = memory.data(48, 8);
const TAG = memory.data(24, 8);
const TEXT2 = memory.data(48, 8);
const TAG2 = memory.data(24, 8);
const OUT = memory.data(80, 8);
const OUT2 = memory.data(80, 8);
const LABEL = memory.data(8, 8);

/** Twice the rate of the AEAD and one. */
const MOST: i32 = 33;
const HASH_MOST: i32 = 17;

// States of the official case with associated data 30, from an independent model.
const INIT_S0: u64 = 0xcde34900cdfce2c8;
const INIT_S4: u64 = 0x323c9da505d9b927;
const AD_S0: u64 = 0xbd74820da95f31b6;
const AD_S4: u64 = 0xa316ddb9e9f20395;

function count(ptr: usize, len: i32, first: i32): void {
  for (let i = 0; i < len; ++i) store<u8>(ptr + i, first + i);
}

function expectEqual(a: usize, b: usize, len: i32): void {
  expect(memory.compare(a, b, len)).toBe(0);
}

function absorbPieces(ptr: usize, len: i32, piece: i32): void {
  for (let i = 0; i < len; i += piece) absorb(ptr + i, min(piece, len - i));
}

function cryptPieces(ptr: usize, len: i32, mode: i32, piece: i32): void {
  for (let i = 0; i < len; i += piece) aeadCrypt(ptr + i, min(piece, len - i), mode);
}

/** Encrypts the first len bytes of 0x20.. in TEXT, in one piece each, tag to TAG. */
function encrypt(adLen: i32, len: i32): void {
  count(KEY, 16, 0);
  count(NONCE, 16, 0x10);
  count(AD, adLen, 0x30);
  count(TEXT, len, 0x20);
  aeadInit(KEY, NONCE);
  absorb(AD, adLen);
  aeadEndAd(adLen);
  aeadCrypt(TEXT, len, ENCRYPT);
  aeadTag(KEY, TAG);
}

describe("ascon: Ascon-AEAD128", () => {
  it("leaves known states after initialization and associated data", () => {
    count(KEY, 16, 0);
    count(NONCE, 16, 0x10);
    aeadInit(KEY, NONCE);
    expect(state.S0).toBe(INIT_S0);
    expect(state.S4).toBe(INIT_S4);
    count(AD, 1, 0x30);
    absorb(AD, 1);
    aeadEndAd(1);
    expect(state.S0).toBe(AD_S0);
    expect(state.S4).toBe(AD_S4);
  });

  it("takes associated data and text in pieces of any size", () => {
    for (let len = 0; len <= MOST; ++len) {
      encrypt(MOST - len, len);
      for (let piece = 1; piece <= 17; piece += 2) {
        count(TEXT2, len, 0x20);
        aeadInit(KEY, NONCE);
        absorbPieces(AD, MOST - len, piece);
        aeadEndAd(MOST - len);
        cryptPieces(TEXT2, len, ENCRYPT, piece);
        aeadTag(KEY, TAG2);
        expectEqual(TEXT, TEXT2, len);
        expectEqual(TAG, TAG2, 16);
      }
    }
  });

  it("decrypts what it encrypted, in pieces of any size", () => {
    for (let len = 0; len <= MOST; ++len) {
      for (let piece = 1; piece <= 17; piece += 2) {
        encrypt(len, len);
        aeadInit(KEY, NONCE);
        absorb(AD, len);
        aeadEndAd(len);
        cryptPieces(TEXT, len, DECRYPT, piece);
        aeadTag(KEY, TAG2);
        count(TEXT2, len, 0x20);
        expectEqual(TEXT, TEXT2, len);
        expectEqual(TAG, TAG2, 16);
      }
    }
  });

  it("takes unaligned pointers", () => {
    encrypt(MOST, MOST);
    for (let shift = 1; shift < 8; ++shift) {
      count(KEY + shift, 16, 0);
      count(NONCE + shift, 16, 0x10);
      count(AD + shift, MOST, 0x30);
      count(TEXT2 + shift, MOST, 0x20);
      aeadInit(KEY + shift, NONCE + shift);
      absorb(AD + shift, MOST);
      aeadEndAd(MOST);
      aeadCrypt(TEXT2 + shift, MOST, ENCRYPT);
      aeadTag(KEY + shift, TAG2 + shift);
      expectEqual(TEXT, TEXT2 + shift, MOST);
      expectEqual(TAG, TAG2 + shift, 16);
    }
  });

  it("separates no associated data from a zero block of it", () => {
    aeadInit(KEY, NONCE);
    aeadEndAd(0);
    const s0 = state.S0;
    aeadInit(KEY, NONCE);
    memory.fill(AD, 0, 16);
    absorb(AD, 16);
    aeadEndAd(16);
    expect(state.S0).not.toBe(s0);
  });
});

describe("ascon: hash modes", () => {
  it("takes a message in pieces of any size", () => {
    for (let len = 0; len <= HASH_MOST; ++len) {
      count(TEXT, len, 0);
      hash256Init();
      absorb(TEXT, len);
      endAbsorb();
      squeeze(OUT, 32);
      for (let piece = 1; piece <= 9; piece += 2) {
        hash256Init();
        absorbPieces(TEXT, len, piece);
        endAbsorb();
        squeeze(OUT2, 32);
        expectEqual(OUT, OUT2, 32);
      }
    }
  });

  it("squeezes outputs that are prefixes of each other", () => {
    xof128Init();
    endAbsorb();
    squeeze(OUT, 64);
    for (let len = 0; len <= 64; ++len) {
      memory.fill(OUT2, 0xee, 80);
      xof128Init();
      endAbsorb();
      squeeze(OUT2 + (len & 7), len);
      expectEqual(OUT, OUT2 + (len & 7), len);
      expect(load<u8>(OUT2 + (len & 7) + len)).toBe(0xee);
    }
  });

  it("begins Ascon-CXOF128 with a label as it does with 7 bytes", () => {
    store<u64>(LABEL, A1_CHAN);
    cxof128Init(LABEL, 7);
    absorb(AD, 9);
    endAbsorb();
    squeeze(OUT, 32);
    cxof128Label(A1_CHAN);
    absorb(AD, 9);
    endAbsorb();
    squeeze(OUT2, 32);
    expectEqual(OUT, OUT2, 32);
  });

  it("does not depend on what was computed before", () => {
    hash256Init();
    endAbsorb();
    squeeze(OUT, 32);
    encrypt(5, 3);
    permute(P8);
    hash256Init();
    endAbsorb();
    squeeze(OUT2, 32);
    expectEqual(OUT, OUT2, 32);
  });

  it("is wiped to zero", () => {
    wipe();
    expect(state.S0 | state.S1 | state.S2 | state.S3 | state.S4).toBe(0);
  });
});
