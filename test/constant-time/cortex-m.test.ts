// The device modules as C for a Cortex-M3, in an emulator: the same instructions and addresses whatever the
// secrets are, and no forged frame accepted when any one instruction is skipped.
//
// AMP_SWEEP=all skips every instruction for every suite and forgery: a minute.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { memorySizeOf } from "../../scripts/aot.ts";
import { need, needHeader } from "../support/need.ts";
import { random } from "../twin/stage.ts";
import { compile, shippedModule } from "./compile.ts";
import { type Call, CortexM, type Skips } from "./cortex-m.ts";
import { ShadowEngine, type Shipped } from "./engine.ts";
import { LEAKS, ONE_COMPARISON, SOURCE } from "./leaks.ts";
import { SMALL_MEMORY } from "./native.ts";
import { Life, type Shape } from "./scenario.ts";
import { signaturesOf, Transcript } from "./transcript.ts";
import { decode } from "./wasm.ts";

const SECRETS = 20;
const ASCON_SHAPES: Shape[] = [
  { suite: 0, size: 32 },
  { suite: 1, size: 256 },
];
/** device-ascon-volatile is device-ascon with less in it; labels, walk and sanitizer cover it. */
const SHAPES: Record<Exclude<Shipped, "host" | "device-ascon-volatile">, Shape[]> = {
  device: [
    { suite: 0, size: 256 },
    { suite: 1, size: 32 },
    { suite: 2, size: 32 },
    { suite: 3, size: 256 },
  ],
  "device-ascon": ASCON_SHAPES,
  "device-ascon-interpreted": ASCON_SHAPES,
  "device-ascon-compiled": ASCON_SHAPES,
  "device-ascon-hosted": ASCON_SHAPES,
};
const ALL = process.env.AMP_SWEEP === "all";
const skip = need("arm-none-eabi-gcc", "cc").skip || needHeader("unicorn/unicorn.h", "libunicorn-dev").skip;

const root = mkdtempSync(join(tmpdir(), "ampoule-cortex-m-"));
after(() => rmSync(root, { recursive: true }));

/** The lines of what `live` does on a new device. */
function transcriptOf(engine: ShadowEngine, shape: Shape, seed: string, live: (life: Life) => void) {
  let transcript: Transcript | undefined;
  engine.record = (memory) => {
    transcript = new Transcript(engine.notes.module, memory);
    return transcript;
  };
  live(new Life(engine, shape, seed));
  return (transcript as Transcript | undefined)?.lines ?? [];
}

function differences(calls: Call[][], names: string[]): string[] {
  const [first = []] = calls;
  return first.flatMap(({ call }, i) => {
    const traces = new Set(calls.map((one) => one[i]?.hash));
    return traces.size === 1 ? [] : [`${names[call]}, call ${i}: ${traces.size} traces`];
  });
}

for (const shipped of Object.keys(SHAPES) as (keyof typeof SHAPES)[]) {
  describe(`cortex-m, ${shipped}`, { skip }, () => {
    let engine: ShadowEngine;
    let machine: CortexM;
    let names: string[];
    before(async () => {
      engine = await ShadowEngine.load(shipped);
      machine = new CortexM(root, engine.wasm, "-Os", memorySizeOf(shippedModule(shipped)));
      names = signaturesOf(engine.notes.module).map(({ name }) => name);
    });

    for (const shape of SHAPES[shipped]) {
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

describe("cortex-m, planted leaks", { skip }, () => {
  const traces = new Map<string, Set<string>>();
  let skips: Skips | undefined;
  before(async () => {
    const wasm = await compile("kat", [], SOURCE);
    const machine = new CortexM(root, wasm, "-Os", SMALL_MEMORY);
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
    const refused = ["i", `p ${at} ${given}`, `c ${names.indexOf(ONE_COMPARISON)} 1 8`, "e 16"];
    skips = machine.skip(refused, { at: 0, size: 0 }, "");
  });

  test("skips: find that one comparison is too few", () => {
    assert.ok(skips !== undefined && skips.accepted > 0);
    assert.equal(skips.unlike, 0);
  });

  for (const { name, foundBy } of LEAKS) {
    const finds = foundBy.includes("trace");
    test(`traces: ${finds ? "find" : "find nothing in"} ${name}`, () => {
      const { size } = traces.get(name) ?? new Set();
      assert.ok(finds ? size > 1 : size === 1, `${size} traces`);
    });
  }
});

/** Which instructions are skipped: those of one forgery all, and of the others some. */
function strideOf(kind: string): number {
  if (ALL) return 1;
  return kind === "a bit of the tag" ? 1 : 11;
}

describe("cortex-m, one instruction skipped", { skip }, () => {
  let engine: ShadowEngine;
  let machine: CortexM;
  before(async () => {
    engine = await ShadowEngine.load("device");
    machine = new CortexM(root, engine.wasm, "-Os");
  });

  for (const suite of [0, 1, 2, 3]) {
    for (const kind of [
      "a bit of the tag",
      "a bit of the text",
      "a tag of zeros",
      "sealed under a key of zeros",
    ]) {
      const stride = strideOf(kind);
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
        const skips = machine.skip(lines, { at: FRAME, size: 1024 }, text, stride);
        const { where, accepted, leaked, unlike, instructions, refused, trapped, crashed, endless } = skips;
        t.diagnostic(
          `${instructions} instructions: refused ${refused}, trapped ${trapped}, crashed ${crashed}, endless ${endless}`,
        );
        assert.deepEqual(where, []);
        assert.deepEqual({ accepted, leaked, unlike }, { accepted: 0, leaked: 0, unlike: 0 });
        assert.equal(refused + trapped + crashed + endless, Math.ceil(instructions / stride));
        assert.ok(instructions > 3000 && refused > 0.75 * (instructions / stride));
      });
    }
  }
});
