// One device on the core: payloads in and out, and every mark and blob stored before it counts.

import { toHex } from "../bytes.ts";
import { RefusedError, STATUS, statusName } from "../status.ts";
import type { Identity, Store } from "../store/store.ts";
import type { World } from "../world.ts";
import {
  ACK,
  BLOB_HEADER,
  CHUNK_OFFSET,
  CONTROL_FRAME,
  CONTROL_FRAMES,
  FLAG_FINAL,
  FLAG_FIRST,
  FLAG_STORED,
  FRAME_MAX,
  HELLO,
  MARK_SIZE,
  type Places,
  PREVIOUS_COUNT_AT,
  PREVIOUS_FLAGS_AT,
  PREVIOUS_SIZE_AT,
  placesOf,
  STORAGE_KEY_AT,
  VERSION_AT,
  WANT_OFFSET,
} from "./abi.ts";
import type { Build, Engine, Instance } from "./engine.ts";
import { Kit } from "./kit.ts";

const MESSAGE_MAX = 64;
const CHANNELS: Record<Build, number> = {
  device: 4,
  "device-ascon": 4,
  "device-ascon-volatile": 4,
  host: 1024,
};

export interface DeviceOptions {
  engine: Engine;
  store: Store;
  world: World;
  /** What the device has (SPEC C-17): 0 storage (default), 1 a boot nonce, 2 neither. */
  class?: 0 | 1 | 2;
  /** Default "host". */
  build?: Build;
}

export interface ChannelInfo {
  id: Uint8Array;
  generation: number;
  step: number;
  from: number;
  open: number;
  to: number;
  frameSize: number;
  form: number;
  suite: number;
  tagSize: 8 | 16;
  late: number;
  ahead: number;
  topicMode: 0 | 1;
  storedAllowed: boolean;
  narrow: boolean;
  markBlock: 1 | 16 | 64;
  sender: number;
  will: number;
  previous: boolean;
}

export interface Opened {
  text: Uint8Array;
  sender: number;
  generation: number;
  step: number;
  /** Counter of the payload's last frame. */
  counter: number;
  /** Index of the last frame in its message, and whether it ends it: matters in narrow channels. */
  part: number;
  last: boolean;
  /** Whether it was sealed in a narrow channel: a message is of one payload for each frame. */
  narrow: boolean;
}

type Calls = {
  [name in
    | "buffers"
    | "channelPtr"
    | "init"
    | "loadBegin"
    | "loadNext"
    | "loadMark"
    | "loadEnd"
    | "saveBegin"
    | "saveNext"
    | "stored"
    | "discard"
    | "protect"
    | "unprotect"
    | "beacon"
    | "control"
    | "answer"
    | "tick"]: (...args: number[]) => number;
};

const NO_CHANNEL = new Uint8Array(8);
const encoder = new TextEncoder();

export class Device {
  readonly realm: Uint8Array;
  readonly device: Uint8Array;
  readonly prefix: string;
  readonly downTopic: string;
  readonly upTopic: string;
  readonly #store: Store;
  readonly #build: Build;
  readonly #kind: 0 | 1 | 2;
  readonly #instance: Instance;
  readonly #calls: Calls;
  readonly #memory: Uint8Array;
  readonly #view: DataView;
  readonly #frame: number;
  readonly #places: Places;
  /** In which slot an id was found: it is looked for there first. */
  readonly #slots = new WeakMap<Uint8Array, number>();
  readonly #engine: Engine;
  #kit: Kit | undefined;
  #lastTopic: string | undefined;
  #lastTopicLength = 0;
  #keyErased: boolean;
  /** Slot that may be torn: the other one is the only good one. */
  #suspect: 0 | 1 = 0;
  /** The store has many marks: a blob is stored before the next message. */
  #blobWanted = false;

