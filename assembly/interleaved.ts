/*
 * One round of Ascon-p on words that are split in even and odd bits. A rotation of 64 bits is then two of 32, which
 * machines like the Cortex-M have for nothing in every operation. For modules that are compiled: the build puts the
 * round wherever it is called, and the C compiler keeps the globals in registers from one round to the next.
 */

/** Even bits of S0 to S4 of SP 800-232, section 3; of S2 and S4 the complement. */
export namespace even {
  export let x0: u32 = 0;
  export let x1: u32 = 0;
  export let x2: u32 = 0;
  export let x3: u32 = 0;
  export let x4: u32 = 0;
}

/** Odd bits. */
export namespace odd {
  export let x0: u32 = 0;
  export let x1: u32 = 0;
  export let x2: u32 = 0;
  export let x3: u32 = 0;
  export let x4: u32 = 0;
}

/** One round (3.2 to 3.4), with the even and odd bits of its constant. */
export function round(evenConstant: u32, oddConstant: u32): void {
  // 3.2 and 3.3. A complement stands for each of x2, x4, a0, a4 and t4: one not is left of five. The order of it all
  // is the best that GCC was found to like.
  const a4 = even.x4 ^ even.x3;
  const a0 = even.x0 ^ even.x4;
  const t4 = (a0 & even.x1) ^ a4;
  const c2 = evenConstant ^ even.x1 ^ even.x2;
  const t2 = (a4 | even.x3) ^ c2;
  const e3 = (a4 & a0) ^ even.x4 ^ t2;
  const t0 = (c2 | even.x1) ^ a0;
  const e1 = (c2 & even.x3) ^ even.x1 ^ t0;
  const e0 = ~(t0 ^ t4);

  const b4 = odd.x4 ^ odd.x3;
  const b0 = odd.x0 ^ odd.x4;
  const u4 = (b0 & odd.x1) ^ b4;
  const d2 = oddConstant ^ odd.x1 ^ odd.x2;
  const u2 = (b4 | odd.x3) ^ d2;
  const o3 = (b4 & b0) ^ odd.x4 ^ u2;
  const u0 = (d2 | odd.x1) ^ b0;
  const o1 = (d2 & odd.x3) ^ odd.x1 ^ u0;
  const o0 = ~(u0 ^ u4);

  // 3.4. Two operands at a time: of three, GCC would compute the rotations of two first.
  even.x2 = u2 ^ rotr(t2, 3) ^ t2;
  odd.x2 = rotr(rotr(u2, 2) ^ t2, 1) ^ u2;
  odd.x0 = rotr(rotr(o0, 4) ^ e0, 10) ^ o0;
  even.x0 = rotr(rotr(e0, 5) ^ o0, 9) ^ e0;
  odd.x4 = rotr(rotr(t4, 17) ^ t4, 4) ^ u4;
  even.x4 = rotr(rotr(u4, 17) ^ u4, 3) ^ t4;
  odd.x1 = rotr(rotr(e1, 11) ^ e1, 20) ^ o1;
  even.x1 = rotr(rotr(o1, 11) ^ o1, 19) ^ e1;
  even.x3 = rotr(rotr(o3, 3) ^ e3, 5) ^ e3;
  odd.x3 = rotr(rotr(e3, 4) ^ o3, 5) ^ o3;
}

/** Gathers the even bits of x below, the odd bits above. */
export function gather(x: u64): u64 {
  const low = <u32>x;
  const high = <u32>(x >> 32);
  const evens = gatherEven(low) | (gatherEven(high) << 16);
  const odds = gatherEven(low >> 1) | (gatherEven(high >> 1) << 16);
  return (<u64>evens) | ((<u64>odds) << 32);
}

/** The inverse of gather(). */
export function scatter(x: u64): u64 {
  const evens = <u32>x;
  const odds = <u32>(x >> 32);
  const low = scatterEven(evens) | (scatterEven(odds) << 1);
  const high = scatterEven(evens >> 16) | (scatterEven(odds >> 16) << 1);
  return (<u64>low) | ((<u64>high) << 32);
}

/** Gathers the even bits of x in the lower half. */
function gatherEven(x: u32): u32 {
  x &= 0x55555555;
  x = (x | (x >> 1)) & 0x33333333;
  x = (x | (x >> 2)) & 0x0f0f0f0f;
  x = (x | (x >> 4)) & 0x00ff00ff;
  return (x | (x >> 8)) & 0xffff;
}

/** Scatters the lower half of x over the even bits. */
function scatterEven(x: u32): u32 {
  x &= 0xffff;
  x = (x | (x << 8)) & 0x00ff00ff;
  x = (x | (x << 4)) & 0x0f0f0f0f;
  x = (x | (x << 2)) & 0x33333333;
  return (x | (x << 1)) & 0x55555555;
}
