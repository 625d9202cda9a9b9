/** SPEC section 12: blobs and marks. */

import {
  at,
  type Bytes,
  concat,
  equal,
  getU16,
  getU32,
  getU64,
  hex,
  isZero,
  u8,
  u16,
  u32,
  u64,
  utf8,
  zeros,
} from "./bytes.ts";
import { packParameters, parseParameters } from "./control.ts";
import type { Node } from "./keytree.ts";
import {
  BLOCK_FIRST,
  type Channel,
  type Numbers,
  type Previous,
  type Row,
  readable,
  type State,
} from "./state.ts";
import { ASCON_SIV, base, derive, open, seal } from "./suites.ts";
import { restoreRow } from "./window.ts";

export const MARK_SIZE = 48;
export const HEADER_SIZE = 16;
const DEVICE_SIZE = 73;
const CHANNEL_SIZE = 232;
const ROW_SIZE = 24;
const STATUSES = 8;
const NODE_SLOTS = 8;
const NODE_SIZE = 18;
const TAG_SIZE = 16;
const BLOB = 1;
const MARK = 2;
const MAGIC = utf8("AMPB");

export const OWN = 0;
export const WILL = 1;
export const PEER = 2;

export interface Keeper {
  readonly realm: Bytes;
  readonly device: Bytes;
  readonly storageKey: Bytes;
  readonly layout: 1 | 2;
}

/** T-1. */
export function storageKey(realm: Bytes, device: Bytes, key: Bytes): Bytes {
  const scope = { suite: ASCON_SIV, realm, id: device, generation: 0 };
  return derive(ASCON_SIV, key, "A1-stor", base(scope, 32), 32);
}

/** Leaves of the previous generation in a channel chunk. */
export function keptLeaves(layout: 1 | 2): number {
  return layout === 1 ? 4 : 15;
}

/** Rows in one chunk. */
export function rowsInChunk(layout: 1 | 2): number {
  return layout === 1 ? 13 : 20;
}

/** T-2: size of the text of every chunk. */
export function chunkText(layout: 1 | 2): number {
  return 8 + ROW_SIZE * rowsInChunk(layout);
}

function filledUp(text: Bytes, layout: 1 | 2): Bytes {
  return concat(text, zeros(chunkText(layout) - text.length));
}

export function recordNonce(
  kind: number,
  layout: number,
  chunk: number,
  sequence: number,
  number: number,
): Bytes {
  return concat(u8(kind), u8(layout), u16(chunk), u32(sequence), u32(number), zeros(4));
}

export function recordAd(keeper: Keeper, previous: Bytes): Bytes {
  return concat(keeper.realm, keeper.device, previous);
}

function packNumbers(numbers: Numbers): Bytes {
  return concat(u16(numbers.step), zeros(2), u32(numbers.limit));
}

function packPrevious(previous: Previous | null): Bytes {
  if (previous === null) return zeros(10);
  return concat(
    u16(previous.first),
    u8(previous.form),
    u8(previous.size / 8),
    u8(previous.leaves.length),
    u8(previous.flags),
    u16(previous.sender),
    u16(previous.will),
  );
}

/** T-4, 232 + 16n bytes. */
export function packChannel(channel: Channel, layout: 1 | 2): Bytes {
  const { nodes } = channel;
  const leaves = channel.previous?.leaves ?? [];
  return concat(
    packParameters(channel),
    channel.lock,
    packNumbers(channel.own),
    packNumbers(channel.willOwn),
    u16(channel.hold),
    packPrevious(channel.previous),
    ...leaves,
    zeros(16 * (keptLeaves(layout) - leaves.length)),
    ...nodes.map((node) => concat(u16(node.h), node.key)),
    zeros(NODE_SIZE * (NODE_SLOTS - nodes.length)),
  );
}

function packRow(row: Row, channel: Bytes): Bytes {
  const { sender, bound } = row;
  return markText({ channel, ...row.windows.n1, bound, sender, what: PEER });
}

/** The rows a blob keeps, in order of channel chunk and sender: those that can still be read. */
function packRows(state: State, channels: readonly Channel[]): Bytes[] {
  return channels.flatMap((channel) =>
    state.rows
      .filter((row) => row.channel === hex(channel.id))
      .filter((row) => readable(channel, row.windows.n1))
      .sort((a, b) => a.sender - b.sender)
      .map((row) => packRow(row, channel.id)),
  );
}

function packDevice(state: State): Bytes {
  return concat(
    u64(state.revision),
    state.echo,
    zeros(8),
    u32(state.version),
    u8(state.nextKey === null ? 0 : 1),
    zeros(3),
    state.key,
    state.nextKey ?? zeros(16),
    u8(state.statuses.length),
    Uint8Array.from(state.statuses),
    zeros(STATUSES - state.statuses.length),
  );
}

