/** What a device knows, as values that are replaced and never changed in place. */

import type { Bytes } from "./bytes.ts";
import { hintOf } from "./frame.ts";
import type { Node } from "./keytree.ts";
import type { Scope } from "./suites.ts";
import type { Epoch, PartJoin, Windows } from "./window.ts";

export const FLAG_CHANNEL_AD = 0x01;
export const FLAG_STORED = 0x02;
export const FLAG_NARROW = 0x04;
export const FLAG_KEEP_PREVIOUS = 0x80;

/** The three numbers of P-1, and the next block size of P-3, which a boot sets back to 16. */
export interface Numbers {
  readonly step: number;
  readonly counter: number;
  readonly limit: number;
  readonly block: number;
}

/** What a frame must agree with, in the held generation or in the one before. */
export interface Shape {
  readonly generation: number;
  readonly form: number;
  /** F, in bytes. */
  readonly size: number;
  readonly flags: number;
  readonly sender: number;
  readonly will: number;
}

export interface Previous extends Shape {
  readonly first: number;
  readonly leaves: readonly Bytes[];
}

export interface Parameters extends Shape {
  readonly id: Bytes;
  readonly step: number;
  readonly from: number;
  readonly open: number;
  readonly to: number;
  readonly la: number;
  readonly v: Bytes;
}

export interface Channel extends Parameters {
  readonly lock: Bytes;
  readonly own: Numbers;
  readonly willOwn: Numbers;
  readonly hold: number;
  readonly previous: Previous | null;
  readonly nodes: readonly Node[];
}

export interface Row {
  readonly channel: string;
  readonly sender: number;
  readonly windows: Windows;
  /** Exclusive, in n1; 0 without storage. */
  readonly bound: number;
  /** whether the key of n1 is at hand. */
  readonly cached: boolean;
}

export interface Join {
  readonly channel: string;
  readonly sender: number;
  readonly join: PartJoin;
}

export interface State {
  readonly channels: readonly (Channel | null)[];
  readonly rows: readonly Row[];
  readonly joins: readonly Join[];
  readonly version: number;
  readonly key: Bytes;
  readonly nextKey: Bytes | null;
  readonly revision: bigint;
  readonly statuses: readonly number[];
  readonly echo: Bytes;
  readonly session: Bytes | null;
  /** C-18: a payload was opened under the session secret. */
  readonly heard: boolean;
  readonly sequence: number;
  readonly bootSequence: number;
  readonly number: number;
  readonly blobDue: boolean;
}

/** T-8: the hold of a channel in which nothing is sealed or opened. */
export const SHUT = 0xffff;

export const BLOCK_FIRST = 16;
export const BLOCK_LAST = 1024;

export const NO_NUMBERS: Numbers = { step: 0, counter: 0, limit: 0, block: BLOCK_FIRST };

export function lateOf(la: number): number {
  return la & 15;
}

export function aheadOf(la: number): number {
  return la >> 4;
}

export function baseStep(channel: Parameters): number {
  return Math.max(channel.step - lateOf(channel.la), 0);
}

export function roomOf(flags: number): number {
  return [1, 16, 64, 64][(flags >> 3) & 3] ?? 64;
}

export function scopeOf(realm: Bytes, id: Bytes, shape: Shape): Scope {
  return { suite: (shape.form >> 2) & 3, realm, id, generation: shape.generation };
}

export function keptStep(previous: Previous, hint: number): number | null {
  for (let i = 0; i < previous.leaves.length; i++) {
    if (hintOf(0, previous.first + i) === (hint & 15)) return previous.first + i;
  }
  return null;
}

/** W-7: whether a frame of this epoch, or of an older one, could still find its key. */
export function readable(channel: Channel, epoch: Epoch): boolean {
  if (epoch.generation === channel.generation) {
    return epoch.step >= baseStep(channel);
  }
  const { previous } = channel;
  if (previous === null || epoch.generation !== previous.generation) return false;
  return epoch.step >= previous.first;
}
