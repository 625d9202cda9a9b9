// A module that leaves its permutation to the firmware: Ascon-p in C, what may be linked, and what is refused by name.
// That the module works with it is shown with the other back ends: ENGINES in program.ts.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import wabt from "wabt";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { findCommand, need } from "../support/need.ts";
import { permute } from "../twin/ascon.ts";
import { Random } from "../twin/random.ts";
import { compile, compileWith, SANITIZE, STRICT } from "./program.ts";

const ROOT = join(import.meta.dirname, "../..");
const STATE = 40;
const PAGE = 65536;
const dir = mkdtempSync(join(tmpdir(), "ampoule-hosted-"));
after(() => rmSync(dir, { recursive: true }));

const library = assembleFirmware();
const module = (build: string): string => join(ROOT, "build", `ampoule-${build}.wasm`);

/** Runs test/firmware/hosted.c with commands; its answers. */
function play(program: string, ...lines: string[]): string[] {
  return execFileSync(program, { input: `${lines.join("\n")}\n`, encoding: "utf8" })
    .trim()
    .split("\n");
}

describe("firmware, Ascon-p in C", need("cc"), () => {
  const source = join(library, "src/amp_ascon_p.c");
  const defines = ["-DAMP_WASM3", "-DAMP_ASCON_HOSTED", "-I", join(library, "src")];

  /** Compiles test/firmware/ascon-p.c; returns its path. */
  function build(name: string, compiler: string, path: string, ...flags: string[]): string {
    const out = join(dir, name);
    const files = [join(import.meta.dirname, "ascon-p.c"), path];
    execFileSync(compiler, [...STRICT, ...flags, ...defines, ...files, "-o", out]);
    return out;
  }

  const random = new Random(7);
  const cases = Array.from({ length: 13 * 8 * 20 }, (_, i) => {
    const bytes = Uint8Array.from({ length: STATE }, () => random.below(256));
    return { rounds: i % 13, align: i % 8, bytes };
  });
  const lines = cases.map((one) => `${one.rounds} ${one.align} ${Buffer.from(one.bytes).toString("hex")}`);
  const input = `${lines.join("\n")}\n`;

  for (const compiler of ["gcc", "clang-16"].filter((name) => findCommand(name))) {
    test(`${compiler}: agrees with the model for every number of rounds, at every alignment`, () => {
      const expected = cases.map(({ rounds, bytes }) => {
        const state = Uint8Array.from(bytes);
        permute(new Int32Array(state.buffer), rounds);
        return Buffer.from(state).toString("hex");
      });
      const out = build(`ascon-p-${compiler}`, compiler, source, ...SANITIZE);
      const found = execFileSync(out, { input, encoding: "utf8" });
      assert.deepEqual(found.trim().split("\n"), expected);
    });
  }

  test("no bit of a state decides anything: clang's memory sanitizer", need("clang-16"), () => {
    const flags = ["-O0", "-g", "-fsanitize=memory", "-fno-sanitize-memory-param-retval"];
    execFileSync(build("ascon-p-memory", "clang-16", source, ...flags), { input });
    const text = readFileSync(source, "utf8");
    for (const [from, to] of [
      ["x2 = ~x2;", "x2 = ~x2;\n    if (x2 & 1) x4 ^= 0;"],
      ["x2 = ~x2;", 'x2 = ~x2 ^ (uint64_t)"\\0\\0"[x3 & 1];'],
    ] as const) {
      const planted = join(dir, "planted.c");
      writeFileSync(planted, text.replace(from, to));
      const out = build("ascon-p-planted", "clang-16", planted, ...flags);
      assert.match(spawnSync(out, { input, encoding: "utf8" }).stderr, /use-of-uninitialized-value/, to);
    }
  });

  test("is C++11 too, without a warning", need("g++"), () => {
    const flags = STRICT.map((flag) => flag.replace("-std=c99", "-std=c++11"));
    execFileSync("g++", [...flags, ...defines, "-x", "c++", "-c", source, "-o", join(dir, "cpp.o")]);
  });
});

/** A device in outline: every export there must be, and in some of them the permutation with what they are given. */
async function outline(imports: string): Promise<string> {
  const header = readFileSync(join(library, "src/core_wasm3.h"), "utf8");
  const calls = [...header.matchAll(/X\((\w+), (\d)\)/g)].map(
    ([, name = "", count]) => [name, Number(count)] as const,
  );
  assert.ok(calls.length > 15);
  const bodies: Record<string, string> = {
    channelPtr: "(call 0 (local.get 0) (i32.const 12))",
    channelId: "(call 0 (i32.const 64) (local.get 0))",
    beacon: "(call 0 (local.get 0) (local.get 1))",
  };
  const functions = [["buffers", 0] as const, ...calls].map(([name, count]) => {
    const parameters = " i32".repeat(count);
    return `(func (export "${name}") (param${parameters}) (result i32) ${bodies[name] ?? ""} (i32.const 16))`;
  });
  const { parseWat } = await wabt();
  const text = `(module ${imports} (memory (export "memory") 1) ${functions.join("\n")})`;
  const path = join(mkdtempSync(join(dir, "m-")), "module.wasm");
  const { buffer } = parseWat("module.wat", text).toBinary({});
  writeFileSync(path, buffer);
  return path;
}

