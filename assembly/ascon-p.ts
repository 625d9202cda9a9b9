/*
 * Ascon-p: the permutation of NIST SP 800-232, section 3. The state is five
 * 64-bit words in globals, never in linear memory.
 *
 * Every profile computes the same: SMALL is what is shipped, INTERPRETED and
 * COMPILED are larger and faster, each in its place, and HOSTED leaves the rounds to
 * who runs the module. What costs nothing in one of them is dear in another;
 * `npm run bench:mcu` tells.
 */
import { ascon_p } from "./ampoule";
import { DECRYPT, wipe } from "./bytes";
import { even, gather, odd, round, scatter } from "./interleaved";

const INTERPRETED: i32 = 1;
const COMPILED: i32 = 2;
const HOSTED: i32 = 3;

/** The state S of section 3, each word as lane() gives it; zero when nothing is being computed. */
export namespace state {
  export let S0: u64 = 0;
  export let S1: u64 = 0;
  export let S2: u64 = 0;
  export let S3: u64 = 0;
  export let S4: u64 = 0;
}

/** First round constants of Ascon-p[12] and Ascon-p[8] (3.2). */
export const P12: i32 = 0xf0;
export const P8: i32 = 0xb4;

/** Bytes that permuteBlocks() takes at a time. */
export const BLOCK: i32 = 16;

/** Where the host of a HOSTED module finds the state, S0 to S4; zero when nothing is being computed. */
const WORDS: usize = AMP_PROFILE == HOSTED ? memory.data(40, 8) : 0;

const STEP: i32 = 0x0f;
const END: i32 = 0x3c;

/** A word of the standard as the state holds it. */
export function lane(word: u64): u64 {
  return AMP_PROFILE == COMPILED ? gather(word) : word;
}

/** A word of the state as the standard has it. */
export function wordOf(lane: u64): u64 {
  return AMP_PROFILE == COMPILED ? scatter(lane) : lane;
}

/**
 * Applies Ascon-p to the state.
 *
 * @param constant P12 or P8
 */
export function permute(constant: i32): void {
  run(constant, 0, 0, 0);
}

/**
 * Takes blocks in at S0 and S1, each followed by Ascon-p[8]; ENCRYPT and DECRYPT also replace them. Not in SMALL.
 *
 * @param ptr in, and out unless mode is ABSORB; len bytes, any alignment
 * @param len a multiple of BLOCK, not 0
 * @param mode ABSORB, ENCRYPT or DECRYPT
 */
export function permuteBlocks(ptr: usize, len: i32, mode: i32): void {
  run(P8, ptr, len, mode);
}

function run(first: i32, ptr: usize, len: i32, mode: i32): void {
  if (AMP_PROFILE == COMPILED) runInterleaved(first, ptr, len, mode);
  else if (AMP_PROFILE == HOSTED) runHosted(first, ptr, len, mode);
  else runPlain(first, ptr, len, mode);
}

/** The state stays in locals from round to round and from block to block. */
function runPlain(first: i32, ptr: usize, len: i32, mode: i32): void {
  let x0 = state.S0;
  let x1 = state.S1;
  let x2 = AMP_PROFILE == INTERPRETED ? ~state.S2 : state.S2;
  let x3 = state.S3;
  let x4 = AMP_PROFILE == INTERPRETED ? ~state.S4 : state.S4;
  do {
    if (AMP_PROFILE && len) {
      const m0 = load<u64>(ptr);
      const m1 = load<u64>(ptr, 8);
      x0 ^= m0;
      x1 ^= m1;
      if (mode) {
        store<u64>(ptr, x0);
        store<u64>(ptr, x1, 8);
        if (mode == DECRYPT) {
          x0 = m0;
          x1 = m1;
        }
      }
      ptr += BLOCK;
      len -= BLOCK;
    }
    let constant = first;
    do {
      if (AMP_PROFILE == INTERPRETED) {
        // 3.2 and 3.3. A complement stands for each of x2, x4, a0, a4 and t4: one not is left of five. What is
        // used next is computed last, and first what an expression begins with: it lies in wasm3's only register.
        x2 = (<u64>constant) ^ x1 ^ x2;
        const a0 = x0 ^ x4;
        const t0 = (x2 | x1) ^ a0;
        const a4 = x4 ^ x3;
        const t2 = (a4 | x3) ^ x2;
        const t4 = (a0 & x1) ^ a4;
        x1 = (x2 & x3) ^ x1 ^ t0;
        x1 = rotr(rotr(x1, 22) ^ x1, 39) ^ x1;
        x3 = (a4 & a0) ^ x4 ^ t2;
        x3 = rotr(rotr(x3, 7) ^ x3, 10) ^ x3;
        x2 = rotr(rotr(t2, 5) ^ t2, 1) ^ t2;
        x0 = ~(t0 ^ t4);
        x0 = rotr(rotr(x0, 9) ^ x0, 19) ^ x0;
        x4 = rotr(rotr(t4, 34) ^ t4, 7) ^ t4;
      } else {
        // 3.2 and 3.3. One temporary is enough: where x1 is 1, the new x0 is the old one, and so on.
        x2 ^= (<u64>constant) ^ x1;
        x0 ^= x4;
        x4 ^= x3;
        const t3 = x0 & ~x4;
        x0 ^= x2 & ~x1;
        x2 ^= x4 & ~x3;
        x4 ^= x1 & ~x0;
        x1 ^= x3 & ~x2;
        x3 ^= t3;
        x1 ^= x0;
        x3 ^= x2;
        x0 ^= x4;
        x2 = ~x2;

        // 3.4
        x1 = rotr(x1, 61) ^ x1 ^ rotr(x1, 39);
        x3 = rotr(x3, 10) ^ x3 ^ rotr(x3, 17);
        x2 = rotr(x2, 1) ^ x2 ^ rotr(x2, 6);
        x0 = rotr(x0, 19) ^ x0 ^ rotr(x0, 28);
        x4 = rotr(x4, 7) ^ x4 ^ rotr(x4, 41);
      }
      constant -= STEP;
    } while (constant != END);
  } while (AMP_PROFILE && len);
  state.S0 = x0;
  state.S1 = x1;
  state.S2 = AMP_PROFILE == INTERPRETED ? ~x2 : x2;
  state.S3 = x3;
  state.S4 = AMP_PROFILE == INTERPRETED ? ~x4 : x4;
}

