// The server and devices on the real core, one duty of SPEC section 11 after the other.

import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { type Command, decodeCommand } from "../../host/keyserver/commands.ts";
import { openDown } from "../twin/control.ts";
import { onStage, type Peer, type Stage } from "./stage.ts";

test(
  "keyserver: members of a channel hear each other once the step has moved [V-2]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "plant/+/temp", ["a", "b"]);
    stage.start();
    a.connect();
    b.connect();
    await stage.run(500);
    assert.equal(
      a.try(() => a.seal("plant/+/temp", "plant/1/temp")),
      "NOT_YET",
    );
    await stage.run(5000);
    assert.deepEqual(stage.behind(), []);
    const payload = a.seal("plant/+/temp", "plant/1/temp", "21 degrees");
    assert.equal(b.open("plant/+/temp", payload, "plant/1/temp"), "21 degrees");
  }),
);

test(
  "keyserver: a device in sync has confirmed revision, digest and echo; a hello proves nothing [V-4]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    a.connect();
    await stage.run(5000);
    const acks = ups(stage, a);
    assert.equal(stage.status("a").state, "in sync");
    a.disconnect();
    stage.server.rotate("a");
    await stage.run(1000);
    assert.equal(stage.status("a").state, "behind");
    for (const payload of acks) stage.hub.publish(a.device.upTopic, payload, false);
    await stage.run(1000);
    assert.equal(stage.status("a").state, "behind", "old acks and hellos were sent again");
    a.connect();
    await stage.run(2000);
    assert.equal(stage.status("a").state, "in sync");
  }),
);

test(
  "keyserver: an unanswered revision is sent again rarely, byte for byte, and at once on hello [V-3]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    a.connect();
    await stage.run(5000);
    a.disconnect();
    stage.server.rotate("a");
    const before = downs(stage, a).length;
    await stage.run(300_000);
    const sent = downs(stage, a).slice(before);
    assert.equal(sent.length, 1 + 5, "after 10, 20, 40, 80 and 80 seconds");
    assert.equal(new Set(sent.map((payload) => toHex(payload))).size, 1);
    a.connect();
    await stage.run(50);
    assert.equal(a.channel("a")?.generation, 2);
  }),
);

test(
  "keyserver: a revision that carries forgotten keys is replaced, with the same ratchet [V-3] [V-6]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    await saysHello(stage, a);
    stage.hub.loss = 1;
    await stage.run(100);
    const key = a.store.identity().key as Uint8Array;
    for (let i = 0; i < 6; i++) {
      stage.server.step("a");
      await stage.run(10);
    }
    const sent = downs(stage, a).map((payload) => opened(stage, a, key, payload));
    assert.ok(sent.length > 2);
    const ratchets = sent.map(({ commands }) =>
      JSON.stringify(commands.find(({ kind }) => kind === "ratchet")),
    );
    assert.equal(new Set(ratchets).size, 1, "same target, same fresh bytes");
    assert.ok(sent.every(({ commands }) => commands.at(-1)?.kind === "ratchet"));
    const revisions = sent.map(({ revision }) => revision);
    assert.deepEqual(revisions, [...revisions].sort());
    stage.hub.loss = 0;
    a.disconnect();
    a.connect();
    await stage.run(1000);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "keyserver: an ack under the next control key settles it, and a query alone follows under it [V-5]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    a.connect();
    await stage.run(5000);
    const kinds = stage.heard("sent", "a").map(({ detail }) => detail?.split(": ")[1]);
    assert.deepEqual(kinds, ["set nodes nodes query ratchet", "query"]);
    assert.equal(stage.status("a").controlVersion, 1);
    const hints = downs(stage, a).map((payload) => (payload[1] ?? 0) >> 4);
    assert.deepEqual(hints, [0, 1]);
    assert.equal(a.store.identity().key, undefined, "the provisioned key is overwritten");
  }),
);

