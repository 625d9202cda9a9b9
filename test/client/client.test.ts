import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, type ClientOptions, type Received } from "../../host/client/client.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { RefusedError, type StatusName } from "../../host/status.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import { FakeDevice, inspect } from "./fake-device.ts";

function setUp(options: Partial<ClientOptions> = {}): { device: FakeDevice; client: Client } {
  const device = new FakeDevice();
  const store = new MemoryStore({
    realm: device.realm,
    device: device.device,
    prefix: device.prefix,
    key: new Uint8Array(16),
  });
  return { device, client: new Client({ store, world: nodeWorld(), ...options }, device.asDevice()) };
}

function refuses(status: StatusName, work: () => unknown, topic?: string): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof RefusedError, String(error));
    assert.equal(error.status, status);
    if (topic !== undefined) assert.equal(error.topic, topic);
    return true;
  });
}

function textOf(received: Received): string {
  assert.equal(received.kind, "text");
  return received.kind === "text" ? Buffer.from(received.text).toString() : "";
}

// Channels

test("client: finds the one channel whose filter matches a topic, wildcards or not", () => {
  const { device, client } = setUp();
  device.hold("plant/+/temp");
  device.hold("site/#");
  device.hold("exact/topic");
  for (const topic of ["plant/1/temp", "site", "site/a/b", "exact/topic"]) {
    assert.equal(inspect(client.protect(topic, "x")[0] ?? "")?.topic, topic);
  }
  for (const topic of ["plant/1/hum", "exact", "exact/topic/x"]) {
    refuses("NO_CHANNEL", () => client.protect(topic, "x"), topic);
  }
});

test("client: hashes candidates once for a topic, and not at all for configured filters", () => {
  const { device, client } = setUp({ channels: ["a/#"] });
  device.hold("a/#");
  device.hashed.length = 0;
  client.protect("a/b/c", "x");
  assert.deepEqual(device.hashed, []);
  device.hold("b/+");
  device.hashed.length = 0;
  client.protect("b/1", "x");
  const first = device.hashed.length;
  assert.ok(first > 0);
  client.protect("b/1", "x");
  client.protect("b/2", "x");
  assert.equal(device.hashed.length, first, "a filter found serves other topics");
});

test("client: a channel that comes later is found, one that goes is refused by name", () => {
  const { device, client } = setUp();
  refuses("NO_CHANNEL", () => client.protect("a/b", "x"));
  device.onControl = () => {
    device.hold("a/+");
    return true;
  };
  client.receive(device.downTopic, Buffer.from("grant"));
  client.protect("a/b", "x");
  device.drop("a/+");
  refuses("NO_CHANNEL", () => client.protect("a/b", "x"), "a/b");
});

test("client: topics with $ are sealed by no wildcard", () => {
  const { device, client } = setUp({ channels: ["#"] });
  device.hold("#");
  device.hold("+/x");
  refuses("NO_CHANNEL", () => client.protect("$SYS/x", "x"), "$SYS/x");
  device.hold("$own/x");
  client.onKeys();
  const fresh = new Client(
    { store: new MemoryStore(identity()), world: nodeWorld(), channels: ["$own/x"] },
    device.asDevice(),
  );
  assert.ok(fresh.protect("$own/x", "x"));
});

test("client: control and epoch topics are never sealed, whatever the channels [V-1]", () => {
  const { device, client } = setUp({ channels: ["#"] });
  device.hold("#");
  for (const topic of [device.upTopic, device.downTopic, "ampoule/epoch/0011223344556677"]) {
    refuses("NO_CHANNEL", () => client.protect(topic, "x"), topic);
  }
  assert.ok(client.protect("ampoule/other", "x"));
});

test("client: clear text is never returned, neither without a key nor for clear topics", () => {
  const { device, client } = setUp({ clear: ["open/#"] });
  refuses("NO_CHANNEL", () => client.protect("open/a", "secret"), "open/a");
  device.hold("a");
  for (const text of ["", "secret", new Uint8Array(3)]) {
    const [payload = new Uint8Array()] = client.protect("a", text);
    assert.match(Buffer.from(payload).toString(), /^sealed /);
  }
});

