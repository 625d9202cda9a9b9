// What the server must not know any more is neither in its rows nor in its files (SPEC V-6), and what a
// restored database must not give again is out of reach (SPEC V-7).

import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { Kit } from "../../host/core/kit.ts";
import { Desired } from "../../host/keyserver/desired.ts";
import { Records } from "../../host/keyserver/records.ts";
import { ENGINE, onStage, type Peer, type Stage } from "./stage.ts";

/** Columns that hold sealed keys. */
const SEALED: [string, string][] = [
  ["device", "key"],
  ["device", "next_key"],
  ["device", "fresh"],
  ["channel", "seed"],
  ["node", "key"],
  ["held", "lock"],
  ["revision", "commands"],
  ["boot", "random"],
];

test(
  "keyserver: forgets nodes behind current - late and whole generations, in rows and in files [V-6]",
  onStage(async (stage) => {
    const [a] = members(stage, ["a"]);
    stage.start();
    a.connect();
    await stage.run(5000);
    const old = look(stage, a);
    assert.ok(old.nodes.length >= 1);
    for (let i = 0; i < 5; i++) {
      stage.server.step("a");
      await stage.run(1000);
    }
    const stepped = look(stage, a);
    assertGone(
      stage,
      old.sealed.filter((blob) => !has(stepped.sealed, blob)),
    );
    assert.ok(
      old.nodes.every((key) => !stepped.nodes.includes(key)),
      "no node of before is held",
    );
    stage.server.rotate("a");
    await stage.run(5000);
    const rotated = look(stage, a);
    assert.ok(stepped.nodes.every((key) => !rotated.nodes.includes(key)));
    assert.notEqual(stepped.seed, rotated.seed);
    assertGone(
      stage,
      stepped.sealed.filter((blob) => !has(rotated.sealed, blob)),
    );
  }),
);

test(
  "keyserver: forgets the generation secret, which is in no file at any time [V-6]",
  onStage(async (stage) => {
    const secrets: Uint8Array[] = [];
    const random = stage.world.random.bind(stage.world);
    stage.world.random = (size) => {
      const bytes = random(size);
      if (size === 16) secrets.push(bytes.slice());
      return bytes;
    };
    stage.server.createChannel("a");
    stage.server.rotate("a");
    assert.equal(secrets.length, 2);
    assertGone(stage, secrets);
    const { nodes, seed } = rows(stage, "a");
    for (const secret of secrets) assert.ok(![...nodes, seed].includes(hex(secret)));
  }),
);

test(
  "keyserver: a settled control key and its fresh bytes are overwritten [V-5] [V-6]",
  onStage(async (stage) => {
    const [a] = members(stage, ["a"]);
    const first = look(stage, a);
    stage.start();
    a.connect();
    await stage.run(5000);
    const second = look(stage, a);
    assert.equal(stage.status("a").controlVersion, 1);
    assert.notEqual(first.key, second.key);
    assert.equal(second.next, null);
    assertGone(
      stage,
      first.sealed.filter((blob) => !has(second.sealed, blob)),
    );
    assert.equal(
      sealed(stage).some(([place]) => place === "revision.commands"),
      false,
      "nothing outstanding",
    );
  }),
);

for (const [what, forget] of [
  ["steps", (server) => server.step("a")],
  ["a rotation", (server) => server.rotate("a")],
  ["its revocation", (server) => server.revoke("a", "a")],
  ["a deletion", (server) => server.deleteChannel("a")],
] as [string, (server: Stage["server"]) => void][]) {
  test(
    `keyserver: an outstanding revision keeps no forgotten node while nobody serves, after ${what} [V-6]`,
    onStage(async (stage) => {
      const [a, b] = members(stage, ["a", "b"]);
      stage.start();
      for (const peer of [a, b]) peer.connect();
      await stage.run(5000);
      a.disconnect();
      stage.server.rotate("a");
      await stage.run(1000);
      await stage.server.stop();
      const before = outstanding(stage);
      assert.equal(before.length, 1);
      const cli = stage.second();
      for (let i = 0; i < (what === "steps" ? 4 : 1); i++) forget(cli);
      cli.close();
      assert.deepEqual(outstanding(stage), []);
      assertGone(stage, before);
      stage.start();
      a.connect();
      await stage.run(10_000);
      assert.deepEqual(stage.behind(), []);
    }),
  );
}

