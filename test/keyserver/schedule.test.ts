// Steps by schedule: forward secrecy without anybody's doing, and databases of before that know no schedule.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerError } from "../../host/keyserver/errors.ts";
import { Records } from "../../host/keyserver/records.ts";
import { SCHEMA_VERSION } from "../../host/keyserver/schema.ts";
import { KeyServer } from "../../host/keyserver/server.ts";
import { ENGINE, onStage, type Stage } from "./stage.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
/** Days pass quickly if the server looks at the clock once a minute. */
const SELDOM = { tuning: { poll: 60 * SECOND } };

test(
  "schedule: a channel steps once a day if nothing else is said, and keys of past steps are forgotten [V-6]",
  onStage(async (stage) => {
    stage.server.createChannel("a");
    assert.equal(stage.server.channel("a").stepEvery, 86_400);
    stage.start();
    await stage.run(DAY - HOUR);
    assert.equal(step(stage), 0);
    for (let day = 1; day <= 5; day++) {
      await stage.run(DAY);
      assert.equal(step(stage), day);
    }
    const records = open(stage);
    const channel = records.channels()[0] ?? assert.fail("no channel");
    const kept = records.nodes(channel).map(({ h }) => h);
    records.close();
    assert.ok(!kept.includes(1), "the root is gone");
  }, SELDOM),
);

test(
  "schedule: members on a step that the schedule moved hear each other",
  onStage(async (stage) => {
    stage.server.createChannel("a", { stepEvery: 60 });
    const [a, b] = ["a", "b"].map((name) => stage.peer(name));
    assert.ok(a && b);
    for (const { name } of [a, b]) stage.server.grant("a", name);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(10 * 60 * SECOND);
    assert.ok(step(stage) >= 9, `step ${step(stage)}`);
    assert.equal(a.channel("a")?.step, step(stage));
    assert.equal(b.open("a", a.seal("a")), "text");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "schedule: 0 leaves the step to the operator; less than a minute or a fraction is refused",
  onStage(async (stage) => {
    stage.server.createChannel("a", { stepEvery: 0 });
    stage.start();
    await stage.run(30 * DAY);
    assert.equal(step(stage), 0);
    for (const stepEvery of [59, 1, -60, 90.5, Number.NaN, 2 ** 32]) {
      assert.throws(
        () => stage.server.createChannel("b", { stepEvery }),
        (error) => error instanceof ServerError && error.code === "BAD_PARAMS",
        String(stepEvery),
      );
    }
  }, SELDOM),
);

test(
  "schedule: many missed intervals are one step, and a step by hand begins the interval anew",
  onStage(async (stage) => {
    stage.server.createChannel("a");
    await stage.run(10 * DAY);
    stage.start();
    await stage.run(HOUR);
    assert.equal(step(stage), 1);
    await stage.run(20 * HOUR);
    stage.server.step("a");
    await stage.run(20 * HOUR);
    assert.equal(step(stage), 2);
    await stage.run(5 * HOUR);
    assert.equal(step(stage), 3);
  }, SELDOM),
);

test(
  "schedule: a clock that goes back moves nothing, and holds the next step back for one interval at most",
  onStage(async (stage) => {
    stage.server.createChannel("a");
    stage.start();
    await stage.run(DAY + HOUR);
    assert.equal(step(stage), 1);
    stage.world.turnBack(300 * DAY);
    await stage.run(DAY - HOUR);
    assert.equal(step(stage), 1);
    await stage.run(2 * HOUR);
    assert.equal(step(stage), 2);
  }, SELDOM),
);

test(
  "schedule: the step after the last one begins a new generation, in which members go on",
  onStage(async (stage) => {
    stage.server.createChannel("a", { stepEvery: 60 });
    const [a, b] = ["a", "b"].map((name) => stage.peer(name));
    assert.ok(a && b);
    for (const { name } of [a, b]) stage.server.grant("a", name);
    const database = stage.world.database(stage.path);
    database.exec("UPDATE channel SET step = 4090, target = 4090");
    database.exec("UPDATE member SET from_step = 4090, open_step = 4090, to_step = 4095");
    database.close();
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5 * 60 * SECOND + SECOND);
    assert.deepEqual([stage.server.channel("a").generation, step(stage)], [1, 4095]);
    const before = a.seal("a");
    await stage.run(60 * SECOND);
    assert.deepEqual([stage.server.channel("a").generation, step(stage)], [2, 0]);
    assert.equal(b.open("a", before), "text", "the last steps are kept");
    assert.equal(b.open("a", a.seal("a")), "text");
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "schedule: a step without a broker waits for it, and is one step then",
  onStage(async (stage) => {
    stage.server.createChannel("a");
    stage.start();
    await stage.run(HOUR);
    await stage.server.stop();
    await stage.run(5 * DAY);
    assert.equal(step(stage), 0);
    stage.start();
    await stage.run(HOUR);
    assert.equal(step(stage), 1);
  }, SELDOM),
);

test(
  "records: a database of schema 1 opens, gets its schedule in one transaction, and steps a day later",
  onStage(async (stage) => {
    stage.server.createChannel("a");
    stage.server.close();
    toSchema1(stage);
    await stage.run(100 * DAY);
    stage.server = stage.second();
    assert.equal(version(stage), SCHEMA_VERSION);
    assert.equal(stage.server.channel("a").stepEvery, 86_400);
    stage.start();
    await stage.run(DAY - HOUR);
    assert.equal(step(stage), 0);
    await stage.run(2 * HOUR);
    assert.equal(step(stage), 1);
  }, SELDOM),
);

test(
  "records: a migration that fails, or a wrong key, leaves a database of schema 1 as it was",
  onStage((stage) => {
    stage.server.createChannel("a");
    stage.server.close();
    toSchema1(stage);
    const unlock = { passphrase: "wrong" };
    assert.throws(() => KeyServer.open({ world: stage.world, path: stage.path, unlock, engine: ENGINE }));
    assert.equal(version(stage), 1);
    const real = stage.world.database.bind(stage.world);
    stage.world.database = (path) => {
      const database = real(path);
      const exec = database.exec.bind(database);
      database.exec = (sql) => {
        if (sql === "COMMIT") throw new Error("the disk is full");
        exec(sql);
      };
      return database;
    };
    assert.throws(() => stage.second(), /the disk is full/);
    stage.world.database = real;
    assert.equal(version(stage), 1);
    stage.server = stage.second();
    assert.equal(version(stage), SCHEMA_VERSION);
  }),
);

function step(stage: Stage): number {
  return stage.server.channel("a").step;
}

function open(stage: Stage): Records {
  return Records.open(stage.world, stage.path, { keyFile: `${stage.directory}/realm.key` });
}

function toSchema1(stage: Stage): void {
  const database = stage.world.database(stage.path);
  for (const column of ["step_every", "stepped_at"])
    database.exec(`ALTER TABLE channel DROP COLUMN ${column}`);
  database.exec("ALTER TABLE device DROP COLUMN boot_sequence");
  database.exec("ALTER TABLE member ADD COLUMN replace INTEGER NOT NULL DEFAULT 0");
  for (const column of ["paid_to", "suspended_to"]) database.exec(`ALTER TABLE member DROP COLUMN ${column}`);
  database.exec("PRAGMA user_version = 1");
  database.close();
}

function version(stage: Stage): number {
  const database = stage.world.database(stage.path);
  const row = database.prepare("PRAGMA user_version").get();
  database.close();
  return Number(row?.user_version);
}