describe("firmware, wasm3 with a permutation of its own", need("cc"), () => {
  let hosted = "";
  let plain = "";
  before(() => {
    hosted = compile("hosted", dir, "wasm3-hosted");
    plain = compile("hosted", dir, "wasm3");
  });

  test("opens the module of its build, and modules that import nothing where it is told to", () => {
    const own = module("device-ascon-hosted");
    assert.deepEqual(play(hosted, `open-own ${own}`, "call tick 0 0"), ["OK", "0"]);
    for (const build of ["device-ascon", "device"])
      assert.deepEqual(play(hosted, `open ${module(build)}`, "call tick 0 0"), ["OK", "0"], build);
    assert.deepEqual(play(hosted, `open-own ${module("device-ascon")}`), ["BAD_MODULE"]);
  });

  test("a firmware without one refuses the module by name", () => {
    assert.deepEqual(play(plain, `open ${module("device-ascon-hosted")}`), ["BAD_MODULE"]);
    assert.deepEqual(play(plain, `open-own ${module("device-ascon")}`), ["OK"]);
  });

  test("a module that imports anything else, or it with other types, is refused by name", async () => {
    const permutation = '(import "ampoule" "ascon_p" (func (param i32 i32)))';
    const others = [
      '(import "ampoule" "ascon_p" (func (param i32 i64)))',
      '(import "ampoule" "ascon_p" (func (param i32)))',
      '(import "ampoule" "ascon_q" (func (param i32 i32)))',
      '(import "other" "ascon_p" (func (param i32 i32)))',
    ];
    assert.deepEqual(play(hosted, `open ${await outline(permutation)}`), ["OK"]);
    // Its bodies, which call the import as it should be, are for the interpreter to refuse.
    for (const one of others)
      assert.deepEqual(play(hosted, `open ${await outline(one)}`), ["BAD_MODULE"], one);
    for (const more of ["(func (param i32))", "(global i32)"]) {
      const path = await outline(`${permutation} (import "env" "more" ${more})`);
      assert.deepEqual(play(hosted, `open ${path}`), ["BAD_MODULE"], more);
    }
  });

  test("a state outside of linear memory, or more rounds than there are, is a trap and changes nothing", async () => {
    const path = await outline('(import "ampoule" "ascon_p" (func (param i32 i32)))');
    const [size = 0] = play(hosted, `open ${path}`, "memory").slice(1).map(Number);
    assert.ok(size >= 4096 && size < PAGE, `${size} bytes`);
    const last = size - STATE;
    const good = [0, 1, 7, 64, last - 1, last];
    const bad = [last + 1, size - 1, size, size + 1, PAGE - STATE, PAGE, 0x7fffffff, 0x80000000];
    for (let below = 1; below <= STATE; ++below) bad.push(2 ** 32 - below);
    const answers = (lines: string[]): string[] => play(hosted, `open ${path}`, ...lines).slice(1);
    assert.deepEqual(
      answers(good.map((at) => `call channelPtr ${at} 0`)),
      good.map(() => "16"),
    );
    const lines = bad.flatMap((at) => [`call channelPtr ${at} 0`, "sum"]);
    const [before = ""] = answers(["sum"]);
    assert.deepEqual(
      answers(lines),
      bad.flatMap(() => ["TRAPPED", before]),
    );
    const rounds = [13, 16, 0x11111119, 2 ** 31, 2 ** 32 - 1];
    assert.deepEqual(
      answers(rounds.flatMap((count) => [`call channelId ${count} 0`, "sum"])),
      rounds.flatMap(() => ["TRAPPED", before]),
    );
    assert.notEqual(answers(["call beacon 64 12", "sum"])[1], before, "and else it changes something");
  });

  const PLANTS: [what: string, from: string | RegExp, to: string][] = [
    ["a rotation", "rotr(x3, 17)", "rotr(x3, 18)"],
    ["a round constant", "x2 ^= constant ^ x1", "x2 ^= (constant + 1) ^ x1"],
    ["a complement", "x2 = ~x2;", ""],
    ["12 rounds for 8", "END + rounds * STEP", "END + 12 * STEP"],
    [
      "the first rounds for the last",
      "END + rounds * STEP; constant != END",
      "0xf0; constant != 0xf0 - rounds * STEP",
    ],
    [
      "words the other way round",
      "memcpy(state, s, sizeof s);",
      "for (constant = 0; constant < 40; ++constant) state[constant] = (uint8_t)(s[constant / 8] >> (56 - constant % 8 * 8));",
    ],
  ];
  for (const [number, [what, from, to]] of PLANTS.entries()) {
    test(`a permutation with ${what} wrong is refused by name before anything is done with it`, () => {
      const folder = join(dir, `planted-${number}`);
      cpSync(library, folder, { recursive: true });
      const path = join(folder, "src/amp_ascon_p.c");
      const text = readFileSync(path, "utf8");
      assert.ok(text.replace(from, to) !== text);
      writeFileSync(path, text.replace(from, to));
      const program = compileWith(folder, "hosted", folder, "wasm3-hosted", "-w", "-O2");
      assert.deepEqual(play(program, `open-own ${module("device-ascon-hosted")}`), ["BAD_PERMUTATION"]);
      assert.deepEqual(play(program, `open ${module("device-ascon")}`), ["BAD_PERMUTATION"]);
    });
  }
});

for (const [flags, most] of [
  [[], 131_072],
  [["-DAMP_WASM3_FRUGAL"], 61_440],
] as const) {
  test(`firmware, wasm3 ${flags}: with too little memory a module is refused by name`, need("cc"), () => {
    const program = compile("hosted", dir, "wasm3-hosted", ...flags);
    const own = module("device-ascon-hosted");
    const statuses = new Set<string>();
    for (let size = 0; size <= most; size += 1500) {
      const lines = [`heap ${size}`, `open-own ${own}`];
      const [fits, opened = ""] = play(program, ...lines);
      assert.equal(fits, "1");
      statuses.add(opened);
      if (opened === "OK")
        assert.equal(play(program, ...lines, "call tick 0 0").at(-1), "0", `${size} bytes`);
    }
    assert.deepEqual([...statuses], ["BAD_MODULE", "OK"], "with more, not with less");
  });
}
