// Frames of the generation before: their shape is that of their own generation.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Instance, v8Engine } from "../../host/index.ts";
import { RefusedError } from "../../host/status.ts";
import { Realm } from "../firmware/realm.ts";

/** Offset in a channel's record: the flags of the generation before. */
const PREVIOUS_FLAGS_AT = 83;
const NARROW = 4;

test("device: whether a message is narrow is said by the generation it was sealed in [R-1]", async () => {
  const realm = new Realm();
  try {
    const instances: Instance[] = [];
    const engine = v8Engine();
    realm.engine = {
      name: engine.name,
      instantiate: (build) => {
        const instance = engine.instantiate(build);
        if (build === "host") instances.push(instance);
        return instance;
      },
    };
    const mark = (flags: number): void => {
      for (const { calls, memory } of instances) {
        const slots = Array.from({ length: 1024 }, (_, slot) => calls.channelPtr?.(slot) ?? 0);
        for (const at of slots) if (at !== 0) memory[at + PREVIOUS_FLAGS_AT] = flags;
      }
    };
    realm.channel("a", { frameSize: 64 });
    const desk = realm.member("desk", "a");
    const eye = realm.member("eye", "a");
    await realm.settled();
    const [short, long, later] = ["x", "x".repeat(100), "x".repeat(99)].map(
      (text) => desk.protect("a", text)[0],
    );
    realm.server.rotate("a");
    await realm.settled();
    const [current] = desk.protect("a", "x".repeat(100));
    const [channel] = eye.device.channels();
    assert.ok(channel?.previous && channel.generation === 2 && !channel.narrow);
    const open = (payload: Uint8Array | undefined): boolean =>
      eye.device.unprotect(channel.id, "a", payload ?? new Uint8Array()).narrow;
    assert.equal(open(later), false);
    mark(NARROW);
    assert.equal(open(current), false);
    assert.throws(
      () => open(long),
      (error) => error instanceof RefusedError && error.status === "BAD_LENGTH",
    );
    assert.equal(open(short), true);
  } finally {
    await realm.close();
  }
});
