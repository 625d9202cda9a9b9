/**
 * Seeded cases: random sequences of calls on a DeviceModel, with what servers and peers would send it and much
 * that they would not. Every outcome goes into one SHA-256, so that two implementations agree on the hash
 * only if they agree on every status and every byte.
 */

import { createHash } from "node:crypto";
import { type Bytes, concat, hex, u8, u16, u32, zeros } from "./bytes.ts";
import { type Command, packCommand, sealChunks } from "./control.ts";
import { nonceOf, packHeader, padText, tagSize } from "./frame.ts";
import type { DeviceModel, DeviceOptions, Outcome } from "./model.ts";
import { Random } from "./random.ts";
import { isRefusal } from "./script.ts";
import { Client, type Generation, nodeCommands, revisionOf, sealMessage } from "./server.ts";
import { adOf, DEVICE, DOWN, generationOf, KEY, REALM, tampered, UP } from "./stage.ts";
import { aheadOf, lateOf, type Parameters } from "./state.ts";
import { STATUS, statusName } from "./status.ts";
import * as storage from "./storage.ts";
import { isSiv, makeForm, seal } from "./suites.ts";

export const CASES = 10_000;
const WORLD_CASES = 50;
const MEMORY = 40;

const DEVICE_BUILD = { channels: 4, senders: 8, suites: 0b1111, layout: 1, frameMax: 1024 } as const;
const ASCON_BUILD = { ...DEVICE_BUILD, suites: 0b0011 } as const;
const HOST_BUILD = { ...DEVICE_BUILD, channels: 1024, senders: 65536, layout: 2 } as const;

/** Devices, and how often each is taken. */
type Builds = readonly (readonly [number, DeviceOptions])[];

const OPTIONS: Builds = [
  [6, { ...DEVICE_BUILD, class: 0 }],
  [1, { ...ASCON_BUILD, class: 0 }],
  [2, { ...HOST_BUILD, class: 0 }],
  [3, { ...DEVICE_BUILD, class: 1 }],
  [2, { ...DEVICE_BUILD, class: 2 }],
];

/** Those of a build without storage. */
export const VOLATILE: Builds = [
  [3, { ...ASCON_BUILD, class: 1 }],
  [2, { ...ASCON_BUILD, class: 2 }],
];

// Suite and first generation of the channels: hints wrap at 16, numbers end at 2^32 - 1.
const PLOTS: readonly (readonly [number, number])[] = [
  [0, 1],
  [1, 14],
  [2, 15],
  [3, 0xfffffff0],
  [0, 30],
  [2, 4],
];

const LATE_AHEAD = [0x01, 0x02, 0x12, 0x12, 0x03] as const;
const LATE_AHEAD_HOST = [...LATE_AHEAD, 0x34, 0x67, 0x07] as const;
const SIZES = [32, 32, 40, 64, 64, 64, 128, 256, 1024] as const;
const STEPS = [0, 0, 1, 5, 120, 127, 2000, 4090, 4095] as const;

/** What the server and the peers know of one channel. */
interface Plot {
  readonly suite: number;
  readonly first: number;
  readonly filter: string;
  readonly id: string;
  parameters: Parameters | null;
  before: Parameters | null;
}

interface Sent {
  readonly id: string;
  readonly payload: Bytes;
  readonly topic: string;
  readonly stored: boolean;
}

export interface CaseReport {
  /** SHA-256 of every status, text, payload and position. */
  readonly hash: string;
  /** SHA-256 of every blob and mark. */
  readonly records: string;
  /** How often each status occurred, in outcomes and in acks. */
  readonly statuses: ReadonlyMap<string, number>;
}

/** The cases of one seed over one implementation. */
class Cases {
  private readonly make: (options: DeviceOptions) => DeviceModel;
  private readonly builds: Builds;
  private readonly random: Random;
  private readonly hash = createHash("sha256");
  private readonly records = createHash("sha256");
  private readonly statuses = new Map<string, number>();
  private readonly generations = new Map<string, Generation>();

