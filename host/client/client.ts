// One member of a realm, whatever carries its payloads: seals, opens, and obeys the key server.

import { type ChannelInfo, Device, type Opened } from "../core/device.ts";
import type { Build, Engine } from "../core/engine.ts";
import { v8Engine } from "../core/wasm.ts";
import { RefusedError } from "../status.ts";
import type { Store } from "../store/store.ts";
import type { World } from "../world.ts";
import { Asks } from "./asks.ts";
import { BoundedMap } from "./bounded.ts";
import { isFilter, isTopic, match } from "./filter.ts";
import { Lookup } from "./lookup.ts";
import { Parts } from "./parts.ts";

/** Stored values whose position is remembered, one for each topic and sender. */
const STORED_MAX = 4096;

export interface ClientOptions {
  store: Store;
  world: World;
  engine?: Engine;
  class?: 0 | 1 | 2;
  build?: Build;
  /** Filters of channels known beforehand; others are found from the topic. */
  channels?: string[];
  /** Filters deliberately not sealed. */
  clear?: string[];
}

export interface Message {
  topic: string;
  text: Uint8Array;
  sender: number;
  generation: number;
  step: number;
  counter: number;
  /** Came with the RETAIN flag: state, not an event (SPEC R-11). */
  stored: boolean;
}

export interface Reply {
  topic: string;
  payload: Uint8Array;
}

export type Received =
  | ({ kind: "text" } & Message)
  /** The retained value of the topic was deleted. Anyone can do that. */
  | { kind: "cleared"; topic: string }
  /** A part of a message in a narrow channel: more are to come. */
  | { kind: "partial"; topic: string }
  /** Between key server and device, this one or another; `replies` are to be published with QoS 1. */
  | { kind: "control"; changed: boolean; replies: Reply[] }
  /** A topic that is configured as clear. */
  | { kind: "clear"; topic: string; payload: Uint8Array };

interface Position {
  generation: number;
  step: number;
  counter: number;
}

export class Client {
  readonly device: Device;
  readonly world: World;
  /** Called when keys, epochs or channels have changed, or counters that are wanted may have come. */
  onKeys: () => void = () => {};
  /** Called for a loss that no call reports: a message of a narrow channel that will not be whole. */
  onLoss: (error: RefusedError) => void = () => {};
  readonly #clear: string[];
  readonly #lookup: Lookup;
  readonly #parts = new Parts((topic) => this.onLoss(new RefusedError("GAP", topic)));
  readonly #asks = new Asks();
  #owesHello = false;
  readonly #stored = new BoundedMap<Position>(STORED_MAX);

  /**
   * Loads the state of the store and starts a device with it.
   *
   * Throws RefusedError BAD_RECORD when that state is lost, BAD_ARGUMENT for a filter that is none.
   */
  constructor(options: ClientOptions, device: Device = startDevice(options)) {
    const { world, channels = [], clear = [] } = options;
    if (![...channels, ...clear].every(isFilter)) throw new RefusedError("BAD_ARGUMENT");
    this.world = world;
    this.device = device;
    this.#clear = [...clear];
    this.#lookup = new Lookup(device, channels);
  }

  channelFor(topic: string): ChannelInfo | undefined {
    return this.#lookup.find(topic);
  }

  /** True for topics that pass unsealed because a `clear` filter says so. */
  isClear(topic: string): boolean {
    return this.#clear.some((filter) => match(filter, topic));
  }

