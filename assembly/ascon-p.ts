/*
 * Ascon-p: the permutation of NIST SP 800-232, section 3. The state is five
 * 64-bit words in globals, never in linear memory.
 */

/** The state S of section 3; zero when nothing is being computed. */
export namespace state {
  export let S0: u64 = 0;
  export let S1: u64 = 0;
  export let S2: u64 = 0;
  export let S3: u64 = 0;
  export let S4: u64 = 0;
}

/** First round constants of Ascon-p[12] and Ascon-p[8], complemented (3.2). */
export const P12: i32 = ~0xf0;
export const P8: i32 = ~0xb4;

const STEP: i32 = 0x0f;
const END: i32 = ~0x3c;

/**
 * Applies Ascon-p to the state.
 *
 * @param constant P12 or P8
 *
 * x2 is kept complemented from round to round: that takes the substitution
 * layer's only complement of a result into the round constant.
 */
export function permute(constant: i32): void {
  let x0 = state.S0;
  let x1 = state.S1;
  let x2 = ~state.S2;
  let x3 = state.S3;
  let x4 = state.S4;
  do {
    // 3.2 and 3.3. The 32-bit constant is negative: its extension complements all of x2.
    x0 ^= x4;
    x4 ^= x3;
    x2 ^= x1 ^ (<u64>constant);
    const t0 = x0 ^ (~x1 & x2);
    const t1 = x1 ^ (~x2 & x3);
    const t2 = x2 ^ (~x3 & x4);
    const t3 = x3 ^ (~x4 & x0);
    const t4 = x4 ^ (~x0 & x1);
    x0 = t0 ^ t4;
    x1 = t1 ^ t0;
    x2 = t2;
    x3 = t3 ^ t2;
    x4 = t4;

    // 3.4
    x0 ^= rotr(x0, 19) ^ rotr(x0, 28);
    x1 ^= rotr(x1, 61) ^ rotr(x1, 39);
    x2 ^= rotr(x2, 1) ^ rotr(x2, 6);
    x3 ^= rotr(x3, 10) ^ rotr(x3, 17);
    x4 ^= rotr(x4, 7) ^ rotr(x4, 41);

    constant += STEP;
  } while (constant != END);
  state.S0 = x0;
  state.S1 = x1;
  state.S2 = ~x2;
  state.S3 = x3;
  state.S4 = x4;
}

/** Makes the state zero. */
export function wipeState(): void {
  state.S0 = 0;
  state.S1 = 0;
  state.S2 = 0;
  state.S3 = 0;
  state.S4 = 0;
}
