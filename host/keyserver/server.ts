// The key server: what an operator asks of it, and an MQTT client that brings every device there.

import { concat, fromHex, toHex } from "../bytes.ts";
import type { Engine } from "../core/engine.ts";
import { Kit } from "../core/kit.ts";
import { v8Engine } from "../core/wasm.ts";
import type { Identity } from "../store/store.ts";
import type { Link, Timer, World } from "../world.ts";
import { NO_REVISION, u32 } from "./bytes.ts";
import { type ChannelParams, Desired, type GrantOptions, isSuspended } from "./desired.ts";
import { ServerError } from "./errors.ts";
import { checkPrefix } from "./filters.ts";
import { isComplete } from "./ledger.ts";
import { Outcome, type Publication, type ServerEvent } from "./outcome.ts";
import { Records } from "./records.ts";
import type { ChannelRow, DeviceRow } from "./rows.ts";
import { Talk } from "./talk.ts";
import type { Unlock } from "./vault.ts";

export type { ChannelParams, GrantOptions } from "./desired.ts";
export { ServerError } from "./errors.ts";
export type { ServerEvent } from "./outcome.ts";
export type { Unlock } from "./vault.ts";

export interface DeviceStatus {
  id: string;
  name: string;
  /** "suspended": it holds nothing of a channel for some time (SPEC V-12). */
  state: "in sync" | "behind" | "silent" | "diverged" | "suspended" | "new";
  /** Last revision given: 16 hex digits, incarnation first. */
  revision: string;
  /** Filters of the channels it is a member of. */
  channels: string[];
  lastSeen: number | null;
  controlVersion: number;
  blobSequence: number | null;
  alarm: string | null;
  class: 0 | 1 | 2 | null;
}

export interface MemberState {
  device: string;
  name: string;
  sender: number;
  will: number;
  from: number;
  open: number;
  to: number;
  renew: boolean;
  writes: boolean;
  /** When it is given keys again, in milliseconds since 1970; 0: it is not suspended (SPEC V-12). */
  suspendedTo: number;
}

export interface ChannelState extends Required<ChannelParams> {
  id: string;
  filter: string;
  generation: number;
  /** The announced step. */
  step: number;
  /** The step the server is moving to. */
  target: number;
  /** When the step last moved or the generation began, in milliseconds since 1970. */
  steppedAt: number;
  members: MemberState[];
}

/** Times in milliseconds. */
export interface Tuning {
  /** How often a serving process looks for changes of another one. */
  poll: number;
  /** How long newcomers are gathered before the step moves, and the pause between two moves. */
  batch: number;
  /** First and longest pause before an unanswered revision is sent again. */
  resend: number;
  resendMax: number;
  /** A device that is not in sync and was not heard for so long is silent. */
  silent: number;
  /** Counters in one block for a device without storage. */
  counterBlock: number;
}

export interface KeyServerOptions {
  world: World;
  path: string;
  unlock: Unlock;
  engine?: Engine;
  tuning?: Partial<Tuning>;
}

const TUNING: Tuning = {
  poll: 250,
  batch: 1000,
  resend: 30_000,
  resendMax: 3_600_000,
  silent: 3_600_000,
  counterBlock: 1024,
};
/** A database no other process can open. */
const IN_MEMORY = ":memory:";
const NAME_MAX = 64;
const FIRST_INCARNATION = 1;
const REPEATED_MAX = 4096;
/** Steps of a channel that its members bring about at once; then one in each pause: all of them store it. */
const MOVES_AT_ONCE = 32;
const MOVE_PAUSE_MS = 60_000;
/** A device that comes and goes within a second is answered each time, so often. */
const RESEND_BURST = 8;

/** Nothing is sent to a device again within this time. */
const RESEND_PAUSE_MS = 1000;

interface Resend {
  /** The highest that was sent. */
  revision: string;
  /** When a payload last went to the device. */
  at: number;
  delay: number;
  /** The device asked too soon: the timer runs to the end of the pause. */
  due: boolean;
  timer: Timer;
  /** Times in a row that it was sent again within a pause of the last time. */
  burst: number;
}

