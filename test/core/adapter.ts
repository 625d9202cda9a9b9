// The shipped module behind the interface of the slow twin: the same scripts and cases run over both.

import {
  ACK,
  CHUNK_OFFSET,
  CONTROL_FRAME,
  CONTROL_FRAMES,
  FLAG_FINAL,
  FLAG_FIRST,
  FLAG_STORED,
  HELLO,
  type Places,
  PREVIOUS_COUNT_AT,
  PREVIOUS_SIZE_AT,
  placesOf,
  WANT_OFFSET,
} from "../../host/core/abi.ts";
import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import { STATUS } from "../../host/status.ts";
import { type Bytes, concat, unhex, utf8 } from "../twin/bytes.ts";
import type { DeviceModel, DeviceOptions, Identity, Outcome } from "../twin/model.ts";
import { isCutOff, openBlob, sealBlob, storageKey } from "../twin/storage.ts";
import { joinPart, type PartJoin } from "../twin/window.ts";

const STATE_SIZE = 160;
const SEQUENCE_AT = 144;
const DIRTY_AT = 92;
const ROW_SIZE = 68;
const OUT_SIZE = 20;
const MARK_SIZE = 48;
const BLOB_HEADER = 16;
const MESSAGE_FRAMES = 64;
const SEQUENCE_MAX = 0xffffffff;

type Waiting = { kind: "protect" | "unprotect" | "blob"; finish: () => Outcome };

/** State that a build keeps in memory, in bytes: the device, its channels, its rows (assembly/layout.ts). */
export function tablesOf(build: Build): { channels: number; channelSize: number; rows: number } {
  const host = build === "host";
  const leaves = host ? 15 : 4;
  const channels = host ? 1024 : 4;
  return { channels, channelSize: 232 + 16 * leaves + 60, rows: channels + (host ? 65536 : 8) };
}

/** The build that a device with such options runs. */
export function buildFor(options: DeviceOptions): Build {
  if (options.layout === 2) return "host";
  return (options.suites & 0b1100) === 0 ? "device-ascon" : "device";
}

export class CoreModel implements DeviceModel {
  readonly instance: Instance;
  private readonly options: DeviceOptions;
  private readonly build: Build;
  private readonly memory: Uint8Array;
  private readonly view: DataView;
  private readonly frame: number;
  private readonly places: Places;
  private identity: Identity | null = null;
  private running = false;
  private waiting: Waiting | null = null;
  private readonly joins = new Map<string, PartJoin>();

  constructor(engine: Engine, options: DeviceOptions, build = buildFor(options)) {
    this.options = options;
    this.build = build;
    this.instance = engine.instantiate(this.build);
    this.memory = this.instance.memory;
    this.view = new DataView(this.memory.buffer, this.memory.byteOffset);
    this.frame = this.call("buffers");
    this.places = placesOf(this.frame, this.build);
  }

  private call(name: string, ...args: number[]): number {
    const f = this.instance.calls[name];
    if (f === undefined) throw new Error(`no export ${name}`);
    return f(...args);
  }

  private barred(): Outcome | null {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    if (this.waiting !== null) return { status: STATUS.BAD_ORDER };
    return null;
  }

  private pending(): Outcome | null {
    const barred = this.barred();
    if (barred !== null) return barred;
    return this.memory[this.places.state + DIRTY_AT] === 1 ? { status: STATUS.PENDING } : null;
  }

  private slotOf(id: string): number {
    const bytes = unhex(id);
    for (let slot = 0; slot < tablesOf(this.build).channels; ++slot) {
      const at = this.call("channelPtr", slot);
      if (at !== 0 && bytes.every((byte, i) => byte === this.memory[at + i])) return slot;
    }
    return -1;
  }

  private setTopic(topic: string): number {
    const bytes = utf8(topic);
    if (bytes.length > this.places.topicMax) return -1;
    this.memory.set(bytes, this.places.topic);
    return bytes.length;
  }

  private init(identity: Identity, bootNonce: Bytes): void {
    const { realm, device, key } = identity;
    const nonce = this.options.class === 1 ? bootNonce : new Uint8Array(8);
    this.memory.set(concat(realm, device, nonce, key), this.frame);
    this.call("init", this.options.class, 0);
  }

  private asks(status: number): Outcome {
    if (status !== STATUS.BAD_TAG && status !== STATUS.UNKNOWN_EPOCH) return { status };
    const asks = this.memory[this.places.ask] === 1;
    this.memory[this.places.ask] = 0;
    return { status, asks };
  }

