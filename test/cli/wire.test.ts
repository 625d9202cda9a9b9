import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import mqtt from "mqtt";
import { startAedes, startMosquitto } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { type Job, Shell } from "./support.ts";

/** A realm with members a and b of plant/+, served at a broker. */
async function served(shell: Shell, url: string): Promise<Job> {
  await shell.ok("init");
  for (const name of ["a", "b"]) await shell.ok("provision", name);
  await shell.ok("channel", "create", "plant/+", "--frame-size", "64");
  for (const name of ["a", "b"]) await shell.ok("channel", "grant", "plant/+", name);
  const server = shell.start("serve", "--url", url, "--json");
  await server.until(({ out }) => out.includes('"kind":"serving"'), "serving");
  return server;
}

test("pub and sub: a text goes through any broker, and the broker sees none of it", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  const server = await served(shell, broker.url);
  const tap = await mqtt.connectAsync(broker.url);
  const wire: Buffer[] = [];
  tap.on("message", (_topic, payload) => void wire.push(payload));
  await tap.subscribeAsync("#");

  const sub = shell.start("sub", "-I", "b.json", "-L", broker.url, "-t", "plant/+", "-v", "-C", "3");
  await eventually(async () => (await statusOf(shell, "b")) === "in sync");
  const lines = await shell.run(["pub", "-I", "a.json", "-L", broker.url, "-t", "plant/x", "-l"], {
    input: "first line\nsecond line\n",
  });
  assert.equal(lines.code, 0, lines.err);
  const whole = await shell.run(["pub", "-I", "a.json", "-L", broker.url, "-t", "plant/y", "-s"], {
    input: "käse\n",
  });
  assert.equal(whole.code, 0, whole.err);
  const { code, out, err } = await sub.ended(20_000);
  assert.equal(code, 0, err);
  assert.equal(out, "plant/x first line\nplant/x second line\nplant/y käse\n\n");

  await tap.endAsync();
  const seen = Buffer.concat(wire).toString("latin1");
  for (const text of ["first line", "second line", "käse"]) {
    assert.ok(!seen.includes(Buffer.from(text).toString("latin1")), "the broker saw a text");
  }
  server.child.kill("SIGTERM");
  const stopped = await server.ended(10_000);
  assert.equal(stopped.code, 0);
  assert.match(stopped.out, /"kind":"stopped"/);
  const keys = ["a", "b"].map((name) => JSON.parse(readFileSync(shell.path(`${name}.json`), "utf8")));
  for (const { key, storageKey } of keys) {
    for (const secret of [key, storageKey]) {
      if (secret !== undefined) assert.ok(!`${shell.printed}${stopped.out}${out}`.includes(secret));
    }
  }
});

test("sub: --json and --format say sender and position; a replay is refused by name on stderr", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  await served(shell, broker.url);
  const tap = await mqtt.connectAsync(broker.url);
  const frames: Buffer[] = [];
  tap.on("message", (_topic, payload) => void frames.push(payload));
  await tap.subscribeAsync("plant/+");
  const sub = shell.start("sub", "-I", "b.json", "-L", broker.url, "-t", "plant/+", "--json");
  await eventually(async () => (await statusOf(shell, "b")) === "in sync");
  await shell.ok("pub", "-I", "a.json", "-L", broker.url, "-t", "plant/x", "-m", "once");
  await sub.until(({ out }) => out.includes("\n"), "a message");
  await tap.publishAsync("plant/x", frames[0] ?? Buffer.alloc(0), { qos: 1 });
  await sub.until(({ err }) => err.includes("\n"), "a refusal");
  const message = JSON.parse(sub.out);
  assert.equal(message.text, "once");
  assert.equal(message.topic, "plant/x");
  for (const field of ["sender", "generation", "step", "counter"])
    assert.equal(typeof message[field], "number");
  assert.deepEqual(JSON.parse(sub.err), { refused: "REPLAYED", topic: "plant/x" });
  sub.child.kill("SIGINT");
  assert.equal((await sub.ended(10_000)).code, 0);
  await tap.endAsync();
});

test("pub and sub: refusals and silence have exit codes of their own", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  await served(shell, broker.url);
  const member = (name: string): string[] => ["-I", `${name}.json`, "-L", broker.url];
  const alien = await shell.run(["pub", ...member("a"), "-t", "elsewhere", "-m", "x", "--wait", "2"]);
  assert.equal(alien.code, 3, alien.err);
  assert.match(alien.err, /^ampoule: error: refused \(no channel\) on "elsewhere"/m);
  assert.match(alien.err, /^ampoule: hint: grant it with/m);
  const silent = await shell.run(["sub", ...member("b"), "-t", "plant/+", "-C", "1", "-W", "1"]);
  assert.equal(silent.code, 2);
  assert.match(silent.err, /0 of 1 messages came within 1 s/);
  const sub = shell.start("sub", ...member("b"), "-t", "plant/+");
  await eventually(async () => (await statusOf(shell, "b")) === "in sync");
  const twice = await shell.run(["sub", ...member("b"), "-t", "plant/+", "-W", "1"]);
  assert.equal(twice.code, 2);
  assert.match(twice.err, /in use by another process/);
  sub.child.kill("SIGTERM");
  assert.equal((await sub.ended(10_000)).code, 0);
});

