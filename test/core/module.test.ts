// The shipped modules themselves: what they import, what they leave in memory, how little they need.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { instantiate } from "@assemblyscript/loader";
import { placesOf } from "../../host/core/abi.ts";
import { CoreTrapError } from "../../host/core/engine.ts";
import { STATUS } from "../../host/status.ts";
import { test, testEngine } from "../support/engines.ts";
import { type Bytes, concat, hex, run, utf8 } from "../twin/bytes.ts";
import type { Command } from "../twin/control.ts";
import { topicAd } from "../twin/frame.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf, sealMessage } from "../twin/server.ts";
import { channelId } from "../twin/suites.ts";
import { CoreModel } from "./adapter.ts";

const engine = testEngine();
const BUILDS = ["device", "device-ascon", "device-ascon-volatile", "host"] as const;
const REALM = run(0x10, 8);
const DEVICE = run(0xd0, 8);
const KEY = run(0x80, 16);
const DOWN = "p/d0d1d2d3d4d5d6d7/down";
const OPTIONS = { class: 0, channels: 4, senders: 8, suites: 15, layout: 1, frameMax: 1024 } as const;

function bytesOf(build: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    readFileSync(join(import.meta.dirname, "..", "..", "build", `ampoule-${build}.wasm`)),
  );
}

for (const build of BUILDS) {
  test(`module ${build}: imports nothing, starts nothing, exports functions and its memory`, () => {
    const module = new WebAssembly.Module(bytesOf(build));
    assert.deepEqual(WebAssembly.Module.imports(module), []);
    for (const { name, kind } of WebAssembly.Module.exports(module)) {
      assert.equal(kind, name === "memory" ? "memory" : "function", name);
    }
  });

  test(`module ${build}: is instantiated by @assemblyscript/loader as it is by the host`, async () => {
    const { exports } = await instantiate<Record<string, () => number>>(bytesOf(build), {});
    assert.equal(exports.buffers?.(), engine.instantiate(build).calls.buffers?.());
  });

  test(`module ${build}: refuses every call before it has an identity`, () => {
    const { calls } = engine.instantiate(build);
    assert.equal(calls.protect?.(0, 0, 0, 1, 0, 0), STATUS.NO_IDENTITY);
    assert.equal(calls.unprotect?.(0, 64, 0, 3), STATUS.NO_IDENTITY);
    assert.equal(calls.control?.(128, 0), STATUS.NO_IDENTITY);
    assert.equal(calls.beacon?.(0, 25), STATUS.NO_IDENTITY);
    assert.equal(calls.answer?.(0, 0), STATUS.NO_IDENTITY);
    assert.equal(calls.answer?.(1, 0), STATUS.NO_IDENTITY);
  });

  test(`module ${build}: survives hostile arguments without a trap, and stays without identity`, () => {
    const { calls } = engine.instantiate(build);
    const hostile = [-1, 0, 1, 63, 64, 65535, 65536, 0x7fffffff, -0x80000000, 1025, 128];
    const skip = new Set(["saveBegin", "saveNext", "init"]);
    for (const [name, call] of Object.entries(calls)) {
      if (skip.has(name) || name.startsWith("kit")) continue;
      for (const a of hostile) for (const b of hostile) call(a, b, a, b, a, b);
    }
    assert.equal(calls.protect?.(0, 0, 0, 1, 0, 0), STATUS.NO_IDENTITY);
  });
}

test("module device-ascon-volatile: has no device with storage, and none of its exports", () => {
  const { calls } = engine.instantiate("device-ascon-volatile");
  assert.equal(calls.init?.(0, 0), STATUS.BAD_ARGUMENT);
  assert.equal(calls.init?.(1, 1), STATUS.BAD_ARGUMENT);
  assert.equal(calls.answer?.(0, 0), STATUS.NO_IDENTITY);
  assert.equal(calls.init?.(1, 0), STATUS.OK);
  assert.equal(calls.answer?.(0, 0), STATUS.OK);
  const storage = Object.keys(engine.instantiate("device-ascon").calls).filter((name) => !(name in calls));
  assert.deepEqual(storage.sort(), [
    "loadBegin",
    "loadEnd",
    "loadMark",
    "loadNext",
    "saveBegin",
    "saveNext",
    "stored",
  ]);
});