  /** Loads the state from the store. Throws RefusedError("BAD_RECORD") when both slots are lost (SPEC T-8). */
  constructor(options: DeviceOptions) {
    const identity = options.store.identity();
    this.realm = identity.realm;
    this.device = identity.device;
    this.prefix = identity.prefix;
    this.downTopic = `${this.prefix}/${toHex(this.device)}/down`;
    this.upTopic = `${this.prefix}/${toHex(this.device)}/up`;
    this.#store = options.store;
    this.#engine = options.engine;
    this.#build = options.build ?? "host";
    this.#kind = options.class ?? 0;
    this.#instance = options.engine.instantiate(this.#build);
    this.#calls = this.#instance.calls as Calls;
    this.#memory = this.#instance.memory;
    this.#view = new DataView(this.#memory.buffer, this.#memory.byteOffset);
    this.#frame = this.#calls.buffers();
    this.#places = placesOf(this.#frame, this.#build);
    this.#keyErased = identity.key === undefined;
    const bootNonce = this.#kind === 1 ? options.world.random(8) : new Uint8Array(8);
    this.#load(identity, bootNonce);
  }

  epochTopic(channel: Uint8Array): string {
    return `${this.prefix}/epoch/${toHex(channel)}`;
  }

  /** Channel id of a topic filter in this realm. */
  channelId(filter: string): Uint8Array {
    this.#kit ??= new Kit(this.#engine);
    return this.#kit.channelId(this.realm, filter);
  }