  private options: DeviceOptions = { ...DEVICE_BUILD, class: 0 };
  private device: DeviceModel;
  private client = new Client(REALM, DEVICE, KEY);
  private ratchet: Command | null = null;
  private count = 0;
  private sequence = 0;
  private slots: [Bytes, Bytes] = [zeros(0), zeros(0)];
  private marks: Bytes[] = [];
  private forged = 0;
  private bootNonce = zeros(8);
  private plots: Plot[] = [];
  private counters = new Map<string, number>();
  private memory: Sent[] = [];

  constructor(make: (options: DeviceOptions) => DeviceModel, seed: number, builds: Builds) {
    this.make = make;
    this.builds = builds;
    this.random = new Random(seed);
    this.device = make(this.options);
  }

  run(count: number): CaseReport {
    for (let i = 0; i < count; i++) {
      if (i % WORLD_CASES === 0) this.begin();
      this.one();
    }
    return { hash: this.hash.digest("hex"), records: this.records.digest("hex"), statuses: this.statuses };
  }

  private tally(status: number): void {
    const name = statusName(status);
    this.statuses.set(name, (this.statuses.get(name) ?? 0) + 1);
  }

  private fold(outcome: Outcome): void {
    const { status, text, payloads = [], from, record } = outcome;
    const position = from === undefined ? [] : [from.sender, from.generation, from.step, from.counter];
    const parts = [...(text === undefined ? [] : [text]), ...payloads];
    this.hash.update(concat(u8(status), ...position.map(u32)));
    for (const part of parts) this.hash.update(concat(u32(part.length), part));
    if (record !== undefined) this.records.update(concat(u32(record.length), record));
    this.tally(status);
  }

  /** Makes one call. A refusal must leave the snapshot alone [N-3]. */
  private call(name: string, action: (device: DeviceModel) => Outcome): Outcome {
    const before = this.device.snapshot();
    const outcome = action(this.device);
    this.fold(outcome);
    if (name !== "restart" && isRefusal(outcome.status) && this.device.snapshot() !== before) {
      throw new Error(`${name} was refused with ${statusName(outcome.status)} and changed the state`);
    }
    return outcome;
  }

  private begin(): void {
    const { random } = this;
    this.options = random.weighted(this.builds);
    this.device = this.make(this.options);
    this.plots = PLOTS.map(([suite, first], i) => {
      const filter = `case/${i}/+`;
      const id = hex(generationOf(suite, first, filter).scope.id);
      return { suite, first, filter, id, parameters: null, before: null };
    });
    this.count = 0;
    this.bootNonce = random.bytes(8);
    if (random.once(8)) this.call("tick", (device) => device.tick());
    this.provision();
    this.setSome();
  }

  private setSome(): void {
    const count = this.random.once(6) ? 6 : this.random.between(1, 3);
    for (const plot of this.usable().slice(0, count)) this.setChannel(plot);
  }

  // The plots whose suite the device takes, in an order of the world's own.
  private usable(): Plot[] {
    const { suites } = this.options;
    const taken = this.plots.filter(({ suite }) => (suites >> suite) & 1 && (this.stores || isSiv(suite)));
    const first = this.random.below(taken.length);
    return [...taken.slice(first), ...taken.slice(0, first)];
  }

  private provision(): void {
    this.client = new Client(REALM, DEVICE, KEY);
    this.ratchet = null;
    this.sequence = 0;
    this.slots = [zeros(0), zeros(0)];
    this.marks = [];
    this.counters.clear();
    this.memory = [];
    const identity = { realm: REALM, device: DEVICE, key: KEY };
    this.call("provision", (device) => device.provision(identity, this.bootNonce));
    if (this.options.class !== 0 && !this.random.once(10)) this.grantSession(false);
  }

  private generation(plot: Plot, number: number): Generation {
    const name = `${plot.id} ${number}`;
    let made = this.generations.get(name);
    if (made === undefined) {
      made = generationOf(plot.suite, number, plot.filter);
      this.generations.set(name, made);
    }
    return made;
  }

