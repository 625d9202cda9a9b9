// scripts/reach.ts: where an access has lost its check, one before has made it. Each function of reach.wat is called with
// addresses around both ends of memory, as C with sanitizers, and traps where V8 traps.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { compileToC } from "../../scripts/aot.ts";
import { need } from "../support/need.ts";
import { SANITIZE } from "./program.ts";

const ROOT = join(import.meta.dirname, "../..");
const MEMORY = 65536;
/** What the global of reach.wat must have behind it: 90 bytes and one. */
const BEHIND = 91;

const dir = mkdtempSync(join(tmpdir(), "ampoule-reach-"));
after(() => rmSync(dir, { recursive: true }));

function assemble(): Uint8Array<ArrayBuffer> {
  const wat2wasm = join(ROOT, "node_modules/wabt/bin/wat2wasm");
  execFileSync(process.execPath, [
    wat2wasm,
    join(import.meta.dirname, "reach.wat"),
    "-o",
    join(dir, "reach.wasm"),
  ]);
  return new Uint8Array(readFileSync(join(dir, "reach.wasm")));
}

/** Addresses around both ends, and what a second argument may decide. */
function* calls(name: string): Generator<[at: number, other: number]> {
  const others = name === "behind" ? [40, 65536] : name === "rounds" ? [1, 2, 7] : [0, 1];
  for (const other of others) {
    for (const end of [0, 200, MEMORY]) {
      for (let at = end - 130; at < end + 20; ++at) yield [at >>> 0, other];
    }
  }
}

type Callable = (at: number, other: number) => number;

function inV8(module: WebAssembly.Module, name: string, at: number, other: number): string {
  const { exports } = new WebAssembly.Instance(module);
  try {
    return String((exports[name] as Callable)(at, other) >>> 0);
  } catch (error) {
    assert.ok(error instanceof WebAssembly.RuntimeError);
    return "trap";
  }
}

function compile(wasm: Uint8Array, names: string[]): string {
  const { c, h } = compileToC({ wasm, prefix: "amp_reach", memorySize: MEMORY, header: "amp_reach.h" });
  writeFileSync(join(dir, "amp_reach.c"), c);
  writeFileSync(join(dir, "amp_reach.h"), h);
  writeFileSync(
    join(dir, "main.c"),
    `#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "amp_reach.h"
static jmp_buf begin;
void amp_trap(void *instance);
void amp_trap(void *instance) { (void)instance; longjmp(begin, 1); }
int main(void)
{
  char name[32];
  unsigned at, other;
  while (scanf("%31s %u %u", name, &at, &other) == 3) {
    /* So that whatever is behind its end is not the program's. */
    amp_reach *const reach = malloc(sizeof *reach);
    amp_reach_instantiate(reach);
    if (setjmp(begin)) puts("trap");
${names.map((name) => `    else if (!strcmp(name, "${name}")) printf("%u\\n", (unsigned)amp_reach_${name}(reach, at, other));`).join("\n")}
    free(reach);
  }
  return 0;
}
`,
  );
  const program = join(dir, "reach");
  const includes = ["-I", dir, "-I", join(ROOT, "firmware/src")];
  const sources = [join(dir, "main.c"), join(dir, "amp_reach.c")];
  execFileSync("cc", ["-std=c99", "-w", ...SANITIZE, ...includes, ...sources, "-o", program]);
  return program;
}

test("aot: accesses that have lost their check trap where V8 traps", need("cc"), () => {
  const wasm = assemble();
  const module = new WebAssembly.Module(wasm);
  const names = WebAssembly.Module.exports(module)
    .filter(({ kind }) => kind === "function")
    .map(({ name }) => name);
  const asked: string[] = [];
  const expected: string[] = [];
  for (const name of names) {
    for (const [at, other] of calls(name)) {
      asked.push(`${name} ${at} ${other}`);
      // In a local, which may be refused before an access that V8 lets through.
      const isRefused = name === "through" && at > MEMORY - BEHIND;
      expected.push(isRefused ? "trap" : inV8(module, name, at, other));
    }
  }
  const options = { input: `${asked.join("\n")}\n`, encoding: "utf8", maxBuffer: 1 << 24 } as const;
  const found = execFileSync(compile(wasm, names), options).trimEnd().split("\n");
  assert.deepEqual(
    asked.map((call, i) => `${call}: ${found[i]}`),
    asked.map((call, i) => `${call}: ${expected[i]}`),
  );
  for (const answer of ["trap", "0"]) assert.ok(expected.filter((one) => one === answer).length > 500);
});

test("aot: what needs no check has none, and what needs one has it", () => {
  const { c } = compileToC({ wasm: assemble(), prefix: "amp_reach", memorySize: MEMORY, header: "h.h" });
  const body = (name: string): string =>
    new RegExp(`^static u32 ${name}_0\\([^;]*\\{\n[^]*?^}`, "m").exec(c)?.[0] ?? "";
  const count = (name: string, pattern: RegExp): number => [...body(name).matchAll(pattern)].length;
  const kept = /_(?:load|store)(?:\d+)?(?:_u)?\(| check\(/g;
  const expected = {
    straight: 1,
    ways: 3,
    jumps: 2,
    rounds: 1,
    behind: 2,
    either: 2,
    wraps: 2,
    below: 2,
    bounded: 2,
    less: 1,
    strangers: 2,
    through: 0,
  };
  assert.deepEqual(
    Object.fromEntries(Object.keys(expected).map((name) => [name, count(name, kept)])),
    expected,
  );
  assert.equal(count("through", /checked\(AMP_ME_ var_i0, 91u\)/g), 1);
});
