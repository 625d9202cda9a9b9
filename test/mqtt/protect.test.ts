// The MQTT.js client that seals by itself: what goes over the wire, in which order, and what the
// application sees. The device has no cryptography here; brokers.test.ts has the real one.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import mqtt, { type IClientOptions, MqttClient } from "mqtt";
import { Client, type ClientOptions } from "../../host/client/client.ts";
import {
  type ProtectedClient,
  type ProtectedPacket,
  type ProtectOptions,
  protect,
  type Refusal,
} from "../../host/mqtt/protect.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { RefusedError } from "../../host/status.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import { FakeDevice, inspect } from "../client/fake-device.ts";
import { message, ScriptedBroker } from "./scripted-broker.ts";

interface Rig extends AsyncDisposable {
  broker: ScriptedBroker;
  device: FakeDevice;
  mqtt: ProtectedClient;
  texts: string[];
  packets: ProtectedPacket[];
  refused: Refusal[];
  errors: string[];
}

interface RigOptions {
  mqtt?: IClientOptions;
  client?: Partial<ClientOptions>;
  protect?: ProtectOptions;
}

/** Ticks are rare, as they bring hellos of their own; tests that need them ask for TICKS. */
const QUICK: ProtectOptions = { quietMs: 60, drainMs: 1000, tickMs: 60_000, holdMs: 300, willSpreadMs: 0 };
const TICKS: ProtectOptions = { tickMs: 50 };

/** A client that has not connected yet, with every event recorded. */
async function rig(options: RigOptions = {}): Promise<Rig> {
  const broker = await ScriptedBroker.start();
  const device = new FakeDevice();
  const key = new Uint8Array(16);
  const store = new MemoryStore({ realm: device.realm, device: device.device, prefix: "ampoule", key });
  const client = new Client({ store, world: nodeWorld(), ...options.client }, device.asDevice());
  const inner = mqtt.connect(broker.url, {
    manualConnect: true,
    reconnectPeriod: 30,
    clientId: "test",
    ...options.mqtt,
  });
  const shim = protect(inner, client, { ...QUICK, ...options.protect });
  const [texts, packets, refused, errors]: [string[], ProtectedPacket[], Refusal[], string[]] = [
    [],
    [],
    [],
    [],
  ];
  shim.on("message", (topic, payload, packet) => {
    texts.push(`${topic}=${payload}`);
    packets.push(packet);
  });
  shim.on("refused", (refusal) => refused.push(refusal));
  shim.on("error", (error) => errors.push(error.message));
  const close = async (): Promise<void> => {
    if (inner.stream !== undefined) await inner.endAsync(true);
    await broker.close();
  };
  return { broker, device, mqtt: shim, texts, packets, refused, errors, [Symbol.asyncDispose]: close };
}

/** Connected, control topics subscribed, hello said. */
async function connected(options: RigOptions & { prepare?: (rig: Rig) => void } = {}): Promise<Rig> {
  const all = await rig(options);
  options.prepare?.(all);
  all.mqtt.connect();
  await all.broker.until("hello", () => all.broker.published(all.device.upTopic).length > 0);
  return all;
}

const acks = (broker: ScriptedBroker): number[] =>
  broker.of("puback").map(({ messageId }) => Number(messageId));

// Connecting

test("mqtt: beacons and commands are subscribed before what the application queued, hello comes last", async () => {
  await using r = await rig();
  const channel = r.device.hold("a/#");
  r.mqtt.subscribe("a/#");
  r.mqtt.connect();
  await r.broker.until("hello", () => r.broker.published(r.device.upTopic).length > 0);
  const control = `subscribe ${r.device.downTopic},${r.device.epochTopic(channel.id)}`;
  assert.deepEqual(r.broker.order(), ["connect", control, "subscribe a/#", `publish ${r.device.upTopic}`]);
  assert.equal(r.broker.published(r.device.upTopic)[0]?.qos, 1);
  assert.ok(r.broker.of("subscribe")[0]?.subscriptions.every(({ qos }) => qos === 1));
});

test("mqtt: what a broker kept for a session reaches handlers attached before connecting", async () => {
  await using r = await rig({ mqtt: { clean: false } });
  const channel = r.device.hold("a");
  r.broker.sessionPresent = true;
  for (const text of ["1", "2", "3"]) {
    const payload = r.device.frame(channel, "a", text);
    r.broker.queued.push(message("a", payload, { qos: 1, messageId: Number(text) }));
  }
  r.mqtt.connect();
  await r.broker.until("three acks", () => acks(r.broker).length === 3);
  assert.deepEqual(r.texts, ["a=1", "a=2", "a=3"]);
});

test("mqtt: a session's queue is drained before control topics are subscribed and hello is said", async () => {
  await using r = await rig({ mqtt: { clean: false }, protect: { quietMs: 80 } });
  const channel = r.device.hold("a");
  r.broker.sessionPresent = true;
  r.mqtt.connect();
  await r.broker.until("connect", () => r.broker.packets.length === 1);
  for (let n = 1; n <= 4; n++) {
    await sleep(40);
    r.broker.publish("a", r.device.frame(channel, "a", String(n)), { qos: 1, messageId: n });
  }
  await r.broker.until("hello", () => r.broker.published(r.device.upTopic).length > 0);
  const order = r.broker.order();
  assert.deepEqual(order.slice(0, 5), ["connect", "puback", "puback", "puback", "puback"]);
  assert.match(order[5] ?? "", /^subscribe ampoule/);
  assert.match(order[6] ?? "", /^publish ampoule.*up$/);
});

