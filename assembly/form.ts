/*
 * What the form byte of a channel says, and the epoch hint. SPEC section 6.
 */
import { HEADER_SIZE } from "./layout";

/** Tag size in bytes. */
export function tagSize(form: i32): i32 {
  return 16 - ((form & 16) >> 1);
}

/** Suite, 0..3. */
export function suiteOf(form: i32): i32 {
  return (form >> 2) & 3;
}

/** Size of a sender key in bytes: 32 for SIV suites, 16 for AEAD suites. */
export function keySizeOf(form: i32): i32 {
  return 32 >> ((form >> 2) & 1);
}

/** Largest chunk of a frame of the given size in bytes (SPEC section 1). */
export function chunkMax(form: i32, size: i32): i32 {
  return size - tagSize(form) - HEADER_SIZE - 2;
}

/** Second header byte of an epoch. */
export function hintOf(generation: i32, step: i32): i32 {
  return ((generation & 15) << 4) | (step & 15);
}
