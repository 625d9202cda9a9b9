// What a broker must do, and what it is good to know that it does not.

import { randomBytes } from "node:crypto";
import type { Broker } from "../broker.ts";
import { type Finding, fail, ok, reason, warn } from "./finding.ts";
import { Wire } from "./wire.ts";

/** Largest message of the protocol: 64 frames of 1024 bytes. */
const MESSAGE_MAX = 65_536;
/** Levels of the deepest topic a client looks for by its filters. */
const LEVELS = 10;

interface Probe {
  broker: Broker;
  wire: Wire;
  prefix: string;
  /** A topic nobody else uses. */
  topic: (name: string) => string;
}

/** Every check stands alone; `begin` is called before each, for progress. */
export async function checkBroker(
  broker: Broker,
  prefix: string,
  begin: (name: string) => void,
): Promise<Finding[]> {
  begin("connection");
  let wire: Wire;
  try {
    wire = await Wire.open(broker);
  } catch (error) {
    return [
      fail(
        `no connection to ${broker.url}: ${reason(error)}`,
        "is it running, and are host, port, TLS, name and password right?",
      ),
    ];
  }
  const mark = randomBytes(4).toString("hex");
  const probe: Probe = { broker, wire, prefix, topic: (name) => `${prefix}/doctor-${mark}/${name}` };
  const findings = [ok(`connected to ${broker.url}`)];
  for (const [name, check] of Object.entries(CHECKS)) {
    begin(name);
    findings.push(await check(probe).catch((error) => warn(`${name}: ${reason(error)}`, HINT)));
  }
  await wire.close();
  return findings;
}

const HINT = "the broker or its access rules stopped the test";

const CHECKS: Record<string, (probe: Probe) => Promise<Finding>> = {
  "MQTT version": checkVersion,
  "QoS 1": checkQos1,
  "QoS 2": checkQos2,
  "retained messages": checkRetained,
  "persistent session": checkSession,
  "message size": checkSize,
  "shared subscriptions": checkShared,
  "topic levels": checkLevels,
  "wildcard on the prefix": checkWildcard,
};

/** How often `begin` is called. */
export const BROKER_CHECKS = Object.keys(CHECKS).length + 1;

async function checkVersion({ broker }: Probe): Promise<Finding> {
  const other = broker.options.protocolVersion === 5 ? 4 : 5;
  const names = { 4: "MQTT 3.1.1", 5: "MQTT 5" };
  const open = await Wire.open({ ...broker, options: { ...broker.options, protocolVersion: other } }).catch(
    () => undefined,
  );
  if (open === undefined)
    return ok(`${names[other === 5 ? 4 : 5]}; not ${names[other]}, which is not needed`);
  await open.close();
  return ok("MQTT 3.1.1 and MQTT 5");
}

async function roundTrip(probe: Probe, name: string, qos: 1 | 2): Promise<boolean> {
  const topic = probe.topic(name);
  if (!(await probe.wire.subscribe(topic, qos))) return false;
  await probe.wire.publish(topic, Buffer.from(name), qos);
  return (await probe.wire.expect((seen) => seen.topic === topic)) !== undefined;
}

async function checkQos1(probe: Probe): Promise<Finding> {
  if (await roundTrip(probe, "qos1", 1)) return ok("QoS 1 comes back");
  return fail(
    `nothing comes back on ${probe.prefix}/#`,
    `let this user publish and subscribe below ${probe.prefix}/`,
  );
}

async function checkQos2(probe: Probe): Promise<Finding> {
  if (await roundTrip(probe, "qos2", 2)) return ok("QoS 2 comes back");
  return warn("QoS 2 does not come back", "Ampoule does not need it; your own messages may");
}

async function checkRetained(probe: Probe): Promise<Finding> {
  const topic = probe.topic("retained");
  await probe.wire.publish(topic, Buffer.from("kept"), 1, true);
  await probe.wire.subscribe(topic, 1);
  const seen = await probe.wire.expect((message) => message.topic === topic && message.retained);
  await probe.wire.publish(topic, Buffer.alloc(0), 1, true);
  if (seen !== undefined) return ok("retained messages are kept");
  return fail(
    "retained messages are not kept",
    "beacons are retained: without them a device that comes back waits for the next step",
  );
}