export class KeyServer {
  readonly realm: Uint8Array;
  readonly prefix: string;
  /** Called after what it tells of is durable. Must not throw. */
  onEvent: (event: ServerEvent) => void = () => {};
  readonly #world: World;
  readonly #path: string;
  readonly #records: Records;
  readonly #desired: Desired;
  readonly #talk: Talk;
  readonly #kit: Kit;
  readonly #tuning: Tuning;
  readonly #announced = new Map<string, string>();
  readonly #resends = new Map<string, Resend>();
  /** Up to when the moves of a channel are spread over time. */
  readonly #moved = new Map<string, number>();
  /** When grants of earlier boots were last sent again. */
  readonly #repeated = new Map<string, number>();
  #link: Link | null = null;
  #lock: { release(): void } | null = null;
  #connected = false;
  #pollTimer: Timer = null;
  #moveTimer: Timer = null;
  #soonTimer: Timer = null;
  #retryTimer: Timer = null;
  #dataVersion = 0;
  #erasureOwed = false;
  /** Revisions were taken back, and their devices wait for others. */
  #unserved = false;

  private constructor(options: KeyServerOptions, records: Records) {
    this.#world = options.world;
    this.#path = options.path;
    this.#records = records;
    this.#tuning = { ...TUNING, ...options.tuning };
    this.#kit = new Kit(options.engine ?? v8Engine());
    this.#desired = new Desired(records, this.#kit, this.#world);
    this.#talk = new Talk(records, this.#desired, this.#kit, this.#world, this.#tuning.counterBlock);
    const { realm, prefix } = records.realm();
    this.realm = fromHex(realm);
    this.prefix = prefix;
  }

  /**
   * Makes a realm in a new database; a key file that does not exist is made too.
   *
   * @param options.recoverable ratchets take zeros instead of fresh bytes: devices can then be followed
   *   after a restore, and whoever has a backup can follow them too. Default false.
   */
  static create(options: KeyServerOptions & { prefix?: string; recoverable?: boolean }): KeyServer {
    const prefix = options.prefix ?? "ampoule";
    checkPrefix(prefix);
    const { world } = options;
    const records = Records.create(world, options.path, options.unlock, {
      realm: toHex(world.random(8)),
      prefix,
      incarnation: FIRST_INCARNATION,
      floor: 1,
      recoverable: options.recoverable ?? false,
    });
    return new KeyServer(options, records);
  }

  /**
   * Opens a realm. A wrong passphrase or key file is refused (WRONG_KEY) before anything is written.
   *
   * @param options.restored the database is an older copy: all numbers jump over what the lost time may
   *   have used, and every channel gets a new generation (SPEC V-7)
   */
  static open(options: KeyServerOptions & { restored?: boolean }): KeyServer {
    const server = new KeyServer(options, Records.open(options.world, options.path, options.unlock));
    if (options.restored) server.#restore();
    return server;
  }