test("client: a topic that no message can have is refused by name", () => {
  const { device, client } = setUp({ channels: ["#"] });
  device.hold("#");
  for (const topic of ["", "a/+", "a/#", "a\0b", "x".repeat(1025)]) {
    refuses("BAD_ARGUMENT", () => client.protect(topic, "x"));
    refuses("BAD_ARGUMENT", () => client.receive(topic, Buffer.from("x")));
  }
});

test("client: a filter that is none is refused when it is configured", () => {
  refuses("BAD_ARGUMENT", () => setUp({ channels: ["a/#/b"] }));
  refuses("BAD_ARGUMENT", () => setUp({ clear: [""] }));
});

// Receiving

test("client: text comes with who sealed it, and where", () => {
  const { device, client } = setUp();
  const channel = device.hold("a/+");
  const payload = device.frame(channel, "a/b", "hot", { sender: 9, counter: 3 });
  assert.deepEqual(client.receive("a/b", payload), {
    kind: "text",
    topic: "a/b",
    text: new Uint8Array(Buffer.from("hot")),
    sender: 9,
    generation: 1,
    step: 0,
    counter: 3,
    stored: false,
  });
});

test("client: refusals name status and topic, and never the text", () => {
  const { device, client } = setUp();
  const channel = device.hold("a");
  const payload = device.frame(channel, "a", "secret");
  client.receive("a", payload);
  refuses("REPLAYED", () => client.receive("a", payload), "a");
  refuses("BAD_TAG", () => client.receive("a", Buffer.from("secret")), "a");
  refuses("REFLECTED", () => client.receive("a", client.protect("a", "secret")[0] ?? new Uint8Array()), "a");
  refuses("NO_CHANNEL", () => client.receive("b", payload), "b");
  assert.throws(
    () => client.receive("a", payload),
    (error) => !String((error as Error).message).includes("secret"),
  );
});

test("client: an empty payload is no message, it clears a topic [F-7]", () => {
  const { device, client } = setUp({ clear: ["open"] });
  device.hold("a");
  const nothing = new Uint8Array(0);
  assert.deepEqual(client.receive("a", nothing, { retained: true }), { kind: "cleared", topic: "a" });
  assert.deepEqual(client.receive("a", nothing), { kind: "cleared", topic: "a" });
  assert.deepEqual(client.receive("no/channel", nothing), { kind: "cleared", topic: "no/channel" });
  assert.deepEqual(client.receive("open", nothing), { kind: "clear", topic: "open", payload: nothing });
});

test("client: clear topics pass unopened, and only those", () => {
  const { device, client } = setUp({ clear: ["open/#", "$SYS/#"] });
  device.hold("#");
  const payload = Buffer.from("plain");
  for (const topic of ["open", "open/a", "$SYS/uptime"]) {
    assert.ok(client.isClear(topic));
    assert.deepEqual(client.receive(topic, payload), { kind: "clear", topic, payload });
  }
  refuses("BAD_TAG", () => client.receive("closed", payload), "closed");
});

// Stored values

test("client: an older stored value of the same sender is refused, the same one again is not [R-11]", () => {
  const { device, client } = setUp();
  const channel = device.hold("a", { step: 7 });
  const at = (generation: number, step: number, counter: number): Uint8Array =>
    device.frame({ ...channel, generation }, "a", "v", { sender: 9, generation, step, counter });
  const stored = { retained: true };
  assert.equal(textOf(client.receive("a", at(1, 5, 9), stored)), "v");
  assert.equal(textOf(client.receive("a", at(1, 5, 9), stored)), "v");
  refuses("CLOSED", () => client.receive("a", at(1, 5, 8), stored), "a");
  refuses("CLOSED", () => client.receive("a", at(1, 4, 100), stored), "a");
  client.receive("a", at(1, 6, 0), stored);
  channel.generation = 2;
  client.receive("a", at(2, 0, 0), stored);
  channel.generation = 1;
  refuses("CLOSED", () => client.receive("a", at(1, 6, 1), stored), "a");
});