/** What is sent to a device that is away must wait for it. */
async function checkSession(probe: Probe): Promise<Finding> {
  const topic = probe.topic("session");
  const clientId = `ampoule-doctor-${randomBytes(6).toString("hex")}`;
  const v5 = probe.broker.options.protocolVersion === 5;
  const keep = { clientId, clean: false, ...(v5 ? { properties: { sessionExpiryInterval: 60 } } : {}) };
  const before = await Wire.open(probe.broker, keep);
  await before.subscribe(topic, 1);
  await before.close();
  await probe.wire.publish(topic, Buffer.from("while away"), 1);
  const after = await Wire.open(probe.broker, keep);
  const seen = await after.expect((message) => message.topic === topic);
  await after.close();
  const end = await Wire.open(probe.broker, { clientId, clean: true });
  await end.close();
  if (seen !== undefined) return ok("a persistent session keeps messages for a client that is away");
  return warn(
    after.sessionPresent ? "a session is kept, but not its messages" : "sessions are not kept",
    "keys still arrive, as devices ask for them; messages sent meanwhile do not",
  );
}

async function checkSize(probe: Probe): Promise<Finding> {
  const limit = probe.wire.maximumPacketSize;
  if (limit !== undefined && limit < MESSAGE_MAX) {
    return warn(
      `the broker takes packets up to ${limit} bytes`,
      `keep messages below that; the protocol's are up to ${MESSAGE_MAX}`,
    );
  }
  const wire = await Wire.open(probe.broker);
  const topic = probe.topic("size");
  await wire.subscribe(topic, 1);
  await wire.publish(topic, Buffer.alloc(MESSAGE_MAX), 1).catch(() => {});
  const seen = await wire.expect((message) => message.topic === topic);
  await wire.close();
  if (seen?.payload.length === MESSAGE_MAX) return ok(`messages of ${MESSAGE_MAX} bytes pass`);
  return warn(
    `a message of ${MESSAGE_MAX} bytes does not pass`,
    "raise the broker's limit, or keep messages short",
  );
}

async function checkShared(probe: Probe): Promise<Finding> {
  const topic = probe.topic("shared");
  const granted = await probe.wire.subscribe(`$share/doctor/${topic}`, 1);
  await probe.wire.publish(topic, Buffer.from("shared"), 1);
  const seen = granted && (await probe.wire.expect((message) => message.topic === topic, 1000));
  if (seen) return ok("shared subscriptions work");
  const how = granted ? "are granted, but nothing is delivered" : "are refused";
  return warn(
    `shared subscriptions ${how}`,
    "Ampoule does not need them; do not share the load with $share here",
  );
}

async function checkLevels(probe: Probe): Promise<Finding> {
  const name = Array.from({ length: LEVELS }, (_, at) => `level${at}`).join("/");
  if (await roundTrip(probe, name, 1)) return ok(`topics of ${LEVELS} levels pass`);
  return warn(
    `a topic of ${LEVELS} levels does not pass`,
    "keep topics short; some brokers allow seven slashes only",
  );
}

async function checkWildcard(probe: Probe): Promise<Finding> {
  const wire = await Wire.open(probe.broker);
  const topic = probe.topic("wildcard");
  const granted = await wire.subscribe(`${probe.prefix}/+/wildcard`, 1);
  await probe.wire.publish(topic, Buffer.from("wildcard"), 1);
  const seen = granted && (await wire.expect((message) => message.topic === topic));
  await wire.close();
  if (seen) return ok(`the key server can subscribe to ${probe.prefix}/+/up`);
  return fail(
    `wildcards below ${probe.prefix}/ are not delivered`,
    `let the key server's user subscribe to ${probe.prefix}/+/up`,
  );
}
