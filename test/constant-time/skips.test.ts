// The device modules as C for a microcontroller, in an emulator: no forged frame is accepted when any one
// instruction is skipped.
//
// AMP_SWEEP=all skips every instruction for every suite and forgery: some minutes.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { compile } from "./compile.ts";
import { Emulated, needsFor, type Run, type Sweep, type Target, titleOf } from "./emulator.ts";
import { ShadowEngine } from "./engine.ts";
import { ONE_COMPARISON, SOURCE } from "./leaks.ts";
import { SMALL_MEMORY } from "./native.ts";
import { transcriptOf } from "./scenario.ts";
import { signaturesOf } from "./transcript.ts";
import { decode } from "./wasm.ts";

/** What bench/mcu/README.md recommends; of the module with Xoodyak the two other suites. */
const SUBJECTS: { target: Target; suites: number[] }[] = [
  {
    target: { shipped: "device-ascon", architecture: "arm", optimize: "-Os -fschedule-insns" },
    suites: [0, 1],
  },
  { target: { shipped: "device-ascon", architecture: "arm", optimize: "-O2" }, suites: [0, 1] },
  { target: { shipped: "device-ascon-compiled", architecture: "arm", optimize: "-O2" }, suites: [0, 1] },
  { target: { shipped: "device-ascon", architecture: "rv32", optimize: "-Os" }, suites: [0, 1] },
  {
    target: {
      shipped: "device-ascon-interpreted",
      architecture: "rv32",
      optimize: "-O2 -fno-schedule-insns",
    },
    suites: [0, 1],
  },
  { target: { shipped: "device", architecture: "arm", optimize: "-Os" }, suites: [2, 3] },
  { target: { shipped: "device", architecture: "arm", optimize: "-O2" }, suites: [2, 3] },
];
const ALL = process.env.AMP_SWEEP === "all";
const LAST_ACCEPTED = 3;

const root = mkdtempSync(join(tmpdir(), "ampoule-skips-"));
after(() => rmSync(root, { recursive: true }));

const isAccepted = ({ ending, result }: Run): boolean => ending === "E" && result <= LAST_ACCEPTED;
const shown = (runs: Run[]): string[] =>
  runs.map(({ where, instruction, result }) => `${where}, instruction ${instruction}: ${result}`);

function countsOf({ runs, instructions }: Sweep): string {
  const of = (ending: string) => runs.filter((run) => run.ending === ending).length;
  return `${instructions} instructions, ${runs.length} skips: ended ${of("E")}, trapped ${of("T")}, crashed ${of("C")}, endless ${of("L")}`;
}

/**
 * Which instructions are skipped: all for what a suite finds hardest, and of others some. A SIV suite takes another key
 * stream for another tag, so that what comes of a changed tag is no text.
 */
function strideOf(kind: string, isAead: boolean): number {
  return ALL || kind === "a bit of the text" || (isAead && kind === "a bit of the tag") ? 1 : 11;
}

for (const { target, suites } of SUBJECTS) {
  describe(`skips, ${titleOf(target)}`, needsFor(target.architecture), () => {
    let engine: ShadowEngine;
    let machine: Emulated;
    before(async () => {
      engine = await ShadowEngine.load(target.shipped);
      machine = new Emulated(root, engine.wasm, target);
    });

    for (const suite of suites) {
      for (const kind of [
        "a bit of the text",
        "a bit of the tag",
        "a tag of zeros",
        "sealed under a key of zeros",
      ]) {
        const stride = strideOf(kind, suite % 2 === 1);
        const some = stride === 1 ? "any instruction" : `each ${stride}th instruction`;
        test(`suite ${suite}: unprotect without ${some} accepts no forged frame: ${kind}`, (t) => {
          let text = "";
          const lines = transcriptOf(engine, { suite, size: 32 }, "skip", (life) => {
            text = toHex(life.text());
            life.begin();
            // What is left of a frame that was opened makes acceptance easier.
            life.accept(0);
            life.refuse(life.forgeries(1)[kind] ?? new Uint8Array());
          });
          const { FRAME } = engine.layout;
          const sweep = machine.sweep(lines, [`x ${FRAME} 1024 ${text}`], stride);
          const { base, runs, instructions } = sweep;
          t.diagnostic(countsOf(sweep));
          assert.ok(!isAccepted(base) && base.ending === "E");
          assert.deepEqual(
            shown(runs.filter((run) => isAccepted(run) || (run.ending === "E" && run.leaks))),
            [],
          );
          assert.equal(runs.length, Math.ceil(instructions / stride));
          const refused = runs.filter(({ ending }) => ending === "E");
          assert.ok(instructions > 3000 && refused.length > 0.75 * runs.length);
        });
      }
    }

    for (const kind of [
      "a bit of the text",
      "sealed under a next key of zeros",
      "sealed under a session of zeros",
      "in clear",
    ]) {
      // Refused after some hundred instructions where there is no such key; else after tens of thousands.
      const stride = ALL || kind !== "a bit of the text" ? 1 : 23;
      const some = stride === 1 ? "any instruction" : `each ${stride}rd instruction`;
      test(`control without ${some} applies no forged payload: ${kind}`, (t) => {
        const lines = transcriptOf(engine, { suite: 0, size: 32 }, "skip", (life) => {
          life.begin();
          life.refuseControl(life.forgedControl()[kind] ?? new Uint8Array());
        });
        // The revision, the keys, and what the server sets of the channel.
        const { REVISION, CHANNEL_TABLE } = engine.layout;
        const telling = [`d ${REVISION} 8`, `d ${REVISION + 24} 40`, `d ${CHANNEL_TABLE} 28`];
        const sweep = machine.sweep(lines, telling, stride);
        const { base, runs, instructions } = sweep;
        t.diagnostic(countsOf(sweep));
        assert.ok(!isAccepted(base) && base.ending === "E");
        assert.deepEqual(shown(runs.filter((run) => isAccepted(run) && run.bytes !== base.bytes)), []);
        assert.equal(runs.length, Math.ceil(instructions / stride));
      });
    }
  });
}

for (const architecture of ["arm", "rv32"] as const) {
  test(`skips, ${architecture}: find that one comparison is too few`, needsFor(architecture), async () => {
    const wasm = await compile("kat", [], SOURCE);
    const machine = new Emulated(root, wasm, { architecture, optimize: "-Os" }, SMALL_MEMORY);
    const names = signaturesOf(decode(wasm)).map(({ name }) => name);
    const lines = ["i", "p 16 01", `c ${names.indexOf(ONE_COMPARISON)} 1 8`, "e 16"];
    const { base, runs } = machine.sweep(lines, []);
    assert.equal(base.result, 16);
    assert.ok(runs.some(isAccepted));
  });
}