/** The texts of all chunks of a blob, T-3 and T-4. The last one has room for another row. */
export function blobTexts(keeper: Keeper, state: State): Bytes[] {
  const { layout } = keeper;
  const channels = state.channels.filter((channel) => channel !== null);
  const rows = packRows(state, channels);
  const texts = [packDevice(state), ...channels.map((channel) => packChannel(channel, layout))];
  const most = rowsInChunk(layout);
  for (let i = 0; i <= rows.length; i += most) texts.push(concat(zeros(8), ...rows.slice(i, i + most)));
  return texts.map((text) => filledUp(text, layout));
}

/** What C-6 calls stored, apart from the number of the revision and its ack. */
export function storedImage(keeper: Keeper, state: State): string {
  const quiet = { ...state, revision: 0n, statuses: [], echo: zeros(8) };
  return hex(concat(...blobTexts(keeper, quiet)));
}

export function sealBlob(keeper: Keeper, state: State, sequence: number): Bytes {
  const texts = blobTexts(keeper, state);
  const header = concat(MAGIC, u8(keeper.layout), zeros(3), u32(sequence), zeros(4));
  const chunks: Bytes[] = [];
  let previous = header;
  texts.forEach((text, i) => {
    const nonce = recordNonce(BLOB, keeper.layout, i, sequence, 0);
    const { tag, cipher } = seal(
      ASCON_SIV,
      keeper.storageKey,
      nonce,
      recordAd(keeper, previous),
      text,
      TAG_SIZE,
    );
    chunks.push(concat(cipher, tag));
    previous = tag;
  });
  return concat(header, ...chunks);
}

/** A slot that was never written: no byte, or every byte 0xFF as erased flash reads. */
export function isBlank(slot: Bytes): boolean {
  return slot.every((x) => x === 0xff);
}

function parseNumbers(bytes: Bytes): Numbers | null {
  if (!isZero(bytes.subarray(2, 4))) return null;
  const limit = getU32(bytes, 4);
  return { step: getU16(bytes, 0), counter: limit, limit, block: BLOCK_FIRST };
}

function parsePrevious(bytes: Bytes, generation: number, leaves: Bytes): Previous | null {
  const count = at(bytes, 4);
  if (count === 0) return null;
  return {
    first: getU16(bytes, 0),
    form: at(bytes, 2),
    size: at(bytes, 3) * 8,
    flags: at(bytes, 5),
    sender: getU16(bytes, 6),
    will: getU16(bytes, 8),
    generation: generation - 1,
    leaves: Array.from({ length: count }, (_, i) => leaves.slice(16 * i, 16 * i + 16)),
  };
}

function parseNodeSlots(bytes: Bytes): Node[] {
  const slots = Array.from({ length: NODE_SLOTS }, (_, i) => ({
    h: getU16(bytes, NODE_SIZE * i),
    key: bytes.slice(NODE_SIZE * i + 2, NODE_SIZE * (i + 1)),
  }));
  return slots.filter((node) => node.h !== 0);
}

function parseChannel(whole: Bytes, layout: 1 | 2): Channel | null {
  const text = whole.subarray(0, CHANNEL_SIZE + 16 * keptLeaves(layout));
  const parameters = parseParameters(text);
  const own = parseNumbers(text.subarray(60, 68));
  const willOwn = parseNumbers(text.subarray(68, 76));
  const nodesAt = text.length - NODE_SIZE * NODE_SLOTS;
  if (own === null || willOwn === null) return null;
  return {
    ...parameters,
    lock: text.slice(44, 60),
    own,
    willOwn,
    hold: getU16(text, 76),
    previous: parsePrevious(text.subarray(78, 88), parameters.generation, text.subarray(88, nodesAt)),
    nodes: parseNodeSlots(text.subarray(nodesAt)),
  };
}

function parseRow(bytes: Bytes, channels: readonly Channel[]): Row | null {
  const channel = channels.find(({ id }) => equal(id, bytes.subarray(0, 8)));
  const bound = getU32(bytes, 12);
  if (channel === undefined || at(bytes, 20) !== PEER || !isZero(bytes.subarray(21)) || bound < 1)
    return null;
  return {
    channel: hex(channel.id),
    sender: getU16(bytes, 18),
    windows: restoreRow({ generation: getU32(bytes, 8), step: getU16(bytes, 16) }, bound),
    bound,
    cached: false,
  };
}

interface OpenedTexts {
  readonly device: Bytes;
  readonly channels: readonly Bytes[];
  readonly rows: readonly Bytes[];
  readonly sequence: number;
}

