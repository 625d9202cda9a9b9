/** SPEC section 9: what one reader remembers of one sender; and the two joins of section 8. */

import { type Bytes, concat } from "./bytes.ts";
import { isLastPart, MESSAGE_FRAMES, partIndex } from "./frame.ts";
import { STATUS } from "./status.ts";

export const WINDOW_SIZE = 64;
const ALL = (1n << 64n) - 1n;

export interface Epoch {
  readonly generation: number;
  readonly step: number;
}

export interface Window extends Epoch {
  /** Highest accepted counter. */
  readonly top: number;
  /** Bit i stands for top - i. */
  readonly bits: bigint;
}

export interface Windows {
  readonly n1: Window;
  readonly n0: Window | null;
  readonly closedBelow: boolean;
}

export function compareEpoch(a: Epoch, b: Epoch): number {
  return a.generation - b.generation || a.step - b.step;
}

function beginWindow(epoch: Epoch, counter: number): Window {
  return { generation: epoch.generation, step: epoch.step, top: counter, bits: 1n };
}

function checkWindow(window: Window, counter: number): number {
  if (counter > window.top) return STATUS.OK;
  const age = window.top - counter;
  if (age >= WINDOW_SIZE) return STATUS.CLOSED;
  return ((window.bits >> BigInt(age)) & 1n) === 1n ? STATUS.REPLAYED : STATUS.OK;
}

function markWindow(window: Window, counter: number): Window {
  if (counter <= window.top) return { ...window, bits: window.bits | (1n << BigInt(window.top - counter)) };
  const shift = counter - window.top;
  return { ...window, top: counter, bits: ((window.bits << BigInt(shift)) | 1n) & ALL };
}

/** W-1 to W-3: OK for fresh, else REPLAYED or CLOSED. `row` is null when the sender has none. */
export function checkRow(row: Windows | null, epoch: Epoch, counter: number): number {
  if (row === null) return STATUS.OK;
  const order = compareEpoch(epoch, row.n1);
  if (order === 0) return checkWindow(row.n1, counter);
  if (order > 0) return STATUS.OK;
  if (row.n0 !== null && compareEpoch(epoch, row.n0) === 0) return checkWindow(row.n0, counter);
  const closed = row.n0 === null ? row.closedBelow : compareEpoch(epoch, row.n0) < 0;
  return closed ? STATUS.CLOSED : STATUS.OK;
}

/** W-1 to W-4, for a counter that `checkRow` called fresh. */
export function markRow(row: Windows | null, epoch: Epoch, counter: number): Windows {
  if (row === null) return { n1: beginWindow(epoch, counter), n0: null, closedBelow: false };
  const { n1, n0, closedBelow } = row;
  const order = compareEpoch(epoch, n1);
  if (order === 0) return { n1: markWindow(n1, counter), n0, closedBelow };
  if (order > 0) return { n1: beginWindow(epoch, counter), n0: n1, closedBelow: false };
  if (n0 !== null && compareEpoch(epoch, n0) === 0) {
    return { n1, n0: markWindow(n0, counter), closedBelow };
  }
  return { n1, n0: beginWindow(epoch, counter), closedBelow };
}

/** W-6: every counter below the bound is closed. bound is 1 to 65536. */
export function restoreRow(epoch: Epoch, bound: number): Windows {
  const n1 = { generation: epoch.generation, step: epoch.step, top: bound - 1, bits: ALL };
  return { n1, n0: null, closedBelow: true };
}

export interface PartJoin {
  readonly epoch: Epoch;
  readonly counter: number;
  readonly chunks: readonly Bytes[];
}

/**
 * R-9, narrow mode: joins one accepted frame to what came before it.
 * status is MORE while the message goes on, OK with its text, or GAP; `next` is what to keep.
 */
export function joinPart(
  held: PartJoin | null,
  epoch: Epoch,
  counter: number,
  part: number,
  chunk: Bytes,
): { status: number; next: PartJoin | null; text: Bytes } {
  const index = partIndex(part);
  const begun = index === 0 ? { epoch, counter: counter - 1, chunks: [] } : held;
  const follows =
    begun !== null &&
    compareEpoch(begun.epoch, epoch) === 0 &&
    begun.counter + 1 === counter &&
    begun.chunks.length === index &&
    index < MESSAGE_FRAMES;
  if (!follows) return { status: STATUS.GAP, next: null, text: new Uint8Array(0) };
  const chunks = [...begun.chunks, chunk];
  if (isLastPart(part)) return { status: STATUS.OK, next: null, text: concat(...chunks) };
  return { status: STATUS.MORE, next: { epoch, counter, chunks }, text: new Uint8Array(0) };
}

/** what a receiver keeps for each topic, and the verdict on the next stored value of it. */
export class StoredValues {
  private readonly values = new Map<string, { sender: number; epoch: Epoch; counter: number }>();

  /** True when the value is to be taken; false for an older one of the same sender. */
  take(topic: string, sender: number, epoch: Epoch, counter: number): boolean {
    const last = this.values.get(topic);
    const older =
      last !== undefined &&
      last.sender === sender &&
      (compareEpoch(epoch, last.epoch) || counter - last.counter) < 0;
    if (!older) this.values.set(topic, { sender, epoch, counter });
    return !older;
  }
}
