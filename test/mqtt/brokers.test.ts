// One suite over every broker: key server, members behind MQTT.js, and somebody who sees and changes
// all there is to see on the broker.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../support/brokers.ts";
import { BROKERS } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { generationOf, type Member, Plant, type Spy, statuses, stepOf, until } from "./plant.ts";

for (const kind of BROKERS) {
  describe(kind.name, need(...kind.need), () => suite(kind.name, kind.start));
}

function suite(name: string, start: () => Promise<Broker>): void {
  let plant: Plant;
  let spy: Spy;
  let writer: Member;
  let reader: Member;

  before(async () => {
    plant = new Plant(await start());
    plant.channel("plant/#");
    plant.channel("orders/+", { stored: false, markBlock: 1 });
    plant.channel("meters/+", { narrow: true, frameSize: 40 });
    plant.channel("night/#", { markBlock: 1 });
    spy = await plant.spy();
    writer = await plant.member("writer", ["plant/#", "orders/+", "meters/+", "night/#"]);
    reader = await plant.member("reader", ["plant/#", "orders/+", "meters/+", "night/#"]);
    await reader.mqtt.subscribeAsync(["plant/+/temp", "plant/state/#", "orders/+", "meters/+"], { qos: 1 });
  });
  after(() => plant?.close());

  const last = (member: Member): string | undefined => member.texts.at(-1);
  const arrives = (member: Member, text: string): Promise<void> =>
    until(`${text} at ${member.name}`, () => member.texts.includes(text));
  const captured = (topic: string): Buffer =>
    spy.seen.findLast((packet) => packet.topic === topic)?.payload as Buffer;

  test(`${name}: text arrives as it was published, QoS 0, 1 and 2 where there is`, async () => {
    const qualities = plant.broker.features.qos2 ? ([0, 1, 2] as const) : ([0, 1] as const);
    for (const qos of qualities) {
      await writer.mqtt.publishAsync("plant/7/temp", `21.${qos}`, { qos });
      await arrives(reader, `plant/7/temp=21.${qos}`);
    }
    assert.equal(reader.texts.length, qualities.length, "each of them once");
    assert.deepEqual(reader.packets.at(-1)?.ampoule?.sender, 1);
  });

  test(`${name}: a long message is one payload of several frames [F-6]`, async () => {
    const text = "0123456789".repeat(60);
    await writer.mqtt.publishAsync("plant/7/temp", text, { qos: 1 });
    await arrives(reader, `plant/7/temp=${text}`);
    const sizes = (): number[] =>
      spy.seen.filter(({ topic }) => topic === "plant/7/temp").map(({ payload }) => payload.length);
    await until("the spy", () => sizes().includes(6 * 128));
  });

  test(`${name}: a narrow message is one payload a frame, and one text [F-6]`, async () => {
    const before = spy.seen.filter(({ topic }) => topic === "meters/1").length;
    await writer.mqtt.publishAsync("meters/1", "0123456789012345678901234567890123456789", { qos: 1 });
    await arrives(reader, "meters/1=0123456789012345678901234567890123456789");
    await until("the spy", () => spy.seen.filter(({ topic }) => topic === "meters/1").length - before === 3);
    assert.equal(captured("meters/1").length, 40);
  });

  test(`${name}: the broker never sees a text, nor two equal payloads for two equal texts`, async () => {
    const secret = "a text nobody else should see";
    for (let n = 0; n < 2; n++) await writer.mqtt.publishAsync("plant/8/temp", secret, { qos: 1 });
    await until("two texts", () => reader.texts.filter((text) => text.endsWith(secret)).length === 2);
    await until("the spy", () => spy.seen.filter(({ topic }) => topic === "plant/8/temp").length === 2);
    const [first, second] = spy.seen.filter(({ topic }) => topic === "plant/8/temp");
    assert.notDeepEqual(first?.payload, second?.payload);
    for (const { payload } of spy.seen) assert.ok(!payload.includes("nobody else"));
  });

  test(`${name}: control messages reach no application`, () => {
    for (const member of [writer, reader]) {
      assert.ok(member.texts.every((text) => /^(plant|orders|meters)\//.test(text)));
    }
  });

  test(`${name}: a payload that is repeated is refused by name [R-7]`, async () => {
    await writer.mqtt.publishAsync("orders/valve", "open", { qos: 1 });
    await arrives(reader, "orders/valve=open");
    await until("the spy", () => captured("orders/valve") !== undefined);
    const before = reader.refused.length;
    await spy.mqtt.publishAsync("orders/valve", captured("orders/valve"), { qos: 1 });
    await until("the refusal", () => reader.refused.length > before);
    assert.equal(statuses(reader).at(-1), "REPLAYED");
    assert.equal(reader.texts.filter((text) => text === "orders/valve=open").length, 1);
  });

  test(`${name}: a changed bit, another topic, clear text and a foreign flag are refused by name [R-1] [R-8] [R-11]`, async () => {
    reader.refused.length = 0;
    const texts = reader.texts.length;
    await reader.mqtt.unsubscribeAsync(["orders/+"]);
    const before = spy.seen.length;
    await writer.mqtt.publishAsync("orders/valve", "close", { qos: 1 });
    await until("the spy", () => spy.seen.slice(before).some(({ topic }) => topic === "orders/valve"));
    const payload = captured("orders/valve");
    await reader.mqtt.subscribeAsync("orders/+", { qos: 1 });
    const changed = Buffer.from(payload);
    changed[30] = (changed[30] ?? 0) ^ 1;
    const form = Buffer.from(payload);
    form[0] = (form[0] ?? 0) ^ 4;
    const attempts: [string, Buffer, boolean, string][] = [
      ["orders/valve", changed, false, "BAD_TAG"],
      ["orders/pump", payload, false, "BAD_TAG"],
      ["orders/valve", form, false, "BAD_FORM"],
      ["orders/valve", Buffer.from("open"), false, "BAD_LENGTH"],
      ["orders/valve", payload.subarray(0, 127), false, "BAD_LENGTH"],
    ];
    for (const [topic, bytes, retain] of attempts)
      await spy.mqtt.publishAsync(topic, bytes, { qos: 1, retain });
    await until("all refusals", () => reader.refused.length >= attempts.length);
    assert.deepEqual(
      statuses(reader),
      attempts.map(([, , , status]) => status),
    );
    assert.equal(reader.texts.length, texts);
    await spy.mqtt.publishAsync("orders/valve", payload, { qos: 1 });
    await arrives(reader, "orders/valve=close");
  });

  test(`${name}: the broker cannot make an order a stored value [R-11]`, async () => {
    const late = await plant.member("late-for-orders", ["orders/+"]);
    await writer.mqtt.publishAsync("orders/lamp", "on", { qos: 1 });
    await until("the spy", () => captured("orders/lamp") !== undefined);
    await spy.mqtt.publishAsync("orders/lamp", captured("orders/lamp"), { qos: 1, retain: true });
    await late.mqtt.subscribeAsync("orders/+", { qos: 1 });
    await until("the refusal", () => late.refused.length > 0);
    assert.deepEqual([statuses(late)[0], late.texts], ["NO_STORED_MODE", []]);
    await assert.rejects(writer.mqtt.publishAsync("orders/valve", "x", { retain: true }), {
      status: "NO_STORED_MODE",
    });
    await late.mqtt.endAsync();
  });

  test(`${name}: own frames that come back are refused by name [R-5]`, async () => {
    await writer.mqtt.subscribeAsync("plant/9/temp", { qos: 1 });
    await writer.mqtt.publishAsync("plant/9/temp", "echo", { qos: 1 });
    await until("the refusal", () => statuses(writer).includes("REFLECTED"));
    await writer.mqtt.unsubscribeAsync("plant/9/temp");
  });

  test(`${name}: a retained text is sealed, and comes as a stored one [R-11]`, async () => {
    await writer.mqtt.publishAsync("plant/state/mode", "auto", { qos: 1, retain: true });
    await arrives(reader, "plant/state/mode=auto");
    assert.equal(reader.packets.at(-1)?.ampoule?.stored, false, "to those who listen it is an event");
    const late = await plant.member("late", ["plant/#"]);
    await late.mqtt.subscribeAsync("plant/state/#", { qos: 1 });
    await arrives(late, "plant/state/mode=auto");
    assert.equal(late.packets[0]?.ampoule?.stored, true);
    await late.mqtt.endAsync();
  });

  test(`${name}: a retained text stays readable over many steps and a new generation [V-9]`, async () => {
    await plant.step("plant/#", 5, writer, reader);
    plant.server.rotate("plant/#");
    const { generation } = plant.server.channel("plant/#");
    await until("the generation", () => generationOf(writer, "plant/#") === generation);
    await plant.settled(writer, reader);
    await until("a fresh value", () => last(reader) === "plant/state/mode=auto");
    const late = await plant.member("very-late", ["plant/#"]);
    await late.mqtt.subscribeAsync("plant/state/#", { qos: 1 });
    await arrives(late, "plant/state/mode=auto");
    assert.equal(late.packets[0]?.ampoule?.generation, generation);
    await late.mqtt.endAsync();
  });

  test(`${name}: an empty retained publish clears the topic and is reported [F-7]`, async () => {
    let cleared = "";
    reader.mqtt.once("cleared", (topic) => {
      cleared = topic;
    });
    await writer.mqtt.publishAsync("plant/state/mode", "", { qos: 1, retain: true });
    await until("the clearing", () => cleared !== "");
    assert.equal(cleared, "plant/state/mode");
  });

  test(`${name}: without a key nothing is published and nothing is read [R-1]`, async () => {
    const outsider = await plant.member("outsider", [], {}, { holdMs: 100 });
    await outsider.mqtt.subscribeAsync("plant/+/temp", { qos: 1 });
    await assert.rejects(outsider.mqtt.publishAsync("plant/7/temp", "secret", { qos: 1 }), {
      status: "NO_CHANNEL",
    });
    await writer.mqtt.publishAsync("plant/7/temp", "private", { qos: 1 });
    await until("the refusal", () => outsider.refused.length >= 2);
    assert.deepEqual(new Set(statuses(outsider)), new Set(["NO_CHANNEL"]));
    assert.deepEqual(outsider.texts, []);
    await outsider.mqtt.endAsync();
  });

  test(`${name}: a will is sealed, kept fresh, and read when its sender is cut off [P-1] [V-9]`, async () => {
    const will = { topic: "plant/state/alive", payload: Buffer.from("no"), qos: 1 as const, retain: true };
    const mortal = await plant.member("mortal", ["plant/#"], { will, keepalive: 5 });
    await until("a sealed will", () => mortal.mqtt.connected && mortal.mqtt.options.will !== undefined);
    // Three steps on, the first will could not be read any more.
    await plant.step("plant/#", 3, writer, reader, mortal);
    await sleep(200);
    await until("the connection", () => mortal.mqtt.connected);
    await sleep(100);
    mortal.mqtt.raw.options.reconnectPeriod = 0;
    mortal.mqtt.raw.stream.destroy();
    await arrives(reader, "plant/state/alive=no");
    assert.ok((reader.packets.at(-1)?.ampoule?.sender ?? 0) > 0);
    for (const { topic, payload } of spy.seen) {
      if (topic === "plant/state/alive") assert.ok(payload.length >= 128);
    }
  });

  test(`${name}: a session's queue is read after a restart, older steps too [R-3] [W-6]`, async () => {
    const session = { clean: false };
    const sleeper = await plant.member("sleeper", ["night/#"], session);
    await sleeper.mqtt.subscribeAsync("night/#", { qos: 1 });
    await writer.mqtt.publishAsync("night/0", "before", { qos: 1 });
    await arrives(sleeper, "night/0=before");
    await sleeper.mqtt.endAsync();
    for (let n = 1; n <= 40; n++) {
      await writer.mqtt.publishAsync(`night/${n}`, "during", { qos: 1 });
      if (n % 20 === 0) await plant.step("night/#", 1, writer, reader);
    }
    const again = plant.attach("sleeper", sleeper.store, session);
    again.mqtt.connect();
    await until("40 texts", () => again.texts.length >= 40);
    assert.deepEqual(
      again.texts,
      Array.from({ length: 40 }, (_, n) => `night/${n + 1}=during`),
    );
    assert.deepEqual(again.errors, []);
    await until("the current step", () => stepOf(again, "night/#") === plant.server.channel("night/#").step);
    await again.mqtt.endAsync();
  });

  test(`${name}: keys that were granted while a member was away are there after it connects`, async () => {
    const away = await plant.member("away", ["meters/+"], { clean: false });
    await away.mqtt.endAsync();
    plant.server.grant("plant/#", "away");
    const again = plant.attach("away", away.store, { clean: false });
    again.mqtt.connect();
    await until("the channel", () => generationOf(again, "plant/#") > 0);
    await plant.settled(again);
    await again.mqtt.publishAsync("plant/10/temp", "back", { qos: 1 });
    await arrives(reader, "plant/10/temp=back");
    await again.mqtt.endAsync();
  });

  test(`${name}: a member that was taken out reads nothing any more [V-10]`, async () => {
    const leaver = await plant.member("leaver", ["plant/#"], {}, { holdMs: 100 });
    await leaver.mqtt.subscribeAsync("plant/+/temp", { qos: 1 });
    await writer.mqtt.publishAsync("plant/11/temp", "for all", { qos: 1 });
    await arrives(leaver, "plant/11/temp=for all");
    plant.server.revoke("plant/#", "leaver");
    const { generation } = plant.server.channel("plant/#");
    const moved = (member: Member): boolean => generationOf(member, "plant/#") === generation;
    await until("the generation", () => moved(writer) && moved(reader));
    await plant.settled(writer, reader);
    await writer.mqtt.publishAsync("plant/11/temp", "for the others", { qos: 1 });
    await arrives(reader, "plant/11/temp=for the others");
    await until("the refusal", () => leaver.refused.length > 0);
    assert.ok(!leaver.texts.includes("plant/11/temp=for the others"));
    await leaver.mqtt.endAsync();
  });

  test(`${name}: texts are lost in no rotation under way`, async () => {
    const texts = reader.texts.length;
    let published = 0;
    const writing = (async () => {
      for (; published < 30; published++) {
        await writer.mqtt.publishAsync("plant/12/temp", `r${published}`, { qos: 1 });
        await sleep(10);
      }
    })();
    await sleep(60);
    plant.server.rotate("plant/#");
    await sleep(100);
    await plant.step("plant/#", 1, writer, reader);
    await writing;
    await until("all texts", () => new Set(reader.texts.slice(texts)).size >= 30);
    const { generation } = plant.server.channel("plant/#");
    assert.equal(reader.packets.at(-1)?.ampoule?.generation, generation);
  });

  test(`${name}: a broker that was away is found again, and nothing is published twice`, async () => {
    await plant.broker.stop();
    await until("the loss", () => !writer.mqtt.connected && !reader.mqtt.connected);
    const late = writer.mqtt.publishAsync("plant/13/temp", "while away", { qos: 1 });
    await plant.broker.start();
    await until("both", () => writer.mqtt.connected && reader.mqtt.connected);
    await late;
    // Until the reader has subscribed again, a broker without its session has nobody to send to.
    const before = reader.texts.length;
    for (let n = 0; n < 200 && reader.texts.length - before < 3; n++) {
      await writer.mqtt.publishAsync("plant/13/temp", `after ${n}`, { qos: 1 });
      await sleep(100);
    }
    const after = reader.texts.slice(before).filter((text) => text.includes("after"));
    assert.ok(after.length >= 2);
    assert.equal(new Set(after).size, after.length);
  });

  // The others speak MQTT 3.1.1 only.
  if (name.startsWith("mosquitto")) {
    test(`${name}: MQTT 5 properties pass, the format indicator does not, one group reads once`, async () => {
      assert.ok(plant.broker.features.mqtt5);
      const v5 = { protocolVersion: 5 as const };
      const modern = await plant.member("modern", ["plant/#"], v5);
      const group = [
        await plant.member("group-1", ["plant/#"], v5),
        await plant.member("group-2", ["plant/#"], v5),
      ];
      for (const member of group) {
        await member.mqtt.subscribeAsync("$share/readers/plant/shared/#", { qos: 1 });
      }
      const properties = { contentType: "text/plain", payloadFormatIndicator: true };
      await modern.mqtt.publishAsync("plant/14/temp", "from 5", { qos: 1, properties });
      await arrives(reader, "plant/14/temp=from 5");
      for (let n = 0; n < 10; n++) {
        await writer.mqtt.publishAsync(`plant/shared/${n}`, "one of you", { qos: 1 });
      }
      const shared = (): string[] => group.flatMap(({ texts }) => texts);
      await until("ten texts", () => shared().length >= 10);
      assert.equal(new Set(shared()).size, 10);
      assert.equal(shared().length, 10);
      for (const member of [modern, ...group]) await member.mqtt.endAsync();
    });
  }

  test(`${name}: nobody had an error that was not looked for`, () => {
    for (const member of [writer, reader]) {
      const unexpected = member.errors.filter((message) => !/ECONNREFUSED|ECONNRESET|EPIPE/.test(message));
      assert.deepEqual(unexpected, []);
    }
  });
}
