// A realm in one process: virtual time, a broker in memory that can lose, repeat and delay, devices on
// the real core, and the key server's database in a file that survives a crash of the server.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChannelInfo, Device } from "../../host/core/device.ts";
import type { Build } from "../../host/core/engine.ts";
import { overlap } from "../../host/keyserver/filters.ts";
import {
  type DeviceStatus,
  KeyServer,
  type KeyServerOptions,
  type ServerEvent,
} from "../../host/keyserver/server.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { RefusedError } from "../../host/status.ts";
import { StoreError } from "../../host/store/errors.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import type { Identity } from "../../host/store/store.ts";
import type { Database, Disk, Link, World } from "../../host/world.ts";
import { testEngine } from "../support/engines.ts";

export const ENGINE = testEngine();
export const TUNING = { poll: 500, batch: 1000, resend: 10_000, resendMax: 80_000 };

/** Real disk and database, virtual clock and timers, randomness from a seed. */
export class StageWorld implements World {
  readonly disk: Disk;
  readonly #real = nodeWorld();
  #now = Date.UTC(2026, 0, 1);
  #timers: { at: number; order: number; run: () => void }[] = [];
  #order = 0;
  #state: number;

  constructor(seed: number) {
    this.disk = this.#real.disk;
    this.#state = seed;
  }

  now(): number {
    return this.#now;
  }

