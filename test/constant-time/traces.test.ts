// The device modules as C for a microcontroller, in an emulator: the same instructions and addresses whatever the
// secrets are.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { memorySizeOf } from "../../scripts/aot.ts";
import { random } from "../twin/stage.ts";
import { compile, shippedModule } from "./compile.ts";
import { type Call, Emulated, needsFor, type Target, titleOf } from "./emulator.ts";
import { ShadowEngine } from "./engine.ts";
import { LEAKS, SOURCE } from "./leaks.ts";
import { SMALL_MEMORY } from "./native.ts";
import { type Shape, transcriptOf } from "./scenario.ts";
import { signaturesOf } from "./transcript.ts";
import { decode } from "./wasm.ts";

const SECRETS = 10;

/** What bench/mcu/README.md recommends, the module with Xoodyak, and the one whose permutation is its host's. */
const SUBJECTS: { target: Target; shapes: Shape[] }[] = [
  {
    target: { shipped: "device", architecture: "arm", optimize: "-Os" },
    shapes: [
      { suite: 0, size: 256 },
      { suite: 1, size: 32 },
      { suite: 2, size: 32 },
      { suite: 3, size: 256 },
    ],
  },
  {
    target: { shipped: "device-ascon", architecture: "arm", optimize: "-Os -fschedule-insns" },
    shapes: [
      { suite: 0, size: 32 },
      { suite: 1, size: 256 },
    ],
  },
  {
    target: { shipped: "device-ascon", architecture: "arm", optimize: "-O2" },
    shapes: [{ suite: 0, size: 256 }],
  },
  {
    target: { shipped: "device-ascon-compiled", architecture: "arm", optimize: "-O2" },
    shapes: [
      { suite: 0, size: 32 },
      { suite: 1, size: 256 },
    ],
  },
  {
    target: { shipped: "device-ascon-hosted", architecture: "arm", optimize: "-Os" },
    shapes: [{ suite: 1, size: 256 }],
  },
  {
    target: { shipped: "device-ascon", architecture: "rv32", optimize: "-Os" },
    shapes: [{ suite: 0, size: 256 }],
  },
  {
    target: {
      shipped: "device-ascon-interpreted",
      architecture: "rv32",
      optimize: "-O2 -fno-schedule-insns",
    },
    shapes: [
      { suite: 0, size: 32 },
      { suite: 1, size: 256 },
    ],
  },
];

const root = mkdtempSync(join(tmpdir(), "ampoule-traces-"));
after(() => rmSync(root, { recursive: true }));

function differences(calls: Call[][], names: string[]): string[] {
  const [first = []] = calls;
  return first.flatMap(({ call }, i) => {
    const traces = new Set(calls.map((one) => one[i]?.hash));
    return traces.size === 1 ? [] : [`${names[call]}, call ${i}: ${traces.size} traces`];
  });
}

for (const { target, shapes } of SUBJECTS) {
  describe(`traces, ${titleOf(target)}`, needsFor(target.architecture), () => {
    let engine: ShadowEngine;
    let machine: Emulated;
    let names: string[];
    before(async () => {
      engine = await ShadowEngine.load(target.shipped);
      machine = new Emulated(root, engine.wasm, target, memorySizeOf(shippedModule(target.shipped)));
      names = signaturesOf(engine.notes.module).map(({ name }) => name);
    });

    for (const shape of shapes) {
      test(`suite ${shape.suite}, frames of ${shape.size}: one trace of each call for ${SECRETS} secrets`, (t) => {
        const seeds = Array.from({ length: SECRETS }, (_, i) => `secret ${i}`);
        const calls = seeds.map((seed) =>
          machine.play(transcriptOf(engine, shape, seed, (life) => life.play())),
        );
        const total = calls.flat().reduce((sum, { instructions }) => sum + instructions, 0);
        t.diagnostic(`${calls[0]?.length} calls, ${total} instructions`);
        assert.ok(new Set(calls[0]?.map(({ call }) => names[call])).size >= 10);
        assert.equal(new Set(calls.map((one) => one.length)).size, 1);
        assert.deepEqual(differences(calls, names), []);
      });
    }
  });
}

for (const architecture of ["arm", "rv32"] as const) {
  describe(`traces, planted leaks, ${architecture}`, needsFor(architecture), () => {
    const traces = new Map<string, Set<string>>();
    before(async () => {
      const wasm = await compile("kat", [], SOURCE);
      const machine = new Emulated(root, wasm, { architecture, optimize: "-Os" }, SMALL_MEMORY);
      const names = signaturesOf(decode(wasm)).map(({ name }) => name);
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm));
      const at = (exports.keyPtr as () => number)();
      // Agrees with the first secret in four bytes, and with no other.
      const given = `${toHex(random("leak 0", 16).slice(0, 4))}${"07".repeat(12)}`;
      for (const { name } of LEAKS) {
        const lines = Array.from({ length: SECRETS }, (_, i) => [
          "i",
          `p ${at} ${toHex(random(`leak ${i}`, 16))}${given}`,
          `c ${names.indexOf(name)} 1 8`,
          // The early exit gives 1.
          `e ${name === "compare_up_to_the_first_difference" ? 1 : 0}`,
        ]);
        traces.set(name, new Set(machine.play(lines.flat()).map(({ hash }) => hash)));
      }
    });

    for (const { name, foundBy } of LEAKS) {
      // Without an instruction that counts zeros a library does, by a table.
      const finds =
        foundBy.includes("trace") || (architecture === "rv32" && name === "count_zeros_of_the_key");
      test(`${finds ? "find" : "find nothing in"} ${name}`, () => {
        const { size } = traces.get(name) ?? new Set();
        assert.ok(finds ? size > 1 : size === 1, `${size} traces`);
      });
    }
  });
}
