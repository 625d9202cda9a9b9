/** A whole device, SPEC sections 3 to 13. Slow and plain: every change makes a new State. */

import { BEACON_REACH, hashDown, LAST_STEP, parseBeacon } from "./beacon.ts";
import { type Bytes, concat, equal, getU32, hex, utf8, xor, zeros } from "./bytes.ts";
import type { Command, ControlKey } from "./control.ts";
import * as control from "./control.ts";
import {
  type Ad,
  channelAd,
  chunkSize,
  hintOf,
  isFrameSize,
  isLastPart,
  MESSAGE_FRAMES,
  openFrame,
  parseHeader,
  partIndex,
  partOf,
  sealFrame,
  splitMessage,
  TOPIC_MAX,
  topicAd,
} from "./frame.ts";
import {
  addNode,
  covering,
  cutNodes,
  descend,
  leafNumber,
  lockOf,
  senderKey,
  stepSecret,
} from "./keytree.ts";
import type { DeviceModel, DeviceOptions, Identity, Outcome } from "./model.ts";
import type { Channel, Numbers, Parameters, Previous, Row, Shape, State } from "./state.ts";
import * as s from "./state.ts";
import { STATUS } from "./status.ts";
import * as storage from "./storage.ts";
import { isSiv, parseForm } from "./suites.ts";
import { checkRow, compareEpoch, type Epoch, joinPart, markRow, restoreRow } from "./window.ts";

const CREDIT_MAX = 16;
const BUSY_GIFT_EVERY = 16;
const BUSY_GIFT = 8;
const BEACON_PAUSE = 16;
const LOST_WRITE_SKIP = 1024;
const COUNTER_END = 65536;
const SEQUENCE_MAX = 0xffffffff;
const SEQUENCE_REACH = 65536;
const LATE_MAX = 7;
// P-5: what a device without storage takes.
const SIV_SUITES = 0b0101;

// The counters that N-3 lets a refusal move.
interface Counters {
  credit: number;
  busy: number;
  failures: number;
  /** B-4: payloads left until beacons are tried again. */
  pause: number;
}

interface Waiting {
  readonly next: State;
  readonly outcome: Outcome;
  /** R-14, for the frames that count as accepted. */
  readonly credit: number;
}

interface Found {
  readonly step: number;
  /** Of the previous generation; null where the tree has to be walked. */
  readonly leaf: Bytes | null;
}

interface Taken {
  readonly status: number;
  readonly epoch: Epoch;
  readonly sender: number;
  readonly counter: number;
  readonly part: number;
  readonly chunk: Bytes;
  readonly shape: Shape | null;
}

interface Applied {
  readonly state: State;
  readonly status: number;
}

const NOTHING = zeros(0);

function refused(status: number): Taken {
  const epoch = { generation: 0, step: 0 };
  return { status, epoch, sender: 0, counter: 0, part: 0, chunk: NOTHING, shape: null };
}

function isPowerOfTwo(n: number): boolean {
  return (n & (n - 1)) === 0;
}

/** late + ahead at most; T-1 fixes how many leaves are kept. */
export function spanMax(layout: 1 | 2): number {
  return layout === 1 ? 3 : 14;
}

function emptyState(slots: number, key: Bytes): State {
  return {
    channels: Array.from({ length: slots }, () => null),
    rows: [],
    joins: [],
    version: 0,
    key,
    nextKey: null,
    revision: 0n,
    statuses: [],
    echo: zeros(8),
    session: null,
    heard: false,
    sequence: 0,
    bootSequence: 0,
    number: 0,
    blobDue: false,
  };
}

function findChannel(state: State, id: string): Channel | undefined {
  return state.channels.find((channel) => channel !== null && hex(channel.id) === id) ?? undefined;
}

function withChannel(state: State, next: Channel): State {
  const id = hex(next.id);
  const channels = state.channels.map((held) => (held !== null && hex(held.id) === id ? next : held));
  return { ...state, channels };
}

function withoutRows(state: State, id: string): State {
  return {
    ...state,
    rows: state.rows.filter((row) => row.channel !== id),
    joins: state.joins.filter((join) => join.channel !== id),
  };
}

function withoutChannels(state: State): State {
  return { ...state, channels: state.channels.map(() => null), rows: [], joins: [] };
}

function findRow(state: State, id: string, sender: number): Row | undefined {
  return state.rows.find((row) => row.channel === id && row.sender === sender);
}

function isFree(state: State, row: Row): boolean {
  const channel = findChannel(state, row.channel);
  return row.sender !== 0 && (channel === undefined || !s.readable(channel, row.windows.n1));
}

function canHaveRow(state: State, sender: number, room: number): boolean {
  const used = state.rows.filter((row) => row.sender !== 0).length;
  return sender === 0 || used < room || state.rows.some((row) => isFree(state, row));
}

// the row of the same sender, else a new one, else one that is free.
function withRow(state: State, next: Row, room: number): State {
  const held = findRow(state, next.channel, next.sender);
  if (held !== undefined) return { ...state, rows: state.rows.map((row) => (row === held ? next : row)) };
  const used = state.rows.filter((row) => row.sender !== 0).length;
  if (next.sender === 0 || used < room) return { ...state, rows: [...state.rows, next] };
  const free = state.rows.find((row) => isFree(state, row));
  return { ...state, rows: state.rows.map((row) => (row === free ? next : row)) };
}

