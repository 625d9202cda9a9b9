// The whole vector set on bare metal: each machine boots, plays it, says one line, and ends.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { buildPort, type EngineName, sizeOf } from "../../scripts/ports.ts";
import { record, type Trace } from "../firmware/trace.ts";
import { MACHINES, needEngine, runProgram } from "./machine.ts";

const SOURCE = join(import.meta.dirname, "../firmware/vectors.c");
const DIR = mkdtempSync(join(tmpdir(), "ampoule-vectors-"));
/** Stays, so that a program is compiled again only when something has changed. */
const BUILD = join(import.meta.dirname, "../../build/ports/vectors");
const HEADER = join(BUILD, "amp_vectors.h");
after(() => rmSync(DIR, { recursive: true, force: true }));

const ENGINES: EngineName[] = ["aot", "wasm3"];

let recorded: Trace | undefined;

function vectors(): Trace {
  if (recorded !== undefined) return recorded;
  recorded = record("device");
  mkdirSync(BUILD, { recursive: true });
  if (!existsSync(HEADER) || readFileSync(HEADER, "utf8") !== recorded.header)
    writeFileSync(HEADER, recorded.header);
  return recorded;
}

for (const engine of ENGINES) {
  for (const machine of MACHINES) {
    test(`${machine}, ${engine}: plays the whole vector set`, needEngine(machine, engine), (t) => {
      const { scripts, calls } = vectors();
      const flags = ["-w", `-I${BUILD}`, "-DAMP_XOODYAK"];
      const program = { sources: [SOURCE], flags, headers: [HEADER], isCoreOnly: true };
      const elf = buildPort(machine, "vectors", engine, program);
      const { code, out } = runProgram(machine, elf, join(DIR, `${machine}.flash`));
      assert.deepEqual([out, code], [`vectors: ${scripts} passed, 0 failed\n`, 0]);
      t.diagnostic(`${scripts} scripts, ${calls} calls; ${sizeOf(machine, elf).text} bytes with the vectors`);
    });
  }
}
