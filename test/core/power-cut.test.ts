// A writer and a reader on the shipped module, power cut at every single write of their stores, the write
// done, not done or torn.

import assert from "node:assert/strict";
import { Device } from "../../host/core/device.ts";
import { RefusedError } from "../../host/status.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import type { World } from "../../host/world.ts";
import { test, testEngine } from "../support/engines.ts";
import { hex, run, utf8 } from "../twin/bytes.ts";
import type { Command } from "../twin/control.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf } from "../twin/server.ts";
import { channelId } from "../twin/suites.ts";

const REALM = run(0x10, 8);
const TOPIC = "plant/1/temp";
const CHANNEL = channelId(REALM, TOPIC);
const engine = testEngine();
const world = { random: (n: number) => new Uint8Array(n) } as World;

class PowerCut extends Error {}

/** `again`: power fails a second time, tearing the n-th write after the first cut. */
type Cut = { at: number; how: "before" | "torn" | "after"; again?: number } | null;

/** A store whose n-th write is the last before power fails. */
class CuttingStore extends MemoryStore {
  wantsBlob?: () => boolean;
  writes = 0;
  cut: Cut = null;
  /** Bytes that a torn write leaves of a blob; default half of it. */
  tornAt?: number;
  /** All blobs that came to a slot, whole or torn, by sequence (SPEC T-7). */
  readonly #blobs = new Map<number, Uint8Array>();
  /** Blobs that came again under their sequence, because no header told of it. */
  again = 0;

  private guard(write: (torn: boolean) => void): void {
    const { cut } = this;
    const now = ++this.writes;
    const isNow = cut !== null && now === cut.at;
    if (!isNow || cut.how !== "before") write(isNow && cut.how === "torn");
    if (!isNow) return;
    this.cut = cut.again === undefined ? null : { at: now + cut.again, how: "torn" };
    throw new PowerCut();
  }

  override writeSlot(index: 0 | 1, blob: Uint8Array): void {
    this.guard((torn) => {
      super.writeSlot(index, torn ? blob.subarray(0, this.tornAt ?? blob.length >> 1) : blob);
      const sequence = Buffer.from(blob).readUInt32LE(8);
      const before = this.#blobs.get(sequence);
      if (before !== undefined) this.again++;
      const isSame = this.tornAt !== undefined && before !== undefined && hex(before) === hex(blob);
      assert.ok(before === undefined || isSame, `sequence ${sequence} written twice`);
      this.#blobs.set(sequence, blob.slice());
    });
  }

  override restore(image: ReturnType<MemoryStore["snapshot"]>): void {
    this.#blobs.clear();
    super.restore(image);
  }

  override appendMark(mark: Uint8Array): void {
    this.guard((torn) => torn || super.appendMark(mark));
  }

  override clearMarks(): void {
    this.guard((torn) => torn || super.clearMarks());
  }

  override saveIdentity(identity: Parameters<MemoryStore["saveIdentity"]>[0]): void {
    this.guard((torn) => torn || super.saveIdentity(identity));
  }
}

/** One device with its store, restarted after each cut, and what the server holds for it. */
class Machine {
  readonly store: CuttingStore;
  readonly server: Client;
  device: Device;
  revision = 0;
  cuts = 0;

  constructor(name: number) {
    const key = run(name, 16);
    const device = run(0xd0 + name, 8);
    this.store = new CuttingStore({ realm: REALM, device, prefix: "p", key });
    this.server = new Client(REALM, device, key);
    this.device = this.boot();
  }

  private boot(): Device {
    return new Device({ engine, store: this.store, world, build: "device" });
  }

  /** Runs an act; after a power cut boots again and reports undefined. */
  run<T>(act: (device: Device) => T): T | undefined {
    try {
      return act(this.device);
    } catch (error) {
      if (!(error instanceof PowerCut)) throw error;
      this.cuts++;
      for (;;) {
        try {
          this.device = this.boot();
          return undefined;
        } catch (again) {
          if (!(again instanceof PowerCut)) throw again;
        }
      }
    }
  }

  /** Sends a revision until it is acked, as a server does: the same commands, the same number. */
  bring(commands: Command[]): void {
    const fresh = run(0x40 + this.revision, 32);
    const ratchet = this.server.ratchet(fresh);
    const number = revisionOf(1, ++this.revision);
    const base = this.server.base();
    for (let tries = 0; tries < 5; ++tries) {
      const payload = this.server.seal(base, number, [...commands, ratchet], this.device.downTopic);
      const reply = this.run((device) => device.control(payload).reply);
      const up = reply && this.server.open(reply, this.device.upTopic);
      if (up?.ack?.revision !== number) continue;
      this.settle(up.key?.version ?? 0);
      return;
    }
    throw new Error("the device does not converge");
  }