  provision(identity: Identity, bootNonce: Bytes): Outcome {
    this.identity = identity;
    this.waiting = null;
    this.joins.clear();
    this.init(identity, bootNonce);
    this.running = true;
    return { status: STATUS.OK };
  }

  restart(slots: readonly [Bytes, Bytes], marks: readonly Bytes[], bootNonce: Bytes): Outcome {
    const { identity } = this;
    if (identity === null) return { status: STATUS.NO_IDENTITY };
    this.provision(identity, bootNonce);
    if (this.options.class !== 0) return { status: STATUS.OK };
    const written = slots.filter((slot) => slot.some((byte) => byte !== 0xff));
    const order = [...written].sort((a, b) => sequenceOf(a) - sequenceOf(b));
    const valid = order.map((slot) => this.load(identity, bootNonce, slot));
    const newest = valid.lastIndexOf(true);
    if (written.length === 2 && newest < 0) return this.stop(STATUS.BAD_RECORD);
    if (newest < 0) this.init(identity, bootNonce);
    else if (newest < order.length - 1) this.load(identity, bootNonce, order[newest] as Bytes);
    const torn = order.find((_, i) => valid[i] === false);
    let broken = 0;
    for (const mark of marks) {
      if (mark.length !== MARK_SIZE || isCutOff(mark)) continue;
      this.memory.set(mark, this.frame);
      const status = this.call("loadMark");
      if (status === STATUS.NO_ROOM) return this.stop(STATUS.NO_ROOM);
      if (status === STATUS.BAD_RECORD) broken = 1;
    }
    const sequence = torn ? Math.max(sequenceOf(torn), 0) : 0;
    if (this.call("loadEnd", torn === undefined ? 0 : 1, sequence, broken) === STATUS.STORE_BLOB) {
      this.call("stored");
    }
    return { status: STATUS.OK };
  }

  private stop(status: number): Outcome {
    this.running = false;
    return { status };
  }

  private load(identity: Identity, bootNonce: Bytes, blob: Bytes): boolean {
    this.init(identity, bootNonce);
    if (blob.length < BLOB_HEADER) return false;
    this.memory.set(blob.subarray(0, BLOB_HEADER), this.frame);
    this.call("loadBegin");
    const size = this.places.blobChunk;
    for (let at = BLOB_HEADER; at + size <= blob.length; at += size) {
      this.memory.set(blob.subarray(at, at + size), this.frame);
      const status = this.call("loadNext");
      if (status !== STATUS.MORE) return status === STATUS.OK && at + size === blob.length;
    }
    return false;
  }

