// Writes the flash of a new device, as firmware/ports/nor.h lays it out: its identity, and four erased sectors.
//
//   node scripts/nor-image.ts <identity.json> <image> [--sector bytes] [--size bytes]
//
// --sector is 4096 by default; --size makes the file longer, by zeros that take no room on the disk.
// The image holds a secret key, and is readable by its owner alone. The identity file must not be used again.

import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseIdentity } from "../host/store/identity.ts";
import type { Identity } from "../host/store/store.ts";

const SECTORS = 5;
const SECTOR_MIN = 2048;
const PREFIX_MAX = 64;
const AT = { realm: 8, device: 16, key: 24, prefixLength: 40, prefix: 48, end: 112 };

/** Five sectors. Throws for an identity that was used, and for what does not fit. */
export function norImage({ realm, device, key, prefix }: Identity, sector: number): Uint8Array {
  const name = new TextEncoder().encode(prefix);
  if (key === undefined) throw new Error("the identity has been used: its K(0) is gone");
  if (name.length > PREFIX_MAX) throw new Error(`the prefix is longer than ${PREFIX_MAX} bytes`);
  if (sector < SECTOR_MIN || sector % 8 !== 0) throw new Error(`a sector has at least ${SECTOR_MIN} bytes`);
  const image = new Uint8Array(SECTORS * sector).fill(0xff);
  image.fill(0, 0, AT.end);
  const view = new DataView(image.buffer);
  view.setUint32(0, 1, true);
  view.setUint32(4, ~1 >>> 0, true);
  image.set(realm, AT.realm);
  image.set(device, AT.device);
  image.set(key, AT.key);
  view.setUint32(AT.prefixLength, name.length, true);
  image.set(name, AT.prefix);
  return image;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { sector: { type: "string", default: "4096" }, size: { type: "string" } },
  });
  const [identity = "", path = ""] = positionals;
  if (path === "") throw new Error("usage: node scripts/nor-image.ts <identity.json> <image>");
  const image = norImage(parseIdentity(readFileSync(identity, "utf8"), identity), Number(values.sector));
  writeFileSync(path, image, { mode: 0o600, flag: "wx" });
  if (values.size !== undefined) truncateSync(path, Number(values.size));
}

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    console.error(`nor-image: error: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