test("mqtt: a feed that never pauses delays hello no longer than the limit", async () => {
  await using r = await rig({ mqtt: { clean: false }, protect: { quietMs: 80, drainMs: 250 } });
  const channel = r.device.hold("a");
  r.broker.sessionPresent = true;
  r.mqtt.connect();
  await r.broker.until("connect", () => r.broker.packets.length === 1);
  let id = 1;
  const feed = setInterval(() => {
    r.broker.publish("a", r.device.frame(channel, "a", "x"), { qos: 1, messageId: id++ });
  }, 20);
  try {
    await r.broker.until("hello", () => r.broker.published(r.device.upTopic).length > 0, 1500);
  } finally {
    clearInterval(feed);
  }
});

test("mqtt: every connection subscribes and says hello again", async () => {
  await using r = await connected();
  r.broker.cut();
  await r.broker.until("second hello", () => r.broker.published(r.device.upTopic).length === 2);
  const control = r.broker.of("subscribe").filter((s) => s.subscriptions[0]?.topic === r.device.downTopic);
  assert.ok(control.length >= 2);
});

test("mqtt: a refused subscription to control topics is an error, and hello is said all the same", async () => {
  await using r = await connected({
    prepare: ({ broker }) => Object.assign(broker, { refuseSubscriptions: true }),
  });
  assert.match(r.errors.join(), /Subscribe error/);
});

test("mqtt: a client that has connected already is not wrapped", async () => {
  await using r = await rig();
  const inner = mqtt.connect(r.broker.url);
  assert.throws(() => protect(inner, r.mqtt.ampoule), /manualConnect/);
  await inner.endAsync(true);
});

// Commands

test("mqtt: a command is acknowledged on the up topic and never reaches the application", async () => {
  await using r = await connected({ client: { clear: ["#"] } });
  const keys: number[] = [];
  r.mqtt.on("keys", () => keys.push(1));
  r.device.onControl = () => {
    r.device.hold("a");
    return true;
  };
  r.broker.publish(r.device.downTopic, "grant", { qos: 1, messageId: 7 });
  await r.broker.until("the ack", () => r.broker.published(r.device.upTopic).length === 2);
  const ack = r.broker.published(r.device.upTopic)[1];
  assert.equal(String(ack?.payload), "ack grant");
  assert.equal(ack?.qos, 1);
  await r.broker.until("the new beacon", () => r.broker.of("subscribe").length === 2);
  assert.match(r.broker.order().at(-1) ?? "", /puback|subscribe/);
  assert.deepEqual([r.texts, keys], [[], [1]]);
});

test("mqtt: a beacon that is known already is no refusal", async () => {
  await using r = await connected({ prepare: ({ device }) => void device.hold("a") });
  r.device.onBeacon = () => {
    throw new RefusedError("OLD_BEACON");
  };
  r.broker.publish(r.device.epochTopic(r.device.channelId("a")), "v", { retain: true, qos: 1, messageId: 3 });
  await r.broker.until("the puback", () => acks(r.broker).includes(3));
  assert.deepEqual([r.refused, r.errors], [[], []]);
});

test("mqtt: refusals that ask for it make the client say hello [R-13]", async () => {
  await using r = await connected({ prepare: ({ device }) => void device.hold("a") });
  r.device.wants = true;
  r.broker.publish("a", "junk");
  await r.broker.until("another hello", () => r.broker.published(r.device.upTopic).length === 2);
  assert.equal(r.refused[0]?.status, "BAD_TAG");
});

test("mqtt: counters that are missing are asked for by channel, until they come [P-4]", async () => {
  await using r = await connected({ protect: TICKS, prepare: ({ device }) => void device.hold("a") });
  const want = Buffer.from(r.device.channelId("a")).toString("hex");
  r.device.ungranted = true;
  const asked = (): number => r.device.helloWants.filter((channel) => channel === want).length;
  await assert.rejects(r.mqtt.publishAsync("a", "x"), { status: "NO_GRANT" });
  assert.equal(asked(), 1, "at once");
  await r.broker.until("another hello", () => asked() >= 2);
  r.mqtt.once("keys", () => {
    r.mqtt.publish("a", "x", { qos: 1 });
  });
  r.device.onControl = () => {
    r.device.ungranted = false;
    return false;
  };
  r.broker.publish(r.device.downTopic, "counters", { qos: 1, messageId: 1 });
  await r.broker.until("the text", () => r.broker.published("a").length === 1);
  const enough = asked();
  await sleep(300);
  assert.equal(asked(), enough);
});

test("mqtt: a thousand stored values that are too old make one hello until the next tick [R-13]", async () => {
  await using r = await connected({ prepare: ({ device }) => void device.hold("a/#") });
  const hellos = (): number => r.device.helloWants.length;
  const before = hellos();
  r.mqtt.on("refused", () => {
    r.device.wants = true;
  });
  for (let n = 0; n < 1000; n += 10) {
    for (let m = n; m < n + 10; m++) r.broker.publish(`a/${m}`, "stale", { retain: true });
    r.broker.publish(r.device.downTopic, "query", { qos: 1, messageId: n + 1 });
  }
  await r.broker.until("the last puback", () => acks(r.broker).includes(991));
  assert.equal(r.refused.length, 1000);
  assert.ok(hellos() - before <= 2, `${hellos() - before} hellos`);
});

