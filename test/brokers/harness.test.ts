// What the other suites take for granted of every broker, shown with a plain client.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BROKERS, type Broker, type BrokerKind, startMosquitto } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { open, until } from "./client.ts";

/** Long enough for a message that should not come to have come. */
const QUIET_MS = 300;

for (const kind of BROKERS) {
  describe(`broker ${kind.name}`, need(...kind.need), () => suite(kind));
}

function suite(kind: BrokerKind): void {
  let broker: Broker;
  before(async () => {
    broker = await kind.start();
  });
  after(() => broker?.dispose());

  test("delivers 200 QoS 1 messages once each and in order", async () => {
    const [sender, reader] = [await open(broker), await open(broker)];
    await reader.mqtt.subscribeAsync("order/+", { qos: 1 });
    const texts = Array.from({ length: 200 }, (_, i) => `message ${i}`);
    await Promise.all(texts.map((text) => sender.mqtt.publishAsync("order/a", text, { qos: 1 })));
    await until(() => reader.inbox.length >= texts.length, "200 messages");
    assert.deepEqual(
      reader.inbox.map((message) => message.text),
      texts,
    );
    assert.ok(reader.inbox.every((message) => message.qos === 1 && !message.retain));
    await Promise.all([sender.mqtt.endAsync(), reader.mqtt.endAsync()]);
  });

  test("carries bytes that are no text, and payloads of 0 and 100,000 bytes", async () => {
    const client = await open(broker);
    const received: Buffer[] = [];
    client.mqtt.on("message", (_topic, payload) => received.push(payload));
    await client.mqtt.subscribeAsync("bytes", { qos: 1 });
    const sent = [Buffer.from([0, 255, 128, 0xc3]), Buffer.alloc(0), Buffer.alloc(100_000, 7)];
    for (const payload of sent) await client.mqtt.publishAsync("bytes", payload, { qos: 1 });
    await until(() => received.length === sent.length, "three payloads");
    assert.deepEqual(received, sent);
    await client.mqtt.endAsync();
  });

  test("keeps the last retained message, shows it to wildcards, and drops it on an empty one", async () => {
    const sender = await open(broker);
    for (const text of ["old", "new"]) {
      await sender.mqtt.publishAsync("kept/a", text, { qos: 1, retain: true });
    }
    const reader = await open(broker);
    await reader.mqtt.subscribeAsync("kept/#", { qos: 1 });
    await until(() => reader.inbox.length > 0, "the retained message");
    assert.deepEqual(reader.inbox, [{ topic: "kept/a", text: "new", qos: 1, retain: true }]);

    await sender.mqtt.publishAsync("kept/a", "", { qos: 1, retain: true });
    const late = await open(broker);
    await late.mqtt.subscribeAsync("kept/#", { qos: 1 });
    await sleep(QUIET_MS);
    assert.deepEqual(late.inbox, []);
    await Promise.all([sender.mqtt.endAsync(), reader.mqtt.endAsync(), late.mqtt.endAsync()]);
  });

  test("publishes the will of a client that vanishes, and not of one that takes leave", async () => {
    const reader = await open(broker);
    await reader.mqtt.subscribeAsync("will/+", { qos: 1 });
    const polite = await open(broker, { will: { topic: "will/polite", payload: Buffer.from("x"), qos: 1 } });
    const lost = await open(broker, { will: { topic: "will/lost", payload: Buffer.from("gone"), qos: 1 } });
    await polite.mqtt.endAsync();
    lost.mqtt.stream.destroy();
    await until(() => reader.inbox.length > 0, "the will");
    await sleep(QUIET_MS);
    assert.deepEqual(reader.inbox, [{ topic: "will/lost", text: "gone", qos: 1, retain: false }]);
    await reader.mqtt.endAsync();
  });

  test("queues QoS 1 messages for a session that is away, and sends them right after CONNACK", async () => {
    const session = { clientId: "away", clean: false };
    const first = await open(broker, session);
    assert.equal(first.connack.sessionPresent, false);
    await first.mqtt.subscribeAsync("queue/+", { qos: 1 });
    await first.mqtt.endAsync();

    const sender = await open(broker);
    const texts = Array.from({ length: 50 }, (_, i) => `queued ${i}`);
    for (const text of texts) await sender.mqtt.publishAsync("queue/a", text, { qos: 1 });
    await sender.mqtt.endAsync();

    const again = await open(broker, session);
    assert.equal(again.connack.sessionPresent, true);
    await until(() => again.inbox.length >= texts.length, "50 queued messages");
    assert.deepEqual(
      again.inbox.map((message) => message.text),
      texts,
    );
    await again.mqtt.endAsync();
  });

  for (const [how, end] of [
    ["a stop", (it: Broker) => it.stop()],
    ["a kill after save()", (it: Broker) => it.save().then(() => it.kill())],
  ] as const) {
    test(`has its sessions, queues and retained messages after ${how} if it says durable, else none`, async () => {
      const topic = `restart/${how.length}`;
      const session = { clientId: `restart-${how.length}`, clean: false };
      const first = await open(broker, session);
      await first.mqtt.subscribeAsync(topic, { qos: 1 });
      await first.mqtt.endAsync();
      const sender = await open(broker);
      await sender.mqtt.publishAsync(topic, "queued", { qos: 1, retain: true });
      await sender.mqtt.endAsync();

      await end(broker);
      await assert.rejects(open(broker));
      await broker.start();

      const { durable } = broker.features;
      const again = await open(broker, session);
      assert.equal(again.connack.sessionPresent, durable);
      if (durable) await until(() => again.inbox.length > 0, "the queued message");
      const reader = await open(broker);
      await reader.mqtt.subscribeAsync(topic, { qos: 1 });
      if (durable) await until(() => reader.inbox.length > 0, "the retained message");
      await sleep(QUIET_MS);
      assert.deepEqual(
        [again.inbox, reader.inbox].map((inbox) => inbox.map((message) => message.text)),
        durable ? [["queued"], ["queued"]] : [[], []],
      );
      await Promise.all([again.mqtt.endAsync(), reader.mqtt.endAsync()]);
    });
  }

  test("lets clients back in by themselves after a kill", async () => {
    const client = await open(broker, { reconnectPeriod: 100 });
    await client.mqtt.subscribeAsync("back", { qos: 1 });
    await broker.kill();
    await until(() => !client.mqtt.connected, "the client to notice");
    await broker.start();
    await until(() => client.mqtt.connected, "the client to come back");
    await client.mqtt.subscribeAsync("back", { qos: 1 });
    await client.mqtt.publishAsync("back", "again", { qos: 1 });
    await until(() => client.inbox.length > 0, "a message after the restart");
    await client.mqtt.endAsync();
  });

  test("speaks MQTT 5 if it says so, and refuses it otherwise", async () => {
    const attempt = open(broker, { protocolVersion: 5 });
    if (!broker.features.mqtt5) return assert.rejects(attempt);
    await (await attempt).mqtt.endAsync();
  });

  test("carries QoS 2 if it says so, and never acknowledges it otherwise", async () => {
    const client = await open(broker);
    client.mqtt.subscribe("exact", { qos: 2 });
    const done = client.mqtt.publishAsync("exact", "once", { qos: 2 });
    if (broker.features.qos2) {
      await done;
      await until(() => client.inbox.length > 0, "the message");
      assert.equal(client.inbox[0]?.qos, 2);
    } else {
      const verdict = await Promise.race([done.catch(() => "refused"), sleep(QUIET_MS, "silent")]);
      assert.ok(verdict === "refused" || verdict === "silent");
    }
    await client.mqtt.endAsync(true);
  });

  test("carries topics with dots and spaces unchanged if it says so, and refuses them otherwise", async () => {
    const topics = ["dotted.name/a.b", "two words/a"];
    const client = await open(broker);
    const granted = client.mqtt.subscribeAsync(topics, { qos: 1 });
    if (broker.features.anyTopic) {
      await granted;
      for (const topic of topics) await client.mqtt.publishAsync(topic, "x", { qos: 1 });
      await until(() => client.inbox.length === topics.length, "both messages");
      assert.deepEqual(client.inbox.map((message) => message.topic).sort(), topics.sort());
    } else {
      await assert.rejects(granted);
    }
    await client.mqtt.endAsync(true);
  });
}

test("broker mosquitto with passwords: refuses a wrong password and a nameless client", {
  ...need("mosquitto", "mosquitto_passwd"),
}, async () => {
  await using broker = await startMosquitto({ users: { ampoule: "right" } });
  await (await open(broker)).mqtt.endAsync();
  await assert.rejects(open(broker, { password: "wrong" }), /Not authorized/);
  await assert.rejects(open({ ...broker, options: {} }), /Not authorized/);
});

test("broker mosquitto with TLS: is refused by a client that does not know its authority", {
  ...need("mosquitto", "openssl"),
}, async () => {
  await using broker = await startMosquitto({ tls: true });
  await using stranger = await startMosquitto({ tls: true });
  await (await open(broker)).mqtt.endAsync();
  await assert.rejects(open(broker, { ca: stranger.options.ca }), /certificate/);
});
