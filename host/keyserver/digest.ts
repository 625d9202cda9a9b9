// The digest a device must answer with (SPEC C-19).

import { concat, fromHex, toHex } from "../bytes.ts";
import type { Kit } from "../core/kit.ts";
import { base, u16 } from "./bytes.ts";
import type { Setting } from "./commands.ts";

const NO_LOCK = new Uint8Array(16);

/** What a device holds of one channel, as far as the digest covers it; lock is null before its node arrived. */
export type Entry = Setting & { lock: Uint8Array | null };

/** XOR of the entries of all held channels, as hex. */
export function digestOf(kit: Kit, realm: Uint8Array, entries: Entry[]): string {
  const digest = new Uint8Array(16);
  for (const entry of entries) {
    const one = digestEntry(kit, realm, entry);
    for (let i = 0; i < digest.length; i++) digest[i] = (digest[i] ?? 0) ^ (one[i] ?? 0);
  }
  return toHex(digest);
}

function digestEntry(kit: Kit, realm: Uint8Array, entry: Entry): Uint8Array {
  const suite = (entry.form >> 2) & 3;
  const context = concat(
    base(suite, 16, realm, fromHex(entry.channel), entry.generation),
    ...[entry.from, entry.open, entry.to].map(u16),
    Uint8Array.of(entry.form, entry.frame, entry.la, entry.flags),
    ...[entry.sender, entry.will].map(u16),
  );
  return kit.derive(suite, entry.lock ?? NO_LOCK, "sync", context, 16);
}