  /** V-5: a query under the new key, until it is acked. */
  private settle(version: number): void {
    assert.equal(version, this.server.version + 1);
    this.server.settle();
    const number = revisionOf(1, ++this.revision);
    const query: Command = { code: 8, nonce: run(this.revision, 8) };
    for (let tries = 0; tries < 5; ++tries) {
      const payload = this.server.seal(this.server.base(), number, [query], this.device.downTopic);
      const reply = this.run((device) => device.control(payload).reply);
      const up = reply && this.server.open(reply, this.device.upTopic);
      if (up?.ack?.revision === number) return;
    }
    throw new Error("the device does not settle");
  }
}

/** The whole story; returns how many writes each store saw. */
function play(
  writerCut: Cut,
  readerCut: Cut,
  suite: number,
): { writer: number; reader: number; lost: number } {
  const secret = (n: number) => run(0x21 * n, 16);
  const generation = (n: number) =>
    new Generation({ suite, realm: REALM, id: CHANNEL, generation: n }, secret(n));
  const one = generation(1);
  const two = generation(2);
  const writer = new Machine(1);
  const reader = new Machine(2);
  writer.store.cut = writerCut;
  reader.store.cut = readerCut;

  const member = (g: Generation, sender: number, keep: boolean): Command[] => [
    { code: 1, parameters: parametersOf(g, { sender, flags: 8 | (keep ? 128 : 0) }) },
    ...nodeCommands(CHANNEL, g.scope.generation, g.lease(0, 127, 0)),
  ];
  const positions = new Set<string>();
  const read = new Set<string>();
  const sent: { payload: Uint8Array; text: string }[] = [];
  let lost = 0;

  const send = (text: string): void => {
    const payload = writer.run((device) => {
      try {
        return device.protect(CHANNEL, TOPIC, utf8(text))[0];
      } catch (error) {
        if (error instanceof RefusedError && error.status === "HOLD") return null;
        throw error;
      }
    });
    if (payload === undefined || payload === null) return;
    for (let at = 0; at < payload.length; at += 64) {
      const position = hex(payload.subarray(at, at + 6));
      assert.ok(!positions.has(position), `position ${position} sealed twice`);
      positions.add(position);
    }
    sent.push({ payload, text });
  };
  const receive = (payload: Uint8Array): void => {
    try {
      const text = reader.run((device) =>
        new TextDecoder().decode(device.unprotect(CHANNEL, TOPIC, payload).text),
      );
      if (text === undefined) return;
      assert.ok(!read.has(text), `${text} accepted twice`);
      read.add(text);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
    }
  };

  writer.bring(member(one, 1, false));
  reader.bring(member(one, 2, false));
  let n = 0;
  const burst = (count: number, text: (n: number) => string): void => {
    for (let i = 0; i < count; ++i) {
      send(text(n++));
      const last = sent.at(-1);
      if (last !== undefined) receive(last.payload);
    }
  };
  burst(20, (i) => `short ${i}`);
  for (const step of [1, 2]) {
    const payload = one.beacon(parametersOf(one, {}).form, step);
    for (const machine of [writer, reader]) {
      machine.run((device) => {
        if ((device.channel(CHANNEL)?.step ?? 0) < step) device.beacon(CHANNEL, payload);
      });
    }
    burst(18, (i) => `step ${step} ${i}`);
  }
  reader.bring(member(two, 2, true));
  writer.bring(member(two, 1, true));
  burst(18, (i) => `long ${i} ${"x".repeat(100)}`);
  for (const { payload } of sent) receive(payload);
  for (const { text } of sent) if (!read.has(text)) lost++;
  return { writer: writer.store.writes, reader: reader.store.writes, lost };
}

for (const suite of [0, 1]) {
  test(`device: cut at any write seals no position twice and loses no text but its own, suite ${suite} [P-3, T-5, T-7, T-8]`, () => {
    const { writer } = play(null, null, suite);
    assert.ok(writer > 15);
    for (let at = 1; at <= writer; ++at) {
      for (const how of ["before", "torn", "after"] as const) {
        const { lost } = play({ at, how }, null, suite);
        assert.equal(lost, 0, `cut ${how} write ${at}: the reader lost texts`);
      }
    }
  });

  test(`device: cut at any write takes no text twice and loses at most R frames a sender, suite ${suite} [W-5, W-6, T-6, R-10]`, () => {
    const { reader, lost } = play(null, null, suite);
    assert.equal(lost, 0);
    assert.ok(reader > 8);
    for (let at = 1; at <= reader; ++at) {
      for (const how of ["before", "torn", "after"] as const) {
        const { lost } = play(null, { at, how }, suite);
        // R = 16, twice after a lost write.
        assert.ok(lost <= 32, `cut ${how} write ${at}: ${lost} lost`);
      }
    }
  });
}