  private one(): void {
    const { random } = this;
    const held = this.plots.filter(({ parameters }) => parameters !== null);
    if (held.length === 0 && random.once(2)) {
      if (!this.stores) this.grantSession(false);
      this.setSome();
      return;
    }
    const plot = random.pick(held.length === 0 || random.once(40) ? this.plots : held);
    const action = random.weighted<() => void>([
      [5, () => this.setChannel(random.once(8) ? random.pick(this.plots) : random.pick(this.usable()))],
      [7, () => this.changeChannel(plot)],
      [4, () => this.addNodes(plot)],
      [7, () => this.commands(plot)],
      [5, () => this.controlAsItShouldNot(plot)],
      [10, () => this.beacon(plot)],
      [46, () => this.frame(plot)],
      [8, () => this.again()],
      [18, () => this.protect(plot)],
      [4, () => this.grantCounters(plot)],
      [3, () => this.restart(plot)],
      [1, () => this.grantSession(random.once(3))],
      [3, () => this.up()],
      [2, () => this.call("tick", (device) => device.tick())],
      [1, () => this.forgeryRun(plot)],
      [1, () => this.call("confirm", (device) => device.confirm(true))],
    ]);
    action();
  }

  // Control: the server's half.

  private get stores(): boolean {
    return this.options.class === 0;
  }

  private nextRevision(): bigint {
    this.count++;
    return revisionOf(1, this.count);
  }

  private controlKey() {
    if (!this.stores) return this.client.sessionKey() ?? this.client.base();
    return this.random.once(4) ? this.client.newest() : this.client.base();
  }

  /** True when the device took the payload. */
  private send(commands: readonly Command[]): boolean {
    return this.deliver(this.client.seal(this.controlKey(), this.nextRevision(), commands, DOWN));
  }

  private deliver(payload: Bytes): boolean {
    const { status } = this.call("control", (device) => device.control(payload, DOWN));
    if (status === STATUS.STORE_BLOB) this.storeBlob();
    if (status !== STATUS.STORE_BLOB && status !== STATUS.OK) return false;
    if (!this.random.once(4)) this.readAck();
    return true;
  }

  private readAck(): void {
    const { payloads } = this.call("ack", (device) => device.ack(UP));
    const up = this.client.open(payloads?.[0] ?? zeros(0), UP);
    this.hash.update(u8(up.status));
    for (const status of up.ack?.statuses ?? []) this.tally(status);
    if (up.key !== null && up.key.version > this.client.version) {
      this.client.settle();
      this.ratchet = null;
    }
  }

  private ratchetCommand(): Command {
    this.ratchet ??= this.client.ratchet(this.random.bytes(32));
    return this.ratchet;
  }

  private withRatchet(commands: readonly Command[]): Command[] {
    if (!this.stores || this.random.once(3)) return commands.slice(0, 8);
    return [...commands.slice(0, 7), this.ratchetCommand()];
  }

  private parameters(plot: Plot, generation: Generation): Parameters {
    const { random } = this;
    const t = random.pick([8, 16]);
    const step = random.pick(STEPS);
    const from = random.once(8)
      ? Math.min(step + random.between(1, 2), 4095)
      : Math.max(step - random.below(4), 0);
    const end = random.pick([(step | 127) + 256, (step | 127) + 128, step | 127, step | 127, step + 2]);
    return {
      id: generation.scope.id,
      generation: generation.scope.generation,
      step,
      from,
      open: random.pick([0, from, from, from, from, Math.min(step + 1, 4095)]),
      to: Math.max(from, Math.min(end, 4095)),
      form: makeForm(plot.suite, t),
      size: t === 8 && random.once(3) ? 24 : random.pick(SIZES),
      la: random.pick(this.options.layout === 1 ? LATE_AHEAD : LATE_AHEAD_HOST),
      flags: random.below(8) | random.pick([0x00, 0x08, 0x10]) | (random.once(2) ? 0x80 : 0),
      sender: random.between(1, 4),
      will: random.pick([0, 5, 6]),
      v: generation.v(step),
    };
  }