test("mqtt: the core gets its ticks [R-14]", async () => {
  await using r = await connected({ protect: TICKS });
  await sleep(180);
  assert.ok(r.device.ticks >= 2);
});

// Receiving

test("mqtt: a message has its text, and its packet says how it was sealed", async () => {
  await using r = await connected();
  const channel = r.device.hold("a/+");
  r.broker.publish("a/b", r.device.frame(channel, "a/b", "hot", { sender: 9, counter: 4 }), {
    qos: 1,
    messageId: 5,
  });
  await r.broker.until("the puback", () => acks(r.broker).includes(5));
  assert.deepEqual(r.texts, ["a/b=hot"]);
  const [packet] = r.packets;
  assert.deepEqual(packet?.ampoule, { sender: 9, generation: 1, step: 0, counter: 4, stored: false });
  assert.equal(String(packet?.payload), "hot");
  assert.equal(packet?.qos, 1);
});

test("mqtt: a refused message is named, not delivered, and acknowledged, QoS 0, 1 and 2", async () => {
  await using r = await connected({ prepare: ({ device }) => void device.hold("a") });
  r.broker.publish("a", "plain text 0");
  r.broker.publish("a", "plain text 1", { qos: 1, messageId: 1 });
  r.broker.publish("a", "plain text 2", { qos: 2, messageId: 2 });
  await r.broker.until("pubcomp", () => r.broker.of("pubcomp").length === 1);
  assert.deepEqual(acks(r.broker), [1]);
  assert.deepEqual(r.texts, []);
  assert.deepEqual(
    r.refused.map(({ status, topic, packet }) => [status, topic, packet?.qos]),
    [
      ["BAD_TAG", "a", 0],
      ["BAD_TAG", "a", 1],
      ["BAD_TAG", "a", 2],
    ],
  );
});

