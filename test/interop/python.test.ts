// A device written in Python from SPEC.md alone joins a realm of the real command line, at a real
// broker: it reads and is read, follows steps and generations, and refuses by name. [I-1, V-4]

import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import mqtt from "mqtt";
import { type Broker, startAedes } from "../support/brokers.ts";
import { findCommand, need } from "../support/need.ts";

type Event = Record<string, unknown>;
type Payload = { topic: string; payload: Buffer };

const WAIT_MS = 30_000;
const python = findCommand("python3") ?? "python3";
const script = fileURLToPath(new URL("device.py", import.meta.url));
const vectors = fileURLToPath(new URL("../vectors", import.meta.url));
const cli = fileURLToPath(new URL("../../host/cli/main.ts", import.meta.url));
const run = promisify(execFile);

/** One channel of each suite, and of each thing a channel can choose. */
const CHANNELS: [filter: string, ...options: string[]][] = [
  ["plant/+/live"],
  ["short/+", "--suite", "ascon-aead", "--short-tag", "--frame-size", "64"],
  ["narrow/+", "--suite", "xoodyak-siv", "--narrow", "--frame-size", "32", "--late", "1", "--ahead", "0"],
  ["free", "--suite", "xoodyak-aead", "--no-bind-topic", "--mark-block", "1"],
];
const LONG = "a text that takes several frames, even where frames are large: ".repeat(5);

test("python: agrees with every vector", need("python3"), async () => {
  const { stdout } = await run(python, [script, "--vectors", vectors]).catch((error) => error);
  assert.match(stdout, /^[1-9][0-9]* agree, 0 differ$/m);
});

/** A process that says what happens to it in JSON lines. */
class Talker {
  readonly events: Event[] = [];
  readonly #child: ChildProcess;

  constructor(command: string, args: string[], env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null)
        createInterface({ input: stream }).on("line", (line) => this.events.push(parse(line)));
    }
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** The first event from `since` on that has all these fields. */
  async event(fields: Event, since = 0): Promise<Event> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const found = this.events.slice(since).find((event) => has(event, fields));
      if (found !== undefined) return found;
      if (Date.now() > deadline) {
        const last = this.events.slice(-20).map((event) => JSON.stringify(event));
        throw new Error(`no ${JSON.stringify(fields)} among\n${last.join("\n")}`);
      }
      await sleep(20);
    }
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await once(this.#child, "exit");
  }
}

function parse(line: string): Event {
  try {
    return JSON.parse(line);
  } catch {
    return { line };
  }
}

function has(event: Event, fields: Event): boolean {
  return Object.entries(fields).every(([name, value]) => event[name] === value);
}

/** A realm with its key server; `desk` and `pen` are members of the real kind, `py` is ours. */
class Realm {
  readonly dir = mkdtempSync(join(tmpdir(), "ampoule-interop-"));
  readonly #env: NodeJS.ProcessEnv;
  readonly #url: URL;
  readonly #talkers: Talker[] = [];

  constructor(broker: Broker) {
    this.#url = new URL(broker.url);
    this.#env = { ...process.env, AMPOULE_REALM: this.dir, AMPOULE_URL: broker.url };
  }

