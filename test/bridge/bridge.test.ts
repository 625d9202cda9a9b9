// `ampoule bridge` between a real broker and a device that this test plays on a TCP line.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import mqtt, { type IPublishPacket, type MqttClient } from "mqtt";
import { Decoder, encode } from "../../host/bridge/slip.ts";
import { type Job, Shell } from "../cli/support.ts";
import { startAedes } from "../support/brokers.ts";

const WAIT_MS = 10_000;

interface Said {
  type: string;
  body: Buffer;
}

/** A device on a line that the bridge comes to. */
class Device {
  readonly said: Said[] = [];
  readonly #server: Server;
  #socket: Socket | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => {
      const decoder = new Decoder(70_000);
      this.#socket = socket;
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        for (const packet of decoder.decode(bytes)) {
          this.said.push({
            type: String.fromCharCode(packet[0] as number),
            body: Buffer.from(packet.subarray(1)),
          });
        }
      });
    });
  }

  static async start(): Promise<Device> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Device(server);
  }

  get line(): string {
    return `tcp:127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  send(type: string, ...parts: (number[] | string)[]): void {
    const body = parts.map((part) => Buffer.from(part as string));
    this.#socket?.write(encode(Buffer.concat([Buffer.from(type), ...body])));
  }

  open(id = "pump", max = 200): void {
    this.send("O", [0, ...u16(max)], id);
  }

  publish(seq: number, topic: string, payload: string, flags = 1): void {
    this.send("P", u16(seq), [flags], u16(topic.length), topic, payload);
  }

  /** The next packet of a type that was not expected yet. */
  async expect(type: string): Promise<Buffer> {
    const end = Date.now() + WAIT_MS;
    for (;;) {
      const at = this.said.findIndex((packet) => packet.type === type);
      if (at >= 0) return (this.said.splice(0, at + 1).at(-1) as Said).body;
      if (Date.now() > end) throw new Error(`no packet ${type}`);
      await sleep(10);
    }
  }

  /** A message: seq, flags, topic and payload. */
  async message(): Promise<[seq: number, flags: number, topic: string, payload: string]> {
    const body = await this.expect("m");
    const end = 5 + body.readUInt16LE(3);
    const [topic, payload] = [body.subarray(5, end), body.subarray(end)];
    return [body.readUInt16LE(0), body[2] as number, topic.toString(), payload.toString()];
  }

  take(seq: number): void {
    this.send("A", u16(seq));
  }

  /** Pulls the plug; the bridge comes again. */
  async cut(): Promise<void> {
    const back = once(this.#server, "connection");
    this.#socket?.destroy();
    this.said.length = 0;
    await back;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy();
    this.#server.close();
  }
}

const u16 = (value: number): number[] => [value & 0xff, value >> 8];

interface Scene extends AsyncDisposable {
  device: Device;
  bridge: Job;
  peer: MqttClient;
  seen: IPublishPacket[];
  broker: Awaited<ReturnType<typeof startAedes>>;
  shell: Shell;
}

/** A bridge at work, its device opened and subscribed to `orders`, and a peer that sees everything. */
async function scene(): Promise<Scene> {
  const [broker, device, shell] = [await startAedes(), await Device.start(), new Shell()];
  const bridge = shell.start("bridge", "--serial", device.line, "-L", broker.url, "--json");
  const peer = await mqtt.connectAsync(broker.url, { reconnectPeriod: 100 });
  const seen: IPublishPacket[] = [];
  peer.on("message", (_topic, _payload, packet) => seen.push(packet));
  await peer.subscribeAsync("#", { qos: 1 });
  await device.expect("c");
  device.open();
  assert.equal((await device.expect("o"))[1], 0);
  device.send("S", u16(1), [1], "orders");
  assert.deepEqual([...(await device.expect("a"))], [1, 0, 0]);
  const close = async (): Promise<void> => {
    await peer.endAsync(true);
    await shell[Symbol.asyncDispose]();
    await device[Symbol.asyncDispose]();
    await broker.dispose();
  };
  return { broker, device, shell, bridge, peer, seen, [Symbol.asyncDispose]: close };
}

test("bridge: a message is the broker's until the device has taken it", async () => {
  await using all = await scene();
  const { device, peer } = all;
  for (const text of ["one", "two"]) await peer.publishAsync("orders", text, { qos: 1 });
  assert.deepEqual(await device.message(), [1, 1, "orders", "one"]);
  // Not taken: repeated, and the next one waits.
  assert.deepEqual(await device.message(), [1, 1, "orders", "one"]);
  await device.cut();
  await peer.publishAsync("orders", "three", { qos: 1 });
  device.open();
  assert.equal((await device.expect("o"))[1], 1, "the broker has kept the session");
  for (const [seq, text] of ["one", "two", "three"].entries()) {
    assert.deepEqual(await device.message(), [seq + 1, 1, "orders", text]);
    device.take(seq + 1);
  }
  await peer.publishAsync("orders", "four", { qos: 1 });
  assert.deepEqual(await device.message(), [4, 1, "orders", "four"]);
  device.take(4);
  await sleep(100);
  await device.cut();
  device.open();
  await device.expect("o");
  await peer.publishAsync("orders", "five", { qos: 1 });
  assert.equal((await device.message())[3], "five", "what was taken does not come again");
});

test("bridge: a device that starts anew on the same line gets what it had not taken", async () => {
  await using all = await scene();
  const { device, peer } = all;
  await peer.publishAsync("orders", "one", { qos: 1 });
  assert.deepEqual(await device.message(), [1, 1, "orders", "one"]);
  device.open();
  assert.deepEqual([...(await device.expect("o"))], [0, 1]);
  assert.deepEqual(await device.message(), [1, 1, "orders", "one"]);
  device.take(1);
  // Numbers begin anew on both sides.
  device.publish(1, "live", "sealed");
  assert.deepEqual([...(await device.expect("a"))], [1, 0, 0]);
  device.open("another pump");
  assert.equal((await device.expect("o"))[1], 0, "another device has a session of its own");
});

test("bridge: what the device says again is published once; nonsense is refused", async () => {
  await using all = await scene();
  const { device, seen, bridge, peer } = all;
  for (let i = 0; i < 3; ++i) {
    device.publish(2, "live", "sealed");
    assert.deepEqual([...(await device.expect("a"))], [2, 0, 0]);
  }
  device.publish(3, "live/#", "sealed");
  assert.deepEqual([...(await device.expect("a"))], [3, 0, 1]);
  device.send("S", u16(4), [1], "a/#/b");
  assert.deepEqual([...(await device.expect("a"))], [4, 0, 1]);
  device.publish(0, "live", "no answer", 0);
  device.publish(5, "state", "kept", 3);
  await device.expect("a");
  assert.deepEqual(
    seen.map(({ topic, payload }) => `${topic}=${payload}`),
    ["live=sealed", "live=no answer", "state=kept"],
  );
  device.send("L", "hello \u001b[31m");
  await bridge.until(({ out }) => out.includes('"hello ?[31m"'), "a log without control characters");
  device.send("S", u16(6), [1], "orders/+");
  await device.expect("a");
  await peer.publishAsync("orders/\u001b[2J", "x".repeat(300), { qos: 1 });
  await bridge.until(({ out }) => out.includes('"orders/?[2J"'), "a topic without control characters");
});

test("bridge: a message too long for the device is dropped by name, and the next one passes", async () => {
  await using all = await scene();
  const { device, peer, bridge } = all;
  const fits = "x".repeat(200 - 8 - "orders".length);
  await peer.publishAsync("orders", `${fits}x`, { qos: 1 });
  await peer.publishAsync("orders", fits, { qos: 1 });
  assert.equal((await device.message())[3], fits);
  const dropped = bridge.out.split("\n").find((line) => line.includes('"kind":"dropped"')) ?? "";
  assert.equal(JSON.parse(dropped).topic, "orders");
  assert.ok(!dropped.includes("xxx"), "a payload was printed");
});

test("bridge: a broker that goes and comes back closes and opens the line", async () => {
  await using all = await scene();
  const { broker, device, bridge, peer, seen } = all;
  await broker.kill();
  await device.expect("c");
  device.open();
  device.publish(2, "live", "lost");
  await broker.start();
  await device.expect("o");
  while (!peer.connected) await sleep(10);
  await peer.subscribeAsync({ "#": { qos: 1 }, resubscribe: true } as never);
  device.publish(1, "live", "again");
  assert.deepEqual([...(await device.expect("a"))], [1, 0, 0]);
  assert.deepEqual(
    seen.map(({ payload }) => `${payload}`),
    ["again"],
  );
  bridge.child.kill("SIGTERM");
  const { code, out } = await bridge.ended(5000);
  assert.equal(code, 0);
  assert.deepEqual(
    [...out.matchAll(/"kind":"(\w+)"/g)].map((found) => found[1]).filter((kind) => kind !== "refused"),
    ["line", "device", "online", "offline", "online", "offline", "stopped"],
  );
});

test("bridge: a broker that cannot be reached ends it with 2, once a device asks for it", async () => {
  await using device = await Device.start();
  await using shell = new Shell();
  const bridge = shell.start("bridge", "--serial", device.line, "-L", "mqtt://127.0.0.1:1");
  await device.expect("c");
  device.open();
  const { code, err } = await bridge.ended(10_000);
  assert.equal(code, 2);
  assert.match(err, /no connection to mqtt:\/\/127\.0\.0\.1:1/);
});
