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

/** First round constants of Ascon-p[12] and Ascon-p[8], complemented (Table 5). */
export const P12: u64 = ~0xf0;
export const P8: u64 = ~0xb4;

const STEP: u64 = 0x0f;
const END: u64 = ~0x3c;

/**
 * Applies Ascon-p to the state.
 *
 * @param constant P12 or P8
 *
 * The substitution layer is the one of section 3.3 with common terms taken
 * once: 18 operations instead of 27. It leaves S2 without the final complement,
 * which the linear layer does not mind and the next round's constant, itself
 * complemented, takes away.
 */
export function permute(constant: u64): void {
  let x0 = state.S0;
  let x1 = state.S1;
  let x2 = ~state.S2;
  let x3 = state.S3;
  let x4 = state.S4;
  do {
    x2 ^= constant;

    const c = x0 ^ x4;
    const d = x3 ^ x4;
    const e = x1 ^ x2;
    const f = (x1 | c) ^ d;
    const y0 = (x2 & e) ^ f;
    const y1 = (x1 | x2) ^ (x3 & e) ^ x0 ^ d;
    const y2 = (x4 & d) ^ e;
    const y3 = (x0 | d) ^ e;
    const y4 = c ^ f;

    x0 = y0 ^ rotr(y0, 19) ^ rotr(y0, 28);
    x1 = y1 ^ rotr(y1, 61) ^ rotr(y1, 39);
    x2 = y2 ^ rotr(y2, 1) ^ rotr(y2, 6);
    x3 = y3 ^ rotr(y3, 10) ^ rotr(y3, 17);
    x4 = y4 ^ rotr(y4, 7) ^ rotr(y4, 41);

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
