// The shipped bytes: what they do with secrets in every case that runs, and on every path.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import { type FrameHead, Kit, LABEL, type Label } from "../../host/core/kit.ts";
import { v8Engine } from "../../host/core/wasm.ts";
import { CoreModel } from "../core/adapter.ts";
import { runCases, VOLATILE } from "../twin/cases.ts";
import type { DeviceOptions } from "../twin/model.ts";
import { type Expected, expectedOf, identityOf, perform, type Script } from "../twin/script.ts";
import { compile } from "./compile.ts";
import { Notes, run, SHIPPED, ShadowEngine, type Shipped } from "./engine.ts";
import { LEAKS, SOURCE } from "./leaks.ts";
import { RELEASES } from "./policy.ts";
import { SECRET } from "./rules.ts";
import { Life } from "./scenario.ts";
import { shadowed } from "./shadow.ts";
import { type Walked, walk } from "./walk.ts";
import { decode } from "./wasm.ts";

/** Of the host build fewer: an instance has 5 MB. */
const cases = (build: Build): number => (build === "host" ? 300 : 3000);
const SEED = 7;
const LEAST_COVERAGE = 0.95;

/** Without the comparison of all state before and after each call, which other tests make. */
class Quick extends CoreModel {
  override snapshot(): string {
    return "";
  }
}

/** What no run met counts as secret. */
function walkAfter(notes: Notes): Walked {
  const ran = notes.ranSites();
  return walk(notes.module, (site) => (ran.has(site) ? (notes.labels[site] ?? 0) : SECRET));
}

const SCRIPTS: Script[] = ["beacon", "control", "blob", "mark", "messages", "refusals"].flatMap((name) => {
  const path = join(import.meta.dirname, "..", "vectors", `${name}.json`);
  const read = JSON.parse(readFileSync(path, "utf8"));
  return name === "refusals" ? read.map(({ script }: { script: Script }) => script) : read.scripts;
});

/** Makes the calls of a script, whatever they give: the build may be another than the script is for. */
function playAnyway(make: (options: DeviceOptions) => CoreModel, script: Script): Expected[] {
  const device = make(script.options);
  const given = identityOf(script);
  if (given !== null) device.provision(given.identity, given.bootNonce);
  return script.calls.map((line) => expectedOf(perform(device, line)));
}

/** What the cases do not call. */
function callTheRest({ calls }: Instance): void {
  for (const name of ["memoryEnd", "kitOut", "kitB"]) calls[name]?.();
  assert.equal(calls.channelId?.(9), 0);
}

function callTheKit(engine: Engine): void {
  const kit = new Kit(engine);
  const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => i + 1);
  for (const suite of [0, 1, 2, 3]) {
    for (const label of Object.keys(LABEL) as Label[]) kit.derive(suite, bytes(16), label, bytes(30), 40);
    for (const topic of [bytes(9), null]) {
      const head: FrameHead = {
        form: suite << 2,
        frameSize: 64,
        sender: 1,
        generation: 1,
        step: 2,
        counter: 3,
        realm: bytes(8),
        id: bytes(8),
        topic,
        stepSecret: bytes(16),
      };
      const frame = kit.sealFrame(head, 0x80, bytes(20));
      assert.deepEqual(kit.openFrame(head, frame)?.chunk, bytes(20));
      frame[40] = (frame[40] ?? 0) ^ 1;
      assert.throws(() => kit.openFrame(head, frame));
    }
  }
  kit.channelId(bytes(8), "plant/+/live");
}

describe("constant time, shipped modules", () => {
  const released = new Set<string>();

  for (const [shipped, build] of Object.entries(SHIPPED) as [Shipped, Build][]) {
    const hasStorage = build !== "device-ascon-volatile";
    const devices = hasStorage ? undefined : VOLATILE;
    let engine: ShadowEngine;
    before(async () => {
      engine = await ShadowEngine.load(shipped);
    });

    test(`${shipped}: in all scripts and ${cases(build)} cases no secret decides a branch, select, address, length, division, shift or order`, () => {
      const play = (on: Engine) => {
        let last: Instance | undefined;
        const make = (given: DeviceOptions) => {
          const kind = hasStorage ? given.class : given.class || 1;
          const device = new Quick(on, { ...given, ...engine.options, class: kind }, build);
          last = device.instance;
          return device;
        };
        const played = SCRIPTS.flatMap((script) => playAnyway(make, script));
        const { hash } = runCases(make, cases(build), SEED, devices);
        if (last !== undefined) callTheRest(last);
        return JSON.stringify([hash, played]);
      };
      assert.equal(play(engine), play(v8Engine()), "the labels change nothing");
      if (build === "host") callTheKit(engine);
      if (hasStorage) new Life(engine, { suite: 0, size: 64 }, "labels").play();
      assert.deepEqual(engine.notes.findings, []);
      for (const release of engine.released) released.add(release);
    });

    test(`${shipped}: they run at least ${LEAST_COVERAGE * 100} % of all instructions`, (t) => {
      const { share, missing } = engine.notes.coverage();
      const { sites } = engine.notes.module;
      t.diagnostic(`${(share * 100).toFixed(1)} % of ${sites} instructions; no instruction of ${missing}`);
      assert.ok(share >= LEAST_COVERAGE);
    });

    test(`${shipped}: on no path of any function a secret decides one`, (t) => {
      const { module } = engine.notes;
      const { findings, functions, instructions, roots } = walkAfter(engine.notes);
      t.diagnostic(`${functions} functions, ${instructions} instructions`);
      assert.deepEqual(findings, []);
      assert.equal(functions, module.functions.length);
      const exported = WebAssembly.Module.exports(new WebAssembly.Module(engine.wasm));
      assert.deepEqual(
        roots,
        exported.filter(({ kind }) => kind === "function").map(({ name }) => name),
      );
    });
  }

  test("every place where a secret becomes public was met, and it is a listed one", () => {
    assert.deepEqual([...released].sort(), Object.keys(RELEASES).sort());
  });
});

describe("constant time, planted leaks", () => {
  let found: Record<"labels" | "walk", Map<string, Set<string>>>;

  before(async () => {
    const module = decode(await compile("kat", [], SOURCE));
    const notes = new Notes(module);
    const running = run(new WebAssembly.Module(shadowed(module, [])), notes, () => {});
    const { calls, memory, shadow } = running;
    const at = calls.keyPtr?.() ?? 0;
    for (const { name } of LEAKS) {
      memory.fill(7, at, at + 32);
      shadow.fill(0).fill(SECRET, at, at + 16);
      calls[name]?.(8);
    }
    running.fold();
    const byFunction = (findings: typeof notes.findings) => {
      const map = new Map<string, Set<string>>();
      for (const { where, what } of findings) {
        const name = where.split(" ")[1] ?? "";
        map.set(name, (map.get(name) ?? new Set()).add(what));
      }
      return map;
    };
    found = { labels: byFunction(notes.findings), walk: byFunction(walkAfter(notes).findings) };
  });

  for (const { name, what, foundBy } of LEAKS) {
    for (const check of ["labels", "walk"] as const) {
      const finds = what !== null && foundBy.includes(check);
      test(`${check}: ${finds ? `find a ${what}` : "find nothing"} in ${name}`, () => {
        const whats = [...(found[check].get(name) ?? [])];
        if (finds) assert.ok(whats.includes(what), `found ${whats}`);
        else assert.deepEqual(whats, []);
      });
    }
  }
});