/** The words are in globals between calls, as in every profile, and in linear memory from block to block. */
function runHosted(first: i32, ptr: usize, len: i32, mode: i32): void {
  store<u64>(WORDS, state.S0);
  store<u64>(WORDS, state.S1, 8);
  store<u64>(WORDS, state.S2, 16);
  store<u64>(WORDS, state.S3, 24);
  store<u64>(WORDS, state.S4, 32);
  do {
    if (len) {
      const m0 = load<u64>(ptr);
      const m1 = load<u64>(ptr, 8);
      const x0 = load<u64>(WORDS) ^ m0;
      const x1 = load<u64>(WORDS, 8) ^ m1;
      if (mode) {
        store<u64>(ptr, x0);
        store<u64>(ptr, x1, 8);
      }
      store<u64>(WORDS, mode == DECRYPT ? m0 : x0);
      store<u64>(WORDS, mode == DECRYPT ? m1 : x1, 8);
      ptr += BLOCK;
      len -= BLOCK;
    }
    ascon_p(WORDS, first == P12 ? 12 : 8);
  } while (len);
  state.S0 = load<u64>(WORDS);
  state.S1 = load<u64>(WORDS, 8);
  state.S2 = load<u64>(WORDS, 16);
  state.S3 = load<u64>(WORDS, 24);
  state.S4 = load<u64>(WORDS, 32);
}

function runInterleaved(first: i32, ptr: usize, len: i32, mode: i32): void {
  even.x0 = <u32>state.S0;
  even.x1 = <u32>state.S1;
  even.x2 = ~(<u32>state.S2);
  even.x3 = <u32>state.S3;
  even.x4 = ~(<u32>state.S4);
  odd.x0 = <u32>(state.S0 >> 32);
  odd.x1 = <u32>(state.S1 >> 32);
  odd.x2 = ~(<u32>(state.S2 >> 32));
  odd.x3 = <u32>(state.S3 >> 32);
  odd.x4 = ~(<u32>(state.S4 >> 32));
  do {
    if (len) {
      const m0 = gather(load<u64>(ptr));
      const m1 = gather(load<u64>(ptr, 8));
      even.x0 ^= <u32>m0;
      even.x1 ^= <u32>m1;
      odd.x0 ^= <u32>(m0 >> 32);
      odd.x1 ^= <u32>(m1 >> 32);
      if (mode) {
        store<u64>(ptr, scatter(join(even.x0, odd.x0)));
        store<u64>(ptr, scatter(join(even.x1, odd.x1)), 8);
        if (mode == DECRYPT) {
          even.x0 = <u32>m0;
          even.x1 = <u32>m1;
          odd.x0 = <u32>(m0 >> 32);
          odd.x1 = <u32>(m1 >> 32);
        }
      }
      ptr += BLOCK;
      len -= BLOCK;
    }
    // Even and odd bits of the round constants 0xf0, 0xe1, 0xd2 and so on.
    if (first == P12) {
      round(12, 12);
      round(9, 12);
      round(12, 9);
      round(9, 9);
    }
    round(6, 12);
    round(3, 12);
    round(6, 9);
    round(3, 9);
    round(12, 6);
    round(9, 6);
    round(12, 3);
    round(9, 3);
  } while (len);
  state.S0 = join(even.x0, odd.x0);
  state.S1 = join(even.x1, odd.x1);
  state.S2 = ~join(even.x2, odd.x2);
  state.S3 = join(even.x3, odd.x3);
  state.S4 = ~join(even.x4, odd.x4);
}

function join(even: u32, odd: u32): u64 {
  return (<u64>even) | ((<u64>odd) << 32);
}

/** Makes the state zero. */
export function wipeState(): void {
  state.S0 = 0;
  state.S1 = 0;
  state.S2 = 0;
  state.S3 = 0;
  state.S4 = 0;
  if (AMP_PROFILE == COMPILED) {
    even.x0 = even.x1 = even.x2 = even.x3 = even.x4 = 0;
    odd.x0 = odd.x1 = odd.x2 = odd.x3 = odd.x4 = 0;
  }
  if (AMP_PROFILE == HOSTED) wipe(WORDS, 40);
}