test("client: two senders in turn do not bring an older stored value of one of them back [R-11]", () => {
  const { device, client } = setUp();
  const channel = device.hold("#");
  const from = (sender: number, counter: number, topic = "a"): Uint8Array =>
    device.frame(channel, topic, "v", { sender, counter });
  const stored = { retained: true };
  client.receive("a", from(9, 5), stored);
  client.receive("a", from(8, 1), stored);
  refuses("CLOSED", () => client.receive("a", from(9, 4), stored), "a");
  assert.equal(
    textOf(client.receive("b", from(9, 4, "b"), stored)),
    "v",
    "another topic has its own positions",
  );
});

test("client: stored values say so", () => {
  const { device, client } = setUp();
  const channel = device.hold("a");
  const received = client.receive("a", device.frame(channel, "a", "v"), { retained: true });
  assert.equal(received.kind === "text" && received.stored, true);
});

// Narrow channels

function parts(device: FakeDevice, topic: string, text: string, sender = 9): Uint8Array[] {
  const channel = { ...device.hold("n/#", { narrow: true }), sender };
  const count = Math.max(1, Math.ceil(text.length / 4));
  return Array.from({ length: count }, (_, part) =>
    device.frame(channel, topic, text.slice(4 * part, 4 * part + 4), {
      sender,
      part,
      last: part === count - 1,
    }),
  );
}

test("client: narrow messages are one payload a frame, and joined again [F-6]", () => {
  const { device, client } = setUp();
  device.hold("n/#", { narrow: true });
  const sealed = client.protect("n/a", "0123456789");
  assert.equal(sealed.length, 3);
  const [one, two, three] = parts(device, "n/a", "0123456789");
  assert.equal(client.receive("n/a", one as Uint8Array).kind, "partial");
  assert.equal(client.receive("n/a", two as Uint8Array).kind, "partial");
  assert.equal(textOf(client.receive("n/a", three as Uint8Array)), "0123456789");
});

test("client: parts of two senders and two topics do not mix [R-9]", () => {
  const { device, client } = setUp();
  const streams = [
    ["n/a", parts(device, "n/a", "aaaaAAAA", 8)],
    ["n/a", parts(device, "n/a", "bbbbBBBB", 9)],
    ["n/b", parts(device, "n/b", "ccccCCCC", 9)],
  ] as const;
  for (const [topic, [first]] of streams) client.receive(topic, first as Uint8Array);
  const texts = streams.map(([topic, [, second]]) => textOf(client.receive(topic, second as Uint8Array)));
  assert.deepEqual(texts, ["aaaaAAAA", "bbbbBBBB", "ccccCCCC"]);
});

test("client: a missing part drops the message by name, and the next one is whole [R-9]", () => {
  const { device, client } = setUp();
  const [one, , three] = parts(device, "n/a", "0123456789");
  client.receive("n/a", one as Uint8Array);
  refuses("GAP", () => client.receive("n/a", three as Uint8Array), "n/a");
  const [, second] = parts(device, "n/a", "abcdefgh");
  refuses("GAP", () => client.receive("n/a", second as Uint8Array), "n/a");
  const [single] = parts(device, "n/a", "ok");
  assert.equal(textOf(client.receive("n/a", single as Uint8Array)), "ok");
});

test("client: a message begun anew names the loss of the one before it [R-9]", () => {
  const { device, client } = setUp();
  const losses: string[] = [];
  client.onLoss = ({ status, topic }) => losses.push(`${status} ${topic}`);
  const [one] = parts(device, "n/a", "01234567");
  client.receive("n/a", one as Uint8Array);
  const [single] = parts(device, "n/a", "new");
  assert.equal(textOf(client.receive("n/a", single as Uint8Array)), "new");
  assert.deepEqual(losses, ["GAP n/a"]);
});

test("client: unfinished messages are bounded, and each one dropped is named", () => {
  const { device, client } = setUp();
  const losses: string[] = [];
  client.onLoss = ({ status, topic }) => losses.push(`${status} ${topic}`);
  for (let n = 0; n < 70; n++) client.receive(`n/${n}`, parts(device, `n/${n}`, "01234567")[0] as Uint8Array);
  assert.deepEqual(
    losses,
    [0, 1, 2, 3, 4, 5].map((n) => `GAP n/${n}`),
  );
});