test(
  "keyserver: a lost ack of a ratchet is made up for by the next hello [V-5]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    await saysHello(stage, a);
    const [payload] = downs(stage, a);
    stage.hub.loss = 1;
    a.device.control(payload as Uint8Array);
    stage.hub.loss = 0;
    assert.equal(stage.status("a").controlVersion, 0);
    a.disconnect();
    a.connect();
    await stage.run(1000);
    assert.ok(stage.status("a").controlVersion >= 1);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "keyserver: a removed member reads nothing that is sealed afterwards; readers are told first [V-10]",
  onStage(async (stage) => {
    const [a, b, c] = members(stage, "a", ["a", "b", "c"]);
    stage.server.grant("a", "c", { write: false });
    stage.start();
    for (const peer of [a, b, c]) peer.connect();
    await stage.run(5000);
    const before = a.seal("a");
    stage.events.length = 0;
    stage.server.revoke("a", "b");
    await stage.run(1000);
    const order = stage.heard("sent").map(({ device }) => device);
    assert.ok(order.indexOf("c") < order.indexOf("a"), "the reader before the writer");
    assert.equal(b.channel("a"), undefined);
    const after = a.seal("a");
    assert.equal(
      b.try(() => b.open("a", after)),
      "NO_CHANNEL",
    );
    assert.equal(c.open("a", after), "text");
    assert.equal(
      c.try(() => c.open("a", before)),
      "UNKNOWN_EPOCH",
      "nothing of before is kept",
    );
  }),
);

test(
  "keyserver: after a rotation what was sealed just before is still read",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"]);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    const before = a.seal("a");
    stage.server.rotate("a");
    await stage.run(1000);
    assert.equal(b.channel("a")?.generation, 2);
    assert.equal(b.open("a", before), "text");
    assert.equal(b.open("a", a.seal("a")), "text");
  }),
);

test(
  "keyserver: a member whose lease has run out gets nothing new",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"]);
    stage.server.grant("a", "b", { steps: 2, renew: false });
    stage.server.revoke("a", "b");
    stage.server.grant("a", "b", { steps: 2, renew: false });
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (let i = 0; i < 6; i++) {
      stage.server.step("a");
      await stage.run(100);
    }
    assert.equal(
      b.try(() => b.seal("a")),
      "EXPIRED",
    );
    assert.equal(
      b.try(() => b.open("a", a.seal("a"))),
      "NO_LEASE",
    );
    stage.events.length = 0;
    stage.server.rotate("a");
    await stage.run(1000);
    assert.ok(!stage.heard("sent", "b").some(({ detail }) => detail?.includes("nodes")));
    assert.equal(b.channel("a"), undefined);
  }),
);

test(
  "keyserver: leases are renewed before they end, and reading never stops",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"], { leaseSteps: 4 });
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (let i = 0; i < 60; i++) {
      stage.server.step("a");
      await stage.run(50);
      assert.equal(b.open("a", a.seal("a", "a", String(i))), String(i));
    }
    assert.deepEqual([...a.refusals, ...b.refusals], []);
  }),
);

test(
  "keyserver: stored state that went back raises an alarm and begins a new generation [V-2]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"]);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    const image = a.store.snapshot();
    for (let i = 0; i < 3; i++) {
      stage.server.step("a");
      await stage.run(100);
    }
    a.hello();
    await stage.run(100);
    a.seal("a");
    a.store.restore(image);
    a.reboot();
    a.connect();
    await stage.run(10_000);
    assert.match(stage.status("a").alarm ?? "", /went back/);
    assert.equal(a.channel("a")?.generation, 2, "no position and no window of the first one counts");
    assert.equal(b.open("a", a.seal("a")), "text");
    assert.deepEqual(stage.behind(), []);
    stage.server.clearAlarm("a");
    assert.equal(stage.status("a").alarm, null);
  }),
);