test(
  "keyserver: the seed of a channel that is deleted or gets a new generation is wiped from memory [V-6]",
  onStage((stage) => {
    const seeds: Uint8Array[] = [];
    const kit = new Kit(ENGINE);
    const derive = kit.derive.bind(kit);
    kit.derive = (suite, key, label, context, size) => {
      if (label === "step") seeds.push(key);
      return derive(suite, key, label, context, size);
    };
    const records = open(stage);
    const desired = new Desired(records, kit, stage.world);
    const look = (): Uint8Array => {
      seeds.length = 0;
      desired.beacon(desired.channel("a"), 4095);
      return seeds[0] ?? assert.fail("no seed was used");
    };
    desired.createChannel("a", {});
    const first = look();
    desired.newGeneration(desired.channel("a"), true);
    assert.deepEqual(first, new Uint8Array(16));
    const second = look();
    assert.notDeepEqual(second, new Uint8Array(16));
    desired.deleteChannel("a");
    assert.deepEqual(second, new Uint8Array(16));
    desired.createChannel("a", {});
    const third = look();
    const other = stage.second();
    other.deleteChannel("a");
    other.close();
    desired.dropChains();
    assert.deepEqual(third, new Uint8Array(16), "deleted by another process");
    records.close();
  }),
);

test(
  "keyserver: a removed device and a deleted channel leave no key behind [V-6]",
  onStage(async (stage) => {
    members(stage, ["a", "b"]);
    const before = sealed(stage).map(([, blob]) => blob);
    stage.server.removeDevice("a");
    stage.server.deleteChannel("a");
    const left = sealed(stage);
    assert.deepEqual(
      left.map(([place]) => place),
      ["device.key"],
    );
    assertGone(
      stage,
      before.filter(
        (blob) =>
          !has(
            left.map(([, kept]) => kept),
            blob,
          ),
      ),
    );
  }),
);

test(
  "keyserver: a restored database gives no revision, generation or grant again, and devices follow [V-7]",
  onStage(
    async (stage) => {
      const [a, b] = members(stage, ["a", "b"]);
      const c = stage.peer("c", { class: 1 });
      stage.server.grant("a", "c");
      stage.start();
      for (const peer of [a, b, c]) peer.connect();
      await stage.run(5000);
      await backUp(stage);
      for (let i = 0; i < 3; i++) {
        stage.server.rotate("a");
        await stage.run(3000);
      }
      const lost = { generation: stage.server.channel("a").generation, revision: stage.status("a").revision };
      const old = a.seal("a");
      restore(stage);
      const now = stage.server.channel("a").generation;
      assert.ok(now > lost.generation && now > 30_000_000, `generation ${now}`);
      for (const peer of [a, b, c]) {
        peer.disconnect();
        if (peer === c) peer.reboot();
        peer.connect();
      }
      await stage.run(120_000);
      assert.deepEqual(stage.behind(), []);
      assert.ok(stage.status("a").revision > lost.revision);
      assert.ok(Number.parseInt(stage.status("a").revision.slice(0, 8), 16) > 30_000_000);
      assert.deepEqual(stage.heard("alarm"), []);
      assert.equal(b.open("a", a.seal("a")), "text");
      assert.equal(
        b.try(() => b.open("a", old)),
        "UNKNOWN_EPOCH",
      );
      assert.ok(stage.server.createChannel("new").generation > 30_000_000);
    },
    { recoverable: true },
  ),
);

test(
  "keyserver: what a device said before its server was restored does not hide how far its keys went [V-7]",
  onStage(
    async (stage) => {
      const [a] = members(stage, ["a"]);
      stage.start();
      a.connect();
      await stage.run(5000);
      const said = stage.hub.log
        .filter(({ topic }) => topic === a.device.upTopic)
        .map(({ payload }) => payload);
      await backUp(stage);
      for (let i = 0; i < 3; i++) {
        stage.server.rotate("a");
        await stage.run(3000);
      }
      said.push(
        ...stage.hub.log.filter(({ topic }) => topic === a.device.upTopic).map(({ payload }) => payload),
      );
      a.disconnect();
      restore(stage);
      for (const payload of said) {
        stage.hub.publish(a.device.upTopic, payload, false);
        await stage.run(100);
      }
      stage.world.turnBack(3_600_000);
      for (let i = 0; i < 2; i++) {
        a.disconnect();
        a.connect();
        await stage.run(60_000);
      }
      assert.deepEqual(stage.behind(), []);
    },
    { recoverable: true },
  ),
);

