// The same vectors through every back end: results and linear memory as in V8, call by call.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { need } from "../support/need.ts";
import { compile, type EngineName } from "./program.ts";
import { record, type TraceBuild } from "./trace.ts";

const dir = mkdtempSync(join(tmpdir(), "ampoule-vectors-"));
after(() => rmSync(dir, { recursive: true }));

const ENGINES_OF: Partial<Record<TraceBuild, EngineName[]>> = {
  "device-ascon": ["aot", "wasm3", "wasm3-frugal"],
  "device-ascon-volatile": ["aot", "wasm3"],
  "device-ascon-hosted": ["wasm3-hosted"],
  device: ["aot", "wasm3", "wasm3-frugal"],
};
const FLAGS: Partial<Record<TraceBuild, string[]>> = {
  "device-ascon-volatile": ["-DAMP_VOLATILE"],
  device: ["-DAMP_XOODYAK"],
};

for (const [build, engines] of Object.entries(ENGINES_OF) as [TraceBuild, EngineName[]][]) {
  test(`firmware: all vectors for ${build} agree, with every back end`, need("cc"), (context) => {
    const { header, scripts, calls, bytes } = record(build);
    assert.ok(scripts > (build === "device-ascon-volatile" ? 4 : 20), `${scripts} scripts`);
    context.diagnostic(`${scripts} scripts, ${calls} calls, ${bytes} bytes`);
    writeFileSync(join(dir, "amp_vectors.h"), header);
    for (const engine of engines) {
      const flags = ["-Os", "-w", "-I", dir, ...(FLAGS[build] ?? [])];
      const program = compile("vectors", dir, engine, ...flags);
      const lines = execFileSync(program, { encoding: "utf8" });
      assert.equal(lines, `vectors: ${scripts} passed, 0 failed\n`, engine);
    }
  });
}
