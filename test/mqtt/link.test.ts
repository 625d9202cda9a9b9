import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { MqttLink } from "../../host/mqtt/link.ts";
import type { LinkOptions } from "../../host/world.ts";
import { message, ScriptedBroker } from "./scripted-broker.ts";

interface Rig extends AsyncDisposable {
  broker: ScriptedBroker;
  link: MqttLink;
  log: string[];
}

async function rig(options: LinkOptions = {}): Promise<Rig> {
  const broker = await ScriptedBroker.start();
  const link = new MqttLink(broker.url, { clientId: "server", ...options });
  const log: string[] = [];
  link.onConnect = (session) => log.push(`connect ${session}`);
  link.onMessage = (topic, payload, retained) => log.push(`${topic} ${Buffer.from(payload)} ${retained}`);
  link.onError = (error) => log.push(`error ${error.message}`);
  link.onClose = () => log.push("close");
  const close = async (): Promise<void> => {
    await link.end();
    await broker.close();
  };
  return { broker, link, log, [Symbol.asyncDispose]: close };
}

test("link: nothing is sent before connect(), and what a session kept is not lost", async () => {
  await using r = await rig({ clean: false });
  await sleep(30);
  assert.equal(r.broker.connections, 0);
  r.broker.sessionPresent = true;
  r.broker.queued.push(message("a/up", "ack", { qos: 1, messageId: 1 }));
  r.link.connect();
  await r.broker.until("the puback", () => r.broker.of("puback").length === 1);
  assert.deepEqual(r.log.sort(), ["a/up ack false", "connect true"]);
});

test("link: a publish of QoS 1 resolves when the broker has taken it, one of QoS 0 when it is written", async () => {
  await using r = await rig();
  r.link.connect();
  await r.broker.until("the connection", () => r.log.length === 1);
  r.broker.answerPublish = false;
  await r.link.publish("a", new Uint8Array([1]), { qos: 0, retain: false });
  let taken = false;
  const one = r.link.publish("b", new Uint8Array([2]), { qos: 1, retain: true }).then(() => {
    taken = true;
  });
  await r.broker.until("the publish", () => r.broker.published("b").length === 1);
  await sleep(20);
  assert.equal(taken, false);
  r.broker.send({ cmd: "puback", messageId: Number(r.broker.published("b")[0]?.messageId) });
  await one;
  assert.equal(r.broker.published("b")[0]?.retain, true);
  assert.deepEqual([...(r.broker.published("a")[0]?.payload ?? [])], [1]);
});

test("link: a refused subscription rejects, a lost connection comes back", async () => {
  await using r = await rig();
  r.link.connect();
  await r.link.subscribe("a/+/up", 1);
  r.broker.refuseSubscriptions = true;
  await assert.rejects(r.link.subscribe("b/+/up", 1));
  r.broker.cut();
  await r.broker.until("the second connection", () => r.broker.connections === 2);
  assert.ok(r.log.includes("close"));
});

test("link: end() rejects what is still on its way, also without a connection, and may be called twice", async () => {
  await using r = await rig();
  const never = r.link.publish("a", new Uint8Array(1), { qos: 1, retain: false });
  const rejected = assert.rejects(never, /ended/);
  await r.link.end();
  await r.link.end();
  await rejected;
  await assert.rejects(r.link.subscribe("a", 1), /ended/);
});

test("link: end() before the broker has answered is the end", async () => {
  await using r = await rig();
  r.link.connect();
  await r.link.end();
  await sleep(1300);
  assert.ok(r.broker.connections <= 1);
});

test("link: a session of MQTT 5 lasts beyond its connection when it is wanted", async () => {
  await using r = await rig({ protocolVersion: 5, clean: false });
  r.link.connect();
  await r.broker.until("connect", () => r.broker.of("connect").length === 1);
  assert.ok((r.broker.of("connect")[0]?.properties?.sessionExpiryInterval ?? 0) > 3600);
});
