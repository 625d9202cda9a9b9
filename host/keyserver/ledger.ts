// What a device is known to hold, and what it lacks. An ack moves the first; the difference is sent.

import { STATUS, statusName } from "../status.ts";
import type { Command, Setting } from "./commands.ts";
import { NODES_MAX } from "./commands.ts";
import { baseOf, type Desired, isExpired, isSuspended } from "./desired.ts";
import type { Outcome } from "./outcome.ts";
import type { Records } from "./records.ts";
import type { ChannelRow, DeviceRow, HeldRow, MemberRow } from "./rows.ts";
import { firstStep, lastStep, lockUnder, type TreeNode } from "./tree.ts";

/** Commands of one channel that stand in one revision, in this order. */
export interface Job {
  /** Undefined where the device is no member any more. */
  member?: MemberRow;
  channel?: ChannelRow;
  /** A block of counters is due too. */
  counters: boolean;
  commands: Command[];
}

/** What must be told to a device beyond what it acknowledged; drops come first, for they make room. */
export function differences(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  options: { steps: boolean },
): Job[] {
  const held = new Map(records.held(device.id).map((row) => [row.channel, row]));
  const members = entitled(records, device);
  const jobs: Job[] = [];
  for (const row of held.values()) {
    if (members.some((member) => member.channel === row.channel)) continue;
    jobs.push({ counters: false, commands: [{ kind: "drop", channel: row.channel }] });
  }
  for (const member of members) {
    const job = jobFor(records, desired, device, member, held.get(member.channel), options.steps);
    if (job !== null) jobs.push(job);
  }
  return jobs;
}

/** Memberships by which the device is to hold something now. */
function entitled(records: Records, device: DeviceRow): MemberRow[] {
  return records.memberships(device.id).filter((member) => !isSuspended(member));
}

/** True if `held` can only become `setting` by dropping the channel first (SPEC C-10). */
export function mustReplace(held: HeldRow | undefined, setting: Setting): boolean {
  if (held === undefined || held.generation !== setting.generation) return false;
  return (
    held.sender !== setting.sender ||
    held.will !== setting.will ||
    held.from !== setting.from ||
    held.form !== setting.form ||
    held.frame !== setting.frame ||
    held.la !== setting.la ||
    (held.flags & 0x7f) !== (setting.flags & 0x7f)
  );
}

/**
 * Books the answers to a revision: SPEC section 10 as the device has carried it out.
 *
 * @param statuses one for each command
 */
export function settle(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  revision: string,
  commands: Command[],
  statuses: number[],
  out: Outcome,
): void {
  const gaps = new Set<string>();
  for (const [i, command] of commands.entries()) {
    const status = statuses[i] ?? STATUS.BAD_COMMAND;
    const done = status === STATUS.OK || status === STATUS.HELD;
    if (command.kind === "drop" && (done || status === STATUS.NO_CHANNEL)) {
      records.removeHeld(device.id, command.channel);
    } else if (done) {
      settleDone(records, desired, device, revision, command, gaps);
    } else {
      if (command.kind === "nodes") gaps.add(command.channel);
      settleRefused(records, desired, device, command, status, out);
    }
  }
}

/** True if a device acknowledged all it shall hold; its step may be an older one. */
export function isComplete(records: Records, desired: Desired, device: DeviceRow): boolean {
  const held = new Map(records.held(device.id).map((row) => [row.channel, row]));
  const members = new Map(entitled(records, device).map((row) => [row.channel, row]));
  if ([...held.keys()].some((channel) => !members.has(channel))) return false;
  return [...members.values()].every((member) => {
    const lack = lackOf(records, desired, device, member, held.get(member.channel), false);
    return !lack.set && !lack.counters;
  });
}

interface Lack {
  set: boolean;
  counters: boolean;
  /** First step not covered by acknowledged nodes. */
  first: number;
}

/** What one member lacks; nothing where its lease ended or it refused this very change. */
function lackOf(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  member: MemberRow,
  held: HeldRow | undefined,
  steps: boolean,
): Lack {
  const channel = records.channel(member.channel) as ChannelRow;
  const setting = desired.setting(channel, member);
  if (isExpired(channel, member) || isRefused(held, channel, setting)) {
    return { set: false, counters: false, first: 0 };
  }
  const known = held !== undefined && held.generation === channel.generation;
  const first = Math.max(member.from, baseOf(channel), known ? held.granted + 1 : 0);
  const changed =
    !known || held.flags !== setting.flags || held.open < setting.open || held.granted < setting.to;
  const late = steps && known && held.step < channel.step;
  const counters = device.class !== 0 && member.writes && lacksCounters(channel, held);
  return { set: changed || late, counters, first };
}

function jobFor(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  member: MemberRow,
  held: HeldRow | undefined,
  steps: boolean,
): Job | null {
  const { set, counters, first } = lackOf(records, desired, device, member, held, steps);
  if (!set && !counters) return null;
  const channel = records.channel(member.channel) as ChannelRow;
  const commands: Command[] = [];
  if (set) {
    const setting = desired.setting(channel, member);
    commands.push({ kind: "set", step: channel.step, v: desired.beacon(channel, channel.step), ...setting });
    commands.push(...nodeCommands(channel, desired.tree(channel).lease(first, member.to)));
  }
  return { member, channel, counters, commands };
}