// P-2's first half: the number as it stands at the current step.
function numbersAt(numbers: Numbers, step: number): Numbers {
  return numbers.step >= step ? numbers : { ...numbers, step, counter: 0, limit: 0 };
}

function ownOf(channel: Channel, will: boolean): Numbers {
  return will ? channel.willOwn : channel.own;
}

function withOwn(channel: Channel, will: boolean, numbers: Numbers): Channel {
  return will ? { ...channel, willOwn: numbers } : { ...channel, own: numbers };
}

function narrow(shape: Shape): boolean {
  return (shape.flags & s.FLAG_NARROW) !== 0;
}

function sameFixed(a: Parameters, b: Parameters): boolean {
  return (
    a.form === b.form &&
    a.size === b.size &&
    a.la === b.la &&
    (a.flags | s.FLAG_KEEP_PREVIOUS) === (b.flags | s.FLAG_KEEP_PREVIOUS) &&
    a.sender === b.sender &&
    a.will === b.will &&
    a.from === b.from
  );
}

export class Device implements DeviceModel {
  private readonly options: DeviceOptions;
  private readonly counters: Counters = { credit: CREDIT_MAX, busy: 0, failures: 0, pause: 0 };
  private identity: Identity | null = null;
  private keeper: storage.Keeper | null = null;
  private bootNonce = zeros(8);
  private state: State;
  private running = false;
  private waiting: Waiting | null = null;

  constructor(options: DeviceOptions) {
    this.options = options;
    this.state = emptyState(options.channels, zeros(16));
  }

  private get stores(): boolean {
    return this.options.class === 0;
  }

  private boot(state: State, bootNonce: Bytes): void {
    this.state = state;
    this.bootNonce = this.options.class === 1 ? bootNonce : zeros(8);
    this.waiting = null;
    this.running = true;
    this.counters.credit = CREDIT_MAX;
    this.counters.busy = 0;
    this.counters.failures = 0;
    this.counters.pause = 0;
  }

  private stop(status: number): Outcome {
    this.running = false;
    this.waiting = null;
    this.state = emptyState(this.options.channels, zeros(16));
    return { status };
  }

  provision(identity: Identity, bootNonce: Bytes): Outcome {
    const { realm, device, key } = identity;
    this.identity = identity;
    this.keeper = {
      realm,
      device,
      storageKey: storage.storageKey(realm, device, key),
      layout: this.options.layout,
    };
    this.boot(emptyState(this.options.channels, key), bootNonce);
    return { status: STATUS.OK };
  }

  restart(slots: readonly [Bytes, Bytes], marks: readonly Bytes[], bootNonce: Bytes): Outcome {
    const { identity, keeper } = this;
    if (identity === null || keeper === null) return { status: STATUS.NO_IDENTITY };
    const fresh = emptyState(this.options.channels, identity.key);
    const written = slots.filter((slot) => !storage.isBlank(slot));
    if (!this.stores || written.length === 0) {
      this.boot(fresh, bootNonce);
      return { status: STATUS.OK };
    }
    const states = written
      .map((slot) => storage.openBlob(keeper, slot, this.options.channels))
      .filter((state) => state !== null);
    if (written.length === 2 && states.length === 0) return this.stop(STATUS.BAD_RECORD);
    const newest = states.reduce((a, b) => (b.sequence > a.sequence ? b : a), states[0] ?? fresh);
    let state = this.withMarks(newest, keeper, marks);
    if (state === null) return this.stop(STATUS.NO_ROOM);
    const whole = marks.filter((mark) => !storage.isCutOff(mark));
    const broken = whole.some((mark) => storage.openMark(keeper, mark) === null);
    const torn = written.find((slot) => storage.openBlob(keeper, slot, this.options.channels) === null);
    if (torn !== undefined || broken) state = this.afterLostWrite(state, torn, broken);
    this.boot(state, bootNonce);
    return { status: STATUS.OK };
  }

  // T-6; null when more rows can still be read than the table has.
  private withMarks(loaded: State, keeper: storage.Keeper, records: readonly Bytes[]): State | null {
    let state = loaded;
    for (const record of records) {
      const mark = storage.isCutOff(record) ? null : storage.openMark(keeper, record);
      if (mark === null) continue;
      if (mark.sequence === state.sequence) state = { ...state, number: Math.max(state.number, mark.number) };
      const channel = findChannel(state, hex(mark.channel));
      if (channel === undefined) continue;
      if (mark.what !== storage.PEER) {
        state = withChannel(state, this.withOwnMark(channel, mark));
        continue;
      }
      const next = this.withPeerMark(state, channel, mark);
      if (next === null) return null;
      state = next;
    }
    return state;
  }

  private withOwnMark(channel: Channel, mark: storage.OpenedMark): Channel {
    const will = mark.what === storage.WILL;
    const number = will ? channel.will : channel.sender;
    const held = ownOf(channel, will);
    if (mark.generation !== channel.generation || mark.sender !== number) return channel;
    if ((mark.step - held.step || mark.bound - held.limit) <= 0) return channel;
    return withOwn(channel, will, { ...held, step: mark.step, counter: mark.bound, limit: mark.bound });
  }