test("device: a second cut while it recovers from the first costs no more than lost writes [T-7, T-8]", () => {
  const { writer, reader } = play(null, null, 0);
  for (const again of [1, 2, 3, 4]) {
    for (let at = 1; at <= writer; ++at) {
      const { lost } = play({ at, how: "torn", again }, null, 0);
      assert.equal(lost, 0, `cut at write ${at} and ${again} writes later: the reader lost texts`);
    }
    for (let at = 1; at <= reader; ++at) {
      const { lost } = play(null, { at, how: "torn", again }, 0);
      assert.ok(lost <= 64, `cut at write ${at} and ${again} writes later: ${lost} lost`);
    }
  }
});

/** A device whose writes of blobs are cut off again and again: this one, and then the one that makes up for it. */
function tornForEver(tornAt?: number): Machine {
  const machine = new Machine(5);
  if (tornAt !== undefined) machine.store.tornAt = tornAt;
  const generation = new Generation({ suite: 0, realm: REALM, id: CHANNEL, generation: 1 }, run(0x21, 16));
  machine.bring([
    { code: 1, parameters: parametersOf(generation, { sender: 1 }) },
    ...nodeCommands(CHANNEL, 1, generation.lease(0, 127, 0)),
  ]);
  const { form } = parametersOf(generation, {});
  for (let step = 1; step <= 40; ++step) {
    // This cut and each that follows it tears the slot that is written again.
    machine.store.cut = { at: machine.store.writes + 1 + (step & 1), how: "torn", again: 1 };
    machine.run((device) => device.beacon(CHANNEL, generation.beacon(form, step)));
    machine.run((device) => {
      if ((device.channel(CHANNEL)?.step ?? 0) < step) device.beacon(CHANNEL, generation.beacon(form, step));
    });
  }
  assert.ok(machine.cuts >= 40);
  assert.equal(machine.device.channel(CHANNEL)?.step, 40);
  return machine;
}

test("device: no blob sequence is written twice, however often the store is cut off [T-7]", () => {
  assert.equal(tornForEver().store.again, 0);
});

test("device: a blob sequence comes again where no torn write left a header, and with the same blob [T-7]", () => {
  assert.ok(tornForEver(4).store.again > 0);
});

test("device: stores a blob before the next message when its store has many marks, and goes on from it [T-7]", () => {
  const machine = new Machine(3);
  const generation = new Generation({ suite: 0, realm: REALM, id: CHANNEL, generation: 1 }, run(0x21, 16));
  machine.bring([
    { code: 1, parameters: parametersOf(generation, { sender: 1 }) },
    ...nodeCommands(CHANNEL, 1, generation.lease(0, 127, 0)),
  ]);
  machine.store.wantsBlob = () => machine.store.load().marks.length >= 2;
  for (let i = 0; i < 200; ++i) machine.device.protect(CHANNEL, TOPIC, utf8(`${i}`));
  assert.ok(machine.store.load().marks.length <= 2);
  assert.equal(machine.store.load().slots.includes(null), false);
});

test("device: no changed bit of a slot or a mark brings a position back, or is taken for good [T-1, T-2, T-8]", () => {
  const machine = new Machine(4);
  const generation = new Generation({ suite: 1, realm: REALM, id: CHANNEL, generation: 1 }, run(0x21, 16));
  machine.bring([
    { code: 1, parameters: parametersOf(generation, { sender: 1 }) },
    ...nodeCommands(CHANNEL, 1, generation.lease(0, 127, 0)),
  ]);
  for (let i = 0; i < 20; ++i) machine.device.protect(CHANNEL, TOPIC, utf8(`${i}`));
  const image = machine.store.snapshot();
  const flip = (bytes: Uint8Array, bit: number): void => {
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
  };
  const sizes = [...image.slots.map((slot) => slot?.length ?? 0), image.marks.length];
  assert.ok(sizes.every((size) => size > 0));
  sizes.forEach((size, part) => {
    for (let bit = 0; bit < size * 8; ++bit) {
      machine.store.restore(image);
      const changed = machine.store.snapshot();
      flip((part < 2 ? changed.slots[part] : changed.marks) as Uint8Array, bit);
      machine.store.restore(changed);
      const device = new Device({ engine, store: machine.store, world, build: "device" });
      // AEAD waits for the step after a lost write, and for the server after a broken mark: nothing can repeat.
      const waits = (): void =>
        assert.throws(
          () => device.protect(CHANNEL, TOPIC, utf8("again")),
          { status: "HOLD" },
          `part ${part} bit ${bit}`,
        );
      waits();
      device.beacon(CHANNEL, generation.beacon(parametersOf(generation, {}).form, 2));
      if (part === 2) {
        waits();
        continue;
      }
      const frame = device.protect(CHANNEL, TOPIC, utf8("again"))[0] as Uint8Array;
      assert.equal((frame[1] as number) & 15, 2, `part ${part} bit ${bit}`);
    }
  });
});
