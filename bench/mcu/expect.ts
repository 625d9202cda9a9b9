// What the bench programs must have computed, by the slow twin: a count of wrong work is worth nothing.

import { run } from "../../test/twin/bytes.ts";
import { ASCON_AEAD, seal, XOODYAK_AEAD } from "../../test/twin/suites.ts";
import { BenchError } from "./machine.ts";

/** As bare.c fills them: every byte is its place, counted from the key. */
const KEY = run(0, 16);
const NONCE = run(16, 16);
const AD = run(32, 8);
const TEXT_AT = 48;
const LENGTHS = [16, 1024, 16];
const SHOWN = 16;

/** Throws when a message was sealed into anything but what it has to be. */
export function checkSealed(module: string, sealed: readonly string[]): void {
  const suite = module.startsWith("bare-xoodyak") ? XOODYAK_AEAD : ASCON_AEAD;
  const expected = LENGTHS.map((length) => {
    const text = Uint8Array.from({ length }, (_, i) => TEXT_AT + i);
    const { cipher, tag } = seal(suite, KEY, NONCE, AD, text, 16);
    return Buffer.concat([cipher.subarray(-SHOWN), tag]).toString("hex");
  });
  if (expected.join() !== sealed.join()) throw new BenchError(`${module}: sealed into something else`);
}