  private withPeerMark(state: State, channel: Channel, mark: storage.OpenedMark): State | null {
    const id = hex(channel.id);
    const epoch = { generation: mark.generation, step: mark.step };
    const held = findRow(state, id, mark.sender);
    if (!s.readable(channel, epoch)) return state;
    const higher =
      held === undefined || (compareEpoch(epoch, held.windows.n1) || mark.bound - held.bound) > 0;
    if (!higher) return state;
    if (held === undefined && !canHaveRow(state, mark.sender, this.options.senders)) return null;
    const row: Row = {
      channel: id,
      sender: mark.sender,
      windows: restoreRow(epoch, mark.bound),
      bound: mark.bound,
      cached: false,
    };
    return withRow(state, row, this.options.senders);
  }

  // T-7: above the sequence of a torn slot, if that can be ours, and above one more than that of the good one.
  private sequenceAfter(state: State, torn: Bytes | undefined): number {
    const { sequence } = state;
    const found = torn === undefined || torn.length < 16 ? 0 : getU32(torn, 8);
    const above = (found - sequence) >>> 0;
    return (sequence + (above >= 1 && above <= SEQUENCE_REACH ? above : 1)) >>> 0;
  }

  // T-8.
  private afterLostWrite(state: State, torn: Bytes | undefined, broken: boolean): State {
    const skip = (numbers: Numbers): Numbers => {
      const limit = Math.min(numbers.limit + LOST_WRITE_SKIP, COUNTER_END);
      return { ...numbers, counter: limit, limit };
    };
    const channels = state.channels.map((channel) =>
      channel === null
        ? null
        : {
            ...channel,
            own: skip(channel.own),
            willOwn: skip(channel.willOwn),
            hold: broken || channel.hold === s.SHUT ? s.SHUT : channel.step + s.aheadOf(channel.la) + 1,
          },
    );
    const rows = state.rows.map((row) => {
      const flags = findChannel(state, row.channel)?.flags ?? 0;
      const bound = Math.min(row.bound + s.roomOf(flags), COUNTER_END);
      return { ...row, bound, windows: restoreRow(row.windows.n1, bound) };
    });
    return { ...state, channels, rows, sequence: this.sequenceAfter(state, torn) };
  }

  // NO_IDENTITY, BAD_ORDER, PENDING in this order; null when the call may go on.
  private barred(): Outcome | null {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    if (this.waiting !== null) return { status: STATUS.BAD_ORDER };
    return this.state.blobDue ? { status: STATUS.PENDING } : null;
  }

  private count(status: number): Outcome {
    if (status !== STATUS.BAD_TAG && status !== STATUS.UNKNOWN_EPOCH) return { status };
    this.counters.failures++;
    return { status, asks: isPowerOfTwo(this.counters.failures) };
  }

  // B-4: one more payload that is no beacon.
  private passPause(): void {
    if (this.counters.pause > 0) this.counters.pause--;
  }

  private adOf(channel: Channel, shape: Shape, topic: string): Ad {
    return (shape.flags & s.FLAG_CHANNEL_AD) !== 0 ? channelAd(channel.id) : topicAd(topic);
  }

  private scope(channel: Channel, shape: Shape) {
    return s.scopeOf(this.realm(), channel.id, shape);
  }

  private realm(): Bytes {
    return this.identity?.realm ?? zeros(8);
  }

