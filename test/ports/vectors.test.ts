// The whole vector set on bare metal: each machine boots, plays it, says one line, and ends.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildPort, type EngineName, sizeOf } from "../../scripts/ports.ts";
import { record, type Trace, type TraceBuild } from "../firmware/trace.ts";
import { MACHINES, needEngine, runProgram } from "./machine.ts";

const SOURCE = join(import.meta.dirname, "../firmware/vectors.c");
const DIR = mkdtempSync(join(tmpdir(), "ampoule-vectors-"));
/** Stays, so that a program is compiled again only when something has changed. */
const BUILD = join(import.meta.dirname, "../../build/ports/vectors");
after(() => rmSync(DIR, { recursive: true, force: true }));

/** Back ends, and the module whose life is played on them. */
const ENGINES: Partial<Record<EngineName, TraceBuild>> = {
  aot: "device",
  wasm3: "device",
  "wasm3-hosted": "device-ascon-hosted",
  "wasm3-frugal": "device",
};

const recorded = new Map<TraceBuild, Trace>();

/** The trace of a build; `header` is the file it was written to. */
function vectors(build: TraceBuild): Trace {
  const known = recorded.get(build);
  if (known !== undefined) return known;
  const folder = join(BUILD, build);
  const path = join(folder, "amp_vectors.h");
  const made = record(build);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(path) || readFileSync(path, "utf8") !== made.header) writeFileSync(path, made.header);
  recorded.set(build, { ...made, header: path });
  return { ...made, header: path };
}

for (const [engine, build] of Object.entries(ENGINES) as [EngineName, TraceBuild][]) {
  for (const machine of MACHINES) {
    // Where little memory is enough, it is on both.
    if (engine === "wasm3-frugal" && machine !== "m3") continue;
    test(`${machine}, ${engine}: plays the whole vector set`, needEngine(machine, engine), (t) => {
      const { scripts, calls, header } = vectors(build);
      const flags = ["-w", `-I${join(BUILD, build)}`, ...(build === "device" ? ["-DAMP_XOODYAK"] : [])];
      const program = { sources: [SOURCE], flags, headers: [header], isCoreOnly: true };
      const elf = buildPort(machine, "vectors", engine, program);
      const { code, out } = runProgram(machine, elf, join(DIR, `${machine}.flash`));
      assert.deepEqual([out, code], [`vectors: ${scripts} passed, 0 failed\n`, 0]);
      t.diagnostic(`${scripts} scripts, ${calls} calls; ${sizeOf(machine, elf).text} bytes with the vectors`);
    });
  }
}
