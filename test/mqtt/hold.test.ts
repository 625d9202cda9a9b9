// Payloads that are kept, when what they are handed to throws.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Held, Hold } from "../../host/mqtt/hold.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { RefusedError } from "../../host/status.ts";
import type { World } from "../../host/world.ts";

const BUG = new Error("a listener's bug");

function held(topic: string, error: Error = new RefusedError("UNKNOWN_EPOCH")): Held {
  const packet = { cmd: "publish", topic, payload: "", qos: 0, retain: false, dup: false } as const;
  return { topic, payload: Buffer.alloc(1), packet, error, unacknowledged: false };
}

/** A clock that is set by hand; `fire` runs the timer. */
function clock(): { world: World; set(ms: number): void; fire(): void } {
  let now = 0;
  let timer = (): void => {};
  const world = {
    ...nodeWorld(),
    now: () => now,
    setTimer: (_ms: number, run: () => void) => {
      timer = run;
      return {};
    },
    clearTimer: () => {},
  };
  return {
    world,
    set: (ms) => {
      now = ms;
    },
    fire: () => timer(),
  };
}

test("hold: a failure while one payload is tried again leaves the others, in order", () => {
  const lost: string[] = [];
  const hold = new Hold(nodeWorld(), 32, 15_000, ({ topic }) => lost.push(topic));
  for (const topic of ["a", "b", "c", "d"]) hold.add(held(topic));
  const tried: string[] = [];
  const retry = (): void =>
    hold.retry(({ topic, error }) => {
      tried.push(topic);
      if (topic === "a") return error;
      if (topic !== "b") return null;
      hold.add(held("e"));
      throw BUG;
    });
  assert.throws(retry, BUG);
  assert.equal(hold.size, 4);
  hold.retry(({ topic, error }) => {
    tried.push(topic);
    return error;
  });
  assert.deepEqual(tried, ["a", "b", "a", "c", "d", "e"]);
  hold.close();
  assert.deepEqual(lost, ["a", "c", "d", "e"]);
});

test("hold: a failure while one payload is given up leaves the others to be given up", () => {
  const { world, set, fire } = clock();
  const lost: string[] = [];
  const hold = new Hold(world, 32, 1000, ({ topic }) => {
    lost.push(topic);
    if (topic === "a") throw BUG;
  });
  for (const topic of ["a", "b", "c"]) hold.add(held(topic));
  set(1000);
  assert.throws(fire, BUG);
  fire();
  assert.deepEqual([lost, hold.size], [["a", "b", "c"], 0]);
});

test("hold: what waited for its store waits no longer than others once its keys are missing", () => {
  const { world, set, fire } = clock();
  const lost: string[] = [];
  const hold = new Hold(world, 32, 1000, ({ topic }) => lost.push(topic));
  hold.add(held("a", new Error("disk full")));
  set(5000);
  hold.retry(() => new RefusedError("UNKNOWN_EPOCH"));
  set(6000);
  fire();
  assert.deepEqual(lost, ["a"]);
});
