// A partition table of ESP-IDF, as its CSV has it: where each part of the flash lies.

import { io } from "../errors.ts";

export interface Partition {
  label: string;
  type: string;
  subtype: string;
  offset: number;
  size: number;
}

/** The table of the example, firmware/esp-idf/examples/seal/partitions.csv. */
export const DEFAULT_TABLE = `# Name,   Type, SubType, Offset,   Size
nvs,      data, nvs,     0x9000,   0x6000
phy_init, data, phy,     0xf000,   0x1000
factory,  app,  factory, 0x10000,  0x180000
# The core for the wasm3 engine; the ahead-of-time engine does without.
wasm,     data, 0x40,    0x190000, 0x10000
# Identity and state of the device. \`ampoule image\` writes both.
ampoule,  data, nvs,     0x1a0000, 0x8000
`;

const TABLE_END = 0x9000;
const APP_ALIGN = 0x10000;
/** A sector of flash: what ESP-IDF aligns data to. */
export const SECTOR = 0x1000;

/**
 * Reads a table. An empty offset follows the partition before, aligned as ESP-IDF does it.
 *
 * Throws CliError; `path` is for its message only.
 */
export function parsePartitions(text: string, path: string): Partition[] {
  const table: Partition[] = [];
  let end = TABLE_END;
  for (const [at, raw] of text.split(/\r?\n/).entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    const bad = (why: string): Error => io(`${path}, line ${at + 1}: ${why}`);
    const [label = "", type = "", subtype = "", offsetText = "", sizeText = ""] = line
      .split(",")
      .map((s) => s.trim());
    if (label === "" || type === "") throw bad("a partition has a name and a type");
    const align = type === "app" || type === "0" || type === "0x00" ? APP_ALIGN : SECTOR;
    const offset = offsetText === "" ? Math.ceil(end / align) * align : number(offsetText);
    const size = number(sizeText);
    if (offset === undefined || size === undefined || size === 0) throw bad("offset or size is no number");
    if (offset % align !== 0) throw bad(`the offset is not a multiple of ${hexNumber(align)}`);
    if (offset < end)
      throw bad(`it begins at ${hexNumber(offset)}, before the end of what is in front of it`);
    end = offset + size;
    table.push({ label, type, subtype, offset, size });
  }
  return table;
}

function number(text: string): number | undefined {
  const [, digits = "", unit = ""] = /^(0x[0-9a-f]{1,8}|\d{1,10})([km]?)$/i.exec(text) ?? [];
  if (digits === "") return undefined;
  return Number(digits) * ({ "": 1, k: 1024, m: 1024 * 1024 }[unit.toLowerCase()] ?? 1);
}

export function hexNumber(value: number): string {
  return `0x${value.toString(16)}`;
}
