// The assembled folder, its configurations as the real Kconfig language gives them, and compilers.

import { execFile, spawnSync } from "node:child_process";
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { pip } from "../support/pip.ts";

export const ROOT: string = join(import.meta.dirname, "../..");
export const FIRMWARE: string = assembleFirmware();
export const DOUBLES: string = join(import.meta.dirname, "doubles");
export const RUN: string = join(import.meta.dirname, "run");
export const SCRATCH: string = mkdtempSync(join(tmpdir(), "ampoule-packaging-"));
process.on("exit", () => rmSync(SCRATCH, { recursive: true, force: true }));

export const read = (name: string): string => readFileSync(join(FIRMWARE, name), "utf8");
/** Files, not folders. */
export const find = (pattern: string): string[] =>
  globSync(pattern, { cwd: FIRMWARE })
    .filter((name) => statSync(join(FIRMWARE, name)).isFile())
    .sort();

/** ESP-IDF and Zephyr read Kconfig files with descendants of this library. */
export const kconfiglib = pip("kconfiglib", "14.1.0");

const EVALUATE = `
import sys, kconfiglib
top, out, *values = sys.argv[1:]
config = kconfiglib.Kconfig(top, warn_to_stderr=False)
for value in values:
    name, _, text = value.partition("=")
    assert name in config.syms and config.syms[name].nodes, "no option " + name
    assert config.syms[name].set_value(text), "no value for " + value
config.write_autoconf(out)
sys.stdout.write("\\n".join(config.warnings))
`;

/** Evaluates a Kconfig tree with some values set; writes `out` as a header and fails on a warning. */
export function configure(top: string, out: string, ...values: string[]): string {
  const env = { ...process.env, PYTHONPATH: kconfiglib.path };
  const done = spawnSync("python3", ["-c", EVALUATE, top, out, ...values], { encoding: "utf8", env });
  if (done.status !== 0 || done.stdout !== "") throw new Error(`${top}: ${done.stdout}${done.stderr}`);
  return readFileSync(out, "utf8");
}

/** What ESP-IDF builds of component and example: sdkconfig.h in the folder that is returned. */
export function espConfig(...values: string[]): string {
  const folder = mkdtempSync(join(SCRATCH, "esp-"));
  const example = join(FIRMWARE, "esp-idf/examples/seal/main/Kconfig.projbuild");
  writeFileSync(join(folder, "Kconfig"), `source "${join(FIRMWARE, "Kconfig")}"\nsource "${example}"\n`);
  configure(join(folder, "Kconfig"), join(folder, "sdkconfig.h"), ...values);
  return folder;
}

/** What Zephyr builds of module and sample: autoconf.h in the folder that is returned. */
export function zephyrConfig(...values: string[]): string {
  const folder = mkdtempSync(join(SCRATCH, "zephyr-"));
  const sample = join(folder, "sample");
  mkdirSync(sample);
  cpSync(join(FIRMWARE, "zephyr/samples/seal/Kconfig"), join(sample, "Kconfig"));
  const zephyr = `config SETTINGS\n\tbool "Settings"\nsource "${join(FIRMWARE, "zephyr/Kconfig")}"\n`;
  writeFileSync(join(folder, "Kconfig.zephyr"), zephyr);
  const text = readFileSync(join(sample, "Kconfig"), "utf8");
  const stub = join(folder, "Kconfig.zephyr");
  writeFileSync(join(sample, "Kconfig"), text.replace('"Kconfig.zephyr"', `"${stub}"`));
  configure(join(sample, "Kconfig"), join(folder, "autoconf.h"), "AMPOULE=y", "SETTINGS=y", ...values);
  return folder;
}

/** The identity the examples ask for, written by hand: `ampoule provision` is tested elsewhere. */
export function identityFolder(): string {
  const folder = mkdtempSync(join(SCRATCH, "identity-"));
  const text = `#include <stdint.h>
static const uint8_t amp_realm[8] = {1}, amp_device[8] = {2}, amp_key[16] = {3};
static const char amp_prefix[] = "ampoule";
#define AMP_IDENTITY {amp_realm, amp_device, amp_key, sizeof amp_key, amp_prefix}
`;
  writeFileSync(join(folder, "identity.h"), text);
  return folder;
}

const run = promisify(execFile);

/** Compiles; a warning is an error. */
export async function compile(compiler: string, ...args: string[]): Promise<void> {
  await run(compiler, ["-Wall", "-Wextra", "-Werror", ...args], { maxBuffer: 1 << 22 });
}