/** A device with one channel, some frames sealed and opened, and all secrets it was given. */
function busyDevice(suite = 0) {
  const model = new CoreModel(engine, OPTIONS);
  model.provision({ realm: REALM, device: DEVICE, key: KEY }, new Uint8Array(8));
  const server = new Client(REALM, DEVICE, KEY);
  const id = channelId(REALM, "a/b");
  const generation = new Generation({ suite, realm: REALM, id, generation: 3 }, run(0x55, 16));
  let count = 0;
  const bring = (...commands: Command[]) => {
    model.control(server.seal(server.base(), revisionOf(1, ++count), commands, DOWN), DOWN);
    model.saveBlob(count);
    model.confirm(true);
  };
  const nodes = generation.lease(0, 127, 0);
  bring({ code: 1, parameters: parametersOf(generation, {}) }, ...nodeCommands(id, 3, nodes));
  const peer = (counter: number) => sealAs(generation, 9, 0, counter);
  for (let i = 0; i < 3; ++i) {
    if (model.protect(hex(id), utf8(`text ${i}`), "a/b", false).status === STATUS.STORE_MARK)
      model.confirm(true);
    if (model.unprotect(hex(id), peer(i), "a/b", false).status === STATUS.STORE_MARK) model.confirm(true);
  }
  return { model, generation, nodes, bring, id, peer };
}

function sealAs(generation: Generation, sender: number, step: number, counter: number): Bytes {
  return sealMessage(
    generation,
    { form: generation.scope.suite << 2, size: 64 },
    { sender, step, counter },
    topicAd("a/b"),
    utf8("peer"),
  )[0] as Bytes;
}

function assertAbsent(model: CoreModel, secrets: Record<string, Bytes>): void {
  const memory = Buffer.from(model.instance.memory);
  for (const [name, secret] of Object.entries(secrets)) {
    for (const half of [secret.subarray(0, 8), secret.subarray(8, 16)]) {
      assert.equal(memory.indexOf(half), -1, `${name} is still in memory`);
    }
  }
}

test("core: a device in use holds nodes and cached keys, but no root, leaf or text", () => {
  const { model, generation, nodes } = busyDevice();
  assert.notEqual(Buffer.from(model.instance.memory).indexOf(nodes[0]?.key as Bytes), -1);
  assertAbsent(model, { root: generation.root.key, "left child": generation.node(64).key });
});

test("core: erases every byte of a dropped channel's keys [C-14]", () => {
  const { model, generation, nodes, bring, id } = busyDevice();
  bring({ code: 3, channel: id });
  const held = Object.fromEntries(nodes.map((node) => [`node ${node.h}`, node.key]));
  assertAbsent(model, {
    ...held,
    leaf: generation.leaf(0),
    "own key": generation.key(0, 1),
    "peer key": generation.key(0, 9),
  });
});

test("core: erases every byte of the steps that late does not reach any more [K-5]", () => {
  const { model, generation, id } = busyDevice();
  assert.equal(model.beacon(hex(id), generation.beacon(0, 10)).status, STATUS.OK);
  const gone: Record<string, Bytes> = { block: generation.node(32).key };
  for (let step = 0; step < 8; ++step) {
    gone[`step ${step}`] = generation.leaf(step);
    gone[`own key ${step}`] = generation.key(step, 1);
    gone[`peer key ${step}`] = generation.key(step, 9);
  }
  assertAbsent(model, gone);
});

