/** Ascon-AEAD128 and Ascon-CXOF128 of NIST SP 800-232, byte strings only. */

import { at, type Bytes, concat, equal, u32, zeros } from "./bytes.ts";

const ROUND_CONSTANTS = [0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87, 0x78, 0x69, 0x5a, 0x4b];

// The words S0..S4, each as its low half at 2i and its high half at 2i + 1.
type State = Int32Array;

const AEAD128_IV = [0x808c0001, 0x00001000] as const;
const CXOF128_IV = [0x00cc0004, 0x00000800] as const;
const AEAD_RATE = 16;
const XOF_RATE = 8;
const TAG_SIZE = 16;

/** SP 800-232, section 3: constant addition, substitution layer, linear diffusion layer. */
export function permute(s: State, rounds: number): void {
  let al = s[0] as number;
  let ah = s[1] as number;
  let bl = s[2] as number;
  let bh = s[3] as number;
  let cl = s[4] as number;
  let ch = s[5] as number;
  let dl = s[6] as number;
  let dh = s[7] as number;
  let el = s[8] as number;
  let eh = s[9] as number;
  for (let r = 12 - rounds; r < 12; r++) {
    cl ^= ROUND_CONSTANTS[r] as number;

    al ^= el;
    ah ^= eh;
    el ^= dl;
    eh ^= dh;
    cl ^= bl;
    ch ^= bh;
    const vl = al ^ (~bl & cl);
    const vh = ah ^ (~bh & ch);
    const wl = bl ^ (~cl & dl);
    const wh = bh ^ (~ch & dh);
    const xl = cl ^ (~dl & el);
    const xh = ch ^ (~dh & eh);
    const yl = dl ^ (~el & al);
    const yh = dh ^ (~eh & ah);
    const zl = el ^ (~al & bl);
    const zh = eh ^ (~ah & bh);
    const pl = vl ^ zl;
    const ph = vh ^ zh;
    const ql = wl ^ vl;
    const qh = wh ^ vh;
    const rl = ~xl;
    const rh = ~xh;
    const sl = yl ^ xl;
    const sh = yh ^ xh;

    // S0: 19 and 28
    al = pl ^ ((pl >>> 19) | (ph << 13)) ^ ((pl >>> 28) | (ph << 4));
    ah = ph ^ ((ph >>> 19) | (pl << 13)) ^ ((ph >>> 28) | (pl << 4));
    // S1: 61 = 32 + 29 and 39 = 32 + 7
    bl = ql ^ ((qh >>> 29) | (ql << 3)) ^ ((qh >>> 7) | (ql << 25));
    bh = qh ^ ((ql >>> 29) | (qh << 3)) ^ ((ql >>> 7) | (qh << 25));
    // S2: 1 and 6
    cl = rl ^ ((rl >>> 1) | (rh << 31)) ^ ((rl >>> 6) | (rh << 26));
    ch = rh ^ ((rh >>> 1) | (rl << 31)) ^ ((rh >>> 6) | (rl << 26));
    // S3: 10 and 17
    dl = sl ^ ((sl >>> 10) | (sh << 22)) ^ ((sl >>> 17) | (sh << 15));
    dh = sh ^ ((sh >>> 10) | (sl << 22)) ^ ((sh >>> 17) | (sl << 15));
    // S4: 7 and 41 = 32 + 9
    el = zl ^ ((zl >>> 7) | (zh << 25)) ^ ((zh >>> 9) | (zl << 23));
    eh = zh ^ ((zh >>> 7) | (zl << 25)) ^ ((zl >>> 9) | (zh << 23));
  }
  s[0] = al;
  s[1] = ah;
  s[2] = bl;
  s[3] = bh;
  s[4] = cl;
  s[5] = ch;
  s[6] = dl;
  s[7] = dh;
  s[8] = el;
  s[9] = eh;
}

function xorByte(s: State, offset: number, x: number): void {
  s[offset >> 2] = (s[offset >> 2] as number) ^ (x << (8 * (offset & 3)));
}

