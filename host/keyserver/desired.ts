// What every member shall hold: channels, generations, steps, leases, sender numbers (SPEC sections 4
// and 11). Changes rows only; the caller wraps each call in a transaction and does the talking.

import { fromHex, toHex } from "../bytes.ts";
import type { Kit } from "../core/kit.ts";
import type { World } from "../world.ts";
import type { Setting } from "./commands.ts";
import { ServerError } from "./errors.ts";
import { checkFilter, hasWildcard, overlap, reservedFilters } from "./filters.ts";
import type { Records } from "./records.ts";
import type { ChannelRow, DeviceRow, MemberRow, RealmRow } from "./rows.ts";
import { BeaconChain, KeyTree, LAST_STEP, LEASE_MAX, leaseEnd, rootOf, type Scope, seedOf } from "./tree.ts";

export interface ChannelParams {
  suite?: 0 | 1 | 2 | 3;
  /** Default 128. */
  frameSize?: number;
  shortTag?: boolean;
  topicMode?: 0 | 1;
  /** Past steps that stay readable; default 2. */
  late?: number;
  /** Steps beyond the announced one a member may seal in; default 1. */
  ahead?: number;
  /** Retained messages allowed; default true. */
  stored?: boolean;
  narrow?: boolean;
  /** Frames of a sender a receiver may lose by a power cut; default 16. */
  markBlock?: 1 | 16 | 64;
  /** Default length of leases, 1 to 128 steps; default 64. */
  leaseSteps?: number;
  /** Seconds after which a serving key server moves the step by itself, at least 60; 0: never. Default a day. */
  stepEvery?: number;
}

export interface GrantOptions {
  /** Default true. A member that only reads is served before those that write. */
  write?: boolean;
  /** Gives a second sender number, for wills. */
  will?: boolean;
  /** Length of the lease, 1 to 128 steps; default that of the channel. */
  steps?: number;
  /** Default true: the lease is extended for as long as the device is a member. */
  renew?: boolean;
}

/** A block of counters for a device without storage (SPEC C-21). */
export interface CounterBlock {
  step: number;
  first: number;
  end: number;
}

const SENDER_MAX = 0xffff;
const GENERATION_MAX = 0xffffffff;
const COUNTERS = 65536;
const STEP_EVERY = 86_400;
/** Generations that may begin at once because one member lost something, before they are spread over time. */
const LOSSES_AT_ONCE = 3;
const STEP_EVERY_MIN = 60;
const STEP_EVERY_MAX = 0xffffffff;
const EPOCH_2025 = Date.UTC(2025, 0, 1);

export class Desired {
  readonly #records: Records;
  readonly #kit: Kit;
  readonly #world: World;
  readonly #realm: Uint8Array;
  readonly #prefix: string;
  /** By channel, of its present generation. */
  readonly #chains = new Map<string, { generation: number; chain: BeaconChain }>();
  #forgot = false;

  constructor(records: Records, kit: Kit, world: World) {
    this.#records = records;
    this.#kit = kit;
    this.#world = world;
    const { realm, prefix } = records.realm();
    this.#realm = fromHex(realm);
    this.#prefix = prefix;
  }