  protect(channel: string, text: Bytes, topic: string, will: boolean): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    const slot = this.slotOf(channel);
    if (slot < 0) return { status: STATUS.NO_CHANNEL };
    const at = this.call("channelPtr", slot);
    const size = (this.memory[at + 21] ?? 0) << 3;
    const max = size - ((this.memory[at + 20] ?? 0) & 16 ? 16 : 24);
    const narrow = ((this.memory[at + 23] ?? 0) & 4) !== 0;
    const count = Math.max(1, Math.ceil(text.length / max));
    const topicLen = this.setTopic(topic);
    if (count > MESSAGE_FRAMES || topicLen < 0) return { status: STATUS.BAD_ARGUMENT };
    const what = will ? 1 : 0;
    const seal = (index: number) => {
      const chunk = text.subarray(index * max, (index + 1) * max);
      this.memory.set(chunk, this.frame + CHUNK_OFFSET);
      return this.call("protect", slot, what, index, count, chunk.length, topicLen);
    };
    // Seals the frames from `index` on; the one before it, if any, is at FRAME.
    const finish = (index: number): Outcome => {
      const frames = index === 0 ? [] : [this.memory.slice(this.frame, this.frame + size)];
      for (let next = index; next < count; ++next) {
        const status = seal(next);
        if (status !== STATUS.OK) return { status };
        frames.push(this.memory.slice(this.frame, this.frame + size));
      }
      return { status: STATUS.OK, payloads: narrow ? frames : [concat(...frames)] };
    };
    const mark = this.callForMark(() => seal(0));
    if (mark === null) return finish(1);
    if (typeof mark === "number") return { status: mark };
    this.waiting = { kind: "protect", finish: () => finish(0) };
    return { status: STATUS.STORE_MARK, record: mark };
  }

  /** null: OK; bytes: the mark to store; a number: refused. */
  private callForMark(call: () => number): Bytes | null | number {
    const status = call();
    if (status === STATUS.OK) return null;
    if (status !== STATUS.STORE_MARK) return status;
    const at = this.places.record;
    return this.memory.slice(at, at + MARK_SIZE);
  }

  unprotect(channel: string, payload: Bytes, topic: string, stored: boolean): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    const slot = this.slotOf(channel);
    const topicLen = slot < 0 ? 0 : this.setTopic(topic);
    if (slot >= 0 && topicLen < 0) return this.pass(STATUS.BAD_ARGUMENT);
    const at = slot < 0 ? 0 : this.call("channelPtr", slot);
    const high = (payload[1] ?? 0) >> 4;
    const generation = this.view.getUint32(at + 8, true);
    const previous =
      this.memory[at + PREVIOUS_COUNT_AT] !== 0 &&
      high !== (generation & 15) &&
      high === ((generation - 1) & 15);
    const size = (this.memory[at + (previous ? PREVIOUS_SIZE_AT : 21)] ?? 0) << 3;
    const narrow = ((this.memory[at + (previous ? PREVIOUS_COUNT_AT + 1 : 23)] ?? 0) & 4) !== 0;
    const count = payload.length / size;
    if (slot < 0) return this.pass(STATUS.NO_CHANNEL);
    if (!Number.isInteger(count) || count < 1 || count > (narrow ? 1 : MESSAGE_FRAMES)) {
      return this.pass(STATUS.BAD_LENGTH);
    }
    const chunks: Bytes[] = [];
    let status: number = STATUS.MORE;
    let first = 0;
    for (let i = 0; i < count; ++i) {
      this.memory.set(payload.subarray(i * size, (i + 1) * size), this.frame);
      const flags =
        (i === 0 ? FLAG_FIRST : 0) | (i === count - 1 ? FLAG_FINAL : 0) | (stored ? FLAG_STORED : 0);
      status = this.call("unprotect", slot, size, topicLen, flags);
      if (status > STATUS.STORE_MARK) return this.asks(status);
      const out = this.places.out;
      if (i === 0) first = this.view.getUint16(out + 14, true);
      const length = this.view.getUint32(out + 4, true);
      chunks.push(this.memory.slice(this.frame + CHUNK_OFFSET, this.frame + CHUNK_OFFSET + length));
    }
    const out = this.memory.slice(this.places.out, this.places.out + OUT_SIZE);
    const outcome = () => this.opened(channel, out, first, chunks, narrow, stored);
    if (status === STATUS.OK) return outcome();
    const record = this.memory.slice(this.places.record, this.places.record + MARK_SIZE);
    this.waiting = { kind: "unprotect", finish: outcome };
    return { status, record };
  }

  /** A payload refused before the core saw it still counts for B-4: the core is given an impossible frame. */
  private pass(status: number): Outcome {
    this.call("unprotect", -1, 0, 0, FLAG_FIRST);
    return { status };
  }

  private opened(
    channel: string,
    out: Bytes,
    first: number,
    chunks: Bytes[],
    narrow: boolean,
    stored: boolean,
  ): Outcome {
    const view = new DataView(out.buffer, out.byteOffset);
    const sender = view.getUint16(16, true);
    const epoch = { generation: view.getUint32(8, true), step: view.getUint16(12, true) };
    const from = { sender, ...epoch, counter: first };
    if (!narrow) return { status: STATUS.OK, text: concat(...chunks), from };
    const key = `${channel} ${sender}`;
    const held = stored ? null : (this.joins.get(key) ?? null);
    const joined = joinPart(held, epoch, first, out[0] ?? 0, chunks[0] as Bytes);
    if (!stored) {
      if (joined.next === null) this.joins.delete(key);
      else this.joins.set(key, joined.next);
    }
    return joined.status === STATUS.OK
      ? { status: STATUS.OK, text: joined.text, from }
      : { status: joined.status, from };
  }

  beacon(channel: string, payload: Bytes): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    const slot = this.slotOf(channel);
    this.memory.set(payload.subarray(0, 64), this.frame);
    const status = this.call("beacon", slot, payload.length);
    if (status !== STATUS.STORE_BLOB) return this.asks(status);
    this.call("stored");
    return { status: STATUS.OK };
  }

  control(payload: Bytes, topic: string): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    const count = payload.length / CONTROL_FRAME;
    const topicLen = this.setTopic(topic);
    if (topicLen < 0) return this.pass(STATUS.BAD_ARGUMENT);
    if (!Number.isInteger(count) || count < 1 || count > CONTROL_FRAMES) return this.pass(STATUS.BAD_LENGTH);
    this.memory.set(payload, this.frame);
    const status = this.call("control", payload.length, topicLen);
    if (status > STATUS.STORE_BLOB) return this.asks(status);
    this.forgetJoins();
    return { status };
  }

  /** Joins of channels that are not held any more. */
  private forgetJoins(): void {
    for (const key of this.joins.keys()) {
      if (this.slotOf(key.slice(0, 16)) < 0) this.joins.delete(key);
    }
  }

  private answer(status: number): Outcome {
    if (status !== STATUS.OK) return { status };
    return { status, payloads: [this.memory.slice(this.frame, this.frame + CONTROL_FRAME)] };
  }

  ack(topic: string): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    const topicLen = this.setTopic(topic);
    this.memory.fill(0, this.frame + WANT_OFFSET, this.frame + WANT_OFFSET + 8);
    return topicLen < 0 ? { status: STATUS.BAD_ARGUMENT } : this.answer(this.call("answer", ACK, topicLen));
  }

  hello(topic: string, want: Bytes): Outcome {
    const barred = this.pending();
    if (barred !== null) return barred;
    if (want.length !== 8) return { status: STATUS.BAD_ARGUMENT };
    const topicLen = this.setTopic(topic);
    this.memory.set(want, this.frame + WANT_OFFSET);
    return topicLen < 0 ? { status: STATUS.BAD_ARGUMENT } : this.answer(this.call("answer", HELLO, topicLen));
  }

  saveBlob(sequence: number): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    const at = this.places.state + SEQUENCE_AT;
    const held = this.view.getUint32(at, true);
    const fits = Number.isInteger(sequence) && sequence > held && sequence <= SEQUENCE_MAX;
    if (this.options.class !== 0 || !fits) return { status: STATUS.BAD_ARGUMENT };
    const before = this.memory.slice(at, at + 12);
    const due = this.memory.slice(this.places.state + DIRTY_AT, this.places.state + DIRTY_AT + 1);
    this.view.setUint32(at, sequence - 1, true);
    this.call("saveBegin");
    const parts = [this.memory.slice(this.frame, this.frame + BLOB_HEADER)];
    for (let size = this.call("saveNext"); size > 0; size = this.call("saveNext")) {
      parts.push(this.memory.slice(this.frame, this.frame + size));
    }
    const after = this.memory.slice(at, at + 12);
    this.memory.set(before, at);
    this.memory.set(due, this.places.state + DIRTY_AT);
    this.waiting = {
      kind: "blob",
      finish: () => {
        this.memory.set(after, at);
        return { status: STATUS.OK };
      },
    };
    return { status: STATUS.STORE_BLOB, record: this.inOrder(concat(...parts)) };
  }

  /** SPEC T-3 leaves the order of rows to the writer: the model's order, if the blob opens for the model. */
  private inOrder(blob: Bytes): Bytes {
    if (this.identity === null) return blob;
    const { realm, device, key } = this.identity;
    const keeper = { realm, device, storageKey: storageKey(realm, device, key), layout: this.options.layout };
    const state = openBlob(keeper, blob, this.options.channels);
    return state === null ? blob : sealBlob(keeper, state, state.sequence);
  }

  confirm(stored: boolean): Outcome {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    const { waiting } = this;
    if (waiting === null) return { status: STATUS.BAD_ORDER };
    this.waiting = null;
    if (!stored) {
      if (waiting.kind !== "blob") this.call("discard");
      return { status: STATUS.OK };
    }
    this.call("stored");
    return waiting.finish();
  }

  tick(): Outcome {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    this.call("tick");
    return { status: STATUS.OK };
  }

  snapshot(): string {
    const { channels, channelSize, rows } = tablesOf(this.build);
    const at = this.places.state;
    const size = STATE_SIZE + channels * channelSize + rows * ROW_SIZE;
    return Buffer.from(this.memory.subarray(at, at + size)).toString("base64");
  }
}

function sequenceOf(blob: Bytes): number {
  return blob.length < 12 ? -1 : new DataView(blob.buffer, blob.byteOffset).getUint32(8, true);
}
