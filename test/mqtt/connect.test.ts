// connect() with an identity file, and what happens when a disk fails, over the broker that every
// machine has.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, formatIdentity, LockedError, type ProtectedClient, StoreError } from "../../host/index.ts";
import { startAedes } from "../support/brokers.ts";
import { generationOf, type Member, Plant, until } from "./plant.ts";

const directory = mkdtempSync(join(tmpdir(), "ampoule-connect-"));
let plant: Plant;
let reader: Member;

before(async () => {
  plant = new Plant(await startAedes());
  plant.channel("plant/#", { markBlock: 1 });
  reader = await plant.member("reader", ["plant/#"]);
  await reader.mqtt.subscribeAsync("plant/#", { qos: 1 });
});
after(async () => {
  await plant?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** An identity file of a new device that is to be a member. */
function provision(name: string): string {
  const path = join(directory, `${name}.json`);
  writeFileSync(path, formatIdentity({ name, ...plant.server.provision(name) }), { mode: 0o600 });
  plant.server.grant("plant/#", name);
  return path;
}

async function publishes(client: ProtectedClient, topic: string, text: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      await client.publishAsync(topic, text, { qos: 1 });
      return;
    } catch {
      await sleep(20);
    }
  }
  throw new Error("the client never got its keys");
}

test("connect: an identity file is all it takes, and the state is where it was at the next start", async () => {
  const identity = provision("pump");
  const options = { clientId: "pump", ampoule: { identity, channels: ["plant/#"] } };
  const first = connect(plant.broker.url, options);
  await publishes(first, "plant/pump", "first");
  await until("the text", () => reader.texts.includes("plant/pump=first"));
  await first.endAsync();
  const second = connect(plant.broker.url, options);
  await second.publishAsync("plant/pump", "second", { qos: 1 });
  await until("the text", () => reader.texts.includes("plant/pump=second"));
  assert.deepEqual(reader.refused, []);
  await second.endAsync();
  assert.ok(existsSync(`${identity}.state/slot-0`));
});

test("connect: one identity is used by one client at a time", async () => {
  const ampoule = { identity: provision("single"), state: join(directory, "elsewhere") };
  const first = connect(plant.broker.url, { ampoule });
  assert.throws(() => connect(plant.broker.url, { ampoule }), LockedError);
  await publishes(first, "plant/single", "undisturbed");
  await first.endAsync();
  const second = connect(plant.broker.url, { ampoule });
  await second.endAsync();
});

test("connect: what is no identity is refused by name before anything is sent", () => {
  assert.throws(
    () => connect(plant.broker.url, { ampoule: { identity: join(directory, "none.json") } }),
    (error) => error instanceof StoreError && error.code === "NO_IDENTITY_FILE",
  );
  assert.throws(() => connect(plant.broker.url, { ampoule: {} }), TypeError);
});

test("connect: an address that is none leaves the identity free", async () => {
  const identity = provision("free");
  assert.throws(() => connect("no address", { ampoule: { identity } }));
  await connect(plant.broker.url, { ampoule: { identity } }).endAsync();
});

test("connect: with manualConnect the application says when", async () => {
  const client = connect(plant.broker.url, {
    manualConnect: true,
    ampoule: { identity: provision("manual") },
  });
  await sleep(50);
  assert.equal(client.raw.stream, undefined);
  client.connect();
  await publishes(client, "plant/manual", "now");
  await client.endAsync();
});

test("connect: end before any connection leaves the identity free, whichever end it is", async () => {
  const identity = provision("never");
  const make = (): ProtectedClient =>
    connect(plant.broker.url, { manualConnect: true, ampoule: { identity } });
  const ends: ((client: ProtectedClient) => Promise<unknown>)[] = [
    (client) => client.endAsync(),
    (client) => client.endAsync(true),
    (client) => client.raw.endAsync(),
    (client) => new Promise<void>((resolve) => client.end(() => resolve())),
    (client) => new Promise<void>((resolve) => client.end(false, {}, () => resolve())),
    (client) => {
      client.publish("plant/never", "never", { qos: 1 });
      client.subscribe("plant/never");
      return client.endAsync();
    },
  ];
  for (const end of ends) {
    const client = make();
    let ended = 0;
    client.on("end", () => ended++);
    await end(client);
    await sleep(0);
    assert.equal(ended, 1);
    assert.equal(client.connected, false);
  }
  const client = make();
  client.connect();
  await publishes(client, "plant/never", "after all");
  await client.endAsync();
});

test("example: the minimal program publishes once it has its keys", async () => {
  const script = join(import.meta.dirname, "..", "..", "examples", "mqtt-minimal.ts");
  const child = spawn(process.execPath, [script, plant.broker.url, provision("example"), "plant/example"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (bytes) => {
    output += String(bytes);
  });
  await until("the text", () => reader.texts.includes("plant/example=21.5"));
  await until("its own word", () => output.includes("published on plant/example, sealed"));
  child.kill("SIGINT");
  await new Promise((resolve) => child.once("exit", resolve));
  assert.equal(child.exitCode, 0);
});

// Disks that fail

test("disk: a text whose mark cannot be stored is released only when it is [R-10] [T-5]", async () => {
  const session = { clean: false };
  const member = await plant.member("careful", ["plant/#"], session);
  await member.mqtt.subscribeAsync("plant/orders", { qos: 1 });
  member.store.cutPower(0);
  const writer = await plant.member("orderer", ["plant/#"]);
  await writer.mqtt.publishAsync("plant/orders", "open the valve", { qos: 1 });
  await until("the error", () => member.errors.length > 0);
  assert.deepEqual(member.texts, []);
  assert.match(member.errors[0] ?? "", /power failed/);
  member.store.powerOn();
  await until("the text", () => member.texts.length > 0);
  assert.deepEqual(member.texts, ["plant/orders=open the valve"]);
  await writer.mqtt.endAsync();
  await member.mqtt.endAsync();
});

test("disk: a counter that cannot be reserved publishes nothing, and says so [P-3]", async () => {
  const member = await plant.member("poor", ["plant/#"]);
  member.store.cutPower(0);
  await assert.rejects(member.mqtt.publishAsync("plant/poor", "x", { qos: 1 }), /power failed/);
  member.store.powerOn();
  await member.mqtt.publishAsync("plant/poor", "y", { qos: 1 });
  await until("the text", () => reader.texts.includes("plant/poor=y"));
  assert.ok(!reader.texts.includes("plant/poor=x"));
  await member.mqtt.endAsync();
});

test("disk: a command that cannot be stored is answered once it can [C-6]", async () => {
  const member = await plant.member("late-writer", ["plant/#"]);
  member.store.cutPower(0);
  plant.server.rotate("plant/#");
  const { generation } = plant.server.channel("plant/#");
  await until("the error", () => member.errors.length > 0);
  await sleep(300);
  const state = (): string | undefined =>
    plant.server.status().find(({ name }) => name === "late-writer")?.state;
  assert.equal(state(), "behind");
  member.store.powerOn();
  await until("the generation", () => generationOf(member, "plant/#") === generation);
  await until("the answer", () => state() === "in sync");
  await member.mqtt.publishAsync("plant/late", "here", { qos: 1 });
  await until("the text", () => reader.texts.includes("plant/late=here"));
  await member.mqtt.endAsync();
});
