// Identity files from outside: who may read them, and their form as C arrays for a device.

import { readFileSync } from "node:fs";
import { type NamedIdentity, parseIdentity } from "../store/identity.ts";
import type { Identity } from "../store/store.ts";
import { io } from "./errors.ts";
import { privateSize } from "./files.ts";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const FILE_MAX = 4096;

/** A device's name becomes a file name, a client id and a cell of a table. */
export function isDeviceName(name: string): boolean {
  return NAME.test(name);
}

/** Refuses a file that other users can read, and one that is no identity. */
export function readIdentityFile(path: string): NamedIdentity {
  if (privateSize(path) > FILE_MAX) throw io(`${path} is too long for an identity`);
  return parseIdentity(readFileSync(path, "utf8"), path);
}

/** A C header with the identity. The arrays are `static const`: it goes into one file only. */
export function formatHeader(name: string, { realm, device, key, prefix }: Identity): string {
  if (key === undefined) throw io("the identity has no key any more");
  return `/* Identity of the Ampoule device ${name}. It holds a secret key: keep it out of version control. */
#ifndef AMP_IDENTITY_H
#define AMP_IDENTITY_H

#include <stdint.h>

static const uint8_t amp_realm[8] = ${array(realm)};
static const uint8_t amp_device[8] = ${array(device)};
static const uint8_t amp_key[16] = ${array(key)};
static const char amp_prefix[] = ${cString(prefix)};

/* For an amp_identity of ampoule.h. */
#define AMP_IDENTITY {amp_realm, amp_device, amp_key, sizeof amp_key, amp_prefix}

#endif
`;
}

function array(bytes: Uint8Array): string {
  const items = [...bytes].map((byte) => `0x${byte.toString(16).padStart(2, "0")}`);
  const rows = [];
  for (let at = 0; at < items.length; at += 8) rows.push(items.slice(at, at + 8).join(", "));
  return rows.length === 1 ? `{${rows[0]}}` : `{\n  ${rows.join(",\n  ")}}`;
}

/** Octal escapes end after three digits; hex ones would swallow what follows. */
function cString(text: string): string {
  const escaped = [...Buffer.from(text)].map((byte) =>
    byte >= 0x20 && byte < 0x7f && !'"\\?'.includes(String.fromCharCode(byte))
      ? String.fromCharCode(byte)
      : `\\${byte.toString(8).padStart(3, "0")}`,
  );
  return `"${escaped.join("")}"`;
}