test("core: erases the old generation's keys when it is replaced without keep [C-11]", () => {
  const { model, generation, nodes, bring, id } = busyDevice();
  const next = new Generation({ suite: 0, realm: REALM, id, generation: 4 }, run(0x66, 16));
  bring({ code: 1, parameters: parametersOf(next, { sender: 2 }) });
  assertAbsent(model, {
    node: nodes[0]?.key as Bytes,
    leaf: generation.leaf(0),
    "own key": generation.key(0, 1),
  });
});

test("core: a refused frame leaves no text in memory [N-3, S-5]", () => {
  const { model, id, peer } = busyDevice();
  const frame = peer(7);
  frame[63] = (frame[63] as number) ^ 1;
  assert.equal(model.unprotect(hex(id), frame, "a/b", false).status, STATUS.BAD_TAG);
  assert.equal(Buffer.from(model.instance.memory).indexOf("peer"), -1);
});

test("core: a trap is a CoreTrapError, and leaves no byte in memory", () => {
  const code =
    "0061736d01000000010501600001 7f030201000503010001071102066d656d6f72790200046661696c00000a05010300000b";
  const bytes = Uint8Array.from(Buffer.from(code.replaceAll(" ", ""), "hex"));
  const { calls, memory } = testEngine({ device: bytes }).instantiate("device");
  memory.fill(7);
  assert.throws(() => calls.fail?.(), CoreTrapError);
  assert.ok(memory.every((byte) => byte === 0));
});

test("core: a device that was given only its storage key has no identity until a blob verified [T-6]", () => {
  const { calls, memory } = engine.instantiate("device");
  memory.set(run(1, 56), calls.buffers?.() as number);
  assert.equal(calls.init?.(0, 1), STATUS.OK);
  assert.equal(calls.answer?.(0, 0), STATUS.NO_IDENTITY);
  calls.loadBegin?.();
  assert.equal(calls.loadNext?.(), STATUS.BAD_RECORD);
  assert.equal(calls.answer?.(0, 0), STATUS.NO_IDENTITY);
});

test("core: after a lost write nothing goes on before a blob is stored [T-8]", () => {
  const { calls, memory } = engine.instantiate("device");
  const identity = concat(REALM, DEVICE, new Uint8Array(8), KEY);
  for (const [torn, broken] of [[0, 0] as const, [1, 0] as const, [0, 1] as const]) {
    memory.set(identity, calls.buffers?.() as number);
    calls.init?.(0, 0);
    const isLost = torn + broken > 0;
    assert.equal(calls.loadEnd?.(torn, 0, broken), isLost ? STATUS.STORE_BLOB : STATUS.OK);
    assert.equal(calls.answer?.(0, 0), isLost ? STATUS.PENDING : STATUS.OK);
    calls.stored?.();
    assert.equal(calls.answer?.(0, 0), STATUS.OK);
  }
});

test("core: nothing goes on between the chunks of a blob, or before it is stored [T-7]", () => {
  const { model, id, peer } = busyDevice();
  const { calls } = model.instance;
  calls.saveBegin?.();
  assert.equal(calls.protect?.(0, 0, 0, 1, 0, 0), STATUS.BAD_ORDER);
  while (calls.saveNext?.() ?? 0);
  for (const kind of [0, 1]) assert.equal(calls.answer?.(kind, 0), STATUS.PENDING);
  assert.equal(model.protect(hex(id), utf8("x"), "a/b", false).status, STATUS.PENDING);
  assert.equal(model.unprotect(hex(id), peer(5), "a/b", false).status, STATUS.PENDING);
  calls.stored?.();
  assert.equal(calls.answer?.(0, 0), STATUS.OK);
  assert.equal(model.protect(hex(id), utf8("x"), "a/b", false).status, STATUS.OK);
});

