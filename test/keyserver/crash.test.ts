// A key server that is killed again and again, on a real broker, while another process changes what is
// desired: in the end every device holds exactly that.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Device } from "../../host/core/device.ts";
import { KeyServer } from "../../host/keyserver/server.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { RefusedError } from "../../host/status.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import type { Identity } from "../../host/store/store.ts";
import type { Link } from "../../host/world.ts";
import { startMosquitto } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { ENGINE } from "./stage.ts";

const KILLS = 12;
const CONVERGE_MS = 60_000;
const FILTERS = ["plant/+/temp", "plant/+/valve"];
const SERVE = fileURLToPath(new URL("serve-process.ts", import.meta.url));
const world = nodeWorld();

test(
  "keyserver: killed at any moment, it brings every device to what is desired [V-3] [V-5]",
  need("mosquitto"),
  async () => {
    await using broker = await startMosquitto();
    const directory = mkdtempSync(join(tmpdir(), "ampoule-crash-"));
    const [path, keyFile] = [join(directory, "realm.db"), join(directory, "realm.key")];
    const operator = KeyServer.create({ world, path, unlock: { keyFile } });
    for (const filter of FILTERS) operator.createChannel(filter, { leaseSteps: 8 });
    const hosts = ["a", "b", "c", "d"].map((name) => new Host(name, operator.provision(name), broker.url));
    for (const host of hosts) host.link.connect();
    try {
      for (let i = 0; i < KILLS; i++)
        await killedWhileChanging(operator, hosts, path, keyFile, broker.url, i);
      const child = await serve(path, keyFile, broker.url);
      for (const host of hosts) host.hello();
      await converged(operator);
      await sleep(500);
      for (const filter of FILTERS) assertHeard(operator, hosts, filter);
      assert.deepEqual(
        operator.status().map(({ alarm }) => alarm),
        [null, null, null, null],
      );
      child.kill("SIGKILL");
      await once(child, "exit");
    } finally {
      for (const host of hosts) await host.link.end();
      operator.close();
      rmSync(directory, { recursive: true });
    }
  },
);

async function killedWhileChanging(
  operator: KeyServer,
  hosts: Host[],
  path: string,
  keyFile: string,
  url: string,
  round: number,
): Promise<void> {
  const child = await serve(path, keyFile, url);
  const exit = once(child, "exit");
  const victim = sleep(Math.random() * 400).then(() => child.kill("SIGKILL"));
  for (let i = 0; i < 4; i++) {
    change(operator, hosts[(round + i) % hosts.length] as Host, FILTERS[i % 2] as string, round * 4 + i);
    await sleep(Math.random() * 80);
  }
  await victim;
  await exit;
}

function change(operator: KeyServer, host: Host, filter: string, turn: number): void {
  const isMember = operator.channel(filter).members.some(({ name }) => name === host.name);
  if (turn % 5 === 4) operator.rotate(filter);
  else if (turn % 5 === 3) operator.step(filter);
  else if (isMember && turn % 3 === 0) operator.revoke(filter, host.name);
  else operator.grant(filter, host.name);
}

async function serve(path: string, keyFile: string, url: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [SERVE, path, keyFile, url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await Promise.race([
    once(child.stdout, "data"),
    once(child, "exit").then(() => assert.fail("the server did not come up")),
  ]);
  return child;
}

async function converged(operator: KeyServer): Promise<void> {
  const deadline = Date.now() + CONVERGE_MS;
  for (;;) {
    const behind = operator.status().filter(({ state }) => state !== "in sync");
    const moving = operator.channels().filter(({ step, target }) => step < target);
    if (behind.length === 0 && moving.length === 0) return;
    if (Date.now() > deadline) assert.deepEqual([behind, moving], [[], []]);
    await sleep(100);
  }
}

function assertHeard(operator: KeyServer, hosts: Host[], filter: string): void {
  const names = operator.channel(filter).members.map(({ name }) => name);
  const topic = filter.replace("+", "7");
  for (const sender of hosts.filter(({ name }) => names.includes(name))) {
    const id = sender.device.channelId(filter);
    const payload = sender.device.protect(id, topic, Buffer.from(sender.name))[0] as Uint8Array;
    for (const { name, device } of hosts.filter((host) => host !== sender)) {
      if (names.includes(name)) {
        assert.equal(Buffer.from(device.unprotect(id, topic, payload).text).toString(), sender.name);
      } else {
        assert.equal(device.channel(id), undefined, `${name} is no member of ${filter}`);
      }
    }
  }
}

/** A device with a connection of its own. */
class Host {
  readonly name: string;
  readonly device: Device;
  readonly link: Link;

  constructor(name: string, identity: Identity, url: string) {
    this.name = name;
    this.device = new Device({ engine: ENGINE, store: new MemoryStore(identity), world });
    this.link = world.link(url, { clientId: name, clean: true });
    this.link.onConnect = () => {
      void this.link.subscribe(this.device.downTopic, 1).then(() => this.hello());
      void this.link.subscribe(`${this.device.prefix}/epoch/+`, 1);
    };
    this.link.onMessage = (topic, payload) => this.#take(topic, payload);
    this.link.onError = () => {};
  }

  hello(): void {
    this.#say(this.device.hello());
  }

  #say(payload: Uint8Array): void {
    this.link.publish(this.device.upTopic, payload, { qos: 1, retain: false }).catch(() => {});
  }

  #take(topic: string, payload: Uint8Array): void {
    try {
      if (topic === this.device.downTopic) this.#obey(payload);
      else this.#step(topic, payload);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
    }
    if (this.device.wantsHello()) this.hello();
  }

  #obey(payload: Uint8Array): void {
    const { reply } = this.device.control(payload);
    if (reply !== null) this.#say(reply);
  }

  #step(topic: string, payload: Uint8Array): void {
    const channel = this.device.channels().find(({ id }) => this.device.epochTopic(id) === topic);
    if (channel !== undefined && payload.length > 0) this.device.beacon(channel.id, payload);
  }
}