test(
  "keyserver: stored state that went back is found in an ack before another write hides it [V-11]",
  onStage(async (stage) => {
    const [a, , image] = await beforeAndAfterStep(stage);
    a.hello();
    await stage.run(1000);
    a.disconnect();
    stage.server.rotate("a");
    await stage.run(1000);
    goBack(stage, a, image);
    await stage.run(10_000);
    assert.match(stage.status("a").alarm ?? "", /went back/);
    assert.equal(a.channel("a")?.generation, 3);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "keyserver: stored state that went back shows although a beacon was stored before the first ack [V-11, C-17]",
  onStage(async (stage) => {
    const [a, b, image] = await beforeAndAfterStep(stage);
    a.hello();
    await stage.run(1000);
    a.store.restore(image);
    a.reboot();
    const id = a.device.channelId("a");
    a.device.beacon(id, stage.hub.retained.get(a.device.epochTopic(id)) as Uint8Array);
    a.connect();
    await stage.run(10_000);
    assert.match(stage.status("a").alarm ?? "", /went back/);
    assert.equal(a.channel("a")?.generation, 2);
    assert.equal(b.open("a", a.seal("a")), "text");
  }),
);

test(
  "keyserver: boots that load what was stored last, from either slot, raise no alarm [V-11]",
  onStage(async (stage) => {
    const [a] = await beforeAndAfterStep(stage);
    for (const torn of [0, 1, 0, 1]) {
      a.hello();
      await stage.run(1000);
      const image = a.store.snapshot();
      image.slots[torn]?.fill(7, 100);
      a.store.restore(image);
      a.reboot();
      a.connect();
      await stage.run(5000);
      stage.server.step("a");
      await stage.run(5000);
    }
    assert.deepEqual(stage.heard("alarm"), []);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "keyserver: a disk that is full while a blob is wanted is no state that went back [T-7, V-11]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"], { markBlock: 1 });
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    const { store } = a;
    Object.assign(store, {
      wantsBlob: () => true,
      writeSlot: () => {
        throw new Error("no space left");
      },
    });
    a.seal("a");
    for (let i = 0; i < 3; i++) assert.throws(() => a.seal("a"), /no space/);
    assert.throws(() => a.hello(), /no space/);
    await stage.run(1000);
    for (const name of ["wantsBlob", "writeSlot"]) Reflect.deleteProperty(store, name);
    a.reboot();
    a.connect();
    await stage.run(10_000);
    assert.deepEqual(stage.heard("alarm"), []);
    assert.equal(a.channel("a")?.generation, 1);
    assert.equal(b.open("a", a.seal("a")), "text");
  }),
);

test(
  "keyserver: a member whose mark is broken makes everyone begin anew, once for each, and goes on [T-8, V-11]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"], { markBlock: 1 });
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (let round = 1; round <= 2; round++) {
      const said = b.seal("a");
      assert.equal(a.open("a", said), "text");
      a.seal("a");
      a.breakMark();
      assert.equal(
        a.try(() => a.seal("a")),
        "HOLD",
      );
      assert.equal(
        a.try(() => a.open("a", said)),
        "CLOSED",
      );
      a.reboot();
      a.connect();
      await stage.run(10_000);
      assert.match(stage.status("a").alarm ?? "", /broken/);
      assert.equal(a.channel("a")?.generation, 1 + round);
      assert.equal(
        a.try(() => a.open("a", said)),
        "UNKNOWN_EPOCH",
      );
      assert.equal(b.open("a", a.seal("a")), "text");
      assert.equal(a.open("a", b.seal("a")), "text");
      a.reboot();
      a.connect();
      await stage.run(10_000);
      assert.equal(stage.heard("alarm").length, round, "no second alarm");
      assert.deepEqual(stage.behind(), []);
    }
  }),
);

test(
  "keyserver: a hello shows how far the stored state had come, even if no ack followed it [V-11]",
  onStage(async (stage) => {
    const [a, b, image] = await beforeAndAfterStep(stage);
    const hello = a.device.hello();
    a.disconnect();
    stage.hub.publish(a.device.upTopic, hello, false);
    await stage.run(1000);
    goBack(stage, a, image);
    await stage.run(10_000);
    assert.match(stage.status("a").alarm ?? "", /went back/);
    assert.equal(b.open("a", a.seal("a")), "text");
  }),
);