  /** Adds a device with a random id and K(0). The identity is shown once: K(0) is not readable later. */
  provision(name: string): Identity {
    checkName(name);
    const [device, key] = [this.#world.random(8), this.#world.random(16)];
    this.#change(() => {
      if (this.#records.deviceNamed(name) !== undefined) {
        throw new ServerError("NAME_TAKEN", `there is a device ${JSON.stringify(name)} already`);
      }
      this.#records.addDevice(newDevice(toHex(device), name), key);
    });
    return { realm: this.realm.slice(), device, prefix: this.prefix, key };
  }

  devices(): { id: string; name: string }[] {
    return this.#records.devices().map(({ id, name }) => ({ id, name }));
  }

  /** Takes the device out of all its channels, as revoke does, and forgets it. */
  removeDevice(name: string): void {
    this.#change((out) => {
      const device = this.#device(name);
      for (const { channel } of this.#records.memberships(device.id)) {
        this.#revoke(this.#records.channel(channel) as ChannelRow, device, out);
      }
      this.#records.removeDevice(device.id);
      out.erased = true;
    });
  }

  createChannel(filter: string, params: ChannelParams = {}): ChannelState {
    return this.#change(() => this.#state(this.#desired.createChannel(filter, params)));
  }

  channels(): ChannelState[] {
    return this.#records.look(() => this.#records.channels().map((channel) => this.#state(channel)));
  }

  channel(filter: string): ChannelState {
    return this.#records.look(() => this.#state(this.#desired.channel(filter)));
  }

  deleteChannel(filter: string): void {
    this.#change((out) => {
      this.#desired.deleteChannel(filter);
      out.erased = true;
    });
  }

  /** Makes a device a member, or changes its lease. `device` is a name or an id. */
  grant(filter: string, device: string, options: GrantOptions = {}): void {
    this.#change(() => this.#desired.grant(this.#desired.channel(filter), this.#device(device).id, options));
  }

  /** Takes a member out: everyone else gets a new generation (SPEC V-10). */
  revoke(filter: string, device: string): void {
    this.#change((out) => this.#revoke(this.#desired.channel(filter), this.#device(device), out));
  }

  /** A new generation; members may still read what was sealed in the old one's last steps. */
  rotate(filter: string): void {
    this.#change((out) => {
      const channel = this.#desired.channel(filter);
      this.#desired.newGeneration(channel, true);
      out.erased = true;
      out.tell("generation", { channel: filter, detail: String(channel.generation) });
    });
  }

  /** Moves the channel's current step by one; older keys are forgotten (SPEC V-6). */
  step(filter: string): void {
    this.#change((out) => this.#step(this.#desired.channel(filter), out));
  }

  status(): DeviceStatus[] {
    return this.#records.look(() => this.#status());
  }

  /** The operator has seen to the alarm; a device that was given up is asked again. */
  clearAlarm(name: string): void {
    this.#change(() => {
      const device = this.#device(name);
      this.#records.saveDevice({ ...device, alarm: null, doubt: 0, ask: true });
    });
  }

  /**
   * Serves devices over a link that is not yet connected. Throws SERVING if another process does.
   * Other processes may change the database meanwhile.
   */
  start(link: Link): void {
    if (this.#link !== null) throw new ServerError("SERVING", "this key server is already serving");
    if (this.#path !== IN_MEMORY) this.#lock = takeLock(this.#world, `${this.#path}.lock`);
    this.#link = link;
    this.#dataVersion = this.#records.dataVersion();
    link.onConnect = () => this.#guard(() => this.#onConnect());
    link.onMessage = (topic, payload) => this.#guard(() => this.#onMessage(topic, payload));
    link.onError = (error) => this.onEvent({ kind: "error", detail: error.message });
    link.onClose = () => this.#onClose();
    link.connect();
    this.#poll();
  }

  /** Ends serving; the lock is free when it resolves. */
  async stop(): Promise<void> {
    const link = this.#halt();
    try {
      await link?.end();
    } finally {
      this.#unlock();
    }
  }

  /** Wipes the key-encryption key and closes the database. Call stop() first to leave the broker in order. */
  close(): void {
    this.#halt()
      ?.end()
      .catch(() => {});
    this.#unlock();
    this.#records.close();
  }

  #halt(): Link | null {
    const link = this.#link;
    this.#link = null;
    this.#connected = false;
    const timers = [this.#pollTimer, this.#moveTimer, this.#soonTimer, this.#retryTimer];
    for (const timer of timers) this.#world.clearTimer(timer);
    for (const { timer } of this.#resends.values()) this.#world.clearTimer(timer);
    this.#resends.clear();
    this.#announced.clear();
    this.#moveTimer = this.#soonTimer = this.#retryTimer = null;
    return link;
  }

  #unlock(): void {
    this.#lock?.release();
    this.#lock = null;
  }

  // Changes

  /** One transaction; what follows from it is published and told after the commit. */
  #change<T>(run: (out: Outcome) => T): T {
    const result = this.#commit(run);
    this.#soon();
    return result;
  }

  #commit<T>(run: (out: Outcome) => T): T {
    const out = new Outcome();
    const result = this.#records.transact(() => this.#forgetting(run, out));
    this.#erasureOwed ||= out.erased;
    this.#payErasure();
    const unsent = out.publications.filter((publication) => !this.#publish(publication));
    const untold = new Set(unsent.map(({ event }) => event));
    for (const event of out.events) if (!untold.has(event)) this.onEvent(event);
    return result;
  }

  /** What a transaction forgets is in no outstanding revision either when it is committed. */
  #forgetting<T>(run: (out: Outcome) => T, out: Outcome): T {
    // The transaction before was undone, and with it the seeds it drew.
    if (this.#desired.takeForgot()) this.#desired.dropChains(true);
    const result = run(out);
    if (this.#desired.takeForgot()) {
      this.#talk.forget(out);
      this.#unserved = true;
    }
    return result;
  }

  #payErasure(): void {
    if (this.#erasureOwed) this.#erasureOwed = !this.#records.checkpoint();
  }

  #step(channel: ChannelRow, out: Outcome): void {
    const generation = channel.generation;
    this.#desired.step(channel);
    this.#stepped(channel, generation, out);
  }

  #stepped(channel: ChannelRow, generation: number, out: Outcome): void {
    out.erased = true;
    if (channel.generation === generation) {
      out.tell("step", { channel: channel.filter, detail: String(channel.step) });
    } else {
      out.tell("generation", { channel: channel.filter, detail: String(channel.generation) });
    }
  }

  #revoke(channel: ChannelRow, device: DeviceRow, out: Outcome): void {
    this.#desired.revoke(channel, device.id);
    out.erased = true;
    out.tell("generation", { channel: channel.filter, detail: String(channel.generation) });
  }

  /** SPEC V-7. */
  #restore(): void {
    this.#change((out) => {
      this.#desired.restore(this.#records.realm());
      for (const device of this.#records.devices()) {
        this.#talk.restored(device, out);
      }
    });
  }

  // Serving

  #onConnect(): void {
    const link = this.#link;
    link?.subscribe(`${this.prefix}/+/up`, 1).then(
      () => {
        if (this.#link !== link) return;
        this.#connected = true;
        this.#announced.clear();
        this.onEvent({ kind: "connected" });
        this.#guard(() => this.#reconcileAll(true));
      },
      (error: Error) => this.onEvent({ kind: "error", detail: error.message }),
    );
  }

  #onClose(): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.onEvent({ kind: "disconnected" });
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    if (!topic.startsWith(`${this.prefix}/`) || !topic.endsWith("/up")) return;
    this.#commit((out) => this.#talk.receive(topic, payload, out));
    if (this.#unserved) this.#soon();
    this.#armMove();
  }

  /** Readers first, writers last (SPEC V-10); then the beacons. */
  #reconcileAll(again: boolean): void {
    this.#desired.dropChains();
    if (!this.#connected) return;
    this.#unserved = false;
    const devices = this.#records.devices().map((device) => device.id);
    const writes = (id: string) => this.#records.memberships(id).some((member) => member.writes);
    const readers = devices.filter((id) => !writes(id));
    for (const id of [...readers, ...devices.filter(writes)]) this.#reconcile(id, again);
    this.#guard(() => {
      const told = this.#commit((out) => this.#announceAll(out));
      for (const [channel, epoch] of told) this.#announced.set(channel, epoch);
    });
    for (const channel of this.#records.beaconsToClear()) this.#clearBeacon(channel);
    if (this.#unserved) this.#soon();
    this.#armMove();
  }

  #reconcile(id: string, again: boolean): void {
    this.#guard(() => this.#commit((out) => this.#talk.reconcile(id, again, out)));
  }

  /** SPEC B-2, for every channel whose epoch was not announced on this connection; returns those epochs. */
  #announceAll(out: Outcome): [string, string][] {
    const told: [string, string][] = [];
    for (const channel of this.#records.channels()) {
      const epoch = `${channel.generation}.${channel.step}`;
      if (this.#announced.get(channel.id) === epoch) continue;
      told.push([channel.id, epoch]);
      const form = (channel.suite << 2) | (channel.shortTag ? 16 : 0);
      const v = this.#desired.beacon(channel, channel.step);
      const payload = concat(Uint8Array.of(form), u32(channel.generation), u32(channel.step), v);
      out.publications.push({ topic: this.#epochTopic(channel.id), payload, retain: true });
      out.tell("beacon", { channel: channel.filter, detail: epoch });
    }
    return told;
  }

  #clearBeacon(channel: string): void {
    this.#link
      ?.publish(this.#epochTopic(channel), new Uint8Array(0), { qos: 1, retain: true })
      .then(() => this.#guard(() => this.#records.transact(() => this.#records.beaconCleared(channel))))
      .catch((error: Error) => this.onEvent({ kind: "error", detail: error.message }));
  }

  #epochTopic(channel: string): string {
    return `${this.prefix}/epoch/${channel}`;
  }

  /** False if nothing was sent: there is no connection (all is sent on the next one), or it is too soon. */
  #publish({ topic, payload, retain, device, revision }: Publication): boolean {
    if (this.#link === null || !this.#connected) return false;
    if (device !== undefined && revision !== undefined && !this.#armResend(device, revision)) return false;
    this.#link
      .publish(topic, payload, { qos: 1, retain })
      .catch((error: Error) => this.onEvent({ kind: "error", detail: error.message }));
    return true;
  }

  /**
   * Rarely, and ever more so: a persistent session of an absent device would overflow. False if it is too
   * soon: then the device is served at the end of the pause. A new revision is never too soon.
   */
  #armResend(device: string, revision: string): boolean {
    const known = this.#resends.get(device);
    const now = this.#world.now();
    if (known !== undefined && revision < known.revision)
      return this.#mayRepeat(`${device} ${revision}`, now);
    const isNew = known === undefined || revision > known.revision;
    const age = isNew ? RESEND_PAUSE_MS : now - known.at;
    const burst = isNew || age < 0 || age >= RESEND_PAUSE_MS ? 0 : known.burst + 1;
    if (!isNew && burst >= RESEND_BURST) {
      if (!known.due) this.#armTimer(device, known, RESEND_PAUSE_MS - age);
      known.due = true;
      return false;
    }
    const delay = isNew ? this.#tuning.resend : known.delay;
    const entry = { revision: isNew ? revision : known.revision, at: now, delay, due: false, burst };
    this.#armTimer(device, { timer: null, ...known, ...entry }, delay);
    return true;
  }

  /** The grant of an earlier boot has a pace of its own: asked for again, it may not make a later one wait. */
  #mayRepeat(grant: string, now: number): boolean {
    const age = now - (this.#repeated.get(grant) ?? Number.NEGATIVE_INFINITY);
    if (age >= 0 && age < RESEND_PAUSE_MS) return false;
    if (this.#repeated.size >= REPEATED_MAX) this.#repeated.clear();
    this.#repeated.set(grant, now);
    return true;
  }

  #armTimer(device: string, entry: Resend, delay: number): void {
    this.#world.clearTimer(entry.timer);
    entry.timer = this.#world.setTimer(delay, () => this.#onResend(device));
    this.#resends.set(device, entry);
  }

  #onResend(device: string): void {
    const entry = this.#resends.get(device);
    if (entry === undefined || !this.#connected) return;
    if (!entry.due) entry.delay = Math.min(entry.delay * 2, this.#tuning.resendMax);
    entry.due = false;
    this.#reconcile(device, true);
  }

  /** Soon after a change of this process; never inside the caller's call. */
  #soon(): void {
    if (this.#link === null || this.#soonTimer !== null) return;
    this.#soonTimer = this.#world.setTimer(0, () => {
      this.#soonTimer = null;
      this.#guard(() => this.#reconcileAll(false));
    });
  }

  #poll(): void {
    this.#pollTimer = this.#world.setTimer(this.#tuning.poll, () => {
      this.#guard(() => {
        this.#payErasure();
        this.#stepDue();
        this.#resumeDue();
        const version = this.#records.dataVersion();
        if (version !== this.#dataVersion) this.#reconcileAll(false);
        if (this.#connected) this.#dataVersion = version;
      });
      if (this.#link !== null) this.#poll();
    });
  }

  /** Steps whose time has come; asked at every poll, so that no jump of the clock is missed. */
  #stepDue(): void {
    if (!this.#connected || this.#records.channelsDue(this.#world.now()).length === 0) return;
    this.#commit((out) => {
      for (const channel of this.#records.channelsDue(this.#world.now())) {
        const { generation } = channel;
        if (this.#desired.stepIfDue(channel)) this.#stepped(channel, generation, out);
      }
    });
    this.#reconcileAll(false);
  }

  /** SPEC V-12. */
  #resumeDue(): void {
    if (!this.#connected) return;
    if (!this.#records.suspended().some((member) => this.#desired.isSuspensionDue(member))) return;
    this.#commit((out) => {
      for (const { filter, generation } of this.#desired.resumeDue()) {
        out.erased = true;
        out.tell("generation", { channel: filter, detail: String(generation) });
      }
    });
    this.#reconcileAll(false);
  }

  /** Newcomers wait for a step: one move after another, so that what is under way stays readable. */
  #armMove(): void {
    if (this.#link === null || this.#moveTimer !== null) return;
    const waits = this.#behindTarget().map((channel) => this.#moveWait(channel.id));
    if (waits.length === 0) return;
    this.#moveTimer = this.#world.setTimer(Math.max(this.#tuning.batch, Math.min(...waits)), () => {
      this.#moveTimer = null;
      this.#guard(() => this.#move());
    });
  }

  #move(): void {
    if (!this.#connected) {
      this.#armMove();
      return;
    }
    this.#commit((out) => {
      for (const channel of this.#behindTarget()) {
        if (this.#moveWait(channel.id) > 0) continue;
        this.#moved.set(channel.id, this.#movedTo(channel.id) + MOVE_PAUSE_MS);
        this.#step(channel, out);
      }
    });
    this.#reconcileAll(false);
  }

  #behindTarget(): ChannelRow[] {
    return this.#records.channels().filter((channel) => channel.step < channel.target);
  }

  /** How long the next move of a channel waits: one member that boots again and again must not wear out the others. */
  #moveWait(channel: string): number {
    return this.#movedTo(channel) - this.#world.now() - (MOVES_AT_ONCE - 1) * MOVE_PAUSE_MS;
  }

  #movedTo(channel: string): number {
    const [now, to] = [this.#world.now(), this.#moved.get(channel) ?? 0];
    return Math.max(now, Math.min(to, now + MOVES_AT_ONCE * MOVE_PAUSE_MS));
  }

  /** Nothing that arrives stops the server: a failure is told, the rest goes on, and later it is tried again. */
  #guard(run: () => void): void {
    if (this.#link === null) return;
    try {
      run();
    } catch (error) {
      this.onEvent({ kind: "error", detail: error instanceof Error ? error.message : String(error) });
      this.#retryTimer ??= this.#world.setTimer(this.#tuning.resend, () => {
        this.#retryTimer = null;
        this.#guard(() => this.#reconcileAll(false));
      });
    }
  }

  // Answers

  /** By name or id; throws NO_DEVICE. */
  #device(name: string): DeviceRow {
    const device = this.#records.deviceNamed(name);
    if (device === undefined) throw new ServerError("NO_DEVICE", `no device ${JSON.stringify(name)}`);
    return device;
  }

  #status(): DeviceStatus[] {
    const filters = new Map(this.#records.channels().map((channel) => [channel.id, channel.filter]));
    return this.#records.devices().map((device) => ({
      id: device.id,
      name: device.name,
      state: this.#stateOf(device),
      revision: device.revision,
      channels: this.#records.memberships(device.id).map((member) => filters.get(member.channel) ?? ""),
      lastSeen: device.lastSeen,
      controlVersion: device.version,
      blobSequence: device.blobSequence,
      alarm: device.alarm ?? this.#refusal(device, filters),
      class: device.class as DeviceStatus["class"],
    }));
  }

  #stateOf(device: DeviceRow): DeviceStatus["state"] {
    if (device.class === null) return "new";
    if (device.doubt !== 0) return "diverged";
    if (this.#records.memberships(device.id).some(isSuspended)) return "suspended";
    const waits = device.ask || device.moved || this.#records.outstanding(device.id) !== undefined;
    if (device.synced && !waits && isComplete(this.#records, this.#desired, device)) return "in sync";
    const age = this.#world.now() - (device.lastSeen ?? 0);
    return age > this.#tuning.silent ? "silent" : "behind";
  }

  #refusal(device: DeviceRow, filters: Map<string, string>): string | null {
    const row = this.#records.held(device.id).find((held) => held.refused !== null);
    if (row === undefined) return null;
    return `refused ${filters.get(row.channel) ?? row.channel} (${row.refused?.split(" ")[0]})`;
  }

  #state(channel: ChannelRow): ChannelState {
    const names = new Map(this.#records.devices().map((device) => [device.id, device.name]));
    const { id, filter, generation, step, target, steppedAt } = channel;
    const members = this.#records.members(channel.id).map((member) => ({
      device: member.device,
      name: names.get(member.device) ?? "",
      sender: member.sender,
      will: member.will,
      from: member.from,
      open: member.open,
      to: member.to,
      renew: member.renew,
      writes: member.writes,
      suspendedTo: member.suspendedTo,
    }));
    return { id, filter, generation, step, target, steppedAt, ...paramsOf(channel), members };
  }
}