  private lease(plot: Plot, p: Parameters): Command[] {
    const generation = this.generation(plot, p.generation);
    const base = Math.max(p.step - lateOf(p.la), 0);
    const nodes = generation.lease(p.from, p.to, base);
    return nodeCommands(p.id, p.generation, nodes);
  }

  private setChannel(plot: Plot): void {
    const { random } = this;
    const held = plot.parameters;
    const number = held === null ? plot.first : held.generation + random.pick([1, 1, 1, 2]);
    if (number > plot.first + 6) return;
    const parameters = this.parameters(plot, this.generation(plot, number));
    const taken = this.send(this.withRatchet([{ code: 1, parameters }, ...this.lease(plot, parameters)]));
    if (!taken) return;
    plot.before = held;
    plot.parameters = parameters;
  }

  private changeChannel(plot: Plot): void {
    const { random } = this;
    const held = plot.parameters;
    if (held === null) {
      this.setChannel(plot);
      return;
    }
    const generation = this.generation(plot, held.generation);
    const step = Math.min(held.step + random.pick([0, 1, 1, 2, 5, 300]), 4095);
    const raised = {
      ...held,
      step,
      v: generation.v(step),
      open: random.once(4) ? Math.min(step + aheadOf(held.la), 4095) : held.open,
      to: random.once(3) ? Math.min((held.to | 127) + random.pick([0, 128]), 4095) : held.to,
    };
    const impossible: Partial<Parameters>[] = [
      { form: held.form ^ 0x20 },
      { form: held.form ^ 0x01 },
      { size: 16 },
      { size: 1032 },
      { la: 0x11 },
      { la: 0x13 },
      { flags: held.flags ^ 0x40 },
      { flags: held.flags | 0x18 },
      { generation: 0 },
      { step: 4096 },
      { from: 4095, to: 4094 },
      { sender: 0 },
      { sender: 9, will: 9 },
    ];
    const other: Partial<Parameters>[] = [
      { flags: held.flags ^ 0x80 },
      { flags: held.flags ^ 0x01 },
      { form: held.form ^ 0x10, size: 64 },
      { size: held.size === 64 ? 72 : 64 },
      { la: held.la === 0x02 ? 0x03 : 0x02 },
      { sender: held.sender + 10 },
      { will: held.will + 10 },
      { from: held.from + 1, to: Math.max(held.to, held.from + 1) },
      { generation: Math.max(held.generation - 1, 1) },
      { step: Math.max(held.step - 1, 0), to: held.from },
    ];
    const parameters = random.weighted<Parameters>([
      [5, raised],
      [2, { ...held, ...random.pick(impossible) }],
      [2, { ...held, ...random.pick(other) }],
    ]);
    const nodes = random.once(2) ? [] : this.lease(plot, parameters === raised ? raised : held);
    const taken = this.send(this.withRatchet([{ code: 1, parameters }, ...nodes]));
    if (taken && parameters === raised) plot.parameters = raised;
  }

  private addNodes(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters ?? this.parameters(plot, this.generation(plot, plot.first));
    const generation = this.generation(plot, p.generation);
    const count = random.between(1, 4);
    const nodes = Array.from({ length: count }, () => {
      const depth = random.between(4, 12);
      const step = Math.min(Math.max(p.step + random.between(-8, 140), 0), 4095);
      const h = 2 ** depth + (step >> (12 - depth));
      return random.once(20) ? { h: random.below(65536), key: random.bytes(16) } : generation.node(h);
    });
    const number = random.once(12) ? p.generation ^ 1 : p.generation;
    this.send(this.withRatchet([{ code: 2, channel: p.id, generation: number, nodes }]));
  }