test("client: a stored part of a longer narrow message is a gap", () => {
  const { device, client } = setUp();
  const [, last] = parts(device, "n/a", "01234567");
  refuses("GAP", () => client.receive("n/a", last as Uint8Array, { retained: true }), "n/a");
});

// Control

test("client: a command is applied, answered on the up topic, and never text", () => {
  const { device, client } = setUp({ clear: ["ampoule/#"] });
  const changes: number[] = [];
  client.onKeys = () => changes.push(device.held.size);
  device.onControl = () => {
    device.hold("a");
    return true;
  };
  assert.deepEqual(client.receive(device.downTopic, Buffer.from("1")), {
    kind: "control",
    changed: true,
    replies: [{ topic: device.upTopic, payload: Buffer.from("ack 1") }],
  });
  device.onControl = () => false;
  const again = client.receive(device.downTopic, Buffer.from("1"));
  assert.equal(again.kind === "control" && again.changed, false);
  assert.deepEqual(changes, [1]);
});

test("client: a beacon moves its channel; a known one is no refusal, a bad one is [B-3]", () => {
  const { device, client } = setUp();
  const channel = device.hold("a");
  const topic = device.epochTopic(channel.id);
  let changes = 0;
  client.onKeys = () => changes++;
  assert.deepEqual(client.receive(topic, Buffer.from("v")), { kind: "control", changed: true, replies: [] });
  device.onBeacon = () => {
    throw new RefusedError("OLD_BEACON");
  };
  assert.deepEqual(client.receive(topic, Buffer.from("v")), { kind: "control", changed: false, replies: [] });
  device.onBeacon = () => {
    throw new RefusedError("BAD_BEACON");
  };
  refuses("BAD_BEACON", () => client.receive(topic, Buffer.from("v")), topic);
  assert.equal(changes, 1);
});

test("client: control traffic of other devices, and an erased beacon, are nobody's message", () => {
  const { device, client } = setUp();
  const channel = device.hold("#");
  const none = { kind: "control", changed: false, replies: [] };
  for (const topic of ["ampoule/0000000000000001/down", device.upTopic, "ampoule/epoch/0011223344556677"]) {
    assert.deepEqual(client.receive(topic, Buffer.from("x")), none);
  }
  assert.deepEqual(client.receive(device.epochTopic(channel.id), new Uint8Array(0)), none);
  assert.deepEqual(client.receive(device.downTopic, new Uint8Array(0)), none);
});

test("client: subscribes to its commands and to the beacons of the channels it holds", () => {
  const { device, client } = setUp();
  assert.deepEqual(client.controlTopics(), [device.downTopic]);
  const channel = device.hold("a");
  assert.deepEqual(client.controlTopics(), [device.downTopic, device.epochTopic(channel.id)]);
});

test("client: says hello when refusals ask for it [R-13]", () => {
  const { device, client } = setUp();
  assert.equal(client.wantedHello(), null);
  device.wants = true;
  assert.equal(client.wantedHello()?.topic, device.upTopic);
  assert.equal(client.wantedHello(), null);
});

test("client: refusals that never end make few hellos, however often the server answers [R-13]", () => {
  const { device, client } = setUp();
  const channel = device.hold("a/#");
  device.onControl = () => false;
  const hellos = (count: number, each: (n: number) => void): number => {
    const before = device.helloWants.length;
    for (let n = 0; n < count; n++) {
      refuses("BAD_TAG", () => client.receive(`a/${n}`, Buffer.from("stale"), { retained: true }));
      device.wants = true;
      // The server answers each hello, and the core counts anew.
      if (client.wantedHello() !== null) client.receive(device.downTopic, Buffer.from("query"));
      each(n);
    }
    return device.helloWants.length - before;
  };
  assert.equal(
    hellos(1000, () => {}),
    1,
    "between two ticks",
  );
  const many = hellos(1000, (n) => n % 4 === 0 && client.tick());
  assert.ok(many >= 5 && many <= 11, `${many} hellos in 250 ticks`);
  device.onBeacon = () => {
    channel.step += 1;
  };
  client.receive(device.epochTopic(channel.id), Buffer.from("step"));
  device.wants = true;
  assert.ok(client.wantedHello(), "after a step refusals are heard again");
});

