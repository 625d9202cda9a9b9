/*
 * Bytes: wiping and comparing them, and the loads whose results may decide
 * something.
 *
 * Whatever is in linear memory counts as secret unless it was read by pub8,
 * pub16 or pub32; the static checker of the build takes exactly these three
 * for public.
 */

/** What a mode does with the bytes at an address: only takes them in, or also replaces them. */
export const ABSORB: i32 = 0;
export const ENCRYPT: i32 = 1;
export const DECRYPT: i32 = 2;

/** Makes len bytes at ptr zero. Any alignment; len may be 0. */
export function wipe(ptr: usize, len: i32): void {
  memory.fill(ptr, 0, len);
}

/** Copies the 16 bytes of a key, tag or the like. Any alignment. */
export function copy16(toPtr: usize, fromPtr: usize): void {
  memory.copy(toPtr, fromPtr, 16);
}

/** Returns the public byte at ptr. */
export function pub8(ptr: usize): i32 {
  return load<u8>(ptr);
}

/** Returns the public u16 at ptr, any alignment. */
export function pub16(ptr: usize): i32 {
  return load<u16>(ptr);
}

/** Returns the public u32 at ptr, any alignment. */
export function pub32(ptr: usize): i32 {
  return load<u32>(ptr);
}

/**
 * Compares public bytes. Never for tags: it stops at the last difference.
 *
 * @param aPtr in, len bytes, any alignment
 * @param bPtr in, len bytes, any alignment; may overlap
 * @param len 0 or more
 * @returns 1 if all bytes agree, else 0
 */
export function equalPublic(aPtr: usize, bPtr: usize, len: i32): i32 {
  while (len) {
    --len;
    if (pub8(aPtr + len) != pub8(bPtr + len)) return 0;
  }
  return 1;
}
