/*
 * Xoodoo[12]: a state of 3 planes of 4 lanes of 32 bits, kept in linear memory
 * as 48 bytes, lane x of plane y at 16y + 4x, little-endian.
 */

export const STATE_SIZE: i32 = 48;

/** The state. Zero outside of a running computation. */
export const state: usize = memory.data(STATE_SIZE, 8);

const constants = memory.data<u16>([
  0x058, 0x038, 0x3c0, 0x0d0, 0x120, 0x014, 0x060, 0x02c, 0x380, 0x0f0, 0x1a0, 0x012,
]);

/** Applies Xoodoo[12] to the state. */
export function permute(): void {
  let a00 = load<u32>(state, 0);
  let a01 = load<u32>(state, 4);
  let a02 = load<u32>(state, 8);
  let a03 = load<u32>(state, 12);
  let a10 = load<u32>(state, 16);
  let a11 = load<u32>(state, 20);
  let a12 = load<u32>(state, 24);
  let a13 = load<u32>(state, 28);
  let a20 = load<u32>(state, 32);
  let a21 = load<u32>(state, 36);
  let a22 = load<u32>(state, 40);
  let a23 = load<u32>(state, 44);
  let i: usize = 0;
  do {
    // theta, its two rotations one after the other
    let p = a03 ^ a13 ^ a23;
    const e0 = rotl(rotl(p, 9) ^ p, 5);
    p = a00 ^ a10 ^ a20;
    const e1 = rotl(rotl(p, 9) ^ p, 5);
    p = a01 ^ a11 ^ a21;
    const e2 = rotl(rotl(p, 9) ^ p, 5);
    p = a02 ^ a12 ^ a22;
    const e3 = rotl(rotl(p, 9) ^ p, 5);
    // theta's addition with rho west and iota
    const b00 = a00 ^ e0 ^ load<u16>(constants + i);
    const b01 = a01 ^ e1;
    const b02 = a02 ^ e2;
    const b03 = a03 ^ e3;
    const b10 = a13 ^ e3;
    const b11 = a10 ^ e0;
    const b12 = a11 ^ e1;
    const b13 = a12 ^ e2;
    const b20 = rotl(a20 ^ e0, 11);
    const b21 = rotl(a21 ^ e1, 11);
    const b22 = rotl(a22 ^ e2, 11);
    const b23 = rotl(a23 ^ e3, 11);
    // chi with rho east
    a00 = b00 ^ (~b10 & b20);
    a01 = b01 ^ (~b11 & b21);
    a02 = b02 ^ (~b12 & b22);
    a03 = b03 ^ (~b13 & b23);
    a10 = rotl(b10 ^ (~b20 & b00), 1);
    a11 = rotl(b11 ^ (~b21 & b01), 1);
    a12 = rotl(b12 ^ (~b22 & b02), 1);
    a13 = rotl(b13 ^ (~b23 & b03), 1);
    a22 = rotl(b20 ^ (~b00 & b10), 8);
    a23 = rotl(b21 ^ (~b01 & b11), 8);
    a20 = rotl(b22 ^ (~b02 & b12), 8);
    a21 = rotl(b23 ^ (~b03 & b13), 8);
    i += 2;
  } while (i < 24);
  store<u32>(state, a00, 0);
  store<u32>(state, a01, 4);
  store<u32>(state, a02, 8);
  store<u32>(state, a03, 12);
  store<u32>(state, a10, 16);
  store<u32>(state, a11, 20);
  store<u32>(state, a12, 24);
  store<u32>(state, a13, 28);
  store<u32>(state, a20, 32);
  store<u32>(state, a21, 36);
  store<u32>(state, a22, 40);
  store<u32>(state, a23, 44);
}

/** Makes the state zero. */
export function wipeState(): void {
  memory.fill(state, 0, STATE_SIZE);
}
