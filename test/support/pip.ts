// Python programs that tests talk to, brought by pip into build/, in an exact version.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "..", "..", "build", "python");
const LIMIT_MS = 120_000;

/**
 * Brings a package once; `path` is for PYTHONPATH. Where it cannot be had `options.skip` says why; under CI that
 * throws instead.
 *
 *     const { path, options } = pip("esptool", "5.6.0");
 *     test("image: merges", options, () => { ... });
 */
export function pip(name: string, version: string): { path: string; options: { skip: string | false } } {
  const path = join(FOLDER, `${name}-${version}`);
  const done = join(path, ".done");
  if (existsSync(done)) return { path, options: { skip: false } };
  const part = `${path}.${process.pid}.part`;
  mkdirSync(part, { recursive: true });
  try {
    // In one word: of `-m pip install` pyenv makes more, and builds its commands anew behind a lock of its own.
    const args = ["-mpip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"];
    const ran = spawnSync("python3", [...args, "--target", part, `${name}==${version}`], {
      encoding: "utf8",
      timeout: LIMIT_MS,
    });
    if (ran.status !== 0) return absent(path, ran.error?.message ?? ran.stderr.trim().split("\n").at(-1));
    writeFileSync(join(part, ".done"), "");
    // Another test file may have been faster.
    if (!existsSync(done)) renameSync(part, path);
    return { path, options: { skip: false } };
  } finally {
    rmSync(part, { recursive: true, force: true });
  }

  function absent(path: string, why = "") {
    const reason = `pip cannot bring ${name} ${version}: ${why}`;
    if (process.env.CI === "true") throw new Error(`may not be skipped under CI: ${reason}`);
    return { path, options: { skip: reason } };
  }
}
