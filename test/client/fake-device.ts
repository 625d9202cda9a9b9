// The shape of a device without its cryptography, for tests of what surrounds it: frames are JSON,
// and keys, steps and failures are set by hand.

import type { ChannelInfo, Device, Opened } from "../../host/core/device.ts";
import { RefusedError } from "../../host/status.ts";

interface Frame {
  channel: string;
  topic: string;
  generation: number;
  step: number;
  sender: number;
  counter: number;
  part: number;
  last: boolean;
  text: string;
}

const NARROW_TEXT = 4;

export class FakeDevice {
  readonly realm: Uint8Array = new Uint8Array(8).fill(1);
  readonly device: Uint8Array = new Uint8Array(8).fill(2);
  readonly prefix = "ampoule";
  readonly downTopic = "ampoule/0202020202020202/down";
  readonly upTopic = "ampoule/0202020202020202/up";
  /** Filters by channel id in hex. */
  readonly #filters = new Map<string, string>();
  readonly held = new Map<string, ChannelInfo>();
  readonly #counters = new Map<string, number>();
  readonly #seen = new Set<string>();
  readonly hashed: string[] = [];
  /** Thrown by the next unprotect or control, as a store that fails would. */
  failure: Error | null = null;
  /** A write failed before and still does: everything is PENDING. */
  broken = false;
  wants = false;
  /** The channel of each hello, in hex, whose counters are wanted; "" for none. */
  readonly helloWants: string[] = [];
  /** Counters are granted by the server, and there are none. */
  ungranted = false;
  closed = false;
  ticks = 0;
  /** Derivations that are left, one for each frame; each tick gives one back. */
  credit = Number.POSITIVE_INFINITY;
  /** What a command does; it is acknowledged afterwards. */
  onControl: (payload: Uint8Array) => boolean = () => false;
  onBeacon: (payload: Uint8Array) => void = () => {};

  asDevice(): Device {
    return this as unknown as Device;
  }

  /** Holds a channel from now on, with own sender number 5 and will number 6. */
  hold(filter: string, info: Partial<ChannelInfo> = {}): ChannelInfo {
    const id = this.channelId(filter);
    const channel: ChannelInfo = { ...CHANNEL, ...info, id };
    this.held.set(hex(id), channel);
    return channel;
  }

  drop(filter: string): void {
    this.held.delete(hex(this.channelId(filter)));
  }

  channelId(filter: string): Uint8Array {
    this.hashed.push(filter);
    let hash = 0xcbf29ce484222325n;
    for (const byte of Buffer.from(filter))
      hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    const id = new Uint8Array(8);
    new DataView(id.buffer).setBigUint64(0, hash);
    this.#filters.set(hex(id), filter);
    return id;
  }

  epochTopic(channel: Uint8Array): string {
    return `ampoule/epoch/${hex(channel)}`;
  }

  channels(): ChannelInfo[] {
    return [...this.held.values()];
  }

  channel(id: Uint8Array): ChannelInfo | undefined {
    return this.held.get(hex(id));
  }

  protect(id: Uint8Array, topic: string, text: Uint8Array, options?: { will?: boolean }): Uint8Array[] {
    const channel = this.held.get(hex(id));
    if (channel === undefined) throw new RefusedError("NO_CHANNEL");
    if (this.ungranted) throw new RefusedError("NO_GRANT");
    const sender = options?.will === true ? channel.will : channel.sender;
    const size = channel.narrow ? NARROW_TEXT : Math.max(text.length, 1);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at === 0 || at < text.length; at += size) chunks.push(text.subarray(at, at + size));
    return chunks.map((chunk, part) =>
      this.frame(channel, topic, chunk, { sender, part, last: part === chunks.length - 1 }),
    );
  }

  /** A frame of any sender, with the next counter of that sender unless one is given. */
  frame(
    channel: ChannelInfo,
    topic: string,
    text: Uint8Array | string,
    fields: Partial<Frame> = {},
  ): Uint8Array {
    const sender = fields.sender ?? 9;
    const key = `${sender} ${channel.generation} ${channel.step}`;
    const counter = fields.counter ?? this.#counters.get(key) ?? 0;
    this.#counters.set(key, counter + 1);
    const frame: Frame = {
      channel: hex(channel.id),
      topic,
      generation: channel.generation,
      step: channel.step,
      part: 0,
      last: true,
      ...fields,
      sender,
      counter,
      text: Buffer.from(text).toString("base64"),
    };
    return new Uint8Array(Buffer.from(`sealed ${JSON.stringify(frame)}`));
  }

  unprotect(id: Uint8Array, topic: string, payload: Uint8Array, options?: { stored?: boolean }): Opened {
    this.#fail();
    const channel = this.held.get(hex(id));
    if (channel === undefined) throw new RefusedError("NO_CHANNEL");
    const frame = parse(payload);
    if (this.credit === 0) throw new RefusedError("BUSY");
    this.credit -= 1;
    if (frame === null || frame.topic !== topic) throw new RefusedError("BAD_TAG");
    if (frame.generation !== channel.generation) throw new RefusedError("UNKNOWN_EPOCH");
    if (frame.sender === channel.sender || frame.sender === channel.will) throw new RefusedError("REFLECTED");
    const key = `${topic} ${frame.sender} ${frame.generation} ${frame.step} ${frame.counter}`;
    if (options?.stored !== true && this.#seen.has(key)) throw new RefusedError("REPLAYED");
    this.#seen.add(key);
    return { ...frame, narrow: channel.narrow, text: new Uint8Array(Buffer.from(frame.text, "base64")) };
  }

  control(payload: Uint8Array): { reply: Uint8Array | null; changed: boolean } {
    this.#fail();
    const changed = this.onControl(payload);
    return { reply: Buffer.from(`ack ${Buffer.from(payload)}`), changed };
  }

  beacon(_channel: Uint8Array, payload: Uint8Array): void {
    this.onBeacon(payload);
  }

  hello(want: Uint8Array = new Uint8Array()): Uint8Array {
    if (this.broken) throw new Error("disk full");
    this.helloWants.push(hex(want));
    this.wants = false;
    return Buffer.from("hello");
  }

  wantsHello(): boolean {
    return this.wants;
  }

  tick(): void {
    this.ticks += 1;
    this.credit += 1;
  }

  close(): void {
    this.closed = true;
  }

  #fail(): void {
    const { failure } = this;
    this.failure = null;
    if (this.broken) throw new RefusedError("PENDING");
    if (failure !== null) throw failure;
  }
}

const CHANNEL: ChannelInfo = {
  id: new Uint8Array(8),
  generation: 1,
  step: 0,
  from: 0,
  open: 0,
  to: 127,
  frameSize: 128,
  form: 0,
  suite: 0,
  tagSize: 16,
  late: 2,
  ahead: 1,
  topicMode: 0,
  storedAllowed: true,
  narrow: false,
  markBlock: 16,
  sender: 5,
  will: 6,
  previous: false,
};

function parse(payload: Uint8Array): Frame | null {
  const text = Buffer.from(payload).toString();
  return text.startsWith("sealed ") ? (JSON.parse(text.slice(7)) as Frame) : null;
}

/** What a sealed payload says of itself; null for anything else. */
export function inspect(payload: Uint8Array | string): (Frame & { plain: string }) | null {
  const frame = parse(Buffer.from(payload));
  return frame === null ? null : { ...frame, plain: Buffer.from(frame.text, "base64").toString() };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
