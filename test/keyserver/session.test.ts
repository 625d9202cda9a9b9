// Devices without storage: sessions and counter blocks (SPEC V-2, V-8, C-20, C-21).

import assert from "node:assert/strict";
import { toHex } from "../../host/bytes.ts";
import { test } from "../support/engines.ts";
import { onStage, type Peer, type Stage } from "./stage.ts";

test(
  "session: a boot nonce seen again gets the same grant byte for byte, a boot that is over none [V-8]",
  onStage(async (stage) => {
    const a = member(stage, 1);
    const hello = a.device.hello();
    await stage.run(100);
    stage.hub.publish(a.device.upTopic, hello, false);
    await stage.run(1000);
    stage.hub.publish(a.device.upTopic, hello, false);
    await stage.run(100);
    const grants = downs(stage, a);
    assert.equal(grants.length, 2);
    assert.deepEqual(grants[0], grants[1]);
    a.connect();
    await stage.run(5000);
    assert.deepEqual(stage.behind(), []);
    a.reboot();
    a.connect();
    await stage.run(5000);
    const before = downs(stage, a).length;
    stage.hub.publish(a.device.upTopic, hello, false);
    await stage.run(1000);
    assert.equal(downs(stage, a).length, before, "no answer to a boot that is over");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "session: old hellos, known or held back, take nothing from the running boot [V-8]",
  onStage(async (stage) => {
    const [a, b] = [member(stage, 1), other(stage)];
    const heldBack = a.device.hello();
    a.reboot();
    a.connect();
    b.connect();
    await stage.run(5000);
    const { step } = stage.server.channel("a");
    const recorded = ups(stage, a);
    for (let i = 0; i < 20; i++) {
      for (const payload of [heldBack, ...recorded]) stage.hub.publish(a.device.upTopic, payload, false);
      await stage.run(1000);
    }
    assert.equal(stage.server.channel("a").step, step, "replayed hellos burn no step");
    assert.equal(b.open("a", a.seal("a")), "text");
    stage.server.rotate("a");
    await stage.run(2000);
    assert.equal(b.open("a", a.seal("a")), "text", "the session is still served");
  }),
);

test(
  "session: a booted device sends at once, from = current, and accepts nothing from before [V-2]",
  onStage(async (stage) => {
    const [a, b] = [member(stage, 1), other(stage)];
    a.connect();
    b.connect();
    await stage.run(5000);
    const before = b.seal("a");
    const { step } = stage.server.channel("a");
    a.reboot();
    a.connect();
    await stage.run(200);
    const { from, open } = a.channel("a") as { from: number; open: number };
    assert.deepEqual([from, open], [step, step + 2]);
    assert.equal(b.open("a", a.seal("a")), "text");
    assert.equal(
      a.try(() => a.open("a", before)),
      "CLOSED",
    );
    await stage.run(5000);
    assert.equal(stage.server.channel("a").step, open, "the server moved to open");
    assert.equal(a.open("a", b.seal("a")), "text");
  }),
);

for (const kind of [1, 2] as const) {
  test(
    `session: counters are never granted twice, over boots, steps and requests, class ${kind} [C-21]`,
    onStage(
      async (stage) => {
        const [a, b] = [member(stage, kind), other(stage)];
        a.connect();
        b.connect();
        await stage.run(5000);
        const seen = new Set<string>();
        for (let round = 0; round < 30; round++) {
          if (round % 7 === 3) a.reboot();
          if (round % 11 === 5) stage.server.step("a");
          if (!a.online) a.connect();
          await stage.run(3000);
          for (let i = 0; i < 5; i++) {
            if (a.try(() => keep(seen, a)) !== "NO_GRANT") continue;
            a.hello(a.device.channelId("a"));
            await stage.run(500);
            keep(seen, a);
          }
        }
        assert.ok(seen.size >= 150);
      },
      { tuning: { counterBlock: 3 } },
    ),
  );
}

test(
  "session: the same request heard again gets no second block",
  onStage(async (stage) => {
    const a = member(stage, 1);
    a.connect();
    await stage.run(5000);
    const asked = a.device.hello(a.device.channelId("a"));
    for (let i = 0; i < 5; i++) {
      stage.hub.publish(a.device.upTopic, asked, false);
      await stage.run(1000);
    }
    const granted = stage.heard("sent", "a").filter(({ detail }) => detail?.includes("counters"));
    assert.equal(granted.length, 2, "one at boot, one for the request");
  }),
);

test(
  "session: a device whose counters are used up makes the server move the step",
  onStage(
    async (stage) => {
      const [a, b] = [member(stage, 1), other(stage)];
      a.connect();
      b.connect();
      await stage.run(5000);
      for (let i = 0; i < 4; i++) {
        a.hello(a.device.channelId("a"));
        await stage.run(1500);
      }
      assert.ok(stage.server.channel("a").step > 2);
      await stage.run(5000);
      if (a.try(() => a.seal("a")) === "NO_GRANT") {
        a.hello(a.device.channelId("a"));
        await stage.run(1500);
      }
      assert.equal(b.open("a", a.seal("a")), "text");
    },
    { tuning: { counterBlock: 65536 } },
  ),
);

test(
  "session: a member that boots again and again wears out neither the others nor the database [V-2, V-8]",
  onStage(async (stage) => {
    const [a, b] = [member(stage, 1), other(stage)];
    b.connect();
    await stage.run(5000);
    const before = stage.server.channel("a").step;
    for (let boot = 0; boot < 80; boot++) {
      a.connect();
      await stage.run(3000);
      a.reboot();
    }
    const moved = stage.server.channel("a").step - before;
    assert.ok(moved >= 32 && moved <= 40, `${moved} steps in four minutes`);
    const database = stage.world.database(stage.path);
    const sessions = Number(database.prepare("SELECT count(*) AS n FROM boot").get()?.n);
    database.close();
    assert.ok(sessions <= 66, `${sessions} sessions`);
    a.connect();
    await stage.run(180_000);
    assert.equal(a.open("a", b.seal("a")), "text", "when it stays up it reads again");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "session: a device without boot nonce is told everything again after each boot",
  onStage(async (stage) => {
    const [a, b] = [member(stage, 2), other(stage)];
    b.connect();
    for (let boot = 0; boot < 4; boot++) {
      a.reboot();
      a.connect();
      await stage.run(5000);
      assert.deepEqual(stage.behind(), []);
      if (a.try(() => a.seal("a")) === "NO_GRANT") {
        a.hello(a.device.channelId("a"));
        await stage.run(500);
      }
      assert.equal(b.open("a", a.seal("a")), "text");
      assert.equal(a.open("a", b.seal("a")), "text");
    }
  }),
);

function member(stage: Stage, kind: 1 | 2): Peer {
  stage.server.createChannel("a");
  const peer = stage.peer("a", { class: kind });
  stage.server.grant("a", "a", { will: true });
  stage.start();
  return peer;
}

function other(stage: Stage): Peer {
  const peer = stage.peer("b");
  stage.server.grant("a", "b");
  return peer;
}

/** Seals once and remembers the position; it must be a new one. */
function keep(seen: Set<string>, peer: Peer): void {
  const payload = peer.seal("a");
  const place = `${peer.channel("a")?.generation} ${toHex(payload.subarray(0, 6))}`;
  assert.ok(!seen.has(place), `position ${place} twice`);
  seen.add(place);
}

function downs(stage: Stage, peer: Peer): Uint8Array[] {
  return stage.hub.log.filter(({ topic }) => topic === peer.device.downTopic).map(({ payload }) => payload);
}

function ups(stage: Stage, peer: Peer): Uint8Array[] {
  return stage.hub.log.filter(({ topic }) => topic === peer.device.upTopic).map(({ payload }) => payload);
}
