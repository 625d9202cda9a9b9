// The module that leaves its permutation to who runs it: what it asks for, that it is the same device, and what it leaves.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Engine } from "../../host/core/engine.ts";
import { hostedEngine } from "../support/hosted.ts";
import { runCases } from "../twin/cases.ts";
import { Device } from "../twin/device.ts";
import { lockstep } from "../twin/lockstep.ts";
import type { DeviceOptions } from "../twin/model.ts";
import { CoreModel } from "./adapter.ts";

const CASES = 2000;
const STATE = 40;
const BUILD = join(import.meta.dirname, "..", "..", "build");
const wasm = Uint8Array.from(readFileSync(join(BUILD, "ampoule-device-ascon-hosted.wasm")));
const ascon = (options: DeviceOptions): DeviceOptions => ({
  ...options,
  ...{ suites: 0b0011, layout: 1, channels: 4, senders: 8 },
});

test("module device-ascon-hosted: imports the permutation and nothing else", () => {
  const found = WebAssembly.Module.imports(new WebAssembly.Module(wasm));
  assert.deepEqual(found, [{ module: "ampoule", name: "ascon_p", kind: "function" }]);
});

test(`module device-ascon-hosted: agrees with the model on ${CASES} seeded cases, and no call leaves a state in memory`, () => {
  const places = new Set<number>();
  const counts = new Set<number>();
  let permutations = 0;
  const plain = hostedEngine(wasm, (state, rounds) => {
    ++permutations;
    places.add(state);
    counts.add(rounds);
  });
  const engine: Engine = {
    name: plain.name,
    instantiate(build) {
      const { calls, memory } = plain.instantiate(build);
      const watched = Object.entries(calls).map(([name, call]) => {
        const checked = (...args: number[]): number => {
          const result = call(...args);
          for (const at of places) {
            const state = memory.subarray(at, at + STATE);
            assert.ok(
              state.every((byte) => byte === 0),
              `after ${name} ${Buffer.from(state).toString("hex")}`,
            );
          }
          return result;
        };
        return [name, checked] as const;
      });
      return { calls: Object.fromEntries(watched), memory };
    },
  };
  runCases((options) => lockstep(new Device(ascon(options)), new CoreModel(engine, ascon(options))), CASES);
  assert.ok(permutations > 10_000);
  assert.equal(places.size, 1, "one place");
  assert.deepEqual([...counts].sort(), [12, 8]);
});