  private anyCommand(plot: Plot): Command {
    const { random } = this;
    const id = plot.parameters?.id ?? random.bytes(8);
    const version = this.client.version;
    return random.weighted<Command>([
      [20, { code: 8, nonce: random.bytes(8) }],
      [1, { code: 3, channel: id }],
      [1, { code: 3, channel: random.bytes(8) }],
      [random.below(2), { code: 4 }],
      [3, { code: 5, target: version + random.between(2, 3), fresh: random.bytes(32) }],
      [1, { code: 5, target: version, fresh: random.bytes(32) }],
      [1, { code: 6, bootNonce: this.nonce(), random: random.bytes(16) }],
      [1, { code: 7, channel: id, generation: plot.first, step: 0, sender: 1, first: 0, end: 16 }],
      [3, this.ratchetOrQuery()],
    ]);
  }

  private ratchetOrQuery(): Command {
    return this.stores ? this.ratchetCommand() : { code: 8, nonce: this.random.bytes(8) };
  }

  private commands(plot: Plot): void {
    const { random } = this;
    const count = random.once(8) ? 8 : random.between(1, 4);
    const list = Array.from({ length: count }, () => this.anyCommand(plot));
    this.send(list);
    const dropped = list.some((command) => command.code === 3 || command.code === 4);
    if (dropped && !random.once(8)) plot.parameters = null;
  }

  private controlAsItShouldNot(plot: Plot): void {
    const { random } = this;
    const key = this.controlKey();
    const contents = [this.anyCommand(plot), this.anyCommand(plot)].map(packCommand);
    const revision = revisionOf(1, this.count);
    const chunks = (value: bigint) =>
      contents.map((content) => concat(u32(Number(value & 0xffffffffn)), u32(1), content));
    const good = sealChunks(key, chunks(revision + 1n), DOWN);
    random.weighted<() => void>([
      [3, () => this.deliver(sealChunks(key, chunks(revision), DOWN))],
      [3, () => this.deliver(sealChunks(key, chunks(revision - 1n), DOWN))],
      [3, () => this.deliver(tampered(good, random.below(256), 1 << random.below(8)))],
      [1, () => this.deliver(good.slice(0, random.below(256)))],
      [1, () => this.deliver(good.slice(128))],
      [1, () => this.deliver(concat(good, ...Array(15).fill(good.slice(0, 128))))],
      [1, () => this.deliver(sealChunks(key, [chunks(revision)[0] ?? zeros(8), zeros(9)], DOWN))],
      [
        2,
        () => {
          const bodies = [
            zeros(random.below(20)),
            concat(u8(random.below(12)), random.bytes(random.below(60))),
          ];
          const malformed = bodies.map((body) => concat(u32(this.count + 1), u32(1), body));
          this.count++;
          this.deliver(sealChunks(key, malformed, DOWN));
        },
      ],
    ])();
  }

  private nonce(): Bytes {
    return this.options.class === 1 ? this.bootNonce : zeros(8);
  }

  private grantSession(wrong: boolean): void {
    const { random } = this;
    const nonce = wrong ? random.bytes(8) : this.nonce();
    if (this.stores) {
      this.send([{ code: 6, bootNonce: nonce, random: random.bytes(16) }]);
      return;
    }
    const secret = random.bytes(16);
    const command: Command = wrong
      ? { code: 6, bootNonce: nonce, random: secret }
      : this.client.grant(nonce, secret);
    if (!wrong) for (const plot of this.plots) plot.parameters = null;
    this.deliver(this.client.seal(this.client.base(), this.nextRevision(), [command], DOWN));
  }

  private grantCounters(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters;
    if (p === null) return;
    const first = random.pick([0, 0, 16, 65520, 65535, 65536]);
    this.send([
      {
        code: 7,
        channel: p.id,
        generation: random.once(10) ? p.generation + 1 : p.generation,
        step: Math.min(p.step + random.pick([0, 0, 0, 1, 2, 3]), 65535),
        sender: random.pick([p.sender, p.sender, p.sender, p.will, 99]),
        first,
        end: random.pick([first + 16, first + 16, 65536, 65537, Math.max(first - 1, 0)]),
      },
    ]);
    if (!random.once(3)) this.protect(plot);
  }

