// A real key server with C devices and members on Node, in one process without a broker.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type ChannelParams,
  Client,
  type Engine,
  type GrantOptions,
  KeyServer,
  type Link,
  MemoryStore,
  nodeWorld,
  v8Engine,
} from "../../host/index.ts";
import { CDevice } from "./program.ts";

const WAIT_MS = 10_000;

class RealmLink implements Link {
  onConnect: Link["onConnect"] = () => {};
  onMessage: Link["onMessage"] = () => {};
  onError: Link["onError"] = () => {};
  onClose: Link["onClose"] = () => {};
  readonly devices = new Set<CDevice>();
  readonly clients = new Set<Client>();
  /** Told of everything that is published. */
  tap: (topic: string, payload: Uint8Array) => void = () => {};
  /** Everything published for a topic with RETAIN. */
  readonly #retained = new Map<string, Uint8Array>();

  connect(): void {
    queueMicrotask(() => this.onConnect(false));
  }

  async publish(topic: string, payload: Uint8Array, options: { retain: boolean }): Promise<void> {
    if (options.retain) this.#retained.set(topic, payload);
    this.tap(topic, payload);
    await Promise.resolve();
    for (const client of this.clients) {
      if (!client.controlTopics().includes(topic)) continue;
      const received = client.receive(topic, payload);
      if (received.kind === "control")
        for (const reply of received.replies) this.answer(reply.topic, reply.payload);
    }
    for (const device of this.devices) await this.#give(device, topic, payload);
  }

  async #give(device: CDevice, topic: string, payload: Uint8Array): Promise<void> {
    if (!(await device.subscriptions()).includes(topic)) return;
    const { changed } = await device.receive(topic, payload);
    if (changed) await this.retained(device);
    await this.speak(device);
  }

  /** What a broker gives at a subscription. */
  async retained(device: CDevice): Promise<void> {
    for (const topic of await device.subscriptions()) {
      const payload = this.#retained.get(topic);
      if (payload !== undefined) await device.receive(topic, payload, true);
    }
  }

  async speak(device: CDevice): Promise<void> {
    for (const { topic, payload } of await device.outgoing()) this.answer(topic, payload);
  }

  answer(topic: string, payload: Uint8Array): void {
    queueMicrotask(() => this.onMessage(topic, payload, false));
  }

  async subscribe(): Promise<void> {}
  async end(): Promise<void> {}
}

export class Realm {
  readonly world = nodeWorld();
  readonly server = KeyServer.create({
    world: this.world,
    path: ":memory:",
    unlock: { passphrase: "only for tests" },
    tuning: { batch: 5, poll: 5 },
  });
  /** Of members that begin from now on. */
  engine: Engine = v8Engine();
  readonly #link = new RealmLink();
  readonly #names = new Set<string>();
  readonly #devices: CDevice[] = [];

  constructor() {
    this.server.start(this.#link);
  }

  channel(filter: string, params: ChannelParams = {}): void {
    this.server.createChannel(filter, params);
  }

  /** A member on Node. */
  member(name: string, ...filters: string[]): Client {
    const { world, engine } = this;
    const client = new Client({ store: new MemoryStore(this.server.provision(name)), world, engine });
    this.#grant(name, filters);
    this.#link.clients.add(client);
    const { topic, payload } = client.hello();
    this.#link.answer(topic, payload);
    return client;
  }

  /** A C device; it has been booted, and says hello. */
  async device(
    name: string,
    program: string,
    filters: string[],
    kind: 0 | 1 | 2 = 0,
    options: GrantOptions = {},
  ): Promise<CDevice> {
    const device = new CDevice(program, this.server.provision(name), kind);
    this.#devices.push(device);
    this.#grant(name, filters, options);
    const status = await device.boot();
    if (status !== "OK") throw new Error(`${name} does not begin: ${status}`);
    await this.connect(device);
    return device;
  }

  #grant(name: string, filters: string[], options: GrantOptions = {}): void {
    this.#names.add(name);
    for (const filter of filters) this.server.grant(filter, name, options);
  }

  async connect(device: CDevice): Promise<void> {
    this.#link.devices.add(device);
    await this.#link.retained(device);
    await device.ask("hello");
    await this.#link.speak(device);
  }

  disconnect(device: CDevice): void {
    this.#link.devices.delete(device);
  }

  /** What the server says to a device that is disconnected, when `act` makes it speak. */
  async commands(device: CDevice, act: () => void): Promise<{ topic: string; payload: Uint8Array }> {
    const [down = ""] = await device.subscriptions();
    const heard = new Promise<{ topic: string; payload: Uint8Array }>((resolve) => {
      this.#link.tap = (topic, payload) => topic === down && resolve({ topic, payload });
    });
    act();
    return heard;
  }

  speak(device: CDevice): Promise<void> {
    return this.#link.speak(device);
  }

  /** Waits until every device that is connected has what it should have, and steps have moved. */
  async settled(): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    const behind = (): string[] => [
      ...this.server
        .status()
        .filter(({ state, name }) => state !== "in sync" && this.#names.has(name))
        .map(({ name, state }) => `${name} ${state}`),
      ...this.server
        .channels()
        .filter(({ step, target }) => step !== target)
        .map(({ filter, step, target }) => `${filter} ${step} of ${target}`),
    ];
    // Acks go round once more.
    for (let quiet = 0; quiet < 3; ) {
      quiet = behind().length === 0 ? quiet + 1 : 0;
      if (Date.now() > deadline) throw new Error(`waited in vain: ${behind().join(", ")}`);
      await sleep(10);
    }
  }

  /** Not waited for by settled(): revoked, or switched off. */
  ignore(name: string): void {
    this.#names.delete(name);
  }

  async close(): Promise<void> {
    await this.server.stop();
    this.server.close();
    for (const device of this.#devices) await device.remove();
  }
}
