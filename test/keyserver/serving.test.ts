// One process serves, others change the database, and nothing is said before it is stored.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ServerError } from "../../host/keyserver/errors.ts";
import { KeyServer } from "../../host/keyserver/server.ts";
import type { Database, World } from "../../host/world.ts";
import { ENGINE, HubLink, onStage, Peer, type Stage, TUNING } from "./stage.ts";

const HOUR_MS = 3_600_000;

test(
  "keyserver: changes of another process reach the devices",
  onStage(async (stage) => {
    const a = stage.peer("a");
    stage.start();
    a.connect();
    await stage.run(1000);
    const cli = stage.second();
    cli.createChannel("a");
    cli.grant("a", "a");
    cli.close();
    await stage.run(5000);
    assert.deepEqual(stage.behind(), []);
    assert.equal(a.channel("a")?.generation, 1);
    const later = stage.second();
    later.rotate("a");
    later.step("a");
    later.close();
    await stage.run(1000);
    assert.deepEqual([a.channel("a")?.generation, a.channel("a")?.step], [2, 1]);
  }),
);

test(
  "keyserver: only one process serves, and the next may when it has stopped",
  onStage(async (stage) => {
    stage.start();
    const second = stage.second();
    assert.throws(() => second.start(stage.hub.link()), isServing);
    assert.throws(() => stage.server.start(stage.hub.link()), isServing);
    await stage.server.stop();
    second.start(stage.hub.link());
    await second.stop();
    second.close();
    assert.throws(
      () => second.devices(),
      (error) => error instanceof ServerError && error.code === "CLOSED",
    );
  }),
);

test(
  "keyserver: publishes nothing before its transaction is committed",
  onStage(async (stage) => {
    const order: string[] = [];
    const world = watched(stage.world, (sql) => {
      if (/^(BEGIN|COMMIT|ROLLBACK)/.test(sql)) order.push(sql.split(" ")[0] as string);
    });
    const path = `${stage.path}.watched`;
    const unlock = { keyFile: `${stage.directory}/realm.key` };
    const server = KeyServer.create({ world, path, unlock, engine: ENGINE, tuning: TUNING });
    const link = new Noted(stage.hub, (topic) => order.push(topic));
    server.createChannel("a");
    const peer = new Peer("a", server.provision("a"), stage.world, stage.hub, {});
    server.grant("a", "a");
    server.start(link);
    peer.connect();
    await stage.run(100);
    server.rotate("a");
    server.step("a");
    await stage.run(5000);
    assert.ok(order.some((entry) => entry.includes("/epoch/")));
    assert.ok(order.filter((entry) => entry.endsWith("/down")).length >= 4);
    let inside = false;
    for (const entry of order) {
      if (entry === "BEGIN") inside = true;
      else if (entry === "COMMIT" || entry === "ROLLBACK") inside = false;
      else assert.ok(!inside, `${entry} inside a transaction`);
    }
    peer.disconnect();
    await server.stop();
    server.close();
  }),
);

test(
  "keyserver: what could not be stored is not sent",
  onStage(async (stage) => {
    let failing = false;
    const world = watched(stage.world, (sql) => {
      if (failing && sql === "COMMIT") throw new Error("the disk is full");
    });
    const a = stage.peer("a");
    stage.server.createChannel("a");
    stage.server.grant("a", "a");
    const unlock = { keyFile: `${stage.directory}/realm.key` };
    const server = KeyServer.open({ world, path: stage.path, unlock, engine: ENGINE, tuning: TUNING });
    const errors: string[] = [];
    server.onEvent = (event) => event.kind === "error" && errors.push(event.detail ?? "");
    server.start(stage.hub.link());
    await stage.run(100);
    failing = true;
    a.connect();
    await stage.run(1000);
    assert.ok(errors.includes("the disk is full"));
    assert.ok(!stage.hub.log.some(({ topic }) => topic === a.device.downTopic));
    failing = false;
    a.hello();
    await stage.run(5000);
    assert.equal(server.status()[0]?.state, "in sync");
    await server.stop();
    server.close();
  }),
);