test(
  "keyserver: hellos and acks of before, sent again or late, raise no alarm and cost no sender number [V-11]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"]);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (let i = 0; i < 5; i++) {
      stage.server.step("a");
      await stage.run(100);
      a.hello();
      await stage.run(100);
    }
    const sender = a.channel("a")?.sender;
    for (const payload of [...ups(stage, a), ...ups(stage, a).reverse()]) {
      stage.hub.publish(a.device.upTopic, payload, false);
      await stage.run(stage.world.draw() % 30);
    }
    await stage.run(10_000);
    assert.deepEqual(stage.heard("alarm"), []);
    assert.equal(a.channel("a")?.sender, sender);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "keyserver: an ack that its device's next hello overtakes raises no alarm [V-11]",
  onStage(async (stage) => {
    const [a, b] = members(stage, "a", ["a", "b"]);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    a.disconnect();
    stage.hub.publish(a.device.upTopic, a.device.hello(), false);
    await stage.run(100);
    const { reply } = a.device.control(downs(stage, a).at(-1) as Uint8Array);
    stage.server.step("a");
    await stage.run(100);
    const id = a.device.channelId("a");
    a.device.beacon(id, stage.hub.retained.get(a.device.epochTopic(id)) as Uint8Array);
    for (const payload of [a.device.hello(), reply as Uint8Array]) {
      stage.hub.publish(a.device.upTopic, payload, false);
      await stage.run(100);
    }
    assert.deepEqual(stage.heard("alarm"), []);
  }),
);

test(
  "keyserver: more channels than one revision holds are told in several",
  onStage(async (stage) => {
    const [a] = members(stage, "c0", ["a"]);
    for (let i = 1; i < 20; i++) {
      stage.server.createChannel(`c${i}`);
      stage.server.grant(`c${i}`, "a");
    }
    stage.start();
    a.connect();
    await stage.run(10_000);
    assert.deepEqual(stage.behind(), []);
    assert.equal(a.device.channels().length, 20);
    assert.ok(stage.heard("sent", "a").every(({ detail }) => (detail?.split(" ").length ?? 0) <= 18));
  }),
);

test(
  "keyserver: a device with fewer slots than channels is in alarm, and holds what fits",
  onStage(async (stage) => {
    const a = stage.peer("a", { build: "device" });
    for (let i = 0; i < 6; i++) {
      stage.server.createChannel(`c${i}`);
      stage.server.grant(`c${i}`, "a");
    }
    stage.start();
    a.connect();
    await stage.run(20_000);
    assert.equal(a.device.channels().length, 4);
    assert.match(stage.status("a").alarm ?? "", /refused c\d \(CHANNEL_FULL\)/);
    const sent = stage.heard("sent", "a").length;
    await stage.run(60_000);
    assert.equal(stage.heard("sent", "a").length, sent, "nothing is sent again and again");
    for (const full of ["c0", "c1", "c2", "c3"]) stage.server.revoke(full, "a");
    await stage.run(20_000);
    a.disconnect();
    a.connect();
    await stage.run(20_000);
    assert.deepEqual(stage.behind(), []);
    assert.equal(a.device.channels().length, 2);
  }),
);

test(
  "keyserver: a device that holds what it should not is told all again, then reset [V-4]",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.server.createChannel("b");
    stage.server.grant("b", "a");
    stage.start();
    a.connect();
    await stage.run(5000);
    assert.equal(a.device.channels().length, 2);
    stage.server.deleteChannel("b");
    const database = stage.world.database(stage.path);
    database.exec(`DELETE FROM held WHERE channel = '${toHex(a.device.channelId("b"))}'`);
    database.close();
    a.hello();
    await stage.run(10_000);
    assert.equal(stage.heard("diverged", "a").length, 2);
    const told = stage.heard("sent", "a").map(({ detail }) => detail?.split(": ")[1]);
    assert.ok(told.includes("reset set nodes query ratchet"), told.join("; "));
    assert.deepEqual(stage.behind(), []);
    assert.deepEqual(
      a.device.channels().map(({ id }) => toHex(id)),
      [toHex(a.device.channelId("a"))],
    );
    assert.ok((a.channel("a")?.generation ?? 0) > 1, "the counters are gone: a new generation");
  }),
);

