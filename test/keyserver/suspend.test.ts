// A member that loses its state again and again, or says so, does not make all others begin anew each time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { onStage, type Peer, type Stage } from "./stage.ts";

const MINUTE = 60_000;
const EVERY = 10 * MINUTE;
const MINUTES = 30;

/** Three members of a channel that steps every ten minutes. */
async function members(stage: Stage): Promise<[Peer, Peer, Peer]> {
  const [a, b, c] = [stage.peer("a"), stage.peer("b"), stage.peer("c")];
  stage.server.createChannel("x", { markBlock: 1, stepEvery: EVERY / 1000 });
  for (const { name } of [a, b, c]) stage.server.grant("x", name);
  stage.start();
  for (const peer of [a, b, c]) peer.connect();
  await stage.run(10_000);
  assert.deepEqual(stage.behind(), []);
  return [a, b, c];
}

/** Breaks a record of a member, as often as generations may begin for it at once, and once more. */
async function suspended(stage: Stage): Promise<[Peer, Peer, Peer]> {
  const all = await members(stage);
  const [a, b] = all;
  for (let times = 1; times <= 4; times++) {
    assert.equal(a.open("x", b.seal("x")), "text");
    a.seal("x");
    a.breakMark();
    a.connect();
    await stage.run(10_000);
  }
  assert.equal(generation(stage), 4);
  assert.equal(stage.status("a").state, "suspended");
  return all;
}

const generation = (stage: Stage): number => stage.server.channel("x").generation;
const opens = (peer: Peer, payload: Uint8Array): string => peer.try(() => peer.open("x", payload));

test(
  "suspend: a member whose flash breaks at every boot costs three generations and then one a step [V-12]",
  onStage(async (stage) => {
    const [a, b, c] = await members(stage);
    let breaks = 0;
    for (let minute = 0; minute < MINUTES; minute++) {
      if (a.channel("x") !== undefined && a.try(() => a.seal("x")) === "OK") {
        a.breakMark();
        breaks++;
      } else {
        a.reboot();
      }
      a.connect();
      await stage.run(MINUTE);
      assert.equal(opens(c, b.seal("x")), "OK");
    }
    assert.ok(breaks >= 5, `${breaks} breaks`);
    const most = 3 + (MINUTES * MINUTE) / EVERY;
    assert.ok(generation(stage) - 1 <= most, `${generation(stage)} generations, ${most} may begin`);
    await stage.run(EVERY);
    assert.equal(opens(b, a.seal("x")), "OK", "it is back one step later");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "suspend: a suspended member holds nothing, and what it accepted is never accepted again [V-2, V-12]",
  onStage(async (stage) => {
    const [a, b, c] = await suspended(stage);
    const said = b.seal("x");
    assert.equal(opens(c, said), "OK");
    assert.equal(opens(a, said), "NO_CHANNEL");
    assert.equal(
      a.try(() => a.seal("x")),
      "NO_CHANNEL",
    );
    await stage.run(EVERY);
    assert.equal(generation(stage), 5);
    assert.equal(opens(a, said), "UNKNOWN_EPOCH");
    assert.equal(opens(b, a.seal("x")), "OK");
    assert.equal(opens(a, b.seal("x")), "OK");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "suspend: stored state that went back is taken out too [V-11, V-12]",
  onStage(async (stage) => {
    const [a, b] = await suspended(stage);
    await stage.run(EVERY);
    const said = b.seal("x");
    assert.equal(opens(a, said), "OK");
    const image = a.store.snapshot();
    for (let i = 0; i < 2; i++) {
      stage.server.step("x");
      await stage.run(1000);
    }
    a.hello();
    await stage.run(1000);
    a.store.restore(image);
    a.reboot();
    a.connect();
    await stage.run(10_000);
    assert.match(stage.status("a").alarm ?? "", /went back/);
    assert.equal(opens(a, said), "NO_CHANNEL");
    await stage.run(EVERY);
    assert.equal(opens(a, said), "UNKNOWN_EPOCH");
    assert.equal(opens(b, a.seal("x")), "OK");
  }),
);

test(
  "suspend: a generation that begins before ends it, and keeps no previous one [V-12]",
  onStage(async (stage) => {
    const [a, b, c] = await suspended(stage);
    const said = b.seal("x");
    stage.server.rotate("x");
    await stage.run(10_000);
    assert.equal(opens(a, said), "UNKNOWN_EPOCH");
    assert.equal(opens(c, said), "UNKNOWN_EPOCH");
    assert.equal(opens(b, a.seal("x")), "OK");
    assert.deepEqual(stage.behind(), []);
    a.seal("x");
    a.breakMark();
    a.connect();
    await stage.run(10_000);
    assert.equal(generation(stage), 5, "the rotation was none of those that it may cost");
    assert.equal(stage.status("a").state, "suspended");
  }),
);

test(
  "suspend: it lasts across a crash of the server, and no longer where the clock goes back [V-12]",
  onStage(async (stage) => {
    const [a, b] = await suspended(stage);
    stage.crash();
    await stage.run(10_000);
    assert.equal(stage.status("a").state, "suspended");
    stage.world.turnBack(300 * 24 * 60 * MINUTE);
    await stage.run(10_000);
    assert.equal(opens(b, a.seal("x")), "OK");
    assert.deepEqual(stage.behind(), []);
  }),
);