  private up(): void {
    const { random } = this;
    if (random.once(2)) {
      this.readAck();
      return;
    }
    const want = random.once(2) ? zeros(8) : random.bytes(random.once(4) ? 7 : 8);
    this.call("hello", (device) => device.hello(random.once(10) ? this.longTopic() : UP, want));
  }

  // Storage.

  private storeBlob(): void {
    const { random } = this;
    if (random.once(6)) {
      this.call("ack", (device) => device.ack(UP));
      this.call("unprotect", (device) => device.unprotect("00".repeat(8), zeros(0), "t", false));
    }
    if (random.once(20)) this.call("saveBlob", (device) => device.saveBlob(this.sequence));
    for (const slot of [0, 1] as const) {
      if (random.once(20)) {
        this.sequence++;
        this.call("saveBlob", (device) => device.saveBlob(this.sequence));
        this.call("beacon", (device) => device.beacon("00".repeat(8), zeros(25)));
        this.call("confirm", (device) => device.confirm(false));
      }
      this.sequence++;
      const { record } = this.call("saveBlob", (device) => device.saveBlob(this.sequence));
      this.call("confirm", (device) => device.confirm(true));
      this.slots[slot] = record ?? zeros(0);
    }
    this.marks = [];
  }

  /** Writes the mark an outcome asks for and returns what follows. */
  private settle(outcome: Outcome): Outcome {
    const { random } = this;
    if (outcome.status !== STATUS.STORE_MARK) return outcome;
    if (random.once(16)) {
      this.call("ack", (device) => device.ack(UP));
    }
    if (random.once(16)) return this.call("confirm", (device) => device.confirm(false));
    if (outcome.record !== undefined) this.marks.push(outcome.record);
    return this.call("confirm", (device) => device.confirm(true));
  }

  private forgeMark(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters;
    if (p === null || !this.stores) return;
    const keeper = {
      realm: REALM,
      device: DEVICE,
      storageKey: storage.storageKey(REALM, DEVICE, KEY),
      layout: this.options.layout,
    };
    const what = random.pick([storage.OWN, storage.OWN, storage.WILL]);
    this.forged++;
    const mark = {
      channel: p.id,
      generation: p.generation,
      bound: random.between(65500, 65536),
      step: Math.min(p.step + random.below(3), 4095),
      sender: what === storage.OWN ? p.sender : p.will,
      what,
    };
    this.marks.push(storage.sealMark(keeper, mark, this.sequence, 0x10000 + this.forged));
  }

  private restart(plot: Plot): void {
    const { random } = this;
    if (random.once(2)) this.forgeMark(plot);
    if (random.once(4) && this.marks.length > 0) {
      this.marks.push(tampered(this.marks[0] as Bytes, random.below(48)));
    }
    const torn = (slot: Bytes): Bytes =>
      slot.length === 0
        ? random.bytes(20)
        : random.once(2)
          ? tampered(slot, random.below(slot.length))
          : slot.slice(0, -1);
    const [a, b] = this.slots;
    const blank = new Uint8Array(32).fill(0xff);
    const slots = random.weighted<() => [Bytes, Bytes]>([
      [12, () => [a, b]],
      [2, () => [b, a]],
      [4, () => [torn(a), b]],
      [4, () => [a, torn(b)]],
      [1, () => [torn(a), torn(b)]],
      [1, () => [blank, zeros(0)]],
    ])();
    if (this.options.class === 1) this.bootNonce = random.bytes(8);
    const { status } = this.call("restart", (device) => device.restart(slots, this.marks, this.bootNonce));
    // T-7: after a lost write a sequence is skipped.
    this.sequence++;
    const lost = status !== STATUS.OK || slots[0] === blank;
    if (lost) {
      if (status !== STATUS.OK) this.call("tick", (device) => device.tick());
      for (const held of this.plots) held.parameters = null;
      this.provision();
      this.setSome();
    } else if (this.stores) {
      this.storeBlob();
      for (const held of this.plots) if (held.parameters !== null && random.once(2)) this.protect(held);
    } else {
      for (const held of this.plots) held.parameters = null;
      this.grantSession(false);
      this.setSome();
    }
  }