  async cli(...args: string[]): Promise<string> {
    return (await run(process.execPath, [cli, ...args], { env: this.#env })).stdout;
  }

  async make(): Promise<void> {
    await this.cli("init", this.dir);
    for (const name of ["py", "desk", "pen"]) await this.cli("provision", name, "-o", this.#identity(name));
    for (const [filter, ...options] of CHANNELS) {
      await this.cli("channel", "create", filter, ...options);
      for (const name of ["py", "desk", "pen"]) await this.cli("channel", "grant", filter, name);
    }
  }

  #identity(name: string): string {
    return join(this.dir, `${name}.json`);
  }

  identity(name: string): { device: string; key: string; prefix: string } {
    return JSON.parse(readFileSync(this.#identity(name), "utf8"));
  }

  #start(command: string, ...args: string[]): Talker {
    const talker = new Talker(command, args, this.#env);
    this.#talkers.push(talker);
    return talker;
  }

  serve(): Talker {
    return this.#start(process.execPath, cli, "serve", "--json");
  }

  sub(name: string): Talker {
    const topics = CHANNELS.flatMap(([filter]) => ["-t", filter]);
    return this.#start(process.execPath, cli, "sub", "-I", this.#identity(name), "--json", ...topics);
  }

  async pub(name: string, topic: string, text: string): Promise<void> {
    await this.cli("pub", "-I", this.#identity(name), "-t", topic, "-m", text, "--wait", "20");
  }

  python(name = "py", storage = true): Talker {
    const { hostname, port } = this.#url;
    const state = storage ? ["--state", join(this.dir, `${name}.state`)] : [];
    const where = ["--identity", this.#identity(name), ...state];
    const channels = CHANNELS.flatMap(([filter]) => ["--channel", filter]);
    return this.#start(python, script, ...where, "--host", hostname, "--port", port, ...channels);
  }

  async status(name: string): Promise<Event> {
    const devices: Event[] = JSON.parse(await this.cli("status", "--json"));
    const found = devices.find((device) => device.name === name);
    assert.ok(found);
    return found;
  }

  async inSync(name: string): Promise<Event> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const status = await this.status(name);
      if (status.state === "in sync") return status;
      if (Date.now() > deadline) throw new Error(`${name} is ${status.state}`);
      await sleep(100);
    }
  }

  async end(): Promise<void> {
    for (const talker of this.#talkers) await talker.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Whoever has the broker: sees every payload, and sends what it likes. */
class Attacker {
  readonly seen: Payload[] = [];
  readonly #client: mqtt.MqttClient;

  private constructor(client: mqtt.MqttClient) {
    this.#client = client;
    client.on("message", (topic, payload) => this.seen.push({ topic, payload }));
  }

  static async at(broker: Broker): Promise<Attacker> {
    const attacker = new Attacker(await mqtt.connectAsync(broker.url, broker.options));
    await attacker.#client.subscribeAsync("#", { qos: 1 });
    return attacker;
  }

  last(topic: string): Payload {
    const found = this.seen.findLast((message) => message.topic === topic);
    assert.ok(found, `nothing seen on ${topic}`);
    return found;
  }

  async send(topic: string, payload: Uint8Array): Promise<void> {
    await this.#client.publishAsync(topic, Buffer.from(payload), { qos: 1 });
  }

  async end(): Promise<void> {
    await this.#client.endAsync();
  }
}

function flipped(payload: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(payload);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

describe("python at a broker", need("python3"), () => {
  let broker: Broker;
  let realm: Realm;
  let attacker: Attacker;
  let server: Talker;
  let desk: Talker;
  let py: Talker;
  const sent: Event[] = [];
  let withheld: Payload;

  const publish = async (topic: string, text: string): Promise<Event> => {
    const since = py.events.length;
    py.say(`publish ${topic} ${text}`);
    const event = await py.event({ event: "sent", topic }, since);
    sent.push(event);
    return event;
  };
  const refusal = async (topic: string, payload: Uint8Array): Promise<unknown> => {
    const since = py.events.length;
    await attacker.send(topic, payload);
    return (await py.event({ event: "refused", topic }, since)).status;
  };
  const noPositionTwice = (): void => {
    const spent = sent.flatMap(({ topic, generation, step, counter, frames }) =>
      Array.from(
        { length: Number(frames) },
        (_, i) => `${topic} ${generation} ${step} ${Number(counter) + i}`,
      ),
    );
    assert.equal(new Set(spent).size, spent.length);
  };
  const restart = async (whileAway: () => unknown = () => {}): Promise<void> => {
    await py.kill();
    await whileAway();
    py = realm.python();
    await py.event({ event: "boot", status: "OK" });
    await py.event({ event: "ready" });
  };
  const open = async (talker: Talker): Promise<void> => {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const since = talker.events.length;
      talker.say("dump");
      const { channels } = await talker.event({ event: "state" }, since);
      if ((channels as { step: number; open: number }[]).every(({ step, open }) => step >= open)) return;
      if (Date.now() > deadline) throw new Error("the server does not move to open");
      await sleep(100);
    }
  };
  const state = async (): Promise<Event> => {
    const since = py.events.length;
    py.say("dump");
    return py.event({ event: "state" }, since);
  };

  before(
    async () => {
      broker = await startAedes();
      realm = new Realm(broker);
      await realm.make();
      attacker = await Attacker.at(broker);
      server = realm.serve();
      await server.event({ kind: "connected" });
      desk = realm.sub("desk");
      py = realm.python();
      await py.event({ event: "ready" });
      await realm.inSync("py");
      await realm.inSync("desk");
      await realm.pub("pen", "plant/pen/live", "pen is here");
    },
    { timeout: 120_000 },
  );

  test("python: is read by a member, in every suite, in one frame and in several", async () => {
    for (const [filter] of CHANNELS) {
      const topic = filter.replace("+", "py");
      for (const text of ["21.5 °C", LONG]) {
        const since = desk.events.length;
        const position = await publish(topic, text);
        const got = await desk.event({ topic, text }, since);
        assert.equal(got.generation, position.generation);
        assert.equal(got.step, position.step);
      }
    }
  });

  test("python: reads what a member seals, in every suite, in one frame and in several", async () => {
    for (const [filter] of CHANNELS) {
      const topic = filter.replace("+", "pen");
      for (const text of ["on", LONG]) {
        await realm.pub("pen", topic, text);
        await py.event({ event: "message", topic, text });
      }
    }
  });

  test("python: refuses replayed and changed payloads by name [R-1, R-5, R-7, R-8]", async () => {
    const topic = "plant/pen/live";
    const { payload } = attacker.last(topic);
    assert.equal(await refusal(topic, payload), "REPLAYED");
    assert.equal(await refusal(topic, flipped(payload, 0)), "BAD_FORM");
    assert.equal(await refusal(topic, payload.subarray(1)), "BAD_LENGTH");
    await realm.pub("pen", topic, "to be changed");
    await py.event({ event: "message", text: "to be changed" });
    const fresh = attacker.last(topic).payload;
    // A counter nobody has used, so that the tag alone is in the way.
    const ahead = Uint8Array.from(fresh);
    ahead[5] = (ahead[5] ?? 0) | 0x40;
    assert.equal(await refusal(topic, ahead), "BAD_TAG");
    assert.equal(await refusal("plant/py/live", attacker.last("plant/py/live").payload), "REFLECTED");
  });

  test("python: refuses a frame moved to another topic, and reads it on its own [F-2]", async () => {
    await restart(() => realm.pub("pen", "plant/pen/live", "moved"));
    const { payload } = attacker.last("plant/pen/live");
    await realm.inSync("py");
    assert.equal(await refusal("plant/other/live", payload), "BAD_TAG");
    await attacker.send("plant/pen/live", payload);
    await py.event({ event: "message", topic: "plant/pen/live", text: "moved" });
  });

  test("python: refuses control payloads that are changed or old [C-4, C-5]", async () => {
    const { device, prefix } = realm.identity("py");
    const down = `${prefix}/${device}/down`;
    const payloads = attacker.seen.filter(({ topic }) => topic === down).map(({ payload }) => payload);
    const earlier = await state();
    const since = py.events.length;
    await attacker.send(down, flipped(payloads.at(-1) ?? Buffer.alloc(0), -1));
    await py.event({ event: "control", status: "BAD_TAG" }, since);
    await attacker.send(down, payloads[0] ?? Buffer.alloc(0));
    await py.event({ event: "control", status: "UNKNOWN_EPOCH" }, since);
    // It has asked the server, whose queries raise the revision and nothing else.
    const { version, channels, rows } = await state();
    assert.deepEqual(
      { version, channels, rows },
      { version: earlier.version, channels: earlier.channels, rows: earlier.rows },
    );
  });

  test("python: follows the steps of the server [B-3]", async () => {
    const since = py.events.length;
    const { step: earlier } = await publish("plant/py/live", "before the step");
    await realm.cli("channel", "step", "plant/+/live");
    const beacon = await py.event({ event: "beacon", status: "OK" }, since);
    assert.equal(beacon.step, Number(earlier) + 1);
    const { step, counter } = await publish("plant/py/live", "after the step");
    assert.deepEqual([step, counter], [beacon.step, 0]);
    await desk.event({ text: "after the step", step });
  });

  test("python: repeats no position when it is killed and starts again [P-3, T-5, T-6]", async () => {
    const begun = desk.events.length;
    for (const text of ["first life", "second life", "third life"]) {
      const since = desk.events.length;
      await publish("plant/py/live", text);
      await publish("short/py", text);
      await desk.event({ topic: "plant/py/live", text }, since);
      await desk.event({ topic: "short/py", text }, since);
      await restart();
    }
    noPositionTwice();
    assert.deepEqual(
      desk.events.slice(begun).filter((event) => "refused" in event),
      [],
    );
  });

  test("python: is refused nothing, and accepts no replay, after a restart [W-6]", async () => {
    const topic = "plant/pen/live";
    await realm.pub("pen", topic, "after the restart");
    await py.event({ event: "message", text: "after the restart" });
    const { payload } = attacker.last(topic);
    await restart();
    assert.equal(await refusal(topic, payload), "REPLAYED");
  });

  test("python: reads the last steps of a generation that is kept, and the ratchet settles [C-11, C-16]", async () => {
    await restart(() => realm.pub("pen", "plant/pen/live", "withheld"));
    withheld = attacker.last("plant/pen/live");
    await realm.inSync("py");
    const { version } = await state();
    const since = py.events.length;
    await realm.cli("channel", "rotate", "plant/+/live");
    await py.event({ event: "control", status: "OK", next: true, version }, since);
    await py.event({ event: "control", status: "OK", next: false, version: Number(version) + 1 }, since);
    await server.event({ kind: "settled", device: "py", detail: `control key ${Number(version) + 1}` });
    await attacker.send(withheld.topic, withheld.payload);
    const late = await py.event({ event: "message", text: "withheld" }, since);
    const fresh = await publish("plant/py/live", "in the new generation");
    assert.equal(fresh.generation, Number(late.generation) + 1);
    await desk.event({ text: "in the new generation", generation: fresh.generation });
    await realm.pub("pen", "plant/pen/live", "in the new one too");
    await py.event({ event: "message", text: "in the new one too", generation: fresh.generation });
  });

  test("python: drops the kept generation when the new one is past its late steps [C-11]", async () => {
    for (let step = 1; step <= 3; step++) {
      await realm.cli("channel", "step", "plant/+/live");
      await py.event({ event: "beacon", status: "OK", step });
    }
    assert.equal(await refusal(withheld.topic, withheld.payload), "UNKNOWN_EPOCH");
  });

  test("python: catches up with steps and a generation it was away for [C-10, C-11, V-3]", async () => {
    await restart(async () => {
      for (let i = 0; i < 4; i++) await realm.cli("channel", "step", "plant/+/live");
    });
    await realm.pub("pen", "plant/pen/live", "four steps on");
    const { generation } = await py.event({ event: "message", text: "four steps on" });
    await restart(() => realm.cli("channel", "rotate", "plant/+/live"));
    await realm.pub("pen", "plant/pen/live", "a generation on");
    await py.event({ event: "message", text: "a generation on", generation: Number(generation) + 1 });
    const since = desk.events.length;
    await publish("plant/py/live", "so am I");
    await desk.event({ text: "so am I" }, since);
  });

  test("python: reads a message the broker has kept, as often as it comes [R-11]", async () => {
    await realm.cli("pub", "-I", join(realm.dir, "pen.json"), "-t", "plant/pen/live", "-m", "kept", "-r");
    for (let i = 0; i < 2; i++) {
      await restart();
      await py.event({ event: "message", text: "kept", retained: true });
    }
  });

  test("python: skips counters after a torn slot, and its AEAD suites wait [T-8, P-5]", async () => {
    const slots = [0, 1].map((index) => join(realm.dir, "py.state", `slot${index}`));
    await restart(() => writeFileSync(slots[0] as string, "torn"));
    const [first, second] = slots.map((path) => readFileSync(path));
    assert.equal(first?.length, second?.length, "a blob was stored before anything else");
    const plain = await publish("plant/py/live", "after a torn slot");
    await desk.event({ text: "after a torn slot" });
    assert.ok(Number(plain.counter) >= 1024);
    const since = py.events.length;
    py.say("publish short/py too early");
    await py.event({ event: "refused", topic: "short/py", status: "HOLD" }, since);
    for (let i = 0; i < 2; i++) await realm.cli("channel", "step", "short/+");
    await py.event({ event: "beacon", status: "OK" }, since);
    await sleep(500);
    await publish("short/py", "not too early");
    await desk.event({ text: "not too early" });
    noPositionTwice();
  });

  test("python: needs no storage, and repeats no position either way [P-4, C-20, C-21, V-8]", async () => {
    await realm.cli("provision", "tiny", "-o", join(realm.dir, "tiny.json"));
    await realm.cli("channel", "grant", "plant/+/live", "tiny");
    const positions: string[] = [];
    for (const life of [1, 2, 3]) {
      const tiny = realm.python("tiny", false);
      await tiny.event({ event: "ready" });
      for (const text of [`tiny, life ${life}`, `still life ${life}`]) {
        const since = desk.events.length;
        tiny.say(`publish plant/tiny/live ${text}`);
        const { sender, generation, step, counter } = await desk.event({ text }, since);
        positions.push(`${sender} ${generation} ${step} ${counter}`);
      }
      // It has no windows of an earlier life: the server moves on to where nobody has sealed. [V-2]
      await open(tiny);
      const text = `read in life ${life}`;
      await realm.pub("pen", "plant/pen/live", text);
      await tiny.event({ event: "message", text });
      await tiny.kill();
    }
    assert.equal(new Set(positions).size, positions.length);
    assert.equal((await realm.inSync("tiny")).class, 1);
  });

  test("python: follows a server that was away [C-18]", async () => {
    await server.kill();
    await restart(() => realm.cli("channel", "step", "plant/+/live"));
    server = realm.serve();
    await py.event({ event: "control", status: "OK" });
    await realm.inSync("py");
  });

  test("python: is in sync, and has overwritten its first key [V-4, I-1]", async () => {
    const status = await realm.inSync("py");
    assert.equal(status.alarm, null);
    assert.equal(status.class, 0);
    assert.equal(status.revision, (await state()).revision);
    assert.match(realm.identity("py").key, /^0{32}$/);
  });

  test("python: leaves a channel it is taken out of, and cannot read on [C-14, V-10]", async () => {
    const since = py.events.length;
    await realm.cli("channel", "revoke", "plant/+/live", "py");
    await py.event({ event: "control", status: "OK" }, since);
    const before = py.events.length;
    await realm.pub("pen", "plant/pen/live", "without you");
    await py.event({ event: "refused", topic: "plant/pen/live" }, before);
    assert.ok(!py.events.some((event) => event.text === "without you"));
    await desk.event({ text: "without you" });
  });

  after(async () => {
    await attacker?.end();
    await realm?.end();
    await broker?.dispose();
  });
});
