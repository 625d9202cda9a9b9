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
import { BLOCK, lane, P12, P8, permute, permuteBlocks, state, wipeState, wordOf } from "./ascon-p";
import { ABSORB, DECRYPT } from "./bytes";

/** Bytes of a word of the state, and rate of the hash modes. */
const WORD: i32 = 8;
const AEAD_RATE: i32 = BLOCK;

// Initial values of 4.1 and 5.1 to 5.3.
const AEAD128_IV: u64 = 0x00001000808c0001;
const HASH256_IV: u64 = 0x0000080100cc0002;
const XOF128_IV: u64 = 0x0000080000cc0003;
const CXOF128_IV: u64 = 0x0000080000cc0004;

/** Rate in bytes: AEAD_RATE or WORD. */
let rate: i32 = 0;
/** Bytes of the present block that the state has taken in, 0..rate-1. */
let pos: i32 = 0;

/** Takes len bytes at ptr in; ENCRYPT and DECRYPT also replace them. */
function duplex(ptr: usize, len: i32, mode: i32): void {
  while (len) {
    if (AMP_PROFILE && rate == BLOCK && !pos && len >= BLOCK) {
      const blocks = len & -BLOCK;
      permuteBlocks(ptr, blocks, mode);
      ptr += blocks;
      len -= blocks;
      continue;
    }
    const word = wordOf(pos < WORD ? state.S0 : state.S1);
    let next: u64;
    let n = WORD;
    if ((pos & 7) == 0 && len >= WORD) {
      const x = load<u64>(ptr);
      const y = x ^ word;
      if (mode != ABSORB) store<u64>(ptr, y);
      next = mode == DECRYPT ? x : y;
    } else {
      n = 1;
      const shift: u64 = (pos & 7) << 3;
      const x: u64 = load<u8>(ptr);
      const y: u64 = (x ^ (word >> shift)) & 0xff;
      if (mode != ABSORB) store<u8>(ptr, y);
      next = word ^ ((mode == DECRYPT ? y : x) << shift);
    }
    if (pos < WORD) state.S0 = lane(next);
    else state.S1 = lane(next);
    ptr += n;
    len -= n;
    pos += n;
    if (pos == rate) {
      pos = 0;
      permute(rate == AEAD_RATE ? P8 : P12);
    }
  }
}

/** Ends the block: a byte 1, then zeros (Algorithm 2). */
function pad(): void {
  const bit = lane((<u64>1) << ((pos & 7) << 3));
  if (pos < WORD) state.S0 ^= bit;
  else state.S1 ^= bit;
  pos = 0;
}

/** Absorbs len bytes at ptr: associated data, message or customization. */
export function absorb(ptr: usize, len: i32): void {
  duplex(ptr, len, ABSORB);
}

/** XORs a key of 16 bytes into S3 and S4. */
function addKey(keyPtr: usize): void {
  state.S3 ^= lane(load<u64>(keyPtr));
  state.S4 ^= lane(load<u64>(keyPtr, 8));
}

/**
 * Begins Ascon-AEAD128 (4.1, initialization).
 *
 * @param keyPtr in, 16 bytes
 * @param noncePtr in, 16 bytes
 */
export function aeadInit(keyPtr: usize, noncePtr: usize): void {
  state.S0 = lane(AEAD128_IV);
  state.S1 = lane(load<u64>(keyPtr));
  state.S2 = lane(load<u64>(keyPtr, 8));
  state.S3 = lane(load<u64>(noncePtr));
  state.S4 = lane(load<u64>(noncePtr, 8));
  permute(P12);
  addKey(keyPtr);
  rate = AEAD_RATE;
  pos = 0;
}

/** Ends the associated data. adLen: its length over all calls, possibly 0. */
export function aeadEndAd(adLen: i32): void {
  if (adLen) {
    pad();
    permute(P8);
  }
  state.S4 ^= lane(0x8000000000000000);
}

/**
 * Encrypts or decrypts in place.
 *
 * @param ptr in and out, len bytes
 * @param mode ENCRYPT or DECRYPT
 */
export function aeadCrypt(ptr: usize, len: i32, mode: i32): void {
  duplex(ptr, len, mode);
}

/**
 * Ends the text and gives the tag (4.1, finalization).
 *
 * @param keyPtr in, 16 bytes: the key of aeadInit
 * @param tagPtr out, 16 bytes
 */
export function aeadTag(keyPtr: usize, tagPtr: usize): void {
  pad();
  state.S2 ^= lane(load<u64>(keyPtr));
  state.S3 ^= lane(load<u64>(keyPtr, 8));
  permute(P12);
  addKey(keyPtr);
  store<u64>(tagPtr, wordOf(state.S3));
  store<u64>(tagPtr, wordOf(state.S4), 8);
}

function hashInit(iv: u64): void {
  wipeState();
  state.S0 = lane(iv);
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
  state.S0 ^= lane((<u64>zLen) << 3);
  permute(P12);
  absorb(zPtr, zLen);
  endAbsorb();
}

/**
 * Begins Ascon-CXOF128 with a customization string of 7 bytes.
 *
 * @param label its bytes, little-endian, top byte zero
 */
export function cxof128Label(label: u64): void {
  // The state after the initial value and the length, 56 bits: 24 rounds saved.
  state.S0 = lane(0xc8997703d24c2593 ^ label);
  state.S1 = lane(0xa0698e9e4c303669);
  state.S2 = lane(0xcfced490ee9f342b);
  state.S3 = lane(0xe0c407aeedc64342);
  state.S4 = lane(0x24a4f7bff9eac681);
  rate = WORD;
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
    store<u8>(outPtr + i, wordOf(state.S0) >> ((i & 7) << 3));
  }
}

export { wipeState as wipe };