  // A device build may hold topics of 256 bytes only; what it says to longer ones is its own matter.
  private longTopic(): string {
    return "t".repeat(this.options.layout === 1 ? 256 : this.random.pick([1024, 1025]));
  }

  // Frames.

  private beacon(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters;
    if (p === null) {
      this.call("beacon", (device) => device.beacon(plot.id, random.bytes(25)));
      return;
    }
    const generation = this.generation(plot, p.generation);
    const step = Math.min(p.step + random.pick([1, 1, 1, 1, 2, 3, 4, 255, 256]), 4095);
    const good = generation.beacon(p.form, step);
    const payload = random.weighted<() => Bytes>([
      [12, () => good],
      [1, () => generation.beacon(p.form, p.step)],
      [1, () => generation.beacon(p.form, Math.min(p.step + 257, 4095))],
      [1, () => concat(u8(p.form), u32(p.generation), u32(4096 + random.below(9)), zeros(16))],
      [2, () => tampered(good, random.below(25), 1 << random.below(8))],
      [1, () => good.slice(0, random.below(25))],
      [1, () => concat(good, u8(0))],
    ])();
    const { status } = this.call("beacon", (device) => device.beacon(plot.id, payload));
    if (status !== STATUS.OK) return;
    plot.parameters = { ...p, step, v: generation.v(step) };
    if (this.stores) this.storeBlob();
  }

  private counterOf(plot: Plot, p: Parameters, step: number, sender: number, frames: number): number {
    const { random } = this;
    const name = `${plot.id} ${p.generation} ${step} ${sender}`;
    const next = this.counters.get(name) ?? random.pick([0, 0, 0, 7, 65000, 65536 - frames]);
    const jump = random.weighted<number>([
      [10, 0],
      [3, random.between(1, 20)],
      [1, random.between(60, 70)],
      [2, -random.between(1, 20)],
      [1, -random.between(60, 80)],
    ]);
    const counter = Math.min(Math.max(next + jump, 0), 65536 - frames);
    this.counters.set(name, Math.max(next, counter + frames));
    return counter;
  }

  private frame(plot: Plot): void {
    const { random } = this;
    const old = random.once(6) ? plot.before : null;
    const p = old ?? plot.parameters;
    if (p === null) {
      this.deliverFrame(plot.id, random.bytes(random.pick([0, 1, 2, 64])), "t", false);
      return;
    }
    const generation = this.generation(plot, p.generation);
    const offset = random.weighted<number>([
      [10, 0],
      [3, -1],
      [2, 1],
      [2, -2],
      [1, 2],
      [1, -3],
      [1, random.between(-18, 18)],
    ]);
    const step = Math.min(Math.max(p.step + offset, 0), 4095);
    const sender = random.once(2) ? random.below(20) : random.pick([0, 7, 8, 9]);
    const frames = random.weighted<number>([
      [12, 1],
      [3, 2],
      [2, 3],
      [1, random.between(4, 9)],
      [p.size < 64 ? 1 : 0, 64],
    ]);
    const chunk = p.size - tagSize(p.form) - 8;
    const text = random.bytes(chunk * (frames - 1) + random.below(chunk + 1) || 1);
    const topic = `plot/${random.below(2)}`;
    const counter = this.counterOf(plot, p, step, sender, frames);
    const ad = adOf(p, topic);
    const parts = sealMessage(generation, p, { sender, step, counter }, ad, text);
    const stored = random.once(6);
    if ((p.flags & 0x04) !== 0 && !random.once(10)) {
      const kept = random.once(5) ? parts.filter(() => !random.once(3)) : parts;
      for (const part of kept) this.deliverFrame(plot.id, part, topic, stored);
      return;
    }
    const payload = concat(...parts);
    const sent = random.weighted<() => [Bytes, string]>([
      [20, () => [payload, topic]],
      [3, () => [tampered(payload, random.below(payload.length), 1 << random.below(8)), topic]],
      [1, () => [tampered(payload, random.below(6), 1 << random.below(8)), topic]],
      [1, () => [payload, `${topic}/other`]],
      [1, () => [payload, this.longTopic()]],
      [1, () => [payload.slice(0, random.below(payload.length)), topic]],
      [1, () => [concat(payload, u8(0)), topic]],
      [1, () => [concat(...parts.slice(0, -1)), topic]],
      [1, () => [concat(...parts.slice(1)), topic]],
      [1, () => [concat(...parts.toReversed()), topic]],
      [1, () => [concat(payload, payload), topic]],
      [1, () => [this.oddFrame(generation, p, step, sender, counter, ad), topic]],
    ])();
    this.deliverFrame(plot.id, sent[0], sent[1], stored);
  }