  createChannel(filter: string, params: ChannelParams): ChannelRow {
    checkFilter(filter);
    const row = channelOf(filter, params);
    this.#refuseOverlap(filter);
    row.id = toHex(this.#kit.channelId(this.#realm, filter));
    this.#records.addChannel(row);
    const { floor } = this.#records.realm();
    this.#begin(row, Math.max(this.#records.pastGeneration(row.id) + 1, floor), false);
    this.#records.savePast(row.id, row.generation, false);
    return row;
  }

  /** The channel leaves no key behind, and its generations are never used again. */
  deleteChannel(filter: string): void {
    const row = this.channel(filter);
    this.#records.savePast(row.id, row.generation, true);
    this.#records.removeChannel(row.id);
    this.#dropChain(row.id);
    this.#forgot = true;
  }

  /** By filter; throws NO_CHANNEL. */
  channel(filter: string): ChannelRow {
    const row = this.#records.channels().find((channel) => channel.filter === filter);
    if (row === undefined) throw new ServerError("NO_CHANNEL", `no channel ${JSON.stringify(filter)}`);
    return row;
  }

  grant(channel: ChannelRow, device: string, options: GrantOptions): void {
    const member = this.#records.member(channel.id, device);
    if (member === undefined) this.#join(channel, device, options);
    else this.#amend(channel, member, options);
  }

  /** Takes a member out: everyone else gets a new generation that keeps nothing (SPEC V-10). */
  revoke(channel: ChannelRow, device: string): void {
    if (this.#records.member(channel.id, device) === undefined) {
      throw new ServerError("NOT_MEMBER", `the device is not a member of ${JSON.stringify(channel.filter)}`);
    }
    this.#records.removeMember(channel.id, device);
    this.newGeneration(channel, false);
  }

  /** Moves current by one step, and into a new generation after the last (SPEC K-5, V-6). */
  step(channel: ChannelRow): void {
    if (channel.step === LAST_STEP) {
      this.newGeneration(channel, true);
      return;
    }
    channel.step++;
    channel.steppedAt = this.#world.now();
    channel.target = Math.max(channel.target, channel.step);
    this.#records.saveChannel(channel);
    this.#records.saveNodes(channel, this.tree(channel).rest(baseOf(channel)));
    this.#forgot = true;
    for (const member of this.#records.members(channel.id)) this.#renew(channel, member);
  }

  /**
   * Moves the step of a channel whose time has come: one step, however many intervals were missed. A clock
   * that has gone back begins the interval anew. True if the step moved.
   */
  stepIfDue(channel: ChannelRow): boolean {
    const now = this.#world.now();
    if (channel.steppedAt === 0 || channel.steppedAt > now) {
      channel.steppedAt = now;
      this.#records.saveChannel(channel);
      return false;
    }
    this.step(channel);
    return true;
  }

  /**
   * Draws a new generation. `keep`: members may go on reading the steps of the old one that are in use, unless one is
   * suspended, whose windows of it count no more.
   */
  newGeneration(channel: ChannelRow, keep: boolean, floor = 0): void {
    const members = this.#records.members(channel.id);
    const keeps = keep && !members.some(isSuspended);
    const active = members.filter((member) => member.renew || member.to >= channel.step);
    for (const member of members) {
      if (!active.includes(member)) this.#records.removeMember(channel.id, member.device);
    }
    const left = new Map(active.map((member) => [member, member.to - channel.step + 1]));
    this.#begin(channel, Math.max(channel.generation + 1, floor), keeps);
    for (const member of active) {
      const steps = member.renew ? member.steps : Math.min(member.steps, left.get(member) ?? 1);
      Object.assign(member, { from: 0, open: 0, to: leaseEnd(0, steps), sent: false, suspendedTo: 0 });
      this.#records.saveMember(member);
    }
    // A newcomer takes two at most.
    if (channel.nextSender + 1 > SENDER_MAX) this.#renumberAll(channel, active);
  }

  /**
   * The member lost counters or windows: everyone goes on in a new generation (SPEC V-2). What a broker holds back of it
   * opens nothing of the old one again. A member that costs too many is suspended instead, until the next one is due
   * (SPEC V-12).
   */
  lost(member: MemberRow, floor = 0): void {
    const channel = this.#channelById(member.channel);
    const isFresh = !member.sent && !channel.keep && channel.generation >= floor;
    if (isFresh || isSuspended(member)) return;
    const now = this.#world.now();
    const paidTo = this.#paidTo(channel, member);
    const due = paidTo - LOSSES_AT_ONCE * intervalOf(channel);
    this.#records.saveMember(due > now ? { ...member, suspendedTo: due } : { ...member, paidTo });
    if (due <= now) this.newGeneration(channel, false, floor);
  }

  /** True if a suspension is over: also where a clock has gone back. */
  isSuspensionDue(member: MemberRow): boolean {
    const now = this.#world.now();
    return (
      member.suspendedTo <= now || member.suspendedTo > now + intervalOf(this.#channelById(member.channel))
    );
  }

  /** Ends suspensions that are over by the generation that was waited for; returns the channels. */
  resumeDue(): ChannelRow[] {
    const begun: ChannelRow[] = [];
    for (const { channel: id, device } of this.#records.suspended()) {
      // Another one of the channel may have ended it.
      const member = this.#records.member(id, device);
      if (member === undefined || !isSuspended(member) || !this.isSuspensionDue(member)) continue;
      const channel = this.#channelById(id);
      this.#records.saveMember({ ...member, paidTo: this.#paidTo(channel, member) });
      this.newGeneration(channel, false);
      begun.push(channel);
    }
    return begun;
  }

  /** A clock that went back must not make anyone wait for longer than ever. */
  #paidTo(channel: ChannelRow, { paidTo }: MemberRow): number {
    const [now, interval] = [this.#world.now(), intervalOf(channel)];
    return interval + Math.max(now, Math.min(paidTo, now + LOSSES_AT_ONCE * interval));
  }

  /** A device without storage booted: nothing from before may be accepted, it may send at once (SPEC V-2). */
  booted(device: DeviceRow): void {
    for (const member of this.#records.memberships(device.id)) {
      const channel = this.#channelById(member.channel);
      if (isExpired(channel, member) || isSuspended(member)) continue;
      if (channel.step + channel.ahead + 1 > LAST_STEP) this.newGeneration(channel, true);
      else this.#reopen(channel, member);
    }
  }

  /**
   * Takes the next block of counters of a sender number; blocks never overlap. Null if the steps a
   * member may seal in have none left: then the server will move.
   */
  takeCounters(channel: ChannelRow, member: MemberRow, sender: number, size: number): CounterBlock | null {
    const kept = this.#records.counter(channel.id, sender);
    const lowest = Math.max(channel.step, member.from);
    const used = kept !== undefined && kept.generation === channel.generation && kept.step >= lowest;
    let [step, first] = used ? [kept.step, kept.next] : [lowest, 0];
    if (first === COUNTERS) [step, first] = [step + 1, 0];
    if (step > channel.step + channel.ahead && step > lowest) {
      this.#aim(channel, Math.min(channel.step + 1, LAST_STEP));
      return null;
    }
    if (step > member.to) return null;
    const end = Math.min(first + size, COUNTERS);
    this.#records.saveCounter({
      channel: channel.id,
      sender,
      generation: channel.generation,
      step,
      next: end,
    });
    return { step, first, end };
  }

  /** SPEC V-7: numbers above all that the lost time may have used. */
  restore(realm: RealmRow): void {
    const seconds = this.secondsSince2025();
    realm.incarnation = Math.max(realm.incarnation + 1, seconds);
    realm.floor = Math.max(realm.floor + 1, seconds);
    this.#records.saveRealm(realm);
    for (const channel of this.#records.channels()) this.newGeneration(channel, false, seconds);
  }

  secondsSince2025(): number {
    return Math.max(0, Math.floor((this.#world.now() - EPOCH_2025) / 1000));
  }

  /** What `set channel` says to a member. */
  setting(channel: ChannelRow, member: MemberRow): Setting {
    return {
      channel: channel.id,
      generation: channel.generation,
      from: member.from,
      open: member.open,
      to: member.to,
      form: (channel.suite << 2) | (channel.shortTag ? 16 : 0),
      frame: channel.frameSize / 8,
      la: channel.late | (channel.ahead << 4),
      flags: flagsOf(channel),
      sender: member.sender,
      will: member.will,
    };
  }

  scope(channel: ChannelRow): Scope {
    return this.scopeOf(channel.suite, channel.id, channel.generation);
  }

  scopeOf(suite: number, channel: string, generation: number): Scope {
    return { kit: this.#kit, suite, realm: this.#realm, channel: fromHex(channel), generation };
  }

  tree(channel: ChannelRow): KeyTree {
    return new KeyTree(this.scope(channel), this.#records.nodes(channel));
  }

  /** v(step) of the present generation (SPEC B-1). */
  beacon(channel: ChannelRow, step: number): Uint8Array {
    const { id, generation } = channel;
    const kept = this.#chains.get(id);
    if (kept?.generation === generation) return kept.chain.value(step);
    this.#dropChain(id);
    const chain = new BeaconChain(this.scope(channel), this.#records.seed(channel));
    this.#chains.set(id, { generation, chain });
    return chain.value(step);
  }

  /** Wipes what is in memory of channels that another process deleted or gave a new generation, or of all. */
  dropChains(all = false): void {
    for (const [id, { generation }] of this.#chains) {
      if (all || this.#records.channel(id)?.generation !== generation) this.#dropChain(id);
    }
  }

  /** True once after keys of steps, generations or channels were forgotten. */
  takeForgot(): boolean {
    const forgot = this.#forgot;
    this.#forgot = false;
    return forgot;
  }

  #dropChain(id: string): void {
    this.#chains.get(id)?.chain.wipe();
    this.#chains.delete(id);
  }

  #join(channel: ChannelRow, device: string, options: GrantOptions): void {
    const steps = leaseSteps(options.steps ?? channel.leaseSteps);
    if (channel.step + channel.ahead + 1 > LAST_STEP || channel.nextSender + 1 > SENDER_MAX) {
      this.newGeneration(channel, true);
    }
    const open = channel.step + channel.ahead + 1;
    this.#aim(channel, open);
    this.#records.saveMember({
      channel: channel.id,
      device,
      sender: this.#takeSender(channel),
      will: options.will ? this.#takeSender(channel) : 0,
      from: open,
      open,
      to: leaseEnd(open, steps),
      steps,
      renew: options.renew ?? true,
      writes: options.write ?? true,
      sent: false,
      paidTo: 0,
      suspendedTo: 0,
    });
  }

  #amend(channel: ChannelRow, member: MemberRow, options: GrantOptions): void {
    member.steps = leaseSteps(options.steps ?? member.steps);
    member.renew = options.renew ?? member.renew;
    member.writes = options.write ?? member.writes;
    const first = Math.max(channel.step, member.from);
    if (member.to < first + member.steps - 1) member.to = Math.max(member.to, leaseEnd(first, member.steps));
    const will = options.will ?? member.will !== 0;
    if (will !== (member.will !== 0)) {
      // One beyond the last: all are numbered anew.
      member.will = will ? this.#takeSender(channel) : 0;
      this.#records.saveMember(member);
      this.newGeneration(channel, true);
      return;
    }
    this.#records.saveMember(member);
  }

  #renew(channel: ChannelRow, member: MemberRow): void {
    const left = member.to - channel.step;
    if (!member.renew || left >= Math.max(member.steps / 2, channel.ahead + 1)) return;
    const to = leaseEnd(channel.step, Math.max(member.steps, channel.ahead + 2));
    if (to <= member.to) return;
    member.to = to;
    this.#records.saveMember(member);
  }

  #reopen(channel: ChannelRow, member: MemberRow): void {
    member.from = Math.max(member.from, channel.step);
    member.open = channel.step + channel.ahead + 1;
    if (member.renew) member.to = Math.max(member.to, leaseEnd(member.open, member.steps));
    this.#aim(channel, member.open);
    this.#records.saveMember(member);
  }

  #aim(channel: ChannelRow, step: number): void {
    if (step <= channel.target) return;
    channel.target = step;
    this.#records.saveChannel(channel);
  }

  #takeSender(channel: ChannelRow): number {
    const sender = channel.nextSender++;
    this.#records.saveChannel(channel);
    return sender;
  }

