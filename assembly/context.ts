/*
 * Contexts: what every derived value is bound to. SPEC section 3, S-7 and S-9.
 *
 * The context is built in CONTEXT; the label's own fields follow the base.
 */
import { derive } from "./kdf";
import { CONTEXT, REALM } from "./layout";

export const BASE_SIZE: i32 = 22;

/** Writes base(suite, n, id, generation) at CONTEXT; returns the address after it. */
export function base(suite: i32, n: i32, idPtr: usize, generation: i32): usize {
  store<u8>(CONTEXT, suite);
  store<u8>(CONTEXT, n, 1);
  store<u64>(CONTEXT, load<u64>(REALM), 2);
  store<u64>(CONTEXT, load<u64>(idPtr), 10);
  store<u32>(CONTEXT, generation, 18);
  return CONTEXT + BASE_SIZE;
}

/**
 * Derives with the context that base() and the caller wrote.
 *
 * @param keyPtr in, 16 bytes
 * @param extra bytes the caller wrote after the base
 * @param outPtr out, n bytes as given to base(); may be keyPtr
 */
export function deriveHere(suite: i32, keyPtr: usize, label: u64, extra: i32, outPtr: usize): void {
  derive(suite, keyPtr, label, CONTEXT, BASE_SIZE + extra, outPtr, load<u8>(CONTEXT, 1));
}
