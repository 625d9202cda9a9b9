// wasm3 executes the same number of operations whatever the secrets are: no branch and no loop depends on one.
// What depends on one without changing that number, an address or the time of one operation, does not show here.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import { STATUS } from "../../host/status.ts";
import { wasm3Engine } from "../../host/wasm3-engine.ts";
import { needWasm3 } from "../support/wasm3.ts";
import { type Bytes, hex, run } from "../twin/bytes.ts";
import { topicAd } from "../twin/frame.ts";
import { Random } from "../twin/random.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf, sealMessage } from "../twin/server.ts";
import { channelId } from "../twin/suites.ts";
import { CoreModel } from "./adapter.ts";

const { options } = needWasm3({ counting: true });
const REALM = run(0x10, 8);
const DEVICE = run(0xd0, 8);
const DOWN = "p/d0d1d2d3d4d5d6d7/down";
const CHANNEL = channelId(REALM, "a/b");
const DEVICES = 8;
/** The first byte of a frame that is neither header nor public: the part. */
const SEALED_AT = 6;
const FRAME = 64;

/** An engine that writes down each call and how many operations it took. */
function recording(trace: string[]): Engine {
  const engine = wasm3Engine({}, { counting: true });
  const instantiate = (build: Build): Instance => {
    const { calls, memory, operations } = engine.instantiate(build);
    const counted = Object.entries(calls).map(([name, call]) => {
      const recorded = (...args: number[]): number => {
        const before = operations?.() ?? 0;
        const status = call(...args);
        trace.push(`${name} = ${status}: ${(operations?.() ?? 0) - before}`);
        return status;
      };
      return [name, recorded] as const;
    });
    return { calls: Object.fromEntries(counted), memory };
  };
  return { name: "wasm3, recording", instantiate };
}

/** What a device does in its life, with secrets and texts of `seed` and all else the same. */
function live(suite: number, seed: number): string[] {
  const trace: string[] = [];
  const secret = new Random(seed);
  const key = secret.bytes(16);
  const model = new CoreModel(recording(trace), {
    class: 0,
    channels: 4,
    senders: 8,
    suites: 15,
    layout: 1,
    frameMax: 1024,
  });
  model.provision({ realm: REALM, device: DEVICE, key }, new Uint8Array(8));
  const server = new Client(REALM, DEVICE, key);
  const generation = new Generation({ suite, realm: REALM, id: CHANNEL, generation: 3 }, secret.bytes(16));
  const set = { code: 1, parameters: parametersOf(generation, {}) } as const;
  const nodes = nodeCommands(CHANNEL, 3, generation.lease(0, 127, 0));
  const payload = server.seal(server.base(), revisionOf(1, 1), [set, ...nodes], DOWN);
  expect(STATUS.STORE_BLOB, model.control(payload, DOWN).status);
  const blob = model.saveBlob(1).record as Bytes;
  model.confirm(true);

  const exchange = (step: number): void => {
    for (let counter = 0; counter < 3; ++counter) {
      const sealed = model.protect(hex(CHANNEL), secret.bytes(20 + counter), "a/b", false);
      if (sealed.status === STATUS.STORE_MARK) model.confirm(true);
      const frame = peerFrame(generation, step, counter, secret.bytes(30));
      const opened = model.unprotect(hex(CHANNEL), frame, "a/b", false);
      if (opened.status === STATUS.STORE_MARK) model.confirm(true);
    }
  };
  exchange(0);
  const forged = peerFrame(generation, 0, 9, secret.bytes(30));
  flip(forged, SEALED_AT + secret.below(FRAME - SEALED_AT), secret.below(8));
  expect(STATUS.BAD_TAG, model.unprotect(hex(CHANNEL), forged, "a/b", false).status);
  expect(STATUS.OK, model.beacon(hex(CHANNEL), generation.beacon(set.parameters.form, 4)).status);
  exchange(4);
  const changed = Uint8Array.from(payload);
  flip(changed, 40 + secret.below(80), secret.below(8));
  expect(STATUS.BAD_TAG, model.control(changed, DOWN).status);
  model.restart([blob, blob], [], new Uint8Array(8));
  expect(STATUS.OK, model.hello(DOWN, new Uint8Array(8)).status);
  return trace;
}

function peerFrame(generation: Generation, step: number, counter: number, text: Bytes): Bytes {
  const shape = { form: generation.scope.suite << 2, size: FRAME };
  const writer = { sender: 9, step, counter };
  return sealMessage(generation, shape, writer, topicAd("a/b"), text)[0] as Bytes;
}

function flip(bytes: Bytes, at: number, bit: number): void {
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
}

function expect(status: number, actual: number): void {
  assert.equal(actual, status);
}

for (const suite of [0, 1, 2, 3]) {
  test(
    `wasm3: a device of suite ${suite} takes the same operations for other secrets and texts`,
    options,
    () => {
      const first = live(suite, 1);
      assert.ok(first.length > 60, `${first.length} calls`);
      for (let seed = 2; seed <= DEVICES; ++seed) assert.deepEqual(live(suite, seed), first, `seed ${seed}`);
    },
  );
}