test(
  "keyserver: junk on up topics is ignored by name and changes nothing",
  onStage(async (stage) => {
    const [a] = members(stage, "a", ["a"]);
    stage.start();
    a.connect();
    await stage.run(5000);
    const hello = a.device.hello();
    const junk = [
      new Uint8Array(0),
      new Uint8Array(127),
      new Uint8Array(128),
      stage.world.random(128),
      Uint8Array.from(hello, (byte, i) => (i === 60 ? byte ^ 1 : byte)),
      Uint8Array.from(hello, (byte, i) => (i === 4 ? 1 : byte)),
    ];
    const before = stage.status("a");
    const sent = stage.heard("sent").length;
    for (const payload of junk) stage.hub.publish(a.device.upTopic, payload, false);
    for (const topic of ["ampoule/0011223344556677/up", "ampoule/x/up", "ampoule//up"]) {
      stage.hub.publish(topic, hello, false);
    }
    await stage.run(1000);
    assert.equal(stage.heard("ignored").length, junk.length + 3);
    assert.deepEqual([stage.status("a"), stage.heard("sent").length], [before, sent]);
    assert.deepEqual(stage.heard("error"), []);
  }),
);

/** Makes a channel and peers that are its members. */
function members(stage: Stage, filter: string, names: string[], params = {}): [Peer, Peer, Peer] {
  stage.server.createChannel(filter, params);
  const peers = names.map((name) => stage.peer(name));
  for (const name of names) stage.server.grant(filter, name);
  return peers as [Peer, Peer, Peer];
}

/** Two members, and the stored state of the first before a step was stored. */
async function beforeAndAfterStep(
  stage: Stage,
): Promise<[Peer, Peer, ReturnType<Peer["store"]["snapshot"]>]> {
  const [a, b] = members(stage, "a", ["a", "b"]);
  stage.start();
  for (const peer of [a, b]) peer.connect();
  await stage.run(5000);
  const image = a.store.snapshot();
  stage.server.step("a");
  await stage.run(1000);
  return [a, b, image];
}

/** The device comes back with an older state, and the broker keeps the beacon from it. */
function goBack(stage: Stage, peer: Peer, image: ReturnType<Peer["store"]["snapshot"]>): void {
  peer.store.restore(image);
  peer.reboot();
  stage.hub.retained.clear();
  peer.connect();
}

/** The server hears the device, and the device hears nothing. */
async function saysHello(stage: Stage, peer: Peer): Promise<void> {
  await stage.run(100);
  stage.hub.publish(peer.device.upTopic, peer.device.hello(), false);
  await stage.run(100);
}

function downs(stage: Stage, peer: Peer): Uint8Array[] {
  return stage.hub.log.filter(({ topic }) => topic === peer.device.downTopic).map(({ payload }) => payload);
}

function ups(stage: Stage, peer: Peer): Uint8Array[] {
  return stage.hub.log.filter(({ topic }) => topic === peer.device.upTopic).map(({ payload }) => payload);
}

/** Opens a down payload with the slow twin, under K(0). */
function opened(
  stage: Stage,
  peer: Peer,
  secret: Uint8Array,
  payload: Uint8Array,
): { revision: string; commands: Command[] } {
  const key = { realm: stage.server.realm, device: peer.device.device, version: 0, step: 0, secret };
  const down = openDown(payload, peer.device.downTopic, () => key);
  assert.equal(down.status, 0);
  const revision = down.revision.toString(16).padStart(16, "0");
  return { revision, commands: down.contents.map((content) => decodeCommand(content)) };
}
