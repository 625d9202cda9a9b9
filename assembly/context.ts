/*
 * What is at hand, and contexts: what every derived value is bound to. SPEC section 3, S-7 and S-9.
 */
import { job } from "./aead";
import { pub8, pub32, wipe } from "./bytes";
import { suiteOf, tagSize } from "./form";
import { derive } from "./kdf";
import { CH_GENERATION, CONTEXT, HEADER_SIZE, PAIR_SIZE, REALM, ROW_COPY, ROW_SIZE } from "./layout";

/**
 * What is at hand: the scope of derived values and the position of a frame (SPEC S-7, F-1). Every call of the
 * ABI sets what it uses; nothing here outlives it.
 */
export namespace here {
  export let slot: i32 = 0;
  /** Address of the channel, or of the device: both begin with their id. */
  export let ch: usize = 0;
  /** Address of the shape of the channel's held or previous generation. */
  export let shape: usize = 0;
  /** Frame size in bytes. */
  export let size: i32 = 0;
  export let flags: i32 = 0;
  export let generation: i32 = 0;
  export let step: i32 = 0;
  /** Generation and step as windows hold them (layout.ts). */
  export let epoch: i32 = 0;
  export let sender: i32 = 0;
  export let counter: i32 = 0;
}

/** What is in progress from one call to the next: a message, a payload or a mark. */
export namespace progress {
  /** What the next call must come with, as its room packs it; 0: nothing is in progress. */
  export let next: i32 = 0;
  /** Bound of the mark that is being stored; 0: none. */
  export let bound: i32 = 0;
}

const BASE_SIZE: i32 = 22;
/** Bytes of a text beside its chunk: part and end mark. */
export const FRAMING: i32 = 2;

/** Where the label's own fields are written before deriveHere(). */
export const EXTRA: usize = CONTEXT + BASE_SIZE;

/** Bytes of text in a frame of the form and size at hand: part, chunk and end mark (SPEC F-3). */
export function textSize(): i32 {
  return here.size - HEADER_SIZE - tagSize(job.form);
}

/** Drops whatever is in progress, and its keys. */
export function discard(): void {
  progress.next = progress.bound = 0;
  wipe(ROW_COPY, ROW_SIZE + PAIR_SIZE);
}

/** Turns to the channel or device at ch, in its held generation. */
export function turnToId(ch: usize): void {
  here.ch = ch;
  here.generation = pub32(ch + CH_GENERATION);
}

/** Takes form, frame size and flags from a shape. */
export function setShape(shape: usize): void {
  here.shape = shape;
  job.form = pub8(shape);
  here.size = pub8(shape + 1) << 3;
  here.flags = pub8(shape + 3);
}

/**
 * Derives n bytes for the scope at hand.
 *
 * @param n 8, 16 or 32
 * @param extra bytes the caller wrote at EXTRA
 * @param keyPtr in, 16 bytes
 * @param outPtr out, n bytes; may be keyPtr
 */
export function deriveHere(n: i32, label: u64, extra: i32, keyPtr: usize, outPtr: usize): void {
  const suite = suiteOf(job.form);
  store<u16>(CONTEXT, suite | (n << 8));
  store<u64>(CONTEXT, load<u64>(REALM), 2);
  store<u64>(CONTEXT, load<u64>(here.ch), 10);
  store<u32>(CONTEXT, here.generation, 18);
  derive(suite, keyPtr, label, CONTEXT, BASE_SIZE + extra, outPtr, n);
  // It may hold fresh bytes of a ratchet or a session.
  wipe(CONTEXT, BASE_SIZE + 32);
}