  /** In a fresh generation no number was given yet. */
  #renumberAll(channel: ChannelRow, members: MemberRow[]): void {
    channel.nextSender = 1;
    for (const member of members) {
      member.sender = this.#takeSender(channel);
      if (member.will !== 0) member.will = this.#takeSender(channel);
      this.#records.saveMember(member);
    }
    if (channel.nextSender + 1 > SENDER_MAX) {
      throw new ServerError("CHANNEL_FULL", `${JSON.stringify(channel.filter)} has no sender number left`);
    }
  }

  /** SPEC K-1: the secret lives only here. */
  #begin(channel: ChannelRow, generation: number, keep: boolean): void {
    if (generation > GENERATION_MAX) {
      throw new ServerError("CHANNEL_FULL", `${JSON.stringify(channel.filter)} has no generation left`);
    }
    Object.assign(channel, { generation, step: 0, target: 0, keep, steppedAt: this.#world.now() });
    const scope = this.scope(channel);
    const secret = this.#world.random(16);
    this.#records.saveChannel(channel);
    this.#records.saveSeed(channel, seedOf(scope, secret));
    this.#records.saveNodes(channel, [{ h: 1, key: rootOf(scope, secret) }]);
    this.#dropChain(channel.id);
    this.#forgot = true;
    secret.fill(0);
  }

  #channelById(id: string): ChannelRow {
    const row = this.#records.channel(id);
    if (row === undefined) throw new ServerError("NO_CHANNEL", `no channel ${id}`);
    return row;
  }

  #refuseOverlap(filter: string): void {
    const text = JSON.stringify(filter);
    if (reservedFilters(this.#prefix).some((reserved) => overlap(filter, reserved))) {
      throw new ServerError("FILTER_OVERLAP", `${text} matches control or epoch topics of the realm`);
    }
    const other = this.#records.channels().find((channel) => overlap(filter, channel.filter));
    if (other === undefined) return;
    throw new ServerError(
      "FILTER_OVERLAP",
      `${text} can match the same topic as ${JSON.stringify(other.filter)}`,
    );
  }
}