test("core: a blob has an identity with its last chunk, and nothing is done before [T-3, T-6]", () => {
  const { model } = busyDevice();
  const { calls, memory } = model.instance;
  const frame = calls.buffers?.() as number;
  const chunks: Bytes[] = [];
  calls.saveBegin?.();
  const header = memory.slice(frame, frame + 16);
  for (let size = calls.saveNext?.() ?? 0; size > 0; size = calls.saveNext?.() ?? 0) {
    chunks.push(memory.slice(frame, frame + size));
  }
  const { state } = placesOf(frame, "device");
  const other = engine.instantiate("device");
  const identity = [REALM, DEVICE, new Uint8Array(8), memory.slice(state + 112, state + 144)];
  other.memory.set(Buffer.concat(identity), frame);
  assert.equal(other.calls.init?.(0, 1), STATUS.OK);
  other.memory.set(header, frame);
  other.calls.loadBegin?.();
  for (const [i, chunk] of chunks.entries()) {
    assert.equal(other.calls.answer?.(0, 0), STATUS.NO_IDENTITY);
    other.memory.set(chunk, frame);
    assert.equal(other.calls.loadNext?.(), i === chunks.length - 1 ? STATUS.OK : STATUS.MORE);
  }
  assert.equal(other.calls.answer?.(0, 0), STATUS.OK);
  assert.equal(other.calls.loadNext?.(), STATUS.BAD_RECORD, "one chunk too many");
  assert.equal(other.calls.answer?.(0, 0), STATUS.NO_IDENTITY);
});

test("core: saving drops a payload whose mark waits, so it is not taken by another's [R-10]", () => {
  const { model, id, generation } = busyDevice();
  const frame = sealAs(generation, 77, 0, 0);
  const { calls } = model.instance;
  assert.equal(model.unprotect(hex(id), frame, "a/b", false).status, STATUS.STORE_MARK);
  calls.saveBegin?.();
  while (calls.saveNext?.() ?? 0);
  calls.stored?.();
  const again = new Uint8Array(frame);
  model.confirm(false);
  assert.equal(model.unprotect(hex(id), again, "a/b", false).status, STATUS.STORE_MARK);
  model.confirm(true);
  assert.equal(model.unprotect(hex(id), frame, "a/b", false).status, STATUS.REPLAYED);
});

test("core: a control payload leaves nothing of itself, applied or refused in its last frame [C-4, N-3]", () => {
  const { model, generation } = busyDevice();
  const server = new Client(REALM, DEVICE, KEY);
  const fresh = run(0x99, 32);
  const set: Command = { code: 1, parameters: parametersOf(generation, { open: 5 }) };
  const commands = [set, server.ratchet(fresh), { code: 8, nonce: run(0xb0, 8) } as Command];
  const payload = server.seal(server.base(), revisionOf(1, 50), commands, DOWN);
  const bad = Uint8Array.from(payload);
  bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1;
  const before = model.snapshot();
  assert.equal(model.control(bad, DOWN).status, STATUS.BAD_TAG);
  assert.equal(model.snapshot(), before);
  assertAbsent(model, { "fresh bytes": fresh });
  assert.equal(model.control(payload, DOWN).status, STATUS.STORE_BLOB);
  assertAbsent(model, { "fresh bytes": fresh });
});

for (const suite of [0, 1, 2, 3]) {
  test(`core: refuses a frame of suite ${suite} after any one flipped bit, state unchanged, no text left [S-5, N-3]`, () => {
    const { model, id, peer } = busyDevice(suite);
    const frame = peer(7);
    const before = model.snapshot();
    for (let bit = 0; bit < frame.length * 8; ++bit) {
      const flipped = Uint8Array.from(frame);
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      // Junk costs credit: without it a later flip would be refused for that alone.
      model.tick();
      const { status, text } = model.unprotect(hex(id), flipped, "a/b", false);
      assert.ok(
        status >= STATUS.BAD_TAG && status !== STATUS.BUSY && text === undefined,
        `bit ${bit}: ${status}`,
      );
      assert.equal(model.snapshot(), before, `bit ${bit}`);
      assert.equal(Buffer.from(model.instance.memory).indexOf("peer"), -1, `bit ${bit}`);
    }
    assert.equal(model.unprotect(hex(id), frame, "a/b", false).status, STATUS.STORE_MARK);
  });
}
