// The real core over a store whose power fails at any write, a few bytes into it: no position is
// ever used twice, and no text is ever released twice.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Client, type MemoryStore, nodeWorld, RefusedError, type StoreImage } from "../../host/index.ts";
import { provisioned } from "./depot.ts";

const TOPIC = "power/a";
const TORN = [0, 1, 20, 47];
const RUNS = [1, 16] as const;

interface Pair {
  writer: MemoryStore;
  reader: MemoryStore;
  images: [StoreImage, StoreImage];
}

const pairs = new Map<number, Pair>();

before(async () => {
  for (const markBlock of RUNS) {
    const [writer, reader] = await provisioned(["writer", "reader"], "power/+", { markBlock });
    if (writer === undefined || reader === undefined) throw new Error("two devices were wanted");
    pairs.set(markBlock, { writer, reader, images: [writer.snapshot(), reader.snapshot()] });
  }
});

const boot = (store: MemoryStore): Client => new Client({ store, world: nodeWorld(), channels: ["power/+"] });

function pair(markBlock: number): Pair {
  const found = pairs.get(markBlock) as Pair;
  found.writer.restore(found.images[0]);
  found.reader.restore(found.images[1]);
  return found;
}

/** Seals until power fails, at most `count` messages. */
function seal(client: Client, count: number, prefix: string): Uint8Array[] {
  const payloads: Uint8Array[] = [];
  try {
    for (let n = 0; n < count; n++) payloads.push(...client.protect(TOPIC, `${prefix} ${n}`));
  } catch (error) {
    if (error instanceof RefusedError) throw error;
  }
  return payloads;
}

/** Opens until power fails; returns the texts that were released. */
function open(client: Client, payloads: Uint8Array[]): string[] {
  const texts: string[] = [];
  for (const payload of payloads) {
    try {
      const received = client.receive(TOPIC, payload);
      if (received.kind === "text") texts.push(Buffer.from(received.text).toString());
    } catch (error) {
      if (!(error instanceof RefusedError)) return texts;
    }
  }
  return texts;
}

/** Form, epoch, sender and counter: bytes that may stand before one text only. */
const position = (payload: Uint8Array): string => Buffer.from(payload.subarray(0, 6)).toString("hex");

test("power: whatever write of a sender is cut, no position is sealed twice [P-3] [T-6]", () => {
  for (const torn of TORN) {
    for (let cutAt = 0; cutAt < 4; cutAt++) {
      const { writer } = pair(1);
      writer.cutPower(cutAt, torn);
      const before = seal(boot(writer), 60, "before");
      writer.powerOn();
      const after = seal(boot(writer), 20, "after");
      assert.equal(after.length, 20);
      const positions = [...before, ...after].map(position);
      assert.equal(new Set(positions).size, positions.length, `cut at ${cutAt}, ${torn} bytes`);
    }
  }
});

for (const markBlock of RUNS) {
  test(`power: whatever write of a reader is cut, no text is released twice, and ${markBlock - 1} are lost at most [W-5] [W-6]`, () => {
    for (const torn of TORN) {
      for (let cutAt = 0; cutAt < (markBlock === 1 ? 12 : 3); cutAt++) {
        const { writer, reader } = pair(markBlock);
        const payloads = seal(boot(writer), 24, "text");
        reader.cutPower(cutAt, torn);
        const before = open(boot(reader), payloads);
        reader.powerOn();
        const after = open(boot(reader), payloads);
        const released = [...before, ...after];
        assert.equal(new Set(released).size, released.length, `cut at ${cutAt}, ${torn} bytes`);
        assert.ok(
          released.length >= payloads.length - (markBlock - 1),
          `cut at ${cutAt}: ${released.length}`,
        );
      }
    }
  });
}

test("power: after a clean stop everything that was not read yet is read [W-6]", () => {
  const { writer, reader } = pair(1);
  const payloads = seal(boot(writer), 20, "text");
  const before = open(boot(reader), payloads.slice(0, 7));
  const after = open(boot(reader), payloads);
  assert.deepEqual([before.length, after.length], [7, 13]);
});

test("power: a slot that is torn beside a whole one is no loss of keys, only of some counters [T-8]", () => {
  const { writer, reader } = pair(1);
  const before = seal(boot(writer), 5, "before");
  const image = writer.snapshot();
  for (const slot of [0, 1] as const) {
    const slots: StoreImage["slots"] = [image.slots[0], image.slots[1]];
    slots[slot] = slots[slot]?.slice(0, 100) ?? null;
    writer.restore({ ...image, slots });
    const after = seal(boot(writer), 5, "after");
    const positions = [...before, ...after].map(position);
    assert.equal(new Set(positions).size, 10);
    reader.restore(pair(1).images[1]);
    assert.equal(open(boot(reader), [...before, ...after]).length, 10);
    writer.restore(image);
  }
});

test("power: a store with both slots lost is refused by name [T-8]", () => {
  const { writer } = pair(1);
  const image = writer.snapshot();
  writer.restore({ ...image, slots: [new Uint8Array(100), new Uint8Array(100)] });
  assert.throws(
    () => boot(writer),
    (error) => error instanceof RefusedError && error.status === "BAD_RECORD",
  );
});