/** A generation begins with a block of counters; later ones are asked for. */
function lacksCounters(channel: ChannelRow, held: HeldRow | undefined): boolean {
  if (held === undefined || held.counters === null) return true;
  return held.generation !== channel.generation && held.generation !== 0;
}

function nodeCommands(channel: ChannelRow, nodes: TreeNode[]): Command[] {
  const commands: Command[] = [];
  for (let i = 0; i < nodes.length; i += NODES_MAX) {
    commands.push({
      kind: "nodes",
      channel: channel.id,
      generation: channel.generation,
      nodes: nodes.slice(i, i + NODES_MAX),
    });
  }
  return commands;
}

function settleDone(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  revision: string,
  command: Command,
  gaps: Set<string>,
): void {
  if (command.kind === "reset") {
    records.clearHeld(device.id);
  } else if (command.kind === "set") {
    const row = records.held(device.id).find((held) => held.channel === command.channel);
    records.saveHeld(afterSet(device.id, row, command));
  } else if (command.kind === "nodes" && !gaps.has(command.channel)) {
    const row = heldOf(records, device, command.channel, command.generation);
    if (row !== undefined) records.saveHeld(afterNodes(records, desired, row, command.nodes));
  } else if (command.kind === "counters") {
    const row = heldOf(records, device, command.channel, command.generation);
    if (row !== undefined) records.saveHeld({ ...row, counters: revision });
  }
}

function settleRefused(
  records: Records,
  desired: Desired,
  device: DeviceRow,
  command: Command,
  status: number,
  out: Outcome,
): void {
  const name = statusName(status);
  out.tell("refused", { device: device.name, detail: `${command.kind}: ${name}` });
  if (command.kind !== "set" && command.kind !== "nodes") return;
  const member = records.member(command.channel, device.id);
  const channel = records.channel(command.channel);
  if (member === undefined || channel === undefined || channel.generation !== command.generation) return;
  if (name === "BAD_CHANGE") {
    desired.lost(member);
  } else if (name === "OLD_GENERATION") {
    device.alarm = "holds a newer generation than this database knows";
    out.tell("alarm", { device: device.name, channel: channel.filter, detail: device.alarm });
    desired.lost(member, desired.secondsSince2025());
  } else if (name !== "NO_CHANNEL" && name !== "UNKNOWN_EPOCH") {
    const row = records.held(device.id).find((held) => held.channel === command.channel);
    const mark = refusalMark(channel, desired.setting(channel, member));
    records.saveHeld({ ...(row ?? maybeHeld(device.id, command.channel)), refused: `${name} ${mark}` });
  }
}

function heldOf(
  records: Records,
  device: DeviceRow,
  channel: string,
  generation: number,
): HeldRow | undefined {
  return records.held(device.id).find((row) => row.channel === channel && row.generation === generation);
}

/** SPEC C-9 to C-11. */
function afterSet(device: string, row: HeldRow | undefined, command: Command & { kind: "set" }): HeldRow {
  const { kind: _, v: __, ...setting } = command;
  if (row === undefined || row.generation !== command.generation) {
    const counters = row?.generation === 0 ? row.counters : null;
    return { ...setting, device, granted: -1, lock: null, counters, refused: null };
  }
  const to = Math.max(row.to, command.to);
  return {
    ...row,
    flags: command.flags,
    step: Math.max(row.step, command.step),
    open: Math.max(row.open, command.open),
    to,
    lock: to === row.to ? row.lock : null,
    refused: null,
  };
}

/** SPEC C-13 and K-7. Nodes that leave a gap behind what is covered do not count. */
function afterNodes(records: Records, desired: Desired, row: HeldRow, nodes: TreeNode[]): HeldRow {
  const begin = Math.max(row.granted + 1, row.from, row.step - (row.la & 15));
  const joins = nodes[0] !== undefined && firstStep(nodes[0].h) <= begin;
  const last = joins ? Math.max(row.granted, ...nodes.map((node) => lastStep(node.h))) : row.granted;
  const holder = nodes.find((node) => firstStep(node.h) <= row.to && row.to <= lastStep(node.h));
  const channel = records.channel(row.channel);
  if (holder === undefined || channel === undefined) return { ...row, granted: last };
  const scope = desired.scopeOf(channel.suite, row.channel, row.generation);
  return { ...row, granted: last, lock: lockUnder(scope, holder, row.to) };
}

/** A refused change is not sent again until it or the step has changed. */
function isRefused(held: HeldRow | undefined, channel: ChannelRow, setting: Setting): boolean {
  return held?.refused?.endsWith(` ${refusalMark(channel, setting)}`) ?? false;
}

function refusalMark(channel: ChannelRow, setting: Setting): string {
  return [channel.generation, channel.step, setting.open, setting.to, setting.sender].join(".");
}

/** The row a channel has before its first ack: the device may hold it. */
export function maybeHeld(device: string, channel: string): HeldRow {
  return {
    device,
    channel,
    generation: 0,
    step: 0,
    from: 0,
    open: 0,
    to: 0,
    form: 0,
    frame: 0,
    la: 0,
    flags: 0,
    sender: 0,
    will: 0,
    granted: -1,
    lock: null,
    counters: null,
    refused: null,
  };
}