test("client: refusals are heard at once again when none came for a while [R-13]", () => {
  const { device, client } = setUp();
  for (let n = 0; n < 200; n++) {
    device.wants = true;
    client.wantedHello();
    client.tick();
  }
  device.wants = false;
  for (let n = 0; n < 100; n++) client.tick();
  for (let n = 0; n < 2; n++) {
    device.wants = true;
    assert.ok(client.wantedHello());
    client.tick();
  }
});

test("client: counters that are missing are asked for once, and again with growing pauses [P-4] [C-18]", () => {
  const { device, client } = setUp();
  const { id } = device.hold("a");
  const want = Buffer.from(id).toString("hex");
  const refused = (): void => refuses("NO_GRANT", () => client.protect("a", "x"));
  device.ungranted = true;
  for (let n = 0; n < 5; n++) refused();
  assert.ok(client.wantedHello());
  assert.equal(client.wantedHello(), null);
  const asked: number[] = [];
  for (let tick = 1; tick <= 40; tick++) {
    client.tick();
    refused();
    if (client.wantedHello() !== null) asked.push(tick);
  }
  assert.deepEqual(asked, [1, 2, 4, 8, 16, 32]);
  assert.deepEqual(new Set(device.helloWants), new Set([want]));
  assert.ok(client.hello(), "the hello of a connection asks too");
  assert.equal(device.helloWants.at(-1), want);
});

test("client: once the server was heard, sealing decides whether counters are still wanted [P-4]", () => {
  const { device, client } = setUp();
  device.hold("a");
  device.ungranted = true;
  let told = 0;
  client.onKeys = () => told++;
  const tries = (): number => {
    for (let tick = 0; tick < 64; tick++) {
      client.tick();
      if (client.wantedHello() !== null) return tick + 1;
    }
    return 0;
  };
  const answer = (): unknown => client.receive(device.downTopic, Buffer.from("counters"));
  refuses("NO_GRANT", () => client.protect("a", "x"));
  assert.ok(client.wantedHello());
  answer();
  assert.equal(told, 1, "the application is to seal again");
  assert.equal(tries(), 0);
  refuses("NO_GRANT", () => client.protect("a", "x"));
  assert.ok(client.wantedHello(), "it was due meanwhile");
  answer();
  device.ungranted = false;
  client.protect("a", "x");
  answer();
  assert.deepEqual([told, tries()], [2, 0]);
  device.ungranted = true;
  refuses("NO_GRANT", () => client.protect("a", "x"));
  assert.ok(client.wantedHello(), "new counters are asked for at once");
  device.drop("a");
  answer();
  assert.equal(told, 2);
  assert.equal(tries(), 0, "nothing is asked for a channel that went");
});

test("client: what a store throws comes through as it is", () => {
  const { device, client } = setUp();
  const channel = device.hold("a");
  device.failure = new Error("disk full");
  assert.throws(() => client.receive("a", device.frame(channel, "a", "x")), /disk full/);
});

test("client: what an earlier failure left pending is stored first, or that failure is thrown", () => {
  const { device, client } = setUp();
  const channel = device.hold("a");
  device.broken = true;
  assert.throws(() => client.receive("a", device.frame(channel, "a", "x")), /disk full/);
  device.broken = false;
  device.failure = new RefusedError("PENDING");
  assert.equal(textOf(client.receive("a", device.frame(channel, "a", "y"))), "y");
  assert.equal(client.wantedHello()?.topic, device.upTopic, "the server is to learn of it");
  assert.equal(client.wantedHello(), null);
});

function identity(): ConstructorParameters<typeof MemoryStore>[0] {
  return { realm: new Uint8Array(8), device: new Uint8Array(8), prefix: "ampoule", key: new Uint8Array(16) };
}