test("mqtt: under MQTT 5 a refusal is acknowledged without a reason that would tell the broker", async () => {
  await using r = await connected({
    mqtt: { protocolVersion: 5 },
    prepare: ({ device }) => void device.hold("a"),
  });
  r.broker.publish("a", "junk", { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  assert.equal(r.broker.of("puback")[0]?.reasonCode ?? 0, 0);
});

test("mqtt: what could not be stored is an error, and acknowledged once it is tried again [T-5]", async () => {
  await using r = await connected({ protect: TICKS });
  const channel = r.device.hold("a");
  const done = (): number => acks(r.broker).length + r.broker.of("pubcomp").length;
  for (const qos of [1, 2] as const) {
    r.device.failure = new Error("disk full");
    r.broker.publish("a", r.device.frame(channel, "a", `late ${qos}`), { qos, messageId: qos });
    await r.broker.until("the error", () => r.errors.length === qos);
    await r.broker.until("the ack", () => done() === qos);
  }
  r.broker.publish("a", r.device.frame(channel, "a", "next"), { qos: 1, messageId: 3 });
  await r.broker.until("the last ack", () => done() === 3);
  assert.deepEqual(r.texts, ["a=late 1", "a=late 2", "a=next"]);
  assert.deepEqual(r.errors, ["disk full", "disk full"]);
});

test("mqtt: while the store fails nothing is acknowledged, and the error is told once for a payload", async () => {
  await using r = await connected({ protect: TICKS });
  const channel = r.device.hold("a");
  r.device.broken = true;
  for (let id = 1; id <= 10; id++) {
    r.broker.publish("a", r.device.frame(channel, "a", `${id}`), { qos: 1, messageId: id });
  }
  await sleep(200);
  assert.deepEqual([acks(r.broker), r.texts, r.refused], [[], [], []]);
  assert.equal(r.errors.length, 10);
  r.device.broken = false;
  await r.broker.until("eight pubacks", () => acks(r.broker).length === 8);
  assert.equal(r.texts.length, 8, "two more come with the next connection");
});

test("mqtt: a hello is said again until the server is heard [C-18]", async () => {
  await using r = await connected({ protect: { tickMs: 30 } });
  const hellos = (): number =>
    r.broker.published(r.device.upTopic).filter(({ payload }) => String(payload) === "hello").length;
  await r.broker.until("the third hello", () => hellos() === 3);
  r.broker.publish(r.device.downTopic, "query", { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  const heard = hellos();
  await sleep(300);
  assert.equal(hellos(), heard);
});

test("mqtt: a command that could not be stored is answered and acknowledged when it is [C-6]", async () => {
  await using r = await connected({ protect: TICKS });
  r.device.broken = true;
  r.broker.publish(r.device.downTopic, "grant", { qos: 1, messageId: 1 });
  await sleep(150);
  assert.deepEqual(acks(r.broker), []);
  const up = (): string[] => r.broker.published(r.device.upTopic).map(({ payload }) => String(payload));
  assert.deepEqual(up(), ["hello"]);
  r.device.broken = false;
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  await r.broker.until("the answer", () => up().includes("ack grant"));
  assert.deepEqual(r.refused, []);
});

test("mqtt: an unknown epoch is held without PUBACK, and opened when its keys come", async () => {
  await using r = await connected({ protect: { holdMs: 5000 } });
  const channel = r.device.hold("a");
  const next = { ...channel, generation: 2 };
  r.broker.publish("a", r.device.frame(next, "a", "new 1"), { qos: 1, messageId: 1 });
  r.broker.publish("a", r.device.frame(next, "a", "new 2"), { qos: 0 });
  r.broker.publish("a", r.device.frame(channel, "a", "old"), { qos: 1, messageId: 2 });
  await r.broker.until("the second puback", () => acks(r.broker).includes(2));
  assert.deepEqual([acks(r.broker), r.texts, r.refused], [[2], ["a=old"], []]);
  r.device.onControl = () => {
    channel.generation = 2;
    return true;
  };
  r.broker.publish(r.device.downTopic, "rotate", { qos: 1, messageId: 3 });
  await r.broker.until("the held puback", () => acks(r.broker).includes(1));
  assert.deepEqual(r.texts, ["a=old", "a=new 1", "a=new 2"]);
  assert.deepEqual(r.refused, []);
});

test("mqtt: what came when the credit was used up is opened as it comes back [R-14]", async () => {
  await using r = await connected({ protect: { ...TICKS, holdMs: 5000 } });
  const channel = r.device.hold("a/+");
  r.device.credit = 0;
  for (const id of [1, 2, 3]) {
    const payload = id < 3 ? "junk" : r.device.frame(channel, "a/3", "fresh");
    r.broker.publish(`a/${id}`, payload, { qos: 1, messageId: id, retain: true });
  }
  await r.broker.until("the last puback", () => acks(r.broker).includes(3));
  assert.deepEqual(r.texts, ["a/3=fresh"]);
  assert.deepEqual(
    r.refused.map(({ status, topic }) => [status, topic]),
    [
      ["BAD_TAG", "a/1"],
      ["BAD_TAG", "a/2"],
    ],
  );
});

test("mqtt: an epoch that stays unknown is refused by name and acknowledged in the end", async () => {
  await using r = await connected({ protect: { holdMs: 80 } });
  const channel = r.device.hold("a");
  r.broker.publish("a", r.device.frame({ ...channel, generation: 2 }, "a", "x"), { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  assert.deepEqual(
    r.refused.map(({ status }) => status),
    ["UNKNOWN_EPOCH"],
  );
});

test("mqtt: at most eight PUBACKs are held back, and the oldest payload makes room for another", async () => {
  await using r = await connected({ protect: { holdMs: 5000, holdCount: 10 } });
  const channel = r.device.hold("a");
  const next = { ...channel, generation: 2 };
  for (let id = 1; id <= 12; id++) {
    r.broker.publish("a", r.device.frame(next, "a", `${id}`), { qos: 1, messageId: id });
  }
  await r.broker.until("five pubacks", () => acks(r.broker).length === 5);
  await sleep(20);
  assert.deepEqual(
    acks(r.broker).sort((a, b) => a - b),
    [1, 2, 9, 10, 11],
  );
  assert.deepEqual(
    r.refused.map(({ status, packet }) => [status, packet?.messageId]),
    [
      ["UNKNOWN_EPOCH", 1],
      ["UNKNOWN_EPOCH", 2],
    ],
  );
});

test("mqtt: a held payload is not delivered twice when its session sends it again", async () => {
  await using r = await connected({ mqtt: { clean: false }, protect: { holdMs: 5000 } });
  const channel = r.device.hold("a");
  const payload = r.device.frame({ ...channel, generation: 2 }, "a", "once");
  r.broker.publish("a", payload, { qos: 1, messageId: 1 });
  await sleep(50);
  r.broker.sessionPresent = true;
  r.broker.queued.push(message("a", payload, { qos: 1, messageId: 1, dup: true }));
  r.broker.cut();
  await r.broker.until("reconnection", () => r.broker.connections === 2);
  await r.broker.until("second hello", () => r.broker.published(r.device.upTopic).length === 2);
  r.device.onControl = () => {
    channel.generation = 2;
    return true;
  };
  r.broker.publish(r.device.downTopic, "rotate", { qos: 1, messageId: 3 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  assert.deepEqual([r.texts, r.refused], [["a=once"], []]);
});

test("mqtt: a listener that throws loses no other payload that was held, and its error is seen", async () => {
  await using r = await connected({ protect: { holdMs: 60_000 } });
  const channel = r.device.hold("a");
  const next = { ...channel, generation: 2 };
  for (let n = 1; n <= 4; n++) r.broker.publish("a", r.device.frame(next, "a", `${n}`));
  r.broker.publish("a", r.device.frame(channel, "a", "old"));
  await r.broker.until("the old text", () => r.texts.length === 1);
  let keys = 0;
  r.mqtt.on("keys", () => keys++);
  r.mqtt.once("message", () => {
    throw new Error("a listener's bug");
  });
  r.device.onControl = () => {
    channel.generation = 2;
    return true;
  };
  const rotate = (): unknown => r.mqtt.ampoule.receive(r.device.downTopic, Buffer.from("rotate"));
  assert.throws(rotate, /a listener's bug/);
  assert.equal(keys, 1);
  r.broker.publish("a", r.device.frame(channel, "a", "later"));
  await r.broker.until("the others", () => r.texts.length === 6);
  assert.deepEqual(r.texts.slice(0, 2), ["a=old", "a=1"]);
  assert.deepEqual([...r.texts].sort().slice(0, 4), ["a=1", "a=2", "a=3", "a=4"]);
  assert.deepEqual(r.refused, []);
});

test("mqtt: a retained value that came before its channel is opened when the channel comes", async () => {
  await using r = await connected({ protect: { holdMs: 5000 } });
  const channel = r.device.hold("a");
  r.device.hold("b");
  r.device.drop("a");
  r.broker.publish("a", r.device.frame(channel, "a", "state"), { retain: true });
  r.broker.publish("a", r.device.frame(channel, "a", "event"));
  await r.broker.until("the refusal", () => r.refused.length === 1);
  assert.equal(r.refused[0]?.status, "NO_CHANNEL");
  r.device.onControl = () => {
    r.device.hold("a");
    return true;
  };
  r.broker.publish(r.device.downTopic, "grant", { qos: 1, messageId: 3 });
  await r.broker.until("the value", () => r.texts.length === 1);
  assert.deepEqual(r.texts, ["a=state"]);
  assert.equal(r.packets[0]?.ampoule?.stored, true);
});

test("mqtt: what comes to a device that has no channel yet is opened when its first one comes", async () => {
  await using r = await connected({ protect: { holdMs: 5000 } });
  const channel = r.device.hold("a");
  r.device.drop("a");
  r.broker.publish("a", r.device.frame(channel, "a", "event"), { qos: 1, messageId: 1 });
  r.device.onControl = () => {
    r.device.hold("a");
    return true;
  };
  r.broker.publish(r.device.downTopic, "grant", { qos: 1, messageId: 3 });
  await r.broker.until("the held puback", () => acks(r.broker).includes(1));
  assert.deepEqual([r.texts, r.refused], [["a=event"], []]);
});

test("mqtt: an empty payload clears a topic and is no message [F-7]", async () => {
  await using r = await connected();
  r.device.hold("a");
  const cleared: string[] = [];
  r.mqtt.on("cleared", (topic) => cleared.push(topic));
  r.broker.publish("a", "", { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  assert.deepEqual([cleared, r.texts, r.refused], [["a"], [], []]);
});

test("mqtt: clear topics pass both ways, untouched", async () => {
  await using r = await connected({ client: { clear: ["open/#"] }, mqtt: { protocolVersion: 5 } });
  r.device.hold("#");
  await r.mqtt.publishAsync("open/a", "plain", { qos: 1, properties: { payloadFormatIndicator: true } });
  const [packet] = r.broker.published("open/a");
  assert.equal(String(packet?.payload), "plain");
  assert.equal(packet?.properties?.payloadFormatIndicator, true);
  r.broker.publish("open/a", "back", { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  assert.deepEqual(r.texts, ["open/a=back"]);
  assert.equal(r.packets[0]?.ampoule, undefined);
});

test("mqtt: a lost part of a narrow message is refused by name [R-9]", async () => {
  await using r = await connected();
  const channel = r.device.hold("a", { narrow: true });
  r.broker.publish("a", r.device.frame(channel, "a", "x", { part: 0, last: false }));
  r.broker.publish("a", r.device.frame(channel, "a", "new", { part: 0, last: true }));
  await r.broker.until("the text", () => r.texts.length === 1);
  assert.deepEqual(r.texts, ["a=new"]);
  assert.deepEqual(
    r.refused.map(({ status, topic }) => [status, topic]),
    [["GAP", "a"]],
  );
});

test("mqtt: QoS 2 with a topic alias keeps its topic", async () => {
  await using r = await connected({
    mqtt: { protocolVersion: 5, properties: { topicAliasMaximum: 4 } },
  });
  const channel = r.device.hold("a/b");
  const first = r.device.frame(channel, "a/b", "1");
  const second = r.device.frame(channel, "a/b", "2");
  r.broker.publish("a/b", first, { qos: 2, messageId: 1, properties: { topicAlias: 1 } });
  r.broker.publish("", second, { qos: 2, messageId: 2, properties: { topicAlias: 1 } });
  await r.broker.until("two pubcomps", () => r.broker.of("pubcomp").length === 2);
  assert.deepEqual(r.texts, ["a/b=1", "a/b=2"]);
});

test("mqtt: handleMessage gets the text and delays the acknowledgement, as without sealing", async () => {
  await using r = await connected();
  const channel = r.device.hold("a");
  const handled: string[] = [];
  let release = (): void => {};
  r.mqtt.handleMessage = (packet, done) => {
    handled.push(String(packet.payload));
    release = done;
  };
  r.broker.publish("a", r.device.frame(channel, "a", "slow"), { qos: 1, messageId: 1 });
  await r.broker.until("the handler", () => handled.length === 1);
  await sleep(30);
  assert.deepEqual([handled, acks(r.broker)], [["slow"], []]);
  release();
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
});

// Publishing

test("mqtt: a text is sealed, whatever the QoS", async () => {
  await using r = await connected();
  r.device.hold("a");
  r.mqtt.publish("a", "zero");
  await r.mqtt.publishAsync("a", Buffer.from("one"), { qos: 1 });
  await r.mqtt.publishAsync("a", "two", { qos: 2 });
  const published = r.broker.published("a");
  assert.deepEqual(
    published.map(({ payload, qos }) => [inspect(payload)?.plain, qos]),
    [
      ["zero", 0],
      ["one", 1],
      ["two", 2],
    ],
  );
});

test("mqtt: without a key nothing is published: callback, promise and event say so", async () => {
  await using r = await connected();
  const error = await new Promise<Error | undefined>((resolve) => {
    r.mqtt.publish("a", "secret", { qos: 1 }, (failure) => resolve(failure));
  });
  assert.ok(error instanceof RefusedError && error.status === "NO_CHANNEL");
  await assert.rejects(r.mqtt.publishAsync("a", "secret"), { status: "NO_CHANNEL" });
  r.mqtt.publish("a", "secret");
  r.mqtt.publish("a", "secret", { retain: true });
  assert.deepEqual(
    r.refused.map(({ status, topic }) => `${status} ${topic}`),
    Array(4).fill("NO_CHANNEL a"),
  );
  assert.deepEqual(r.broker.published("a"), []);
});

test("mqtt: text for a channel that allows no stored messages is not retained [R-11]", async () => {
  await using r = await connected();
  r.device.hold("a", { storedAllowed: false });
  await assert.rejects(r.mqtt.publishAsync("a", "x", { retain: true }), { status: "NO_STORED_MODE" });
  await r.mqtt.publishAsync("a", "x", { qos: 1 });
  assert.equal(r.broker.published("a").length, 1);
});

test("mqtt: an empty retained publish stays empty, an empty text is sealed [F-7]", async () => {
  await using r = await connected();
  r.device.hold("a");
  await r.mqtt.publishAsync("a", "", { retain: true, qos: 1 });
  await r.mqtt.publishAsync("a", "", { qos: 1 });
  const [cleared, empty] = r.broker.published("a");
  assert.equal(cleared?.payload.length, 0);
  assert.equal(cleared?.retain, true);
  assert.equal(inspect(empty?.payload ?? "")?.plain, "");
});

test("mqtt: a narrow message is several publishes, and one callback after the last [F-6]", async () => {
  await using r = await connected();
  r.device.hold("a", { narrow: true });
  let calls = 0;
  await new Promise<void>((resolve, reject) => {
    r.mqtt.publish("a", "0123456789", { qos: 1 }, (error) => {
      calls += 1;
      if (error) reject(error);
      else resolve();
    });
  });
  assert.deepEqual(
    r.broker.published("a").map(({ payload }) => inspect(payload)?.plain),
    ["0123", "4567", "89"],
  );
  assert.equal(acks(r.broker).length, 0);
  await sleep(20);
  assert.equal(calls, 1);
  await assert.rejects(r.mqtt.publishAsync("a", "0123456789", { retain: true }), { status: "BAD_LENGTH" });
});

test("mqtt: a publish that is repeated after a lost connection has the same bytes", async () => {
  await using r = await connected();
  r.device.hold("a");
  r.broker.answerPublish = false;
  const done = r.mqtt.publishAsync("a", "once", { qos: 1 });
  await r.broker.until("the publish", () => r.broker.published("a").length === 1);
  r.broker.answerPublish = true;
  r.broker.cut();
  await done;
  const [first, second] = r.broker.published("a");
  assert.deepEqual(second?.payload, first?.payload);
});

test("mqtt: what is published offline is sealed then and there, and sent later", async () => {
  await using r = await rig();
  const channel = r.device.hold("a");
  const done = r.mqtt.publishAsync("a", "early", { qos: 1 });
  channel.step = 3;
  r.mqtt.connect();
  await done;
  assert.equal(inspect(r.broker.published("a")[0]?.payload ?? "")?.step, 0);
});

test("mqtt: a payload format indicator is dropped from what is sealed, other properties stay", async () => {
  await using r = await connected({ mqtt: { protocolVersion: 5 } });
  r.device.hold("a");
  const properties = { payloadFormatIndicator: true, contentType: "text/plain" };
  await r.mqtt.publishAsync("a", "x", { qos: 1, properties });
  const [packet] = r.broker.published("a");
  assert.equal(packet?.properties?.contentType, "text/plain");
  assert.equal(packet?.properties?.payloadFormatIndicator, undefined);
  assert.equal(properties.payloadFormatIndicator, true, "the caller's object is as before");
});

// Retained values

test("mqtt: retained text is sealed again when step or generation move [V-9]", async () => {
  await using r = await connected();
  const channel = r.device.hold("a/#");
  await r.mqtt.publishAsync("a/1", "state 1", { retain: true, qos: 1 });
  await r.mqtt.publishAsync("a/2", "event", { qos: 1 });
  r.device.onControl = () => true;
  r.broker.publish(r.device.downTopic, "nothing moved", { qos: 1, messageId: 1 });
  await r.broker.until("the puback", () => acks(r.broker).includes(1));
  r.device.onControl = () => {
    channel.step = 1;
    return true;
  };
  r.broker.publish(r.device.downTopic, "step", { qos: 1, messageId: 2 });
  await r.broker.until("the fresh value", () => r.broker.published("a/1").length === 2);
  const [, fresh] = r.broker.published("a/1");
  assert.deepEqual(
    [inspect(fresh?.payload ?? "")?.plain, inspect(fresh?.payload ?? "")?.step, fresh?.retain, fresh?.qos],
    ["state 1", 1, true, 1],
  );
  assert.equal(r.broker.published("a/2").length, 1);
});

test("mqtt: a retained text that was cleared, or is somebody else's by now, is not sealed again [V-9]", async () => {
  await using r = await connected();
  const channel = r.device.hold("a/#");
  for (const topic of ["a/1", "a/2", "a/3"]) await r.mqtt.publishAsync(topic, "v", { retain: true, qos: 1 });
  await r.mqtt.publishAsync("a/1", "", { retain: true, qos: 1 });
  r.broker.publish("a/2", r.device.frame(channel, "a/2", "theirs"));
  r.device.onControl = () => {
    channel.step = 1;
    return true;
  };
  r.broker.publish(r.device.downTopic, "step", { qos: 1, messageId: 2 });
  await r.broker.until("the fresh value", () => r.broker.published("a/3").length === 2);
  assert.equal(r.broker.published("a/1").length, 2);
  assert.equal(r.broker.published("a/2").length, 1);
});

test("mqtt: sealing retained texts again can be switched off", async () => {
  await using r = await connected({ protect: { resealTopics: 0 } });
  const channel = r.device.hold("a");
  await r.mqtt.publishAsync("a", "v", { retain: true, qos: 1 });
  r.device.onControl = () => {
    channel.step = 1;
    return true;
  };
  r.broker.publish(r.device.downTopic, "step", { qos: 1, messageId: 2 });
  await r.broker.until("the ack", () => r.broker.published(r.device.upTopic).length === 2);
  await sleep(30);
  assert.equal(r.broker.published("a").length, 1);
});

// Last Will

const WILL = { topic: "w", payload: Buffer.from("gone"), qos: 1 as const, retain: true };

test("mqtt: a will is sealed under the will number at each connection [V-9]", async () => {
  await using r = await connected({
    mqtt: { will: WILL },
    prepare: ({ device }) => void device.hold("w"),
  });
  r.broker.cut();
  await r.broker.until("reconnection", () => r.broker.of("connect").length === 2);
  const wills = r.broker.of("connect").map(({ will }) => inspect(will?.payload as unknown as Uint8Array));
  assert.deepEqual(
    wills.map((will) => [will?.plain, will?.sender, will?.counter]),
    [
      ["gone", 6, 0],
      ["gone", 6, 1],
    ],
  );
  assert.equal(r.broker.of("connect")[0]?.will?.retain, true);
  assert.equal(String(WILL.payload), "gone", "the caller's object is as before");
});

test("mqtt: without keys the first connection has no will, and one with it follows once keys are there", async () => {
  await using r = await connected({ mqtt: { will: WILL } });
  assert.equal(r.broker.of("connect")[0]?.will, undefined);
  assert.deepEqual(
    r.refused.map(({ status, topic }) => `${status} ${topic}`),
    ["NO_CHANNEL w"],
  );
  r.device.onControl = () => {
    r.device.hold("w");
    return true;
  };
  r.broker.publish(r.device.downTopic, "grant", { qos: 1, messageId: 1 });
  await r.broker.until("reconnection", () => r.broker.of("connect").length === 2);
  assert.equal(inspect(r.broker.of("connect")[1]?.will?.payload as unknown as Uint8Array)?.plain, "gone");
  const order = r.broker.order();
  assert.equal(order[order.lastIndexOf("connect") - 1], "disconnect", "the broker was left in good order");
  assert.equal(String(r.broker.published(r.device.upTopic)[1]?.payload), "ack grant", "not before the ack");
});

test("mqtt: the connection is made anew before the will's step is too old to be read [V-9]", async () => {
  await using r = await connected({
    mqtt: { will: WILL },
    prepare: ({ device }) => void device.hold("w", { late: 2 }),
  });
  const channel = r.device.hold("w", { late: 2 });
  r.device.onControl = () => {
    channel.step += 1;
    return true;
  };
  r.broker.publish(r.device.downTopic, "step 1", { qos: 1, messageId: 1 });
  await r.broker.until("the ack", () => r.broker.published(r.device.upTopic).length === 2);
  await sleep(50);
  assert.equal(r.broker.of("connect").length, 1);
  r.broker.publish(r.device.downTopic, "step 2", { qos: 1, messageId: 2 });
  await r.broker.until("reconnection", () => r.broker.of("connect").length === 2);
  assert.equal(inspect(r.broker.of("connect")[1]?.will?.payload as unknown as Uint8Array)?.step, 2);
});

test("mqtt: a generation that moves renews the will at once [V-9]", async () => {
  await using r = await connected({ mqtt: { will: WILL }, prepare: ({ device }) => void device.hold("w") });
  r.device.onControl = () => {
    r.device.hold("w", { generation: 2 });
    return true;
  };
  r.broker.publish(r.device.downTopic, "rotate", { qos: 1, messageId: 1 });
  await r.broker.until("reconnection", () => r.broker.of("connect").length === 2);
  assert.equal(inspect(r.broker.of("connect")[1]?.will?.payload as unknown as Uint8Array)?.generation, 2);
});

test("mqtt: what is published while the will is renewed arrives", async () => {
  await using r = await connected({ mqtt: { will: WILL }, prepare: ({ device }) => void device.hold("w") });
  r.device.hold("a");
  r.device.onControl = () => {
    r.device.hold("w", { generation: 2 });
    return true;
  };
  r.broker.publish(r.device.downTopic, "rotate", { qos: 1, messageId: 1 });
  const texts: string[] = [];
  while (r.broker.of("connect").length < 2) {
    const text = String(texts.length);
    texts.push(text);
    r.mqtt.publish("a", text, { qos: texts.length % 2 ? 1 : 0 });
    await sleep(1);
  }
  await r.broker.until("all texts", () => r.broker.published("a").length >= texts.length);
  const arrived = new Set(r.broker.published("a").map(({ payload }) => inspect(payload)?.plain));
  assert.deepEqual([...arrived].sort(), [...texts].sort());
  assert.deepEqual(r.errors, []);
});

test("mqtt: a will that the application sets later is sealed too", async () => {
  await using r = await connected({ prepare: ({ device }) => void device.hold("w") });
  r.mqtt.options.will = { ...WILL, payload: Buffer.from("later") };
  r.broker.cut();
  await r.broker.until("reconnection", () => r.broker.of("connect").length === 2);
  assert.equal(inspect(r.broker.of("connect")[1]?.will?.payload as unknown as Uint8Array)?.plain, "later");
});

test("mqtt: a will in options that the application has replaced is sealed too", async () => {
  const settings: IClientOptions = { will: WILL, username: "u", password: "old" };
  await using r = await connected({ mqtt: settings, prepare: ({ device }) => void device.hold("w") });
  const again = async (options: Partial<IClientOptions>): Promise<unknown> => {
    const count = r.broker.of("connect").length;
    r.mqtt.options = { ...r.mqtt.options, ...options };
    r.broker.cut();
    await r.broker.until("reconnection", () => r.broker.of("connect").length > count);
    const will = r.broker.of("connect").at(-1)?.will;
    return will && inspect(will.payload as unknown as Uint8Array);
  };
  const first = { ...r.mqtt.options };
  const expected = async (plain: string, options: Partial<IClientOptions>): Promise<void> => {
    const will = (await again(options)) as ReturnType<typeof inspect>;
    assert.deepEqual([will?.plain, will?.sender], [plain, 6]);
  };
  await expected("gone", { ...settings, password: "new" });
  await expected("gone", { password: "newer" });
  await expected("gone", first);
  await expected("gone", { will: structuredClone(r.mqtt.options.will) as typeof WILL });
  await expected("other", { will: { ...WILL, payload: Buffer.from("other") } });
  Object.assign(r.mqtt.options.will ?? {}, { payload: "written in place" });
  await expected("written in place", {});
  await expected("written in place", { will: { ...(r.mqtt.options.will as typeof WILL), retain: false } });
  assert.equal(r.broker.of("connect").at(-1)?.will?.retain, false);
  r.device.drop("w");
  assert.equal(await again(settings), undefined, "without keys there is no will");
  r.device.hold("w");
  await expected("gone", {});
  const none = { ...r.mqtt.options };
  delete none.will;
  r.mqtt.options = none;
  assert.equal(await again({}), undefined);
  const numbers = r.broker.of("connect").flatMap(({ will }) => {
    return will === undefined ? [] : [inspect(will.payload as unknown as Uint8Array)?.counter];
  });
  assert.equal(new Set(numbers).size, numbers.length, "none goes out twice");
});

// The same object as before

test("mqtt: the facade is an MqttClient: instance, this, chaining, once, off, properties", async () => {
  await using r = await rig();
  assert.ok(r.mqtt instanceof MqttClient);
  assert.equal(r.mqtt.connected, false);
  assert.equal(r.mqtt.options.clientId, "test");
  assert.ok("subscribe" in r.mqtt && "on" in r.mqtt && "raw" in r.mqtt);
  const seen: unknown[] = [];
  const never = (): void => void seen.push("never");
  r.mqtt.on("connect", never).off("connect", never);
  r.mqtt.once("connect", function (this: unknown) {
    seen.push(this === r.mqtt);
  });
  assert.equal(r.mqtt.subscribe("x"), r.mqtt);
  assert.equal(r.mqtt.publish("x", "y"), r.mqtt);
  assert.equal(r.mqtt.connect(), r.mqtt);
  await once(r.mqtt, "connect");
  assert.deepEqual(seen, [true]);
  assert.equal(r.mqtt.connected, true);
  assert.equal(r.mqtt.subscribe, r.mqtt.subscribe);
});

test("mqtt: removing the application's listeners leaves the client's own work in place", async () => {
  await using r = await connected();
  r.mqtt.removeAllListeners();
  r.device.onControl = () => true;
  r.broker.publish(r.device.downTopic, "x", { qos: 1, messageId: 1 });
  await r.broker.until("the ack", () => r.broker.published(r.device.upTopic).length === 2);
});

test("mqtt: raw is the client underneath", async () => {
  await using r = await connected();
  assert.ok(r.mqtt.raw instanceof MqttClient);
  await r.mqtt.raw.publishAsync("a", "as it is", { qos: 1 });
  assert.equal(String(r.broker.published("a")[0]?.payload), "as it is");
});

test("mqtt: end closes, and what is held is named", async () => {
  await using r = await connected({ protect: { holdMs: 60_000 } });
  const channel = r.device.hold("a");
  r.broker.publish("a", r.device.frame({ ...channel, generation: 2 }, "a", "x"), { qos: 1, messageId: 1 });
  await sleep(30);
  let ended = 0;
  r.mqtt.on("end", () => ended++);
  await r.mqtt.endAsync();
  assert.equal(ended, 1);
  assert.deepEqual(
    r.refused.map(({ status }) => status),
    ["UNKNOWN_EPOCH"],
  );
});