  channels(): ChannelInfo[] {
    const found: ChannelInfo[] = [];
    for (let slot = 0; slot < CHANNELS[this.#build]; ++slot) {
      const at = this.#calls.channelPtr(slot);
      if (at !== 0) found.push(this.#info(at));
    }
    return found;
  }

  channel(id: Uint8Array): ChannelInfo | undefined {
    const slot = this.#slot(id);
    return slot < 0 ? undefined : this.#info(this.#calls.channelPtr(slot));
  }

  /**
   * Seals a message. Returns one payload, or in a narrow channel one for each frame.
   *
   * Throws RefusedError. After failure nothing was sealed that may be sent; counters may be spent.
   */
  protect(channel: Uint8Array, topic: string, text: Uint8Array, options?: { will?: boolean }): Uint8Array[] {
    const slot = this.#slot(channel);
    if (slot < 0) throw new RefusedError("NO_CHANNEL", topic);
    const at = this.#calls.channelPtr(slot);
    const form = this.#memory[at + 20] as number;
    const size = (this.#memory[at + 21] as number) << 3;
    const narrow = ((this.#memory[at + 23] as number) & 4) !== 0;
    const max = size - (form & 16 ? 16 : 24);
    const count = text.length === 0 ? 1 : Math.ceil(text.length / Math.max(max, 1));
    if (count > MESSAGE_MAX || (max === 0 && text.length > 0)) throw new RefusedError("BAD_LENGTH", topic);
    if (this.#blobWanted) this.#storeBlob();
    const topicLength = this.#setTopic(topic);
    const what = options?.will === true ? 1 : 0;
    const payloads: Uint8Array[] = [];
    const whole = narrow ? undefined : new Uint8Array(count * size);
    for (let index = 0; index < count; ++index) {
      const from = index * max;
      const length = Math.min(max, text.length - from);
      this.#memory.set(count === 1 ? text : text.subarray(from, from + length), this.#frame + CHUNK_OFFSET);
      let status = this.#calls.protect(slot, what, index, count, length, topicLength);
      if (status === STATUS.STORE_MARK) {
        this.#storeMarkOrDrop([]);
        status = this.#calls.protect(slot, what, index, count, length, topicLength);
      }
      if (status !== STATUS.OK) throw this.#refusal(status, topic);
      const frame = this.#memory.subarray(this.#frame, this.#frame + size);
      if (whole === undefined) payloads.push(frame.slice());
      else whole.set(frame, index * size);
    }
    if (whole !== undefined) payloads.push(whole);
    return payloads;
  }

  /** Opens one payload. Throws RefusedError: nothing was released or marked. */
  unprotect(channel: Uint8Array, topic: string, payload: Uint8Array, options?: { stored?: boolean }): Opened {
    const slot = this.#slot(channel);
    if (slot < 0) throw new RefusedError("NO_CHANNEL", topic);
    const { size, narrow } = this.#shapeFor(slot, payload);
    const count = payload.length / size;
    const most = narrow ? 1 : MESSAGE_MAX;
    if (payload.length === 0 || !Number.isInteger(count) || count > most)
      throw new RefusedError("BAD_LENGTH", topic);
    if (this.#blobWanted) this.#storeBlob();
    const topicLength = this.#setTopic(topic);
    const stored = options?.stored === true ? FLAG_STORED : 0;
    const chunks: Uint8Array[] = [];
    for (let index = 0; index < count; ++index) {
      this.#memory.set(payload.subarray(index * size, (index + 1) * size), this.#frame);
      const flags = stored | (index === 0 ? FLAG_FIRST : 0) | (index === count - 1 ? FLAG_FINAL : 0);
      const status = this.#calls.unprotect(slot, size, topicLength, flags);
      if (status > STATUS.STORE_MARK) {
        for (const chunk of chunks) chunk.fill(0);
        throw this.#refusal(status, topic);
      }
      const length = this.#view.getUint32(this.#places.out + 4, true);
      const at = this.#frame + CHUNK_OFFSET;
      chunks.push(this.#memory.slice(at, at + length));
      this.#memory.fill(0, this.#frame, this.#frame + size);
      if (status === STATUS.STORE_MARK) this.#storeMarkOrDrop(chunks);
    }
    return this.#opened(chunks, narrow);
  }

  /**
   * Applies a payload of the down topic.
   *
   * Returns the ack to publish on the up topic, and whether keys, epochs or parameters changed.
   * Throws RefusedError: nothing was applied.
   */
  control(payload: Uint8Array): { reply: Uint8Array | null; changed: boolean } {
    const count = payload.length / CONTROL_FRAME;
    if (!Number.isInteger(count) || count < 1 || count > CONTROL_FRAMES)
      throw new RefusedError("BAD_LENGTH", this.downTopic);
    const before = this.#fingerprint();
    const topicLength = this.#setTopic(this.downTopic);
    this.#memory.set(payload, this.#frame);
    const status = this.#calls.control(payload.length, topicLength);
    if (status !== STATUS.OK && status !== STATUS.STORE_BLOB) throw this.#refusal(status, this.downTopic);
    if (status === STATUS.STORE_BLOB) this.#storeBlob();
    return { reply: this.#ack(), changed: before !== this.#fingerprint() };
  }

  /** Takes a beacon of a held channel. Throws RefusedError: nothing moved. */
  beacon(channel: Uint8Array, payload: Uint8Array): void {
    const topic = this.epochTopic(channel);
    const slot = this.#slot(channel);
    if (slot < 0) throw new RefusedError("NO_CHANNEL", topic);
    if (payload.length !== 25) throw new RefusedError("BAD_BEACON", topic);
    this.#memory.set(payload, this.#frame);
    const status = this.#calls.beacon(slot, payload.length);
    if (status === STATUS.STORE_BLOB) this.#storeBlob();
    else if (status !== STATUS.OK) throw this.#refusal(status, topic);
  }

  /** A hello to publish on the up topic; `want` names a channel whose counters are wanted. */
  hello(want?: Uint8Array): Uint8Array {
    const topicLength = this.#setTopic(this.upTopic);
    // An earlier failure may have left a blob to be stored.
    if (this.#answer(ACK, topicLength) === STATUS.PENDING) this.#storeBlob();
    const status = this.#answer(HELLO, topicLength, want);
    if (status !== STATUS.OK) throw this.#refusal(status, this.upTopic);
    return this.#memory.slice(this.#frame, this.#frame + CONTROL_FRAME);
  }

  /** True while refusals ask for a hello (SPEC R-13); hello() answers it. */
  wantsHello(): boolean {
    return this.#memory[this.#places.ask] === 1;
  }

  /** One tick, every few seconds (SPEC R-14). */
  tick(): void {
    this.#calls.tick();
  }

  /** Forgets everything in memory; the device must not be used again. */
  close(): void {
    this.#memory.fill(0);
  }

  #ack(): Uint8Array {
    const topicLength = this.#setTopic(this.upTopic);
    const status = this.#answer(ACK, topicLength);
    if (status !== STATUS.OK) throw this.#refusal(status, this.upTopic);
    return this.#memory.slice(this.#frame, this.#frame + CONTROL_FRAME);
  }

  #answer(kind: number, topicLength: number, want: Uint8Array = NO_CHANNEL): number {
    this.#memory.set(want, this.#frame + WANT_OFFSET);
    return this.#calls.answer(kind, topicLength);
  }

  #opened(chunks: Uint8Array[], narrow: boolean): Opened {
    const first = chunks[0] as Uint8Array;
    const text = chunks.length === 1 ? first : join(chunks);
    const part = this.#view.getUint8(this.#places.out);
    return {
      text,
      sender: this.#view.getUint16(this.#places.out + 16, true),
      generation: this.#view.getUint32(this.#places.out + 8, true),
      step: this.#view.getUint16(this.#places.out + 12, true),
      counter: this.#view.getUint16(this.#places.out + 14, true),
      part: part & 63,
      last: part > 127,
      narrow,
    };
  }

  /** Frame size the payload must have, and its kind: of the kept previous generation if the hint names it (SPEC R-1). */
  #shapeFor(slot: number, payload: Uint8Array): { size: number; narrow: boolean } {
    const at = this.#calls.channelPtr(slot);
    const generation = this.#view.getUint32(at + 8, true);
    const high = (payload[1] ?? 0) >> 4;
    const kept = this.#memory[at + PREVIOUS_COUNT_AT] !== 0;
    const previous = kept && high !== (generation & 15) && high === ((generation - 1) & 15);
    return {
      size: (this.#memory[at + (previous ? PREVIOUS_SIZE_AT : 21)] as number) << 3,
      narrow: ((this.#memory[at + (previous ? PREVIOUS_FLAGS_AT : 23)] as number) & 4) !== 0,
    };
  }

  #info(at: number): ChannelInfo {
    const view = this.#view;
    const form = view.getUint8(at + 20);
    const flags = view.getUint8(at + 23);
    const la = view.getUint8(at + 22);
    return {
      id: this.#memory.slice(at, at + 8),
      generation: view.getUint32(at + 8, true),
      step: view.getUint16(at + 12, true),
      from: view.getUint16(at + 14, true),
      open: view.getUint16(at + 16, true),
      to: view.getUint16(at + 18, true),
      frameSize: view.getUint8(at + 21) << 3,
      form,
      suite: (form >> 2) & 3,
      tagSize: form & 16 ? 8 : 16,
      late: la & 15,
      ahead: la >> 4,
      topicMode: (flags & 1) as 0 | 1,
      storedAllowed: (flags & 2) !== 0,
      narrow: (flags & 4) !== 0,
      markBlock: ([1, 16, 64] as const)[(flags >> 3) & 3] ?? 1,
      sender: view.getUint16(at + 24, true),
      will: view.getUint16(at + 26, true),
      previous: view.getUint8(at + PREVIOUS_COUNT_AT) !== 0,
    };
  }

  #fingerprint(): string {
    return this.channels()
      .map(
        (c) => `${toHex(c.id)}:${c.generation}:${c.step}:${c.from}:${c.open}:${c.to}:${c.sender}:${c.will}`,
      )
      .join();
  }

  #slot(id: Uint8Array): number {
    if (id.length !== 8) throw new RefusedError("BAD_ARGUMENT");
    const known = this.#slots.get(id);
    if (known !== undefined && this.#isIn(known, id)) return known;
    for (let slot = 0; slot < CHANNELS[this.#build]; ++slot) {
      if (!this.#isIn(slot, id)) continue;
      this.#slots.set(id, slot);
      return slot;
    }
    return -1;
  }

  #isIn(slot: number, id: Uint8Array): boolean {
    const at = this.#calls.channelPtr(slot);
    if (at === 0) return false;
    for (let i = 0; i < id.length; ++i) if (id[i] !== this.#memory[at + i]) return false;
    return true;
  }

  /** Writes a topic to the topic buffer, unless it is there already; returns its length in bytes. */
  #setTopic(topic: string): number {
    if (topic === this.#lastTopic) return this.#lastTopicLength;
    const room = this.#memory.subarray(this.#places.topic, this.#places.state);
    const { read, written } = encoder.encodeInto(topic, room);
    this.#lastTopic = undefined;
    if (read !== topic.length) throw new RefusedError("BAD_ARGUMENT", topic.slice(0, 64));
    this.#lastTopic = topic;
    this.#lastTopicLength = written;
    return written;
  }

  #refusal(status: number, topic?: string): RefusedError {
    return new RefusedError(statusName(status), topic);
  }

  // Storing.

  #storeMark(): void {
    if (this.#kind === 0)
      this.#store.appendMark(this.#memory.slice(this.#places.record, this.#places.record + MARK_SIZE));
    this.#calls.stored();
    this.#blobWanted = this.#store.wantsBlob?.() === true;
  }

  /** Stores the mark asked for; if that fails, nothing was accepted or sealed, and no text stays. */
  #storeMarkOrDrop(chunks: Uint8Array[]): void {
    try {
      this.#storeMark();
    } catch (error) {
      this.#calls.discard();
      this.#memory.fill(0, this.#frame, this.#frame + FRAME_MAX);
      for (const chunk of chunks) chunk.fill(0);
      throw error;
    }
  }

  /**
   * Writes both slots, slot 1 last, then confirms; a slot that may be torn is written before the other is touched.
   * If that fails the core stays PENDING and the next call tries again.
   */
  #storeBlob(): void {
    for (const slot of this.#suspect === 1 ? ([1, 0, 1] as const) : ([0, 1] as const)) {
      this.#suspect = slot;
      this.#store.writeSlot(slot, this.#blob());
    }
    this.#suspect = 0;
    this.#store.clearMarks();
    this.#blobWanted = false;
    this.#calls.stored();
    this.#eraseProvisionedKey();
  }

  #blob(): Uint8Array {
    this.#calls.saveBegin();
    const parts = [this.#memory.slice(this.#frame, this.#frame + BLOB_HEADER)];
    for (let size = this.#calls.saveNext(); size > 0; size = this.#calls.saveNext()) {
      parts.push(this.#memory.slice(this.#frame, this.#frame + size));
    }
    return join(parts);
  }

  /** SPEC I-1: K(0) goes once the control key has moved past it in both slots. */
  #eraseProvisionedKey(): void {
    if (this.#keyErased || this.#version() === 0) return;
    const { realm, device, prefix } = this;
    this.#store.saveIdentity({ realm, device, prefix, storageKey: this.#storageKey() });
    this.#keyErased = true;
  }

  #version(): number {
    return this.#view.getUint32(this.#places.state + VERSION_AT, true);
  }

  #storageKey(): Uint8Array {
    const at = this.#places.state + STORAGE_KEY_AT;
    return this.#memory.slice(at, at + 32);
  }

  #init(identity: Identity, bootNonce: Uint8Array): void {
    const { realm, device, key, storageKey } = identity;
    const secret = storageKey ?? key;
    if (secret === undefined) throw new RefusedError("NO_IDENTITY");
    this.#memory.set(realm, this.#frame);
    this.#memory.set(device, this.#frame + 8);
    this.#memory.set(bootNonce, this.#frame + 16);
    this.#memory.set(key ?? secret, this.#frame + 24);
    const status = this.#calls.init(this.#kind, key === undefined ? 1 : 0);
    if (status !== STATUS.OK) throw this.#refusal(status);
  }

  /**
   * Loads the newer of two valid slots and all marks (SPEC T-6 to T-8).
   *
   * Both slots are written one after the other, slot 1 last: if slot 0 is the newer one, the write was cut
   * off between them, and both are written again before anything is sent.
   */
  #load(identity: Identity, bootNonce: Uint8Array): void {
    this.#init(identity, bootNonce);
    if (this.#kind !== 0) return;
    const { slots, marks } = this.#store.load();
    const newer = sequenceOf(slots[0]) > sequenceOf(slots[1]) ? 0 : 1;
    const valid = [newer === 0 ? 1 : 0, newer].map((index) =>
      this.#loadSlot(identity, bootNonce, slots[index]),
    );
    const torn = slots.filter((slot) => slot !== null).length > valid.filter(Boolean).length;
    if (valid[0] && !valid[1]) this.#loadSlot(identity, bootNonce, slots[newer === 0 ? 1 : 0]);
    if (!valid[0] && !valid[1]) {
      if (identity.key === undefined || !slots.includes(null)) throw new RefusedError("BAD_RECORD");
      this.#init(identity, bootNonce);
    }
    let broken = false;
    for (const mark of marks) if (!this.#loadMark(mark)) broken = true;
    const loaded = valid[1] ? newer : 1 - newer;
    const sequence = torn ? sequenceOf(slots[valid[1] ? 1 - newer : newer]) : 0;
    const status = this.#calls.loadEnd(torn ? 1 : 0, Math.max(sequence, 0), broken ? 1 : 0);
    this.#suspect = loaded === 0 ? 1 : 0;
    if (status === STATUS.STORE_BLOB || (newer === 0 && valid[1])) this.#storeBlob();
    else this.#eraseProvisionedKey();
  }

  /** Begins anew and loads one slot. Returns whether it verified; a blank one does not. */
  #loadSlot(identity: Identity, bootNonce: Uint8Array, blob: Uint8Array | null | undefined): boolean {
    if (blob === null || blob === undefined) return false;
    this.#init(identity, bootNonce);
    this.#memory.set(blob.subarray(0, BLOB_HEADER), this.#frame);
    if (blob.length < BLOB_HEADER) return false;
    this.#calls.loadBegin();
    const size = this.#places.blobChunk;
    for (let at = BLOB_HEADER; at + size <= blob.length; at += size) {
      this.#memory.set(blob.subarray(at, at + size), this.#frame);
      const status = this.#calls.loadNext();
      if (status !== STATUS.MORE) return status === STATUS.OK && at + size === blob.length;
    }
    return false;
  }

  /** False for a broken mark (SPEC T-8). One that was cut off is none. */
  #loadMark(mark: Uint8Array): boolean {
    if (mark.subarray(MARK_SIZE - 8).every((byte) => byte === 0xff)) return true;
    this.#memory.set(mark.subarray(0, MARK_SIZE), this.#frame);
    const status = this.#calls.loadMark();
    if (status !== STATUS.OK && status !== STATUS.BAD_RECORD) throw this.#refusal(status);
    return status === STATUS.OK;
  }
}

/** Sequence of a slot, -1 for a blank or short one. */
function sequenceOf(slot: Uint8Array | null | undefined): number {
  if (slot == null || slot.length < BLOB_HEADER) return -1;
  return new DataView(slot.buffer, slot.byteOffset).getUint32(8, true);
}

function join(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
    part.fill(0);
  }
  return whole;
}