for (const kind of [1, 2] as const) {
  for (const known of [true, false]) {
    test(
      `keyserver: a restored database gives another session to a device of class ${kind} that it ${known ? "knew in an earlier one" : "had not heard"} [C-18, V-7]`,
      onStage(async (stage) => {
        stage.server.createChannel("a");
        const [a, b] = [stage.peer("a", { class: kind }), stage.peer("b")];
        for (const name of ["a", "b"]) stage.server.grant("a", name);
        stage.start();
        for (const peer of known ? [a, b] : [b]) peer.connect();
        await stage.run(5000);
        await backUp(stage);
        a.reboot();
        a.connect();
        await stage.run(5000);
        assert.deepEqual(stage.behind(), []);
        // Control keys without fresh bytes are no matter here.
        b.disconnect();
        restore(stage);
        for (let i = 0; i < 3; i++) {
          a.disconnect();
          a.connect();
          await stage.run(60_000);
        }
        assert.equal(stage.status("a").state, "in sync");
        for (let i = 0; i < 2; i++) {
          a.hello(a.device.channelId("a"));
          await stage.run(10_000);
        }
        assert.ok(a.seal("a").length > 0);
      }),
    );
  }
}

test(
  "keyserver: an older database put back in silence is found by the first hello [V-7]",
  onStage(
    async (stage) => {
      const [a] = members(stage, ["a"]);
      stage.start();
      a.connect();
      await stage.run(5000);
      await backUp(stage);
      a.disconnect();
      a.connect();
      await stage.run(2000);
      const held = stage.status("a").revision;
      restore(stage, false);
      a.disconnect();
      a.connect();
      await stage.run(60_000);
      assert.match(stage.status("a").alarm ?? "", /older copy/);
      assert.ok(stage.status("a").revision > held);
      assert.ok(stage.server.channel("a").generation > 30_000_000);
      assert.deepEqual(stage.behind(), []);
    },
    { recoverable: true },
  ),
);

function members(stage: Stage, names: string[]): [Peer, Peer] {
  stage.server.createChannel("a");
  const peers = names.map((name) => stage.peer(name));
  for (const name of names) stage.server.grant("a", name);
  return peers as [Peer, Peer];
}

/** The present keys of the server, opened, and the sealed bytes of all its columns. */
function look(stage: Stage, peer: Peer) {
  const records = open(stage);
  const { key, next } = records.controlKeys(peer.id);
  records.close();
  const blobs = sealed(stage).map(([, blob]) => blob);
  return { key: hex(key), next, sealed: blobs, ...rows(stage, "a") };
}

function rows(stage: Stage, filter: string): { nodes: string[]; seed: string } {
  const records = open(stage);
  const channel = records.channels().find((row) => row.filter === filter);
  assert.ok(channel);
  const nodes = records.nodes(channel).map(({ key }) => hex(key));
  const seed = hex(records.seed(channel));
  records.close();
  return { nodes, seed };
}

/** Sealed commands of revisions that wait for an ack. */
function outstanding(stage: Stage): Uint8Array[] {
  return sealed(stage)
    .filter(([place]) => place === "revision.commands")
    .map(([, blob]) => blob);
}

function open(stage: Stage): Records {
  return Records.open(stage.world, stage.path, { keyFile: `${stage.directory}/realm.key` });
}

function sealed(stage: Stage): [string, Uint8Array][] {
  const database = stage.world.database(stage.path);
  const found = SEALED.flatMap(([table, column]) =>
    database
      .prepare(`SELECT ${column} AS blob FROM ${table} WHERE ${column} IS NOT NULL`)
      .all()
      .map((row): [string, Uint8Array] => [`${table}.${column}`, row.blob as Uint8Array]),
  );
  database.close();
  return found;
}

/** No file of the database holds any of these bytes. */
function assertGone(stage: Stage, blobs: Uint8Array[]): void {
  assert.ok(blobs.length > 0, "nothing to look for");
  const files = ["", "-wal"].map((end) => stage.path + end).filter((path) => existsSync(path));
  const content = files.map((path) => readFileSync(path));
  for (const blob of blobs)
    assert.ok(!content.some((bytes) => bytes.includes(Buffer.from(blob))), "an old value is still there");
}

async function backUp(stage: Stage): Promise<void> {
  await stage.server.stop();
  copyFileSync(stage.path, `${stage.path}.backup`);
  stage.start();
  await stage.run(100);
}

function restore(stage: Stage, restored = true): void {
  stage.crash({ restored }, () => copyFileSync(`${stage.path}.backup`, stage.path));
}

function has(blobs: Uint8Array[], blob: Uint8Array): boolean {
  return blobs.some((other) => Buffer.from(other).equals(blob));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