/** The texts of a blob whose every chunk verifies, with its sequence; null otherwise. */
function openTexts(keeper: Keeper, blob: Bytes): OpenedTexts | null {
  const size = TAG_SIZE + chunkText(keeper.layout);
  const count = (blob.length - HEADER_SIZE) / size;
  if (!Number.isInteger(count) || count < 1) return null;
  const header = blob.slice(0, HEADER_SIZE);
  const sequence = getU32(header, 8);
  const texts: Bytes[] = [];
  let previous = header;
  for (let i = 0; i < count; i++) {
    const chunk = blob.subarray(HEADER_SIZE + i * size, HEADER_SIZE + (i + 1) * size);
    const tag = chunk.slice(-TAG_SIZE);
    const nonce = recordNonce(BLOB, keeper.layout, i, sequence, 0);
    const ad = recordAd(keeper, previous);
    const text = open(ASCON_SIV, keeper.storageKey, nonce, ad, chunk.subarray(0, -TAG_SIZE), tag);
    if (text === null) return null;
    texts.push(text);
    previous = tag;
  }
  const [device = zeros(DEVICE_SIZE), ...rest] = texts;
  const isRows = (text: Bytes) => isZero(text.subarray(0, 8));
  const channels = rest.filter((text) => !isRows(text));
  const rows = rest.filter(isRows).flatMap((text) => {
    const places = Array.from({ length: rowsInChunk(keeper.layout) }, (_, i) => 8 + ROW_SIZE * i);
    return places.map((from) => text.subarray(from, from + ROW_SIZE));
  });
  // The first empty place for a row ends the blob, in its last chunk.
  const end = rows.findIndex((row) => isZero(row.subarray(0, 8)));
  if (end < rows.length - rowsInChunk(keeper.layout) || rest.findIndex(isRows) !== channels.length)
    return null;
  return end < 0 ? null : { device, channels, rows: rows.slice(0, end), sequence };
}

/** The state that a blob holds, with `slots` channel slots; null when it does not verify. */
export function openBlob(keeper: Keeper, blob: Bytes, slots: number): State | null {
  const opened = openTexts(keeper, blob);
  if (opened === null) return null;
  const { device, sequence } = opened;
  const statuses = at(device, 64);
  const next = at(device, 28);
  if (next > 1 || opened.channels.length > slots || statuses > STATUSES) return null;
  const held = opened.channels
    .map((text) => parseChannel(text, keeper.layout))
    .filter((channel) => channel !== null);
  if (held.length !== opened.channels.length) return null;
  const rows = opened.rows.map((row) => parseRow(row, held)).filter((row) => row !== null);
  if (rows.length !== opened.rows.length) return null;
  return {
    channels: Array.from({ length: slots }, (_, i) => held[i] ?? null),
    rows,
    joins: [],
    version: getU32(device, 24),
    key: device.slice(32, 48),
    nextKey: next === 1 ? device.slice(48, 64) : null,
    revision: getU64(device, 0),
    statuses: [...device.slice(65, 65 + statuses)],
    echo: device.slice(8, 16),
    session: null,
    heard: false,
    sequence,
    bootSequence: sequence,
    number: 0,
    blobDue: false,
  };
}

/** T-8: a record that was not written to its end, on media that erase to 0xFF. */
export function isCutOff(record: Bytes): boolean {
  return record.length < MARK_SIZE || record.subarray(MARK_SIZE - 8).every((x) => x === 0xff);
}

export interface Mark {
  readonly channel: Bytes;
  readonly generation: number;
  readonly bound: number;
  readonly step: number;
  readonly sender: number;
  /** OWN, WILL or PEER. */
  readonly what: number;
}

export interface OpenedMark extends Mark {
  readonly sequence: number;
  readonly number: number;
}

/** T-5, the 24 bytes that are sealed. */
export function markText(mark: Mark): Bytes {
  const { channel, generation, bound, step, sender, what } = mark;
  return concat(channel, u32(generation), u32(bound), u16(step), u16(sender), u8(what), zeros(3));
}

/** T-5, 48 bytes. */
export function sealMark(keeper: Keeper, mark: Mark, sequence: number, number: number): Bytes {
  const nonce = recordNonce(MARK, keeper.layout, 0, sequence, number);
  const ad = recordAd(keeper, zeros(TAG_SIZE));
  const { tag, cipher } = seal(ASCON_SIV, keeper.storageKey, nonce, ad, markText(mark), TAG_SIZE);
  return concat(u32(sequence), u32(number), cipher, tag);
}

export function openMark(keeper: Keeper, record: Bytes): OpenedMark | null {
  if (record.length !== MARK_SIZE) return null;
  const sequence = getU32(record, 0);
  const number = getU32(record, 4);
  const nonce = recordNonce(MARK, keeper.layout, 0, sequence, number);
  const ad = recordAd(keeper, zeros(TAG_SIZE));
  const text = open(ASCON_SIV, keeper.storageKey, nonce, ad, record.subarray(8, 32), record.subarray(32));
  if (text === null || !isZero(text.subarray(21)) || at(text, 20) > PEER) return null;
  return {
    sequence,
    number,
    channel: text.slice(0, 8),
    generation: getU32(text, 8),
    bound: getU32(text, 12),
    step: getU16(text, 16),
    sender: getU16(text, 18),
    what: at(text, 20),
  };
}
