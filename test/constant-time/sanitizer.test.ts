// The modules as C under clang's memory sanitizer: clang's own view of what depends on a secret.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CoreModel } from "../core/adapter.ts";
import { need } from "../support/need.ts";
import { runCases, VOLATILE } from "../twin/cases.ts";
import { compile } from "./compile.ts";
import { SHIPPED, ShadowEngine, type Shipped } from "./engine.ts";
import { LEAKS, SOURCE } from "./leaks.ts";
import { cc, writeModule } from "./native.ts";
import { watchedOf } from "./policy.ts";
import { signaturesOf, Transcript } from "./transcript.ts";
import { decode } from "./wasm.ts";

const CASES = 1000;
const SEED = 11;

const root = mkdtempSync(join(tmpdir(), "ampoule-sanitizer-"));
after(() => rmSync(root, { recursive: true }));

/**
 * Without optimization: a `select` is a branch then, which the sanitizer sees. Passing a secret to a function is no use
 * of it.
 */
function program(wasm: Uint8Array<ArrayBuffer>, watched: readonly number[]): string {
  const dir = mkdtempSync(join(root, "m-"));
  writeModule(dir, wasm, watched);
  const out = join(dir, "played");
  const sources = [join(dir, "module.c"), join(import.meta.dirname, "sanitizer.c")];
  cc("clang-16", [
    "-O0",
    "-fsanitize=memory",
    "-fno-sanitize-memory-param-retval",
    // It sees the use of an address in its bounds check.
    "-DAMP_CHECK_ALL",
    "-w",
    "-I",
    dir,
    ...sources,
    "-o",
    out,
  ]);
  return out;
}

function play(path: string, lines: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(path, { input: `${lines.join("\n")}\n`, encoding: "utf8" });
  return { status, stdout, stderr };
}

const DEVICES = Object.keys(SHIPPED).filter((name) => name !== "host") as Shipped[];

for (const shipped of DEVICES) {
  test(`sanitizer: ${shipped} as C uses no secret in ${CASES} cases`, need("clang-16"), async (t) => {
    const engine = await ShadowEngine.load(shipped);
    const { module } = engine.notes;
    const transcripts: Transcript[] = [];
    engine.record = (memory) => {
      const transcript = new Transcript(module, memory);
      transcripts.push(transcript);
      return transcript;
    };
    const build = SHIPPED[shipped];
    runCases(
      (given) => new CoreModel(engine, { ...given, ...engine.options }, build),
      CASES,
      SEED,
      build === "device-ascon-volatile" ? VOLATILE : undefined,
    );
    const lines = transcripts.flatMap((transcript) => transcript.lines);
    const calls = lines.filter((line) => line.startsWith("c")).length;
    const { status, stdout, stderr } = play(program(engine.wasm, watchedOf(engine.layout)), lines);
    t.diagnostic(`${calls} calls`);
    assert.equal(stderr, "");
    assert.equal(status, 0);
    assert.equal(Number(stdout), calls);
  });
}

test("sanitizer: finds the planted leaks it can see, and no others", need("clang-16"), async (t) => {
  const wasm = await compile("kat", [], SOURCE);
  const names = signaturesOf(decode(wasm)).map(({ name }) => name);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm));
  const at = (exports.keyPtr as () => number)();
  const path = program(wasm, []);
  for (const { name, foundBy } of LEAKS) {
    const lines = ["i", `p ${at} ${"07".repeat(32)}`, `l ${at} 16 1`, `c ${names.indexOf(name)} 1 8`];
    const { status, stderr } = play(path, [...lines, "e 0"]);
    await t.test(name, () => {
      if (foundBy.includes("sanitizer")) assert.match(stderr, /use-of-uninitialized-value/);
      else assert.deepEqual([status, stderr], [0, ""]);
    });
  }
});
