// What stands in the rows of a key server's database, and how a row of SQLite becomes one of ours.

import type { SqlValue } from "../world.ts";
import type { Revision } from "./bytes.ts";
import type { Setting } from "./commands.ts";
import { ServerError } from "./errors.ts";

export interface RealmRow {
  realm: string;
  prefix: string;
  incarnation: number;
  /** No channel begins a generation below it. */
  floor: number;
  /** Ratchets use zeros instead of fresh bytes, so that a restored database can follow them. */
  recoverable: boolean;
}

export interface DeviceRow {
  id: string;
  name: string;
  /** Null before the first hello. */
  class: number | null;
  version: number;
  /** The last revision given. */
  revision: Revision;
  /** A query is due even if nothing differs. */
  ask: boolean;
  /**
   * The next revision is a query alone: the control key has just moved, and the device erases K(v) at it, or
   * its stored state seems to have gone back, and nothing else may be stored before the ack that tells.
   */
  moved: boolean;
  /** The control key version may be above the stored one (after a restore). */
  far: boolean;
  /** What is being done about a digest that did not agree; 0 if nothing. */
  doubt: number;
  synced: boolean;
  lastSeen: number | null;
  blobSequence: number | null;
  /** Sequence that its boot loaded, as it said last. */
  bootSequence: number | null;
  alarm: string | null;
}

export interface ControlKeys {
  key: Uint8Array;
  /** K(v+1) while it is not settled, with the fresh bytes that made it. */
  next: { key: Uint8Array; fresh: Uint8Array } | null;
}

export interface ChannelRow {
  id: string;
  filter: string;
  suite: number;
  frameSize: number;
  shortTag: boolean;
  topicMode: number;
  late: number;
  ahead: number;
  stored: boolean;
  narrow: boolean;
  markBlock: number;
  leaseSteps: number;
  /** Seconds between steps that the server moves by itself; 0: none. */
  stepEvery: number;
  generation: number;
  step: number;
  /** The step that the server moves to, for members that wait for it. */
  target: number;
  keep: boolean;
  nextSender: number;
  /** When the step last moved or the generation began, in milliseconds since 1970; 0: not known. */
  steppedAt: number;
}

export interface MemberRow {
  channel: string;
  device: string;
  sender: number;
  will: number;
  from: number;
  open: number;
  to: number;
  /** Length of its leases. */
  steps: number;
  renew: boolean;
  writes: boolean;
  /** Its sender number went out in some revision: counters under it may be used. */
  sent: boolean;
  /** Up to when the generations that it cost are spread over time (SPEC V-12), in milliseconds since 1970. */
  paidTo: number;
  /** When a generation may begin for it again: until then it holds nothing. 0: it is not suspended. */
  suspendedTo: number;
}

/** What a device acknowledged of a channel. Generation 0: it may hold the channel, nothing is known. */
export type HeldRow = Setting & {
  device: string;
  step: number;
  /** Last step covered by acknowledged nodes; -1 if none. */
  granted: number;
  lock: Uint8Array | null;
  /** Revision of the last counter block of this session. */
  counters: Revision | null;
  /** Status by which the device refused the last change. */
  refused: string | null;
};

export interface RevisionRow {
  device: string;
  revision: Revision;
  /** Sealed under the session secret. */
  session: boolean;
  commands: Uint8Array;
}

export interface BootRow {
  device: string;
  nonce: string;
  /** Of its grant; the higher the newer. */
  revision: Revision;
  /** The device spoke in this session. */
  confirmed: boolean;
  /** Null once the session is over. */
  random: Uint8Array | null;
}

export interface CounterRow {
  channel: string;
  sender: number;
  generation: number;
  step: number;
  next: number;
}

/** As SQLite gives it. */
export type Row = Record<string, SqlValue>;

export function deviceRow(row: Row): DeviceRow {
  return {
    id: text(row, "id"),
    name: text(row, "name"),
    class: intOrNull(row, "class"),
    version: int(row, "version"),
    revision: text(row, "revision"),
    ask: flag(row, "ask"),
    moved: flag(row, "moved"),
    far: flag(row, "far"),
    doubt: int(row, "doubt"),
    synced: flag(row, "synced"),
    lastSeen: intOrNull(row, "last_seen"),
    blobSequence: intOrNull(row, "blob_sequence"),
    bootSequence: intOrNull(row, "boot_sequence"),
    alarm: row.alarm === null ? null : text(row, "alarm"),
  };
}

export function channelRow(row: Row): ChannelRow {
  return {
    id: text(row, "id"),
    filter: text(row, "filter"),
    suite: int(row, "suite"),
    frameSize: int(row, "frame_size"),
    shortTag: flag(row, "short_tag"),
    topicMode: int(row, "topic_mode"),
    late: int(row, "late"),
    ahead: int(row, "ahead"),
    stored: flag(row, "stored"),
    narrow: flag(row, "narrow"),
    markBlock: int(row, "mark_block"),
    leaseSteps: int(row, "lease_steps"),
    generation: int(row, "generation"),
    step: int(row, "step"),
    target: int(row, "target"),
    keep: flag(row, "keep"),
    nextSender: int(row, "next_sender"),
    stepEvery: int(row, "step_every"),
    steppedAt: int(row, "stepped_at"),
  };
}

export function memberRow(row: Row): MemberRow {
  return {
    channel: text(row, "channel"),
    device: text(row, "device"),
    sender: int(row, "sender"),
    will: int(row, "will"),
    from: int(row, "from_step"),
    open: int(row, "open_step"),
    to: int(row, "to_step"),
    steps: int(row, "steps"),
    renew: flag(row, "renew"),
    writes: flag(row, "writes"),
    sent: flag(row, "sent"),
    paidTo: int(row, "paid_to"),
    suspendedTo: int(row, "suspended_to"),
  };
}

export function heldRow(row: Row): HeldRow {
  return {
    device: text(row, "device"),
    channel: text(row, "channel"),
    generation: int(row, "generation"),
    step: int(row, "step"),
    from: int(row, "from_step"),
    open: int(row, "open_step"),
    to: int(row, "to_step"),
    form: int(row, "form"),
    frame: int(row, "frame"),
    la: int(row, "la"),
    flags: int(row, "flags"),
    sender: int(row, "sender"),
    will: int(row, "will"),
    granted: int(row, "granted"),
    lock: null,
    counters: row.counters === null ? null : text(row, "counters"),
    refused: row.refused === null ? null : text(row, "refused"),
  };
}

export function int(row: Row | undefined, column: string): number {
  return Number(row?.[column]);
}

export function intOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : int(row, column);
}

export function flag(row: Row, column: string): boolean {
  return int(row, column) === 1;
}

export function text(row: Row, column: string): string {
  return String(row[column]);
}

export function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new ServerError("DAMAGED", `column ${column} holds no bytes`);
  return value;
}