test("sub: says by name when its topic is in no channel it holds, once it has waited for keys", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  await served(shell, broker.url);
  await shell.ok("provision", "stranger");
  const sub = (name: string, topic: string, ...more: string[]) =>
    shell.run(["sub", "-I", `${name}.json`, "-L", broker.url, "-t", topic, ...more]);
  const missing = (topic: string): string =>
    `ampoule: refused (no channel) on ${JSON.stringify(topic)}\nampoule: hint: grant it with`;
  const alien = await sub("b", "elsewhere", "-W", "4", "--wait", "2");
  assert.equal(alien.code, 0);
  assert.ok(alien.err.startsWith(missing("elsewhere")), alien.err);
  assert.equal(alien.err.split("elsewhere").length, 2, "said once");
  for (const topic of ["plant/x", "plant/+", "plant/#"]) {
    const { err } = await sub("b", topic, "-W", "2", "--wait", "1");
    assert.equal(err, "", topic);
  }
  const none = await sub("stranger", "plant/+", "-W", "1", "-C", "1");
  assert.equal(none.code, 2);
  assert.ok(none.err.startsWith(missing("plant/+")), none.err);
  const json = await sub("stranger", "plant/+", "-W", "1", "--json");
  assert.equal(json.err, '{"refused":"NO_CHANNEL","topic":"plant/+"}\n');
});

test("pub: a last will is sealed, and read by members when the sender dies", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  await served(shell, broker.url);
  await shell.ok("channel", "grant", "plant/+", "a", "--will");
  const tap = await mqtt.connectAsync(broker.url);
  const wire: Buffer[] = [];
  tap.on("message", (_topic, payload) => void wire.push(payload));
  await tap.subscribeAsync("plant/+");
  const sub = shell.start("sub", "-I", "b.json", "-L", broker.url, "-t", "plant/+", "-v");
  await eventually(async () => (await statusOf(shell, "b")) === "in sync");
  const will = ["--will-topic", "plant/a", "--will-payload", "gone for good", "--will-qos", "1"];
  const pub = shell.start("pub", "-I", "a.json", "-L", broker.url, "-t", "plant/a", "-l", ...will);
  pub.child.stdin?.write("alive\n");
  await sub.until(({ out }) => out.includes("plant/a alive\n"), "a message");
  // A client without keys connects without its will, and once more when they have come.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  pub.child.kill("SIGKILL");
  await sub.until(({ out }) => out.includes("plant/a gone for good\n"), "the will");
  assert.ok(!Buffer.concat(wire).includes("gone for good"), "the broker saw the will");
  await tap.endAsync();
});

test(
  "every command: name and password of a broker, and TLS",
  need("mosquitto", "mosquitto_passwd", "openssl"),
  async () => {
    await using broker = await startMosquitto({ users: { ampoule: "correct horse" }, tls: true });
    await using shell = new Shell();
    writeFileSync(shell.path("ca.pem"), String(broker.options.ca), { mode: 0o600 });
    writeFileSync(shell.path("password"), "correct horse\n", { mode: 0o600 });
    const { hostname, port } = new URL(broker.url);
    const login = [
      "-h",
      hostname,
      "-p",
      port,
      "--cafile",
      "ca.pem",
      "-u",
      "ampoule",
      "--password-file",
      "password",
    ];
    await shell.ok("init");
    await shell.ok("provision", "a");
    await shell.ok("channel", "create", "plant/x");
    await shell.ok("channel", "grant", "plant/x", "a");
    const server = shell.start("serve", ...login);
    await server.until(({ out }) => out.includes("connected"), "a connection");
    await shell.ok("pub", "-I", "a.json", ...login, "-V", "5", "-t", "plant/x", "-m", "sealed twice over");
    assert.match(await shell.ok("doctor", ...login), /^ok +MQTT 3\.1\.1 and MQTT 5/m);
    writeFileSync(shell.path("password"), "wrong horse\n", { mode: 0o600 });
    const refused = await shell.run(["pub", "-I", "a.json", ...login, "-t", "plant/x", "-m", "x"]);
    assert.equal(refused.code, 2);
    assert.match(refused.err, /no connection to mqtts:.*[Nn]ot authorized/);
    assert.ok(!`${shell.printed}${server.out}${server.err}`.includes("horse"), "a password was printed");
  },
);

test("doctor: looks at a broker from all sides", async () => {
  await using broker = await startAedes();
  await using shell = new Shell();
  await shell.ok("init");
  const out = await shell.ok("doctor", "-L", broker.url);
  for (const line of [
    /^ok +connected to/m,
    /^ok +MQTT 3\.1\.1; not MQTT 5/m,
    /^ok +QoS 2 comes back/m,
    /^ok +retained messages are kept/m,
    /^ok +a persistent session keeps messages/m,
    /^ok +messages of 65536 bytes pass/m,
    /^warn +shared subscriptions are granted, but nothing is delivered/m,
    /^ok +topics of 10 levels pass/m,
    /^ok +the key server can subscribe to ampoule\/\+\/up/m,
  ]) {
    assert.match(out, line);
  }
  const absent = await shell.run(["doctor", "-L", "mqtt://127.0.0.1:1"]);
  assert.equal(absent.code, 2);
  assert.match(absent.out, /^fail +no connection to mqtt:\/\/127\.0\.0\.1:1/m);
});

async function statusOf(shell: Shell, name: string): Promise<string> {
  const devices = JSON.parse((await shell.run(["status", "--json"])).out);
  return devices.find((device: { name: string }) => device.name === name)?.state;
}

async function eventually(test: () => Promise<boolean>, ms = 20_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await test())) {
    if (Date.now() > end) throw new Error("it did not come true");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
