// scripts/aot.ts: a module compiled to C answers as it does in V8, traps where it traps, and any other output
// of wasm2c than the known one is refused.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { AotError, compileToC } from "../../scripts/aot.ts";
import type { KatExports } from "../support/kat.ts";
import { need } from "../support/need.ts";

const ROOT = join(import.meta.dirname, "../..");
const MEMORY = 65536;
const STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];

const dir = mkdtempSync(join(tmpdir(), "ampoule-aot-test-"));
after(() => rmSync(dir, { recursive: true }));

const moduleBytes = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(join(ROOT, "build", `ampoule-${name}.wasm`)));

function katProgram(...flags: string[]): string {
  const { c, h } = compileToC({
    wasm: moduleBytes("kat"),
    prefix: "amp_kat",
    memorySize: MEMORY,
    header: "amp_kat.h",
  });
  writeFileSync(join(dir, "amp_kat.c"), c);
  writeFileSync(join(dir, "amp_kat.h"), h);
  const program = join(dir, "kat");
  const sources = [join(dir, "amp_kat.c"), join(ROOT, "test/firmware/aot.c")];
  execFileSync("cc", [
    ...STRICT,
    ...flags,
    "-I",
    dir,
    "-I",
    join(ROOT, "firmware/src"),
    ...sources,
    "-o",
    program,
  ]);
  return program;
}

/** Runs the lines in V8 as the program does. */
function inV8(lines: string[]): string[] {
  const module = new WebAssembly.Module(moduleBytes("kat"));
  let kat = new WebAssembly.Instance(module).exports as unknown as KatExports;
  return lines.map((line) => {
    const [name = "", ...words] = line.split(" ");
    const [at = 0, size = 0] = words.map(Number);
    const memory = new Uint8Array(kat.memory.buffer);
    try {
      if (name === "poke") memory.set(Buffer.from(words[1] ?? "", "hex"), at);
      if (name === "peek") return toHex(memory.subarray(at, at + size));
      if (name === "areaPtr") return String(kat.areaPtr());
      if (name !== "poke")
        (kat as unknown as Record<string, (...args: number[]) => void>)[name]?.(...words.map(Number));
      return "ok";
    } catch (error) {
      assert.ok(error instanceof WebAssembly.RuntimeError);
      kat = new WebAssembly.Instance(module).exports as unknown as KatExports;
      return "trap";
    }
  });
}

function bytes(size: number, seed: number): string {
  return toHex(Uint8Array.from({ length: size }, (_, i) => (i * 197 + seed * 31 + (i >> 3)) & 255));
}

function script(): string[] {
  const at = Number(inV8(["areaPtr"])[0]);
  const lines = ["areaPtr", `poke ${at} ${bytes(1500, 1)}`];
  lines.push(
    `asconP ${at} 12`,
    `peek ${at} 40`,
    `asconP ${at + 3} 8`,
    `peek ${at} 48`,
    `xoodoo12 ${at + 1}`,
    `peek ${at} 64`,
  );
  for (const size of [0, 1, 7, 8, 9, 15, 16, 17, 63, 255, 1024]) {
    lines.push(`asconHash256 ${at} ${size} ${at + 2000}`, `peek ${at + 2000} 32`);
    lines.push(`xoodyakHash ${at} ${size} ${at + 2000} 32`, `peek ${at + 2000} 32`);
    for (const suite of [0, 1, 2, 3]) {
      lines.push(
        `seal ${suite} ${at} ${at + 64} ${at + 96} ${size % 50} ${at + 160} ${size} ${at + 2000} ${size & 1 ? 8 : 16}`,
      );
      lines.push(`peek ${at} 1500`, `peek ${at + 2000} 16`);
    }
  }
  // The last 40 bytes there are, one more, the top of the address range, and a copy that ends past the memory.
  lines.push(
    `asconP ${MEMORY - 40} 12`,
    `peek ${MEMORY - 40} 40`,
    `asconP ${MEMORY - 39} 12`,
    `asconP 4294967290 12`,
  );
  lines.push(`xoodoo12 ${MEMORY - 48}`, `xoodoo12 ${MEMORY - 47}`, `asconP ${at} 12`, `peek ${at} 40`);
  return lines;
}

function run(program: string, lines: string[]): string[] {
  return execFileSync(program, { input: `${lines.join("\n")}\n`, encoding: "utf8" })
    .trimEnd()
    .split("\n");
}

test("aot: the known-answer module as C answers like V8, and traps where it traps", need("cc"), () => {
  const lines = script();
  const expected = inV8(lines);
  assert.equal(expected.filter((answer) => answer === "trap").length, 3);
  for (const flags of [["-Os"], ["-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]]) {
    assert.deepEqual(run(katProgram(...flags), lines), expected);
  }
});

test("aot: every module for devices compiles without a warning as C99 and with GNU 11", need("cc"), () => {
  for (const name of ["device", "device-ascon", "device-ascon-volatile"]) {
    const { c, h } = compileToC({
      wasm: moduleBytes(name),
      prefix: "amp_core",
      memorySize: MEMORY,
      header: "amp_core.h",
    });
    writeFileSync(join(dir, "amp_core.c"), c);
    writeFileSync(join(dir, "amp_core.h"), h);
    for (const std of ["-std=c99", "-std=gnu11"]) {
      const flags = [...STRICT, std, "-Os", "-c", "-I", dir, "-I", join(ROOT, "firmware/src")];
      execFileSync("cc", [...flags, join(dir, "amp_core.c"), "-o", join(dir, "amp_core.o")]);
    }
  }
});

test("aot: a module that does not fit, or does what the run-time does not know, is refused", () => {
  const wasm = moduleBytes("device");
  const options = { prefix: "amp_core", header: "amp_core.h" };
  assert.throws(() => compileToC({ ...options, wasm, memorySize: 1024 }), AotError);
  for (const body of [
    [0x3f, 0x00, 0x1a], // memory.size, drop
    [0x43, 0, 0, 0, 0, 0xa8, 0x1a], // f32.const 0, i32.trunc, drop
    [0x41, 0x01, 0x40, 0x00, 0x1a], // memory.grow
    [0x41, 0x00, 0x28, 0x00, 0x39, 0x1a], // i32.load offset=57
    [0x41, 0x00, 0x41, 0x00, 0x36, 0x00, 0x39], // i32.store offset=57
  ]) {
    assert.throws(() => compileToC({ ...options, wasm: tiny(body), memorySize: 64 }), AotError);
  }
  assert.match(compileToC({ ...options, wasm: tiny([]), memorySize: 60 }).h, /MEMORY_SIZE 64u/);
});

/** One function without parameters, exported as f, and a memory of one page. */
function tiny(body: number[]): Uint8Array {
  const section = (id: number, content: number[]): number[] => [id, content.length, ...content];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 0, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]),
    ...section(7, [2, 1, 0x66, 0, 0, 6, ...Buffer.from("memory"), 2, 0]),
    ...section(10, [1, body.length + 2, 0, ...body, 0x0b]),
  ]);
}