  // Authentic, from a member that does not keep to F-3 or F-5.
  private oddFrame(
    generation: Generation,
    p: Parameters,
    step: number,
    sender: number,
    counter: number,
    ad: { bytes: Bytes; topicLen: number },
  ): Bytes {
    const { random } = this;
    const { form, size } = p;
    const t = tagSize(form);
    const position = { form, size, sender, generation: p.generation, step, counter };
    const n = size - 6 - t;
    const text = random.pick([
      padText(random.below(256), random.bytes(Math.min(3, n - 2)), n),
      concat(u8(0x80), zeros(n - 1)),
      concat(u8(0x80), random.bytes(n - 2), u8(1)),
      zeros(n),
    ]);
    const sealed = seal(
      generation.scope.suite,
      generation.key(step, sender),
      nonceOf(position, ad.topicLen),
      ad.bytes,
      text,
      t,
    );
    return concat(packHeader(position), sealed.cipher, sealed.tag);
  }

  private deliverFrame(id: string, payload: Bytes, topic: string, stored: boolean): void {
    this.settle(this.call("unprotect", (device) => device.unprotect(id, payload, topic, stored)));
    this.memory.push({ id, payload, topic, stored });
    if (this.memory.length > MEMORY) this.memory.shift();
  }

  private again(): void {
    if (this.memory.length === 0) return;
    const { id, payload, topic, stored } = this.random.pick(this.memory);
    const other = this.random.once(8) ? this.random.pick(this.plots).id : id;
    this.settle(this.call("unprotect", (device) => device.unprotect(other, payload, topic, stored)));
  }

  // R-14 needs many forgeries in a row.
  private forgeryRun(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters;
    if (p === null) return;
    const generation = this.generation(plot, p.generation);
    const writer = { sender: 15, step: p.step, counter: 0 };
    const [frame = zeros(0)] = sealMessage(generation, p, writer, adOf(p, "t"), u16(0));
    for (let i = random.between(10, 60); i > 0; i--) {
      const payload = random.once(30) ? frame : tampered(frame, -1);
      this.settle(this.call("unprotect", (device) => device.unprotect(plot.id, payload, "t", false)));
    }
  }

  private protect(plot: Plot): void {
    const { random } = this;
    const p = plot.parameters;
    const chunk = p === null ? 40 : p.size - tagSize(p.form) - 8;
    const length = random.weighted<number>([
      [12, random.between(1, chunk)],
      [3, random.between(1, 4 * chunk)],
      [1, 64 * Math.min(chunk, 40)],
      [1, 64 * chunk + 1],
    ]);
    const topic = random.once(40) ? this.longTopic() : `plot/${random.below(3)}`;
    const will = random.once(4);
    const text = zeros(length).map((_, i) => i);
    const outcome = this.settle(this.call("protect", (device) => device.protect(plot.id, text, topic, will)));
    const [first] = outcome.payloads ?? [];
    if (first !== undefined) this.memory.push({ id: plot.id, payload: first, topic, stored: false });
  }
}

/** Runs `count` cases of a seed over an implementation. Throws where a refusal changed its snapshot. */
export function runCases(
  make: (options: DeviceOptions) => DeviceModel,
  count = CASES,
  seed = 0x616d706f,
  builds = OPTIONS,
): CaseReport {
  return new Cases(make, seed, builds).run(count);
}