  setTimer(ms: number, run: () => void): object {
    const timer = { at: this.#now + ms, order: this.#order++, run };
    this.#timers.push(timer);
    return timer;
  }

  clearTimer(timer: unknown): void {
    this.#timers = this.#timers.filter((known) => known !== timer);
  }

  /** One draw of splitmix32, 0 to 2^32 - 1. */
  draw(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  chance(probability: number): boolean {
    return this.draw() < probability * 2 ** 32;
  }

  random(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, () => this.draw() >>> 24);
  }

  database(path: string): Database {
    return this.#real.database(path);
  }

  link(): Link {
    throw new Error("the stage gives links of its hub");
  }

  /** Sets the clock back; timers keep the time that is left to them. */
  turnBack(ms: number): void {
    this.#now -= ms;
    for (const timer of this.#timers) timer.at -= ms;
  }

  /** Lets `ms` milliseconds pass. */
  async run(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await new Promise(setImmediate);
      const next = this.#timers
        .filter((timer) => timer.at <= end)
        .sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (next === undefined) break;
      this.clearTimer(next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
  }
}

/** A broker with retained messages and without queues: who is away misses what is sent. */
export class Hub {
  loss = 0;
  repeat = 0;
  jitter = 0;
  readonly retained = new Map<string, Uint8Array>();
  readonly log: { topic: string; payload: Uint8Array; retain: boolean }[] = [];
  readonly #world: StageWorld;
  readonly #links = new Set<HubLink>();

  constructor(world: StageWorld) {
    this.#world = world;
  }

  link(): HubLink {
    return new HubLink(this);
  }

  attach(link: HubLink): void {
    this.#links.add(link);
    this.#world.setTimer(1, () => link.open && link.onConnect(false));
  }

  detach(link: HubLink): void {
    this.#links.delete(link);
  }

  publish(topic: string, payload: Uint8Array, retain: boolean): void {
    this.log.push({ topic, payload, retain });
    if (retain && payload.length > 0) this.retained.set(topic, payload);
    else if (retain) this.retained.delete(topic);
    for (const link of this.#links) if (link.takes(topic)) this.#deliver(link, topic, payload, false);
  }

  subscribed(link: HubLink, filter: string): void {
    for (const [topic, payload] of this.retained) {
      if (overlap(filter, topic)) this.#deliver(link, topic, payload, true);
    }
  }

  #deliver(link: HubLink, topic: string, payload: Uint8Array, retained: boolean): void {
    for (let copies = this.#world.chance(this.repeat) ? 2 : 1; copies > 0; copies--) {
      if (this.#world.chance(this.loss)) continue;
      const delay = 1 + Math.floor((this.jitter * this.#world.draw()) / 2 ** 32);
      this.#world.setTimer(delay, () => link.open && link.onMessage(topic, payload.slice(), retained));
    }
  }
}

export class HubLink implements Link {
  onConnect: (sessionPresent: boolean) => void = () => {};
  onMessage: (topic: string, payload: Uint8Array, retained: boolean) => void = () => {};
  onError: (error: Error) => void = () => {};
  onClose: () => void = () => {};
  open = false;
  readonly #hub: Hub;
  readonly #filters = new Set<string>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  connect(): void {
    this.open = true;
    this.#hub.attach(this);
  }

  async publish(topic: string, payload: Uint8Array, options: { retain: boolean }): Promise<void> {
    if (this.open) this.#hub.publish(topic, payload, options.retain);
  }

  async subscribe(filter: string): Promise<void> {
    this.#filters.add(filter);
    this.#hub.subscribed(this, filter);
  }

  async end(): Promise<void> {
    this.cut();
  }

  /** The connection is gone, without a word. */
  cut(): void {
    this.open = false;
    this.#hub.detach(this);
  }

  takes(topic: string): boolean {
    return [...this.#filters].some((filter) => overlap(filter, topic));
  }
}

export interface PeerOptions {
  class?: 0 | 1 | 2;
  build?: Build;
}

/** A device and the host around it. */
export class Peer {
  readonly name: string;
  readonly store: MemoryStore;
  device: Device;
  /** Statuses of refused control payloads and beacons. */
  readonly refusals: string[] = [];
  readonly #world: StageWorld;
  readonly #hub: Hub;
  readonly #options: PeerOptions;
  #link: HubLink | null = null;

  constructor(name: string, identity: Identity, world: StageWorld, hub: Hub, options: PeerOptions) {
    this.name = name;
    this.store = new MemoryStore(identity);
    this.#world = world;
    this.#hub = hub;
    this.#options = options;
    this.device = this.#boot();
  }

  get id(): string {
    return Buffer.from(this.device.device).toString("hex");
  }

  get online(): boolean {
    return this.#link !== null;
  }

  connect(): void {
    const link = this.#hub.link();
    this.#link = link;
    link.onConnect = () => {
      void link.subscribe(this.device.downTopic);
      this.#subscribeEpochs();
      this.say(this.device.hello());
    };
    link.onMessage = (topic, payload) => this.#onMessage(topic, payload);
    link.connect();
  }

  disconnect(): void {
    this.#link?.cut();
    this.#link = null;
  }

  /** Power off and on. The store keeps what it has; the connection is gone. */
  reboot(): void {
    this.disconnect();
    this.device.close();
    this.device = this.#boot();
  }

  hello(want?: Uint8Array): void {
    this.say(this.device.hello(want));
  }

  say(payload: Uint8Array): void {
    void this.#link?.publish(this.device.upTopic, payload, { retain: false });
  }

  channel(filter: string): ChannelInfo | undefined {
    return this.device.channel(this.device.channelId(filter));
  }

  seal(filter: string, topic = filter, text = "text"): Uint8Array {
    const payloads = this.device.protect(this.device.channelId(filter), topic, Buffer.from(text));
    return Buffer.concat(payloads);
  }

  open(filter: string, payload: Uint8Array, topic = filter): string {
    return Buffer.from(this.device.unprotect(this.device.channelId(filter), topic, payload).text).toString();
  }

  /** Status of a refused call, or "OK". */
  try(run: () => unknown): string {
    try {
      run();
      return "OK";
    } catch (error) {
      if (error instanceof RefusedError) return error.status;
      throw error;
    }
  }

  #boot(): Device {
    return new Device({ engine: ENGINE, store: this.store, world: this.#world, ...this.#options });
  }

  /** One bit of the newest mark changes, and the device boots: its channels are shut. */
  breakMark(): void {
    const image = this.store.snapshot();
    const at = image.marks.length - 28;
    image.marks[at] = (image.marks[at] as number) ^ 1;
    this.store.restore(image);
    this.reboot();
  }

  /** Cuts the power within the next writes of the store; it comes back at once. */
  endanger(writes: number, torn: number): void {
    this.store.cutPower(writes, torn);
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    try {
      this.#take(topic, payload);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      this.store.powerOn();
      this.reboot();
      this.connect();
    }
  }

  #take(topic: string, payload: Uint8Array): void {
    const refused = this.try(() =>
      topic === this.device.downTopic ? this.#onDown(payload) : this.#onEpoch(topic, payload),
    );
    if (refused !== "OK" && refused !== "OLD_BEACON") this.refusals.push(refused);
    if (this.device.wantsHello()) this.hello();
  }

  #onDown(payload: Uint8Array): void {
    const { reply } = this.device.control(payload);
    this.#subscribeEpochs();
    if (reply !== null) this.say(reply);
  }

  #onEpoch(topic: string, payload: Uint8Array): void {
    const channel = this.device.channels().find(({ id }) => this.device.epochTopic(id) === topic);
    if (channel !== undefined && payload.length > 0) this.device.beacon(channel.id, payload);
  }

  #subscribeEpochs(): void {
    for (const { id } of this.device.channels()) {
      const topic = this.device.epochTopic(id);
      if (this.#link !== null && !this.#link.takes(topic)) void this.#link.subscribe(topic);
    }
  }
}

export class Stage {
  readonly world: StageWorld;
  readonly hub: Hub;
  readonly directory: string;
  readonly path: string;
  readonly events: ServerEvent[] = [];
  readonly peers: Peer[] = [];
  server: KeyServer;
  readonly #options: KeyServerOptions;
  #link: HubLink | null = null;

  constructor(seed = 1, extra: { tuning?: KeyServerOptions["tuning"]; recoverable?: boolean } = {}) {
    this.world = new StageWorld(seed);
    this.hub = new Hub(this.world);
    this.directory = mkdtempSync(join(tmpdir(), "ampoule-keyserver-"));
    this.path = join(this.directory, "realm.db");
    this.#options = {
      world: this.world,
      path: this.path,
      unlock: { keyFile: join(this.directory, "realm.key") },
      engine: ENGINE,
      tuning: { ...TUNING, ...extra.tuning },
    };
    this.server = KeyServer.create({ ...this.#options, recoverable: extra.recoverable ?? false });
    this.#listen();
  }

  /** Connects the server to the hub. */
  start(): void {
    this.#link = this.hub.link();
    this.server.start(this.#link);
  }

  /** The process of the server is gone, whatever it was doing, and a new one serves. */
  crash(options: { restored?: boolean } = {}, meanwhile: () => void = () => {}): void {
    this.#link?.cut();
    this.server.close();
    meanwhile();
    this.server = this.second(options);
    this.#listen();
    this.start();
  }

  /** A second process on the same database. */
  second(options: { restored?: boolean } = {}): KeyServer {
    return KeyServer.open({ ...this.#options, ...options });
  }

  peer(name: string, options: PeerOptions = {}): Peer {
    const peer = new Peer(name, this.server.provision(name), this.world, this.hub, options);
    this.peers.push(peer);
    return peer;
  }

  run(ms: number): Promise<void> {
    return this.world.run(ms);
  }

  status(name: string): DeviceStatus {
    const found = this.server.status().find((device) => device.name === name);
    if (found === undefined) throw new Error(`no device ${name}`);
    return found;
  }

  /** Names of devices that are not in sync. */
  behind(): string[] {
    return this.server
      .status()
      .filter((device) => device.state !== "in sync")
      .map(({ name, state }) => `${name} ${state}`);
  }

  heard(kind: ServerEvent["kind"], device?: string): ServerEvent[] {
    return this.events.filter(
      (event) => event.kind === kind && (device === undefined || event.device === device),
    );
  }

  async end(): Promise<void> {
    for (const peer of this.peers) peer.disconnect();
    await this.server.stop();
    this.server.close();
    rmSync(this.directory, { recursive: true });
  }

  #listen(): void {
    this.server.onEvent = (event) => this.events.push(event);
  }
}

/** Runs a test on a stage of its own. */
export function onStage(
  play: (stage: Stage) => Promise<void> | void,
  extra: ConstructorParameters<typeof Stage>[1] = {},
  seed = 1,
): () => Promise<void> {
  return async () => {
    const stage = new Stage(seed, extra);
    try {
      await play(stage);
    } finally {
      await stage.end();
    }
  };
}