/** The first step still readable: everything left of it is forgotten. */
export function baseOf(channel: ChannelRow): number {
  return Math.max(channel.step - channel.late, 0);
}

/** The server has nothing to give to a member whose lease ended. */
export function isExpired(channel: ChannelRow, member: MemberRow): boolean {
  return member.to < baseOf(channel);
}

/** Milliseconds between steps, or as many as there would be. */
function intervalOf(channel: ChannelRow): number {
  return 1000 * (channel.stepEvery || STEP_EVERY);
}

/** The member is to hold nothing until another generation begins (SPEC V-12). */
export function isSuspended(member: MemberRow): boolean {
  return member.suspendedTo > 0;
}

function flagsOf(channel: ChannelRow): number {
  const block = channel.markBlock === 1 ? 0 : channel.markBlock === 16 ? 1 : 2;
  return (
    channel.topicMode |
    (channel.stored ? 2 : 0) |
    (channel.narrow ? 4 : 0) |
    (block << 3) |
    (channel.keep ? 0x80 : 0)
  );
}

function leaseSteps(steps: number): number {
  if (isWhole(steps, 1, LEASE_MAX)) return steps;
  throw new ServerError("BAD_LEASE", `a lease has 1 to ${LEASE_MAX} steps`);
}

function channelOf(filter: string, params: ChannelParams): ChannelRow {
  const row: ChannelRow = {
    id: "",
    filter,
    suite: params.suite ?? 0,
    frameSize: params.frameSize ?? 128,
    shortTag: params.shortTag ?? false,
    topicMode: params.topicMode ?? 0,
    late: params.late ?? 2,
    ahead: params.ahead ?? 1,
    stored: params.stored ?? true,
    narrow: params.narrow ?? false,
    markBlock: params.markBlock ?? 16,
    leaseSteps: params.leaseSteps ?? 64,
    stepEvery: params.stepEvery ?? STEP_EVERY,
    generation: 0,
    step: 0,
    target: 0,
    keep: false,
    nextSender: 1,
    steppedAt: 0,
  };
  checkParams(row);
  return row;
}

