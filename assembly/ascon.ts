/*
 * Ascon-AEAD128, Ascon-Hash256, Ascon-XOF128 and Ascon-CXOF128 of NIST SP
 * 800-232, in pieces. One computation runs at a time; an input may come in any
 * number of calls, cut anywhere.
 *
 * Pointers may have any alignment. Times depend on lengths alone.
 *
 *     aeadInit  absorb*  aeadEndAd  aeadCrypt*  aeadTag  wipe
 *     hash256Init | xof128Init | cxof128Init | cxof128Label  absorb*  endAbsorb  squeeze  wipe
 */
import { P12, P8, permute, state, wipeState } from "./ascon-p";

/** Bytes in one word of the state, and the rate of the hash modes. */
const WORD: i32 = 8;
const AEAD_RATE: i32 = 16;

// Initial values, SP 800-232 Table 14.
const AEAD128_IV: u64 = 0x00001000808c0001;
const HASH256_IV: u64 = 0x0000080100cc0002;
const XOF128_IV: u64 = 0x0000080000cc0003;
const CXOF128_IV: u64 = 0x0000080000cc0004;

/** Rate in bytes: AEAD_RATE or WORD. */
let rate: i32 = 0;
/** Bytes of the block that the state has taken in, 0..rate-1. */
let pos: i32 = 0;

/** XORs x, moved up to byte pos of the block, into the state. */
function add(x: u64): void {
  x <<= (pos & 7) << 3;
  if (pos < WORD) state.S0 ^= x;
  else state.S1 ^= x;
}

/** Counts n bytes as taken in and permutes when the block is full. */
function advance(n: i32): void {
  pos += n;
  if (pos == rate) {
    pos = 0;
    permute(rate == AEAD_RATE ? P8 : P12);
  }
}

/** Ends the block: a byte 1, then zeros (Algorithm 2). */
function pad(): void {
  add(1);
  pos = 0;
}

/** Bytes that can be handled next: a whole word if one is left and pos is on its border. */
function piece(len: i32): i32 {
  return (pos & 7) == 0 && len >= WORD ? WORD : 1;
}

/** Absorbs len bytes at ptr: associated data, message or customization. */
export function absorb(ptr: usize, len: i32): void {
  while (len) {
    const n = piece(len);
    add(n == WORD ? load<u64>(ptr) : load<u8>(ptr));
    advance(n);
    ptr += n;
    len -= n;
  }
}

/**
 * Begins Ascon-AEAD128 (4.1.1, initialization).
 *
 * @param keyPtr in, 16 bytes
 * @param noncePtr in, 16 bytes
 */
export function aeadInit(keyPtr: usize, noncePtr: usize): void {
  const k0 = load<u64>(keyPtr);
  const k1 = load<u64>(keyPtr, 8);
  state.S0 = AEAD128_IV;
  state.S1 = k0;
  state.S2 = k1;
  state.S3 = load<u64>(noncePtr);
  state.S4 = load<u64>(noncePtr, 8);
  permute(P12);
  state.S3 ^= k0;
  state.S4 ^= k1;
  rate = AEAD_RATE;
  pos = 0;
}

/** Ends the associated data. adLen: its length over all calls, possibly 0. */
export function aeadEndAd(adLen: i32): void {
  if (adLen) {
    pad();
    permute(P8);
  }
  state.S4 ^= 0x8000000000000000;
}

/**
 * Encrypts or decrypts in place.
 *
 * @param ptr in and out, len bytes
 * @param decrypt 1 to decrypt, 0 to encrypt
 */
export function aeadCrypt(ptr: usize, len: i32, decrypt: i32): void {
  while (len) {
    const n = piece(len);
    const stream = (pos < WORD ? state.S0 : state.S1) >> ((pos & 7) << 3);
    if (n == WORD) {
      const x = load<u64>(ptr);
      const y = x ^ stream;
      store<u64>(ptr, y);
      add(decrypt ? y : x);
    } else {
      const x: u64 = load<u8>(ptr);
      const y = x ^ (stream & 0xff);
      store<u8>(ptr, y);
      add(decrypt ? y : x);
    }
    advance(n);
    ptr += n;
    len -= n;
  }
}

/**
 * Ends the text and gives the tag.
 *
 * @param keyPtr in, 16 bytes: the key of aeadInit
 * @param tagPtr out, 16 bytes
 */
export function aeadTag(keyPtr: usize, tagPtr: usize): void {
  const k0 = load<u64>(keyPtr);
  const k1 = load<u64>(keyPtr, 8);
  pad();
  state.S2 ^= k0;
  state.S3 ^= k1;
  permute(P12);
  store<u64>(tagPtr, state.S3 ^ k0);
  store<u64>(tagPtr, state.S4 ^ k1, 8);
}

function hashInit(iv: u64): void {
  wipeState();
  state.S0 = iv;
  permute(P12);
  rate = WORD;
  pos = 0;
}

/** Begins Ascon-Hash256 (5.1); squeeze 32 bytes. */
export function hash256Init(): void {
  hashInit(HASH256_IV);
}

/** Begins Ascon-XOF128 (5.2). */
export function xof128Init(): void {
  hashInit(XOF128_IV);
}

/**
 * Begins Ascon-CXOF128 (5.3).
 *
 * @param zPtr in, zLen bytes: the customization string
 * @param zLen 0..256
 */
export function cxof128Init(zPtr: usize, zLen: i32): void {
  hashInit(CXOF128_IV);
  state.S0 ^= (<u64>zLen) << 3;
  permute(P12);
  absorb(zPtr, zLen);
  endAbsorb();
}

/**
 * Begins Ascon-CXOF128 with a label as customization.
 *
 * @param label 7 bytes, little-endian, top byte zero
 */
export function cxof128Label(label: u64): void {
  // The state after the initial value and the length of Z, 56 bits.
  state.S0 = 0xc8997703d24c2593;
  state.S1 = 0xa0698e9e4c303669;
  state.S2 = 0xcfced490ee9f342b;
  state.S3 = 0xe0c407aeedc64342;
  state.S4 = 0x24a4f7bff9eac681;
  rate = WORD;
  pos = 0;
  add(label);
  pos = 7;
  endAbsorb();
}

/** Ends what was absorbed: a customization string or the message. */
export function endAbsorb(): void {
  pad();
  permute(P12);
}

/** Gives len bytes at outPtr, once for a message. */
export function squeeze(outPtr: usize, len: i32): void {
  for (let i = 0; i < len; ++i) {
    if (i != 0 && (i & 7) == 0) permute(P12);
    store<u8>(outPtr + i, state.S0 >> ((i & 7) << 3));
  }
}

export { wipeState as wipe };
