// The NVS partition of a device: a CSV for Espressif's generator, and its binary where that is installed.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "../../bytes.ts";
import type { Identity } from "../../store/store.ts";
import { io } from "../errors.ts";
import { hexNumber } from "./partitions.ts";

/** Namespace of everything the glue of firmware/esp-idf keeps. */
export const NAMESPACE = "ampoule";
/** Module of Python, and its name on PyPI. */
const GENERATOR = "esp_idf_nvs_partition_gen";
export const GENERATOR_PACKAGE = "esp-idf-nvs-partition-gen";
const LIMIT_MS = 60_000;

/** What an engine checks a module in flash by: it stands beside the key, which whoever could change it has anyway. */
export interface ModuleCheck {
  size: number;
  sha256: Uint8Array;
}

/**
 * The CSV of an identity that has its first key. All values are hex digits: a topic prefix may hold
 * commas, quotes and letters of any script.
 */
export function nvsCsv(identity: Identity, module: ModuleCheck | undefined): string {
  const { realm, device, prefix, key } = identity;
  if (key === undefined) throw io("the identity has no key any more");
  const rows = [
    "key,type,encoding,value",
    `${NAMESPACE},namespace,,`,
    row("realm", realm),
    row("device", device),
    row("prefix", Buffer.from(prefix)),
    row("key", key),
  ];
  if (module !== undefined) {
    rows.push(`module_size,data,u32,${module.size}`, row("module_sha256", module.sha256));
  }
  return `${rows.join("\n")}\n`;
}

function row(name: string, bytes: Uint8Array): string {
  return `${name},data,hex2bin,${toHex(bytes)}`;
}

/** What a person runs where the generator is not installed. */
export function generatorLine(python: string, csv: string, bin: string, size: number): string {
  return `${python} -m ${GENERATOR} generate ${csv} ${bin} ${hexNumber(size)}`;
}

/**
 * Runs the generator in a private directory, which is gone afterwards.
 *
 * @returns `size` bytes; undefined if Python or the generator is not there
 */
export function nvsBinary(python: string, csv: string, size: number): Uint8Array | undefined {
  const find = `import importlib.util, sys; sys.exit(importlib.util.find_spec("${GENERATOR}") is None)`;
  if (spawnSync(python, ["-c", find], { stdio: "ignore", timeout: LIMIT_MS }).status !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), "ampoule-nvs-"));
  try {
    const [from, to] = [join(folder, "nvs.csv"), join(folder, "nvs.bin")];
    writeFileSync(from, csv, { mode: 0o600 });
    const args = ["-m", GENERATOR, "generate", from, to, hexNumber(size), "--outdir", folder];
    // What it prints is not passed on: it has read a key.
    const done = spawnSync(python, args, { stdio: "ignore", timeout: LIMIT_MS });
    if (done.status !== 0) throw io(`${python} -m ${GENERATOR} failed`, "is it of version 0.3.0 or later?");
    const binary = readFileSync(to);
    if (binary.length !== size) throw io(`${GENERATOR} wrote ${binary.length} bytes, not ${size}`);
    return binary;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