function getByte(s: State, offset: number): number {
  return ((s[offset >> 2] as number) >>> (8 * (offset & 3))) & 0xff;
}

function xorBytes(s: State, offset: number, bytes: Bytes): void {
  for (let i = 0; i < bytes.length; i++) xorByte(s, offset + i, at(bytes, i));
}

// SP 800-232, Algorithms 1 and 2: parse into blocks, pad the last with a one bit, permute after each.
function absorbPadded(s: State, rate: number, rounds: number, input: Bytes): void {
  let offset = 0;
  for (; input.length - offset >= rate; offset += rate) {
    xorBytes(s, 0, input.subarray(offset, offset + rate));
    permute(s, rounds);
  }
  xorBytes(s, 0, input.subarray(offset));
  xorByte(s, input.length - offset, 0x01);
  permute(s, rounds);
}

function start(key: Bytes, nonce: Bytes, ad: Bytes): State {
  const s = new Int32Array(10);
  s[0] = AEAD128_IV[0];
  s[1] = AEAD128_IV[1];
  xorBytes(s, 8, key);
  xorBytes(s, 24, nonce);
  permute(s, 12);
  xorBytes(s, 24, key);
  if (ad.length > 0) absorbPadded(s, AEAD_RATE, 8, ad);
  xorByte(s, 39, 0x80);
  return s;
}

function finish(s: State, key: Bytes): Bytes {
  xorBytes(s, 16, key);
  permute(s, 12);
  return Uint8Array.from({ length: TAG_SIZE }, (_, i) => getByte(s, 24 + i) ^ at(key, i));
}

// The same walk both ways: the rate always takes the plaintext (SP 800-232, Algorithms 3 and 4).
function crypt(s: State, input: Bytes, decrypt: boolean): Bytes {
  const out = new Uint8Array(input.length);
  for (let i = 0; i < input.length; i++) {
    const place = i % AEAD_RATE;
    const x = at(input, i);
    const y = x ^ getByte(s, place);
    out[i] = y;
    xorByte(s, place, decrypt ? y : x);
    if (place === AEAD_RATE - 1) permute(s, 8);
  }
  xorByte(s, input.length % AEAD_RATE, 0x01);
  return out;
}

/** Ascon-AEAD128.enc. */
export function asconEncrypt(
  key: Bytes,
  nonce: Bytes,
  ad: Bytes,
  text: Bytes,
): { cipher: Bytes; tag: Bytes } {
  const s = start(key, nonce, ad);
  const cipher = crypt(s, text, false);
  return { cipher, tag: finish(s, key) };
}

/** The inverse of `asconEncrypt` without a verdict: the tag is what the recovered text would have. */
export function asconDecrypt(
  key: Bytes,
  nonce: Bytes,
  ad: Bytes,
  cipher: Bytes,
): { text: Bytes; tag: Bytes } {
  const s = start(key, nonce, ad);
  const text = crypt(s, cipher, true);
  return { text, tag: finish(s, key) };
}

/** Ascon-AEAD128.dec: null when the 16 bytes of tag differ. */
export function asconOpen(key: Bytes, nonce: Bytes, ad: Bytes, cipher: Bytes, tag: Bytes): Bytes | null {
  const { text, tag: expected } = asconDecrypt(key, nonce, ad, cipher);
  return equal(tag, expected) ? text : null;
}

/** Ascon-CXOF128 with customization z. */
export function asconCxof(z: Bytes, message: Bytes, n: number): Bytes {
  const s = new Int32Array(10);
  s[0] = CXOF128_IV[0];
  s[1] = CXOF128_IV[1];
  permute(s, 12);
  absorbPadded(s, XOF_RATE, 12, concat(u32(z.length * 8), zeros(4), z));
  absorbPadded(s, XOF_RATE, 12, message);
  const out = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    if (i > 0 && i % XOF_RATE === 0) permute(s, 12);
    out[i] = getByte(s, i % XOF_RATE);
  }
  return out;
}