/** SPEC section 1. */
function checkParams(row: ChannelRow): void {
  const demand = (holds: boolean, why: string): void => {
    if (!holds) throw new ServerError("BAD_PARAMS", `channel ${JSON.stringify(row.filter)}: ${why}`);
  };
  const smallest = row.shortTag ? 24 : 32;
  demand(isWhole(row.suite, 0, 3), "the suite is 0 to 3");
  demand(
    isWhole(row.frameSize, smallest, 1024) && row.frameSize % 8 === 0,
    `the frame size is a multiple of 8 from ${smallest} to 1024`,
  );
  demand(isWhole(row.topicMode, 0, 1), "the topic mode is 0 or 1");
  demand(row.topicMode === 0 || !hasWildcard(row.filter), "topic mode 1 is not for filters with wildcards");
  demand(isWhole(row.late, 0, 7) && isWhole(row.ahead, 0, 7), "late and ahead are 0 to 7");
  demand(row.late >= row.ahead + 1, "late is at least ahead + 1");
  demand([1, 16, 64].includes(row.markBlock), "the mark block is 1, 16 or 64");
  demand(isWhole(row.leaseSteps, 1, LEASE_MAX), `a lease has 1 to ${LEASE_MAX} steps`);
  demand(
    row.stepEvery === 0 || isWhole(row.stepEvery, STEP_EVERY_MIN, STEP_EVERY_MAX),
    `steps are at least ${STEP_EVERY_MIN} seconds apart, or 0`,
  );
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