  /**
   * Seals a message: one payload, or in a narrow channel one for each frame, to be published in order.
   *
   * Throws RefusedError (NO_CHANNEL, NO_LEASE, EXHAUSTED, BAD_LENGTH...) or what the store threw; text
   * is never returned unsealed, not for `clear` topics either.
   */
  protect(topic: string, text: Uint8Array | string, options: { will?: boolean } = {}): Uint8Array[] {
    if (!isTopic(topic)) throw new RefusedError("BAD_ARGUMENT", topic);
    const channel = this.#lookup.find(topic);
    if (channel === undefined || this.#isControl(topic)) throw new RefusedError("NO_CHANNEL", topic);
    try {
      const payloads = this.#run(topic, () => this.device.protect(channel.id, topic, toBytes(text), options));
      this.#asks.sealed(channel.id);
      return payloads;
    } catch (error) {
      if (error instanceof RefusedError && error.status === "NO_GRANT") this.#asks.want(channel.id);
      throw error;
    }
  }

  /**
   * Opens a payload of a channel.
   *
   * Throws RefusedError, topic included; nothing is released then, and state is as before.
   */
  unprotect(topic: string, payload: Uint8Array, options: { stored?: boolean } = {}): Received {
    if (payload.length === 0) return { kind: "cleared", topic };
    if (!isTopic(topic)) throw new RefusedError("BAD_ARGUMENT", topic);
    const channel = this.#lookup.find(topic);
    if (channel === undefined) throw new RefusedError("NO_CHANNEL", topic);
    const stored = options.stored === true;
    const opened = this.#run(topic, () => this.device.unprotect(channel.id, topic, payload, { stored }));
    if (stored) this.#checkStored(topic, opened);
    const text = opened.narrow ? this.#join(topic, opened, stored) : opened.text;
    if (text === null) return { kind: "partial", topic };
    const { sender, generation, step, counter } = opened;
    return { kind: "text", topic, text, sender, generation, step, counter, stored };
  }

  /**
   * Takes any payload from the broker: control and epoch topics first, then clear topics, then channels.
   *
   * Throws as unprotect does, and for control payloads that the core refuses. `options.retained` is the
   * RETAIN flag.
   */
  receive(topic: string, payload: Uint8Array, options: { retained?: boolean } = {}): Received {
    if (topic === this.device.downTopic) return this.#control(topic, payload);
    if (this.#isControl(topic)) return this.#beacon(topic, payload);
    if (this.isClear(topic)) return { kind: "clear", topic, payload };
    return this.unprotect(topic, payload, { stored: options.retained === true });
  }

  /**
   * A hello to publish with QoS 1; `want` is a channel whose counters are wanted (device classes 1, 2), by
   * default one that sealing was refused for.
   */
  hello(want: Uint8Array | undefined = this.#asks.wanted()): Reply {
    const payload = this.device.hello(want);
    if (want !== undefined) this.#asks.wantAsked(want);
    return { topic: this.device.upTopic, payload };
  }

  /**
   * A hello when refusals ask for one (SPEC R-13), counters are wanted (P-4), or a command is stored that
   * was not answered; else null. Ask after each refusal and each tick: pauses are kept here.
   */
  wantedHello(): Reply | null {
    const isAsked = this.#asks.hearsRefusals && this.device.wantsHello();
    if (!this.#owesHello && !isAsked && !this.#asks.isWantDue) return null;
    const hello = this.hello();
    this.#owesHello = false;
    if (isAsked) this.#asks.refusalsAsked();
    return hello;
  }

  /** Topics to be subscribed with QoS 1: commands, and the beacons of the channels held. */
  controlTopics(): string[] {
    return [this.device.downTopic, ...this.device.channels().map(({ id }) => this.device.epochTopic(id))];
  }

  /** To be called every few seconds (SPEC R-14). */
  tick(): void {
    this.device.tick();
    this.#asks.tick(this.device.wantsHello());
  }

  /** Forgets keys and unfinished messages; the store stays open. */
  close(): void {
    this.#parts.clear();
    this.#stored.clear();
    this.#asks.clear();
    this.#lookup.refresh();
    this.device.close();
  }

  #control(topic: string, payload: Uint8Array): Received {
    if (payload.length === 0) return { kind: "control", changed: false, replies: [] };
    const { reply, changed: moved } = this.#run(topic, () => this.device.control(payload));
    if (moved) this.#asks.moved();
    // Counters do not show in the channels.
    const changed = this.#asks.heard((id) => this.device.channel(id) !== undefined) || moved;
    if (changed) this.#keysChanged();
    const replies = reply === null ? [] : [{ topic: this.device.upTopic, payload: reply }];
    return { kind: "control", changed, replies };
  }

  /** Beacons of held channels; control traffic of other devices, which a wide filter brings, is not ours. */
  #beacon(topic: string, payload: Uint8Array): Received {
    const channel = this.device.channels().find(({ id }) => this.device.epochTopic(id) === topic);
    const changed = channel !== undefined && payload.length > 0 && this.#step(topic, channel, payload);
    if (changed) this.#asks.moved();
    if (changed) this.#keysChanged();
    return { kind: "control", changed, replies: [] };
  }

  /** False for a beacon that is known already: every subscription brings the retained one again. */
  #step(topic: string, channel: ChannelInfo, payload: Uint8Array): boolean {
    try {
      this.#run(topic, () => this.device.beacon(channel.id, payload));
      return true;
    } catch (error) {
      if (error instanceof RefusedError && error.status === "OLD_BEACON") return false;
      throw error;
    }
  }

  #keysChanged(): void {
    this.#lookup.refresh();
    this.onKeys();
  }

  /**
   * Adds the topic to a refusal of the core. PENDING, which an earlier failure of the store has left,
   * is settled first; if the store still fails, that failure is thrown.
   */
  #run<T>(topic: string, work: () => T): T {
    try {
      return named(topic, work);
    } catch (error) {
      if (!(error instanceof RefusedError) || error.status !== "PENDING") throw error;
      // A device stores what is pending before it says hello; that hello is said later, with the state of then.
      this.device.hello();
      this.#owesHello = true;
      this.#keysChanged();
      return named(topic, work);
    }
  }

  #isControl(topic: string): boolean {
    const { prefix } = this.device;
    if (!topic.startsWith(`${prefix}/`)) return false;
    return /^(epoch\/[0-9a-f]{16}|[0-9a-f]{16}\/(up|down))$/.test(topic.slice(prefix.length + 1));
  }

  /** SPEC R-11, kept for each sender: two senders taking turns do not make older values new. */
  #checkStored(topic: string, opened: Opened): void {
    const key = `${opened.sender} ${topic}`;
    const last = this.#stored.get(key);
    if (last !== undefined && isBefore(opened, last)) throw new RefusedError("CLOSED", topic);
    const { generation, step, counter } = opened;
    this.#stored.set(key, { generation, step, counter });
  }

  /** A stored value of a narrow channel is one frame: the broker keeps only the last payload. */
  #join(topic: string, opened: Opened, stored: boolean): Uint8Array | null {
    if (!stored) return this.#parts.add(topic, opened);
    if (opened.part !== 0 || !opened.last) throw new RefusedError("GAP", topic);
    return opened.text;
  }
}

function startDevice(options: ClientOptions): Device {
  const { store, world, engine = v8Engine(), build } = options;
  return new Device({
    engine,
    store,
    world,
    class: options.class ?? 0,
    ...(build === undefined ? {} : { build }),
  });
}

/** Adds the topic to a refusal of the core. */
function named<T>(topic: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RefusedError && error.topic === undefined)
      throw new RefusedError(error.status, topic);
    throw error;
  }
}

function isBefore(a: Position, b: Position): boolean {
  if (a.generation !== b.generation) return a.generation < b.generation;
  if (a.step !== b.step) return a.step < b.step;
  return a.counter < b.counter;
}

function toBytes(text: Uint8Array | string): Uint8Array {
  return typeof text === "string" ? new TextEncoder().encode(text) : text;
}