  protect(id: string, text: Bytes, topic: string, will: boolean): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    const channel = findChannel(this.state, id);
    if (channel === undefined) return { status: STATUS.NO_CHANNEL };
    const chunk = chunkSize(channel.form, channel.size);
    const frames = Math.max(1, Math.ceil(text.length / chunk));
    const sender = will ? channel.will : channel.sender;
    if (sender === 0 || utf8(topic).length > TOPIC_MAX || frames > MESSAGE_FRAMES) {
      return { status: STATUS.BAD_ARGUMENT };
    }
    if (this.options.class === 2 && frames > 1) return { status: STATUS.SINGLE_ONLY };
    const ready = this.numbersFor(channel, will, frames);
    if (typeof ready === "number") return { status: ready };
    const waits = channel.hold === s.SHUT || !isSiv(parseForm(channel.form)?.suite ?? 0);
    if (waits && ready.step < channel.hold) return { status: STATUS.HOLD };
    const end = ready.counter + frames;
    if (end <= ready.limit) {
      const { next, outcome } = this.sealMessage(channel, will, ready, text, topic);
      this.state = next;
      return outcome;
    }
    if (!this.stores) return { status: STATUS.NO_GRANT };
    const limit = Math.min(ready.counter + Math.max(ready.block, frames), COUNTER_END);
    const reserved = { ...ready, limit, block: Math.min(2 * ready.block, s.BLOCK_LAST) };
    const { next, outcome } = this.sealMessage(channel, will, reserved, text, topic);
    const what = will ? storage.WILL : storage.OWN;
    const { generation } = channel;
    const mark = { channel: channel.id, generation, bound: limit, step: ready.step, sender, what };
    return this.waitForMark(mark, next, outcome, 0);
  }

  // P-2.
  private numbersFor(channel: Channel, will: boolean, frames: number): Numbers | number {
    if (channel.step < channel.from) return STATUS.NOT_YET;
    const now = numbersAt(ownOf(channel, will), channel.step);
    const ready = now.counter + frames > COUNTER_END ? numbersAt(now, now.step + 1) : now;
    if (ready.step > channel.step + s.aheadOf(channel.la)) return STATUS.EXHAUSTED;
    if (ready.step > channel.to) return STATUS.EXPIRED;
    return covering(channel.nodes, ready.step) === undefined ? STATUS.NO_LEASE : ready;
  }

  // Seals under numbers that are reserved.
  private sealMessage(
    channel: Channel,
    will: boolean,
    ready: Numbers,
    text: Bytes,
    topic: string,
  ): { next: State; outcome: Outcome } {
    const scope = this.scope(channel, channel);
    const secret = stepSecret(scope, channel.nodes, ready.step) ?? zeros(16);
    const sender = will ? channel.will : channel.sender;
    const key = senderKey(scope, secret, ready.step, sender);
    const chunks = splitMessage(text, chunkSize(channel.form, channel.size));
    const ad = this.adOf(channel, channel, topic);
    const frames = chunks.map((chunk, i) => {
      const { form, size, generation } = channel;
      const position = { form, size, sender, generation, step: ready.step, counter: ready.counter + i };
      return sealFrame(position, key, ad, partOf(i, chunks.length), chunk).frame;
    });
    const after = withOwn(channel, will, { ...ready, counter: ready.counter + chunks.length });
    const payloads = narrow(channel) ? frames : [concat(...frames)];
    return { next: withChannel(this.state, after), outcome: { status: STATUS.OK, payloads } };
  }

  // P-3, R-10: the number is spent whether the record is stored or not.
  private waitForMark(mark: storage.Mark, next: State, outcome: Outcome, credit: number): Outcome {
    const keeper = this.keeper as storage.Keeper;
    const number = this.state.number + 1;
    const record = storage.sealMark(keeper, mark, this.state.sequence, number);
    this.state = { ...this.state, number };
    this.waiting = { next: { ...next, number }, outcome, credit };
    return { status: STATUS.STORE_MARK, record };
  }

  confirm(stored: boolean): Outcome {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    const { waiting } = this;
    if (waiting === null) return { status: STATUS.BAD_ORDER };
    this.waiting = null;
    if (!stored) return { status: STATUS.OK };
    this.state = waiting.next;
    this.gainCredit(waiting.credit);
    return waiting.outcome;
  }

  saveBlob(sequence: number): Outcome {
    const barred = this.barred();
    if (barred !== null && barred.status !== STATUS.PENDING) return barred;
    const fits = Number.isInteger(sequence) && sequence > this.state.sequence && sequence <= SEQUENCE_MAX;
    if (!this.stores || !fits) return { status: STATUS.BAD_ARGUMENT };
    const record = storage.sealBlob(this.keeper as storage.Keeper, this.state, sequence);
    const next = { ...this.state, sequence, number: 0, blobDue: false };
    this.waiting = { next, outcome: { status: STATUS.OK }, credit: 0 };
    return { status: STATUS.STORE_BLOB, record };
  }

  private gainCredit(n: number): void {
    this.counters.credit = Math.min(this.counters.credit + n, CREDIT_MAX);
  }

  // false when the frame is BUSY.
  private payCredit(): boolean {
    if (this.counters.credit > 0) {
      this.counters.credit--;
      return true;
    }
    this.counters.busy++;
    if (this.counters.busy % BUSY_GIFT_EVERY === 0) this.gainCredit(BUSY_GIFT);
    return false;
  }

  tick(): Outcome {
    if (!this.running) return { status: STATUS.NO_IDENTITY };
    this.gainCredit(1);
    this.counters.pause = 0;
    return { status: STATUS.OK };
  }

  unprotect(id: string, payload: Bytes, topic: string, stored: boolean): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    this.passPause();
    const channel = findChannel(this.state, id);
    if (channel === undefined) return { status: STATUS.NO_CHANNEL };
    if (utf8(topic).length > TOPIC_MAX) return { status: STATUS.BAD_ARGUMENT };
    const frames = this.openPayload(channel, payload, topic, stored);
    if (typeof frames === "number") return this.count(frames);
    return this.accept(channel, frames, stored);
  }

  // the generation a hint names, or undefined.
  private shapeOf(channel: Channel, hint: number): Shape | undefined {
    const { previous } = channel;
    const shapes: Shape[] = previous === null ? [channel] : [channel, previous];
    return shapes.find((shape) => hint >> 4 === (shape.generation & 15));
  }

  // for every frame; nothing changes but credit.
  private openPayload(channel: Channel, payload: Bytes, topic: string, stored: boolean): Taken[] | number {
    if (payload.length < 2) return STATUS.BAD_LENGTH;
    const shape = this.shapeOf(channel, parseHeader(payload).hint) ?? channel;
    const count = payload.length / shape.size;
    const most = narrow(shape) ? 1 : MESSAGE_FRAMES;
    if (!Number.isInteger(count) || count < 1 || count > most) return STATUS.BAD_LENGTH;
    const taken: Taken[] = [];
    for (let i = 0; i < count; i++) {
      const frame = payload.subarray(i * shape.size, (i + 1) * shape.size);
      const next = this.openOne(channel, frame, topic, stored, taken[0], i);
      if (next.status !== STATUS.OK) return next.status;
      const placed = partIndex(next.part) === i && isLastPart(next.part) === (i === count - 1);
      if (!narrow(shape) && !placed) return STATUS.BAD_PART;
      taken.push(next);
    }
    return taken;
  }

  //
  private continues(first: Taken, sender: number, epoch: Epoch, counter: number, index: number): boolean {
    return (
      first.sender === sender && compareEpoch(first.epoch, epoch) === 0 && first.counter + index === counter
    );
  }

  // for one frame. `first` is the first frame of the same payload: its key is at hand.
  private openOne(
    channel: Channel,
    frame: Bytes,
    topic: string,
    stored: boolean,
    first: Taken | undefined,
    index: number,
  ): Taken {
    const header = parseHeader(frame);
    const shape = this.shapeOf(channel, header.hint);
    if (frame.length !== (shape ?? channel).size) return refused(STATUS.BAD_LENGTH);
    if (header.form !== (shape ?? channel).form) return refused(STATUS.BAD_FORM);
    if (shape === undefined) return refused(STATUS.UNKNOWN_EPOCH);
    const found = this.findStep(channel, shape, header.hint);
    if (typeof found === "number") return refused(found);
    if (channel.hold === s.SHUT) return refused(STATUS.CLOSED);
    const { sender, counter } = header;
    if (sender === shape.sender || (shape.will !== 0 && sender === shape.will)) {
      return refused(STATUS.REFLECTED);
    }
    const epoch = { generation: shape.generation, step: found.step };
    const id = hex(channel.id);
    const row = findRow(this.state, id, sender);
    if (stored && (shape.flags & s.FLAG_STORED) === 0) return refused(STATUS.NO_STORED_MODE);
    if (first !== undefined && !this.continues(first, sender, epoch, counter, index))
      return refused(STATUS.BAD_PART);
    if (!stored) {
      if (row === undefined && !canHaveRow(this.state, sender, this.options.senders)) {
        return refused(STATUS.NO_ROOM);
      }
      const fresh = checkRow(row?.windows ?? null, epoch, counter);
      if (fresh !== STATUS.OK) return refused(fresh);
    }
    const same = (other: Epoch) => compareEpoch(other, epoch) === 0;
    const cached =
      (!stored && row?.cached === true && same(row.windows.n1)) ||
      (first !== undefined && first.sender === sender && same(first.epoch));
    if (!cached && !this.payCredit()) return refused(STATUS.BUSY);
    const scope = this.scope(channel, shape);
    const secret = found.leaf ?? stepSecret(scope, channel.nodes, found.step) ?? zeros(16);
    const key = senderKey(scope, secret, found.step, sender);
    const { form, size, generation } = shape;
    const position = { form, size, sender, generation, step: found.step, counter };
    const opened = openFrame(position, key, this.adOf(channel, shape, topic), frame);
    return { ...opened, epoch, sender, counter, shape };
  }

  //
  private findStep(channel: Channel, shape: Shape, hint: number): Found | number {
    const { previous } = channel;
    if (shape === previous) {
      const step = s.keptStep(previous, hint);
      if (step === null) return STATUS.UNKNOWN_EPOCH;
      return { step, leaf: previous.leaves[step - previous.first] ?? null };
    }
    const low = s.baseStep(channel);
    const step = low + ((((hint - low) % 16) + 16) % 16);
    if (step < channel.open) return STATUS.CLOSED;
    if (step > LAST_STEP || covering(channel.nodes, step) === undefined) return STATUS.NO_LEASE;
    return { step, leaf: null };
  }

  //
  private accept(channel: Channel, frames: readonly Taken[], stored: boolean): Outcome {
    const [first] = frames as [Taken];
    const last = frames[frames.length - 1] as Taken;
    const shape = first.shape ?? channel;
    const { sender, epoch, counter } = first;
    const from = { sender, generation: epoch.generation, step: epoch.step, counter };
    const id = hex(channel.id);
    const joined = this.joined(id, first, frames, narrow(shape), stored);
    const outcome: Outcome =
      joined.status === STATUS.OK
        ? { status: STATUS.OK, text: joined.text, from }
        : { status: joined.status, from };
    if (stored) {
      this.gainCredit(frames.length);
      return outcome;
    }
    const held = findRow(this.state, id, sender);
    let windows = held?.windows ?? null;
    for (const frame of frames) windows = markRow(windows, epoch, frame.counter);
    const marked = windows as NonNullable<typeof windows>;
    const newest = compareEpoch(marked.n1, epoch) === 0;
    const bound = held !== undefined && compareEpoch(held.windows.n1, marked.n1) === 0 ? held.bound : 0;
    const short = this.stores && newest && last.counter >= bound;
    const raised = short ? Math.min(last.counter + s.roomOf(shape.flags), COUNTER_END) : bound;
    const row: Row = {
      channel: id,
      sender,
      windows: marked,
      bound: raised,
      cached: newest || (held?.cached ?? false),
    };
    const next = { ...withRow(this.state, row, this.options.senders), joins: joined.joins };
    if (short) {
      const { generation, step } = epoch;
      const what = storage.PEER;
      const mark = { channel: channel.id, generation, bound: raised, step, sender, what };
      return this.waitForMark(mark, next, outcome, frames.length);
    }
    this.state = next;
    this.gainCredit(frames.length);
    return outcome;
  }

  private joined(id: string, first: Taken, frames: readonly Taken[], parts: boolean, stored: boolean) {
    const { joins } = this.state;
    if (!parts) return { status: STATUS.OK, text: concat(...frames.map((frame) => frame.chunk)), joins };
    const { epoch, sender, counter, part, chunk } = first;
    const isSame = (join: s.Join) => join.channel === id && join.sender === sender;
    const held = stored ? null : (joins.find(isSame)?.join ?? null);
    const { status, next, text } = joinPart(held, epoch, counter, part, chunk);
    if (stored) return { status, text, joins };
    const others = joins.filter((join) => !isSame(join));
    return { status, text, joins: next === null ? others : [...others, { channel: id, sender, join: next }] };
  }

  beacon(id: string, payload: Bytes): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    const channel = findChannel(this.state, id);
    if (channel === undefined) return { status: STATUS.NO_CHANNEL };
    if (this.counters.pause > 0) return { status: STATUS.BUSY };
    const beacon = parseBeacon(payload);
    if (beacon === null || beacon.form !== channel.form) return { status: STATUS.BAD_BEACON };
    if (beacon.generation !== channel.generation) return this.count(STATUS.UNKNOWN_EPOCH);
    if (beacon.step <= channel.step) return { status: STATUS.OLD_BEACON };
    if (beacon.step > LAST_STEP || beacon.step - channel.step > BEACON_REACH) {
      return { status: STATUS.FAR_BEACON };
    }
    const scope = this.scope(channel, channel);
    if (!equal(hashDown(scope, beacon.v, beacon.step, channel.step), channel.v)) {
      this.counters.pause = BEACON_PAUSE;
      return { status: STATUS.BAD_BEACON };
    }
    this.state = withChannel(this.state, this.moved(channel, beacon.step, beacon.v));
    return { status: STATUS.OK };
  }

  // K-5 after a step move, and the end of a kept previous generation (C-11).
  private moved(channel: Channel, step: number, v: Bytes): Channel {
    const at = { ...channel, step, v };
    const nodes = cutNodes(this.scope(at, at), at.nodes, s.baseStep(at));
    return { ...at, nodes, previous: step > s.lateOf(at.la) ? null : at.previous };
  }

  // C-4.
  private controlKeys(): ControlKey[] {
    const { realm, device } = this.identity as Identity;
    const { version, key, nextKey, session } = this.state;
    const keys = [{ realm, device, version, step: 0, secret: key }];
    if (nextKey !== null) keys.push({ realm, device, version: version + 1, step: 0, secret: nextKey });
    if (session !== null) keys.push({ realm, device, version, step: 1, secret: session });
    return keys;
  }

  private keyOfHint(hint: number): ControlKey | number {
    const keys = this.controlKeys();
    const known = keys.some((key) => hintOf(key.version, 0) === (hint & 0xf0));
    if (!known || (hint & 15) > 1) return STATUS.UNKNOWN_EPOCH;
    return keys.find((key) => hintOf(key.version, key.step) === hint) ?? STATUS.NO_SESSION;
  }

  control(payload: Bytes, topic: string): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    this.passPause();
    if (utf8(topic).length > TOPIC_MAX) return { status: STATUS.BAD_ARGUMENT };
    const down = control.openDown(payload, topic, (hint) => this.keyOfHint(hint));
    if (down.status !== STATUS.OK || down.key === null) return this.count(down.status);
    const grant = down.contents.length === 1 && down.contents[0]?.[0] === control.GRANT_SESSION;
    if (!this.stores && down.key.step === 0) {
      if (!grant) return { status: STATUS.NO_SESSION };
      const boot = down.contents[0]?.slice(1, 9) ?? NOTHING;
      if (!equal(boot, this.bootNonce)) return { status: STATUS.BAD_SESSION };
    }
    if (down.revision < this.state.revision) return { status: STATUS.OLD_REVISION };
    if (down.key.step === 1) this.state = { ...this.state, heard: true };
    if (down.revision === this.state.revision) {
      this.state = this.repeat(this.state, down.contents);
      return { status: STATUS.OK };
    }
    return this.applyRevision(down, down.key);
  }

  // C-5, equal revision: only queries are read.
  private repeat(state: State, contents: readonly Bytes[]): State {
    let { echo } = state;
    for (const content of contents) {
      const command = control.parseCommand(content);
      if (command?.code === control.QUERY) echo = command.nonce;
    }
    return { ...state, echo };
  }

  private applyRevision(down: control.Down, key: ControlKey): Outcome {
    const keeper = this.keeper as storage.Keeper;
    const before = this.state;
    let state = this.promoted(before, key);
    const statuses: number[] = [];
    for (const content of down.contents) {
      const applied = this.applyCommand(state, content, key);
      state = applied.state;
      statuses.push(applied.status);
    }
    const changed = this.stores && storage.storedImage(keeper, before) !== storage.storedImage(keeper, state);
    this.state = { ...state, revision: down.revision, statuses, blobDue: changed };
    this.counters.failures = 0;
    return { status: changed ? STATUS.STORE_BLOB : STATUS.OK };
  }

  // C-16.
  private promoted(state: State, key: ControlKey): State {
    if (state.nextKey === null || key.version !== state.version + 1) return state;
    return { ...state, version: key.version, key: state.nextKey, nextKey: null };
  }

  private applyCommand(state: State, content: Bytes, key: ControlKey): Applied {
    const command = control.parseCommand(content);
    if (command === null) return { state, status: STATUS.BAD_COMMAND };
    switch (command.code) {
      case control.SET_CHANNEL:
        return this.setChannel(state, command.parameters);
      case control.ADD_NODES:
        return this.addNodes(state, command);
      case control.DROP_CHANNEL:
        return this.dropChannel(state, hex(command.channel));
      case control.RESET:
        return { state: withoutChannels(state), status: STATUS.OK };
      case control.RATCHET:
        return this.ratchet(state, command.target, command.fresh);
      case control.GRANT_SESSION:
        return this.grantSession(state, command, key);
      case control.GRANT_COUNTERS:
        return this.grantCounters(state, command);
      case control.QUERY:
        return { state: { ...state, echo: command.nonce }, status: STATUS.OK };
    }
  }

  // C-8: OK, BAD_COMMAND or BAD_SUITE.
  private possible(p: Parameters): number {
    const form = parseForm(p.form);
    if (form === null) return STATUS.BAD_COMMAND;
    const allowed = (this.options.suites >> form.suite) & 1 && (this.stores || isSiv(form.suite));
    if (!allowed) return STATUS.BAD_SUITE;
    const late = s.lateOf(p.la);
    const ahead = s.aheadOf(p.la);
    const fits =
      isFrameSize(p.form, p.size) &&
      p.size <= this.options.frameMax &&
      late <= LATE_MAX &&
      ahead <= LATE_MAX &&
      late >= ahead + 1 &&
      late + ahead <= spanMax(this.options.layout) &&
      (p.flags & 0x60) === 0 &&
      (p.flags & 0x18) !== 0x18 &&
      p.generation !== 0 &&
      Math.max(p.step, p.from, p.open, p.to) <= LAST_STEP &&
      p.from <= p.to &&
      p.sender !== 0 &&
      p.sender !== p.will;
    return fits ? STATUS.OK : STATUS.BAD_COMMAND;
  }

  private setChannel(state: State, p: Parameters): Applied {
    const status = this.possible(p);
    if (status !== STATUS.OK) return { state, status };
    const held = findChannel(state, hex(p.id));
    if (held === undefined) return this.takeSlot(state, p);
    if (p.generation < held.generation) return { state, status: STATUS.OLD_GENERATION };
    if (p.generation > held.generation) return this.renew(state, held, p);
    if (!sameFixed(p, held)) return { state, status: STATUS.BAD_CHANGE };
    const raised: Channel = {
      ...held,
      flags: p.flags,
      open: Math.max(p.open, held.open),
      to: Math.max(p.to, held.to),
      lock: p.to > held.to ? zeros(16) : held.lock,
    };
    const next = p.step > held.step ? this.moved(raised, p.step, p.v) : raised;
    return { state: withChannel(state, next), status: STATUS.OK };
  }

  private fresh(p: Parameters): Channel {
    return {
      ...p,
      lock: zeros(16),
      own: s.NO_NUMBERS,
      willOwn: s.NO_NUMBERS,
      hold: 0,
      previous: null,
      nodes: [],
    };
  }

  private takeSlot(state: State, p: Parameters): Applied {
    const slot = state.channels.indexOf(null);
    if (slot < 0) return { state, status: STATUS.CHANNEL_FULL };
    const channels = state.channels.with(slot, this.fresh(p));
    return { state: { ...state, channels }, status: STATUS.OK };
  }

  // C-11.
  private renew(state: State, held: Channel, p: Parameters): Applied {
    const keep =
      (p.flags & s.FLAG_KEEP_PREVIOUS) !== 0 && p.generation === held.generation + 1 && held.hold !== s.SHUT;
    const kept = keep ? this.kept(held) : null;
    const fresh = this.fresh(p);
    const next: Channel = {
      ...fresh,
      own: { ...fresh.own, block: held.own.block },
      willOwn: { ...fresh.willOwn, block: held.willOwn.block },
      previous: p.step > s.lateOf(p.la) ? null : kept,
    };
    const rows = keep ? state : withoutRows(state, hex(p.id));
    return { state: withChannel(rows, next), status: STATUS.OK };
  }

  // C-11: the first contiguous run of held steps in reach.
  private kept(held: Channel): Previous | null {
    const scope = this.scope(held, held);
    const leaves: Bytes[] = [];
    let first = 0;
    const high = Math.min(held.step + s.aheadOf(held.la), LAST_STEP);
    for (let step = Math.max(s.baseStep(held), held.open); step <= high; step++) {
      const secret = stepSecret(scope, held.nodes, step);
      if (secret === null && leaves.length > 0) break;
      if (secret === null) continue;
      if (leaves.length === 0) first = step;
      leaves.push(secret);
    }
    const { generation, form, size, flags, sender, will } = held;
    return leaves.length === 0 ? null : { generation, form, size, flags, sender, will, first, leaves };
  }

  // C-13.
  private addNodes(state: State, command: Command & { code: 2 }): Applied {
    const held = findChannel(state, hex(command.channel));
    if (held === undefined) return { state, status: STATUS.NO_CHANNEL };
    if (command.generation !== held.generation) return { state, status: STATUS.UNKNOWN_EPOCH };
    const scope = this.scope(held, held);
    let channel = held;
    let status: number = STATUS.HELD;
    for (const node of command.nodes) {
      const added = addNode(scope, channel.nodes, node, channel, s.baseStep(channel));
      const last = covering(added.parts, channel.to);
      const lock =
        last === undefined
          ? channel.lock
          : lockOf(scope, descend(scope, last, leafNumber(channel.to)).key, channel.to);
      channel = { ...channel, nodes: added.nodes, lock };
      const refusedBefore = status !== STATUS.HELD && status !== STATUS.OK;
      if (!refusedBefore && added.status !== STATUS.HELD) status = added.status;
    }
    return { state: withChannel(state, channel), status };
  }

  private dropChannel(state: State, id: string): Applied {
    if (findChannel(state, id) === undefined) return { state, status: STATUS.NO_CHANNEL };
    const channels = state.channels.map((held) => (held !== null && hex(held.id) === id ? null : held));
    return { state: withoutRows({ ...state, channels }, id), status: STATUS.OK };
  }

  // C-15.
  private ratchet(state: State, target: number, fresh: Bytes): Applied {
    if (!this.stores) return { state, status: STATUS.BAD_RATCHET };
    const { version, key } = state;
    if (target === version || (target === version + 1 && state.nextKey !== null)) {
      return { state, status: STATUS.OK };
    }
    if (target !== version + 1) return { state, status: STATUS.BAD_RATCHET };
    const { realm, device } = this.identity as Identity;
    const nextKey = control.nextKey(realm, device, version, key, fresh);
    return { state: { ...state, nextKey }, status: STATUS.OK };
  }

  // C-20. A grant comes under K(v) only.
  private grantSession(state: State, command: Command & { code: 6 }, key: ControlKey): Applied {
    if (this.stores || key.step !== 0) return { state, status: STATUS.BAD_COMMAND };
    const { realm, device } = this.identity as Identity;
    const { version } = state;
    const { bootNonce, random } = command;
    const session = control.sessionSecret(realm, device, version, state.key, bootNonce, random);
    return { state: { ...withoutChannels(state), session, heard: false }, status: STATUS.OK };
  }

  // C-21.
  private grantCounters(state: State, command: Command & { code: 7 }): Applied {
    if (this.stores) return { state, status: STATUS.BAD_COMMAND };
    const channel = findChannel(state, hex(command.channel));
    if (channel === undefined) return { state, status: STATUS.NO_CHANNEL };
    if (command.generation !== channel.generation) return { state, status: STATUS.UNKNOWN_EPOCH };
    const { step, sender, first, end } = command;
    const isOwn = sender === channel.sender;
    const isWill = channel.will !== 0 && sender === channel.will;
    const fits = first <= end && end <= COUNTER_END && step <= channel.to;
    if (!(isOwn || isWill) || !fits) return { state, status: STATUS.BAD_COMMAND };
    const numbers = { ...ownOf(channel, isWill), step, counter: first, limit: end };
    return { state: withChannel(state, withOwn(channel, isWill, numbers)), status: STATUS.OK };
  }

  private digest(): Bytes {
    return this.state.channels
      .filter((channel) => channel !== null)
      .map((channel) => control.digestEntry(this.realm(), channel, channel.lock))
      .reduce(xor, zeros(16));
  }

  // C-16, C-18: the key a hello goes out under, or an ack.
  private answerKey(kind: number): ControlKey {
    const keys = this.controlKeys().filter(
      (key) => kind === control.ACK || key.step === 0 || this.state.heard,
    );
    return keys[keys.length - 1] as ControlKey;
  }

  // C-17.
  private answer(kind: number, topic: string, want: Bytes): Outcome {
    const barred = this.barred();
    if (barred !== null) return barred;
    if (utf8(topic).length > TOPIC_MAX || want.length !== 8) return { status: STATUS.BAD_ARGUMENT };
    const key = this.answerKey(kind);
    if (kind === control.ACK && !this.stores && key.step === 0) return { status: STATUS.NO_SESSION };
    if (kind === control.HELLO) this.state = { ...this.state, heard: false };
    const { options, state } = this;
    const isShut = state.channels.some((channel) => channel?.hold === s.SHUT);
    const chunk = control.packAnswer({
      revision: state.revision,
      echo: state.echo,
      bootNonce: this.bootNonce,
      digest: this.digest(),
      sequence: state.sequence,
      bootSequence: isShut ? SEQUENCE_MAX : state.bootSequence,
      version: state.version + (state.nextKey === null ? 0 : 1),
      class: options.class,
      suites: this.stores ? options.suites : options.suites & SIV_SUITES,
      channels: options.channels,
      senders: Math.min(options.senders, 65535),
      frameMax: options.frameMax,
      span: spanMax(options.layout),
      want,
      statuses: state.statuses,
    });
    return { status: STATUS.OK, payloads: [control.sealUp(key, kind, chunk, topic)] };
  }

  ack(topic: string): Outcome {
    return this.answer(control.ACK, topic, zeros(8));
  }

  hello(topic: string, want: Bytes): Outcome {
    return this.answer(control.HELLO, topic, want);
  }

  snapshot(): string {
    const { state, running, bootNonce } = this;
    const waiting = this.waiting?.next ?? null;
    return JSON.stringify({ state, running, bootNonce, waiting }, (_, value) => {
      if (value instanceof Uint8Array) return hex(value);
      return typeof value === "bigint" ? value.toString() : value;
    });
  }
}