function paramsOf(channel: ChannelRow): Required<ChannelParams> {
  return {
    suite: channel.suite as 0 | 1 | 2 | 3,
    frameSize: channel.frameSize,
    shortTag: channel.shortTag,
    topicMode: channel.topicMode as 0 | 1,
    late: channel.late,
    ahead: channel.ahead,
    stored: channel.stored,
    narrow: channel.narrow,
    markBlock: channel.markBlock as 1 | 16 | 64,
    leaseSteps: channel.leaseSteps,
    stepEvery: channel.stepEvery,
  };
}

function newDevice(id: string, name: string): DeviceRow {
  return {
    id,
    name,
    class: null,
    version: 0,
    revision: NO_REVISION,
    ask: false,
    moved: false,
    far: false,
    doubt: 0,
    synced: false,
    lastSeen: null,
    blobSequence: null,
    bootSequence: null,
    alarm: null,
  };
}

/** Names are shown in tables and told apart from ids. */
function checkName(name: string): void {
  const bad = (why: string) => new ServerError("BAD_NAME", `device name ${JSON.stringify(name)}: ${why}`);
  if (typeof name !== "string" || name === "" || name.trim() !== name) {
    throw bad("it is empty or has space around it");
  }
  if (name.length > NAME_MAX) throw bad(`it is longer than ${NAME_MAX} characters`);
  if (!name.isWellFormed() || /\p{C}/u.test(name)) throw bad("it holds an unprintable character");
  if (/^[0-9a-f]{16}$/.test(name)) throw bad("it looks like a device id");
}

function takeLock(world: World, path: string): { release(): void } {
  try {
    return world.disk.lock(path);
  } catch (error) {
    throw new ServerError("SERVING", `another process serves this realm (${path})`, { cause: error });
  }
}