for (const sql of ["BEGIN IMMEDIATE", "COMMIT"]) {
  test(
    `keyserver: a revocation that could not be carried out for an hour (${sql}) is, unasked, when the disk has room [V-10]`,
    onStage(async (stage) => {
      let failing = false;
      const world = watched(stage.world, (text) => {
        if (failing && text === sql) throw new Error("the disk is full");
      });
      const [a, b] = [stage.peer("a"), stage.peer("b")];
      stage.server.createChannel("x");
      for (const name of ["a", "b"]) stage.server.grant("x", name);
      const unlock = { keyFile: `${stage.directory}/realm.key` };
      const server = KeyServer.open({ world, path: stage.path, unlock, engine: ENGINE, tuning: TUNING });
      let errors = 0;
      server.onEvent = ({ kind }) => (errors += Number(kind === "error"));
      server.start(stage.hub.link());
      for (const peer of [a, b]) peer.connect();
      await stage.run(2 * HOUR_MS);
      failing = true;
      stage.server.revoke("x", "b");
      await stage.run(HOUR_MS);
      assert.equal(b.open("x", a.seal("x")), "text", "nobody has heard of it");
      assert.ok(errors > 0 && errors < 5000, `${errors} errors`);
      failing = false;
      await stage.run(60_000);
      assert.equal(a.channel("x")?.generation, 2);
      assert.equal(
        b.try(() => b.open("x", a.seal("x"))),
        "NO_CHANNEL",
      );
      assert.equal(
        (stage.hub.retained.get(a.device.epochTopic(a.device.channelId("x"))) as Uint8Array)[1],
        2,
      );
      await server.stop();
      server.close();
    }),
  );
}

test(
  "keyserver: beacons are retained, and cleared when their channel is deleted [B-2]",
  onStage(async (stage) => {
    const { id } = stage.server.createChannel("a", { shortTag: true, suite: 2 });
    stage.start();
    await stage.run(100);
    stage.server.step("a");
    await stage.run(100);
    const topic = `ampoule/epoch/${id}`;
    const beacon = stage.hub.retained.get(topic);
    assert.equal(Buffer.from(beacon?.subarray(0, 9) ?? []).toString("hex"), "180100000001000000");
    assert.equal(beacon?.length, 25);
    stage.server.deleteChannel("a");
    await stage.run(1000);
    assert.equal(stage.hub.retained.has(topic), false);
    stage.server.createChannel("a");
    await stage.run(1000);
    assert.equal(stage.hub.retained.get(topic)?.[1], 2);
    stage.crash();
    await stage.run(1000);
    assert.ok(stage.hub.retained.has(topic), "a deletion of the past clears nothing now");
  }),
);

test(
  "keyserver: no key shows in events, errors or status",
  onStage(async (stage) => {
    const draws = new Set<string>();
    const random = stage.world.random.bind(stage.world);
    stage.world.random = (size) => {
      const bytes = random(size);
      if (size >= 16) draws.add(Buffer.from(bytes).toString("hex"));
      return bytes;
    };
    const a = stage.peer("a");
    const b = stage.peer("b", { class: 1 });
    stage.server.createChannel("a");
    for (const { name } of [a, b]) stage.server.grant("a", name);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    stage.server.rotate("a");
    await stage.run(5000);
    const told = JSON.stringify([stage.events, stage.server.status(), stage.server.channels()]);
    assert.ok(draws.size >= 6);
    for (const secret of draws) assert.ok(!told.includes(secret));
    assert.doesNotMatch(told, /"key"|passphrase|[0-9a-f]{32}/);
    assert.equal(readFileSync(stage.path).length > 0, true);
  }),
);

/** A link that notes what is published. */
class Noted extends HubLink {
  readonly #note: (topic: string) => void;

  constructor(hub: Stage["hub"], note: (topic: string) => void) {
    super(hub);
    this.#note = note;
  }

  override async publish(topic: string, payload: Uint8Array, options: { retain: boolean }): Promise<void> {
    this.#note(topic);
    await super.publish(topic, payload, options);
  }
}

/** The same world, whose databases show what is executed before it is. */
function watched(world: World, look: (sql: string) => void): World {
  return {
    now: () => world.now(),
    setTimer: (ms, run) => world.setTimer(ms, run),
    clearTimer: (timer) => world.clearTimer(timer),
    random: (size) => world.random(size),
    disk: world.disk,
    link: (url, options) => world.link(url, options),
    database: (path): Database => {
      const database = world.database(path);
      return {
        exec: (sql) => {
          look(sql);
          database.exec(sql);
        },
        prepare: (sql) => database.prepare(sql),
        close: () => database.close(),
      };
    },
  };
}

function isServing(error: unknown): boolean {
  return error instanceof ServerError && error.code === "SERVING";
}
