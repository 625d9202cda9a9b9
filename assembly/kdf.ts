/*
 * Key derivation and digests. SPEC section 3, S-6 to S-8.
 *
 * Times depend on suite and lengths alone. Nothing is left of keys and states
 * after a call.
 */
import * as ascon from "./ascon";
import * as xoodyak from "./xoodyak";

// Labels: 7 bytes of ASCII, little-endian, top byte zero.
export const A1_ROOT: u64 = 0x746f6f722d3141;
export const A1_SEED: u64 = 0x646565732d3141;
export const A1_TREE: u64 = 0x656572742d3141;
export const A1_SEND: u64 = 0x646e65732d3141;
export const A1_STEP: u64 = 0x706574732d3141;
export const A1_LOCK: u64 = 0x6b636f6c2d3141;
export const A1_SYNC: u64 = 0x636e79732d3141;
export const A1_NEXT: u64 = 0x7478656e2d3141;
export const A1_SESS: u64 = 0x737365732d3141;
export const A1_STOR: u64 = 0x726f74732d3141;
export const A1_CHAN: u64 = 0x6e6168632d3141;

const KEY_SIZE: i32 = 16;

/**
 * Derives a key from a key.
 *
 * @param suite 0..3; 2 and 3 only if the build has Xoodyak
 * @param keyPtr in, 16 bytes
 * @param label one of the A1_ constants
 * @param contextPtr in, contextLen bytes
 * @param outPtr out, outLen bytes
 * @param outLen 1..64
 *
 * Overlap: out may be key or context. Any alignment.
 */
export function derive(
  suite: i32,
  keyPtr: usize,
  label: u64,
  contextPtr: usize,
  contextLen: i32,
  outPtr: usize,
  outLen: i32,
): void {
  if (AMP_XOODYAK) {
    if (suite & 2) return deriveXoodyak(keyPtr, label, contextPtr, contextLen, outPtr, outLen);
  }
  hashLabel(label, keyPtr, KEY_SIZE, contextPtr, contextLen, outPtr, outLen);
}

function deriveXoodyak(
  keyPtr: usize,
  label: u64,
  contextPtr: usize,
  contextLen: i32,
  outPtr: usize,
  outLen: i32,
): void {
  xoodyak.hashInit();
  xoodyak.absorbLabel(label);
  xoodyak.absorbBegin();
  xoodyak.absorb(keyPtr, KEY_SIZE);
  xoodyak.absorbEnd();
  xoodyak.absorbBegin();
  xoodyak.absorb(contextPtr, contextLen);
  xoodyak.absorbEnd();
  xoodyak.squeeze(outPtr, outLen);
  xoodyak.wipe();
}

/**
 * Ascon-CXOF128 of a || b with a label as customization.
 *
 * @param label one of the A1_ constants
 * @param aPtr in, aLen bytes
 * @param bPtr in, bLen bytes
 * @param outPtr out, outLen bytes
 * @param outLen 1..64
 *
 * Overlap: out may be a or b. Any alignment.
 */
export function hashLabel(
  label: u64,
  aPtr: usize,
  aLen: i32,
  bPtr: usize,
  bLen: i32,
  outPtr: usize,
  outLen: i32,
): void {
  ascon.cxof128Label(label);
  ascon.absorb(aPtr, aLen);
  ascon.absorb(bPtr, bLen);
  ascon.endAbsorb();
  ascon.squeeze(outPtr, outLen);
  ascon.wipe();
}
