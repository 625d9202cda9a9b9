/** SPEC section 10: control frames and commands as bytes. */

import { at, type Bytes, concat, getU16, getU32, getU64, u8, u16, u32, u64, zeros } from "./bytes.ts";
import {
  hintOf,
  isLastPart,
  openFrame,
  type Position,
  parseHeader,
  partIndex,
  partOf,
  sealFrame,
  topicAd,
} from "./frame.ts";
import { type Node, senderKey } from "./keytree.ts";
import { type Parameters, scopeOf } from "./state.ts";
import { STATUS } from "./status.ts";
import { ASCON_SIV, deriveIn, type Scope } from "./suites.ts";

export const CONTROL_SIZE = 128;
export const CONTROL_FORM = 0;
export const CONTROL_FRAMES = 8;
export const SERVER = 0;
export const DEVICE = 1;
export const HELLO = 0;
export const ACK = 1;

export const SET_CHANNEL = 1;
export const ADD_NODES = 2;
export const DROP_CHANNEL = 3;
export const RESET = 4;
export const RATCHET = 5;
export const GRANT_SESSION = 6;
export const GRANT_COUNTERS = 7;
export const QUERY = 8;

export type Command =
  | { readonly code: 1; readonly parameters: Parameters }
  | {
      readonly code: 2;
      readonly channel: Bytes;
      readonly generation: number;
      readonly nodes: readonly Node[];
    }
  | { readonly code: 3; readonly channel: Bytes }
  | { readonly code: 4 }
  | { readonly code: 5; readonly target: number; readonly fresh: Bytes }
  | { readonly code: 6; readonly bootNonce: Bytes; readonly random: Bytes }
  | {
      readonly code: 7;
      readonly channel: Bytes;
      readonly generation: number;
      readonly step: number;
      readonly sender: number;
      readonly first: number;
      readonly end: number;
    }
  | { readonly code: 8; readonly nonce: Bytes };

/** The 28 bytes that `set channel` and the channel chunk of a blob begin with, and v. */
export function packParameters(p: Parameters): Bytes {
  return concat(
    p.id,
    u32(p.generation),
    u16(p.step),
    u16(p.from),
    u16(p.open),
    u16(p.to),
    u8(p.form),
    u8(p.size / 8),
    u8(p.la),
    u8(p.flags),
    u16(p.sender),
    u16(p.will),
    p.v,
  );
}

export function parseParameters(bytes: Bytes): Parameters {
  return {
    id: bytes.slice(0, 8),
    generation: getU32(bytes, 8),
    step: getU16(bytes, 12),
    from: getU16(bytes, 14),
    open: getU16(bytes, 16),
    to: getU16(bytes, 18),
    form: at(bytes, 20),
    size: at(bytes, 21) * 8,
    la: at(bytes, 22),
    flags: at(bytes, 23),
    sender: getU16(bytes, 24),
    will: getU16(bytes, 26),
    v: bytes.slice(28, 44),
  };
}

export const PARAMETERS_SIZE = 44;

/** code || body. */
export function packCommand(command: Command): Bytes {
  const code = u8(command.code);
  switch (command.code) {
    case SET_CHANNEL:
      return concat(code, packParameters(command.parameters));
    case ADD_NODES: {
      const nodes = command.nodes.map((node) => concat(u16(node.h), node.key));
      return concat(code, command.channel, u32(command.generation), u8(nodes.length), ...nodes);
    }
    case DROP_CHANNEL:
      return concat(code, command.channel);
    case RESET:
      return code;
    case RATCHET:
      return concat(code, u32(command.target), command.fresh);
    case GRANT_SESSION:
      return concat(code, command.bootNonce, command.random);
    case GRANT_COUNTERS:
      return concat(
        code,
        command.channel,
        u32(command.generation),
        u16(command.step),
        u16(command.sender),
        u32(command.first),
        u32(command.end),
      );
    case QUERY:
      return concat(code, command.nonce);
  }
}

function parseNodes(body: Bytes): Command | null {
  const count = at(body, 12);
  if (body.length < 13 || count < 1 || count > 4 || body.length !== 13 + 18 * count) return null;
  const nodes = Array.from({ length: count }, (_, i) => {
    const start = 13 + 18 * i;
    return { h: getU16(body, start), key: body.slice(start + 2, start + 18) };
  });
  return { code: ADD_NODES, channel: body.slice(0, 8), generation: getU32(body, 8), nodes };
}

/** C-3: null for an unknown code or a body of another length than its code has. */
export function parseCommand(bytes: Bytes): Command | null {
  const body = bytes.slice(1);
  const is = (code: number, size: number) => bytes.length === 1 + size && bytes[0] === code;
  if (is(SET_CHANNEL, PARAMETERS_SIZE)) return { code: SET_CHANNEL, parameters: parseParameters(body) };
  if (bytes[0] === ADD_NODES) return parseNodes(body);
  if (is(DROP_CHANNEL, 8)) return { code: DROP_CHANNEL, channel: body };
  if (is(RESET, 0)) return { code: RESET };
  if (is(RATCHET, 36)) return { code: RATCHET, target: getU32(body, 0), fresh: body.slice(4) };
  if (is(GRANT_SESSION, 24)) {
    return { code: GRANT_SESSION, bootNonce: body.slice(0, 8), random: body.slice(8) };
  }
  if (is(GRANT_COUNTERS, 24)) {
    return {
      code: GRANT_COUNTERS,
      channel: body.slice(0, 8),
      generation: getU32(body, 8),
      step: getU16(body, 12),
      sender: getU16(body, 14),
      first: getU32(body, 16),
      end: getU32(body, 20),
    };
  }
  if (is(QUERY, 8)) return { code: QUERY, nonce: body };
  return null;
}

/** One control key as a frame names it: the version, and K(v) for step 0 or the session secret for step 1. */
export interface ControlKey {
  readonly realm: Bytes;
  readonly device: Bytes;
  readonly version: number;
  readonly step: number;
  readonly secret: Bytes;
}

export function controlScope(realm: Bytes, device: Bytes, version: number): Scope {
  return { suite: ASCON_SIV, realm, id: device, generation: version };
}

function controlPosition(key: ControlKey, sender: number, counter: number): Position {
  const { version, step } = key;
  return { form: CONTROL_FORM, size: CONTROL_SIZE, sender, generation: version, step, counter };
}

export function controlSenderKey(key: ControlKey, sender: number): Bytes {
  return senderKey(controlScope(key.realm, key.device, key.version), key.secret, key.step, sender);
}

/** C-1 to C-3. contents: code || body of each command. */
export function sealDown(
  key: ControlKey,
  revision: bigint,
  contents: readonly Bytes[],
  topic: string,
): Bytes {
  const chunks = contents.map((content) => concat(u64(revision), content));
  return sealChunks(key, chunks, topic);
}

/** A down payload of any chunks at all, for readers that must refuse some. */
export function sealChunks(key: ControlKey, chunks: readonly Bytes[], topic: string): Bytes {
  const frames = chunks.map((chunk, i) => {
    const part = partOf(i, chunks.length);
    const p = controlPosition(key, SERVER, i);
    return sealFrame(p, controlSenderKey(key, SERVER), topicAd(topic), part, chunk).frame;
  });
  return concat(...frames);
}

export function sealUp(key: ControlKey, counter: number, chunk: Bytes, topic: string): Bytes {
  const p = controlPosition(key, DEVICE, counter);
  return sealFrame(p, controlSenderKey(key, DEVICE), topicAd(topic), partOf(0, 1), chunk).frame;
}

export interface Down {
  readonly status: number;
  readonly key: ControlKey | null;
  readonly revision: bigint;
  /** code || body of each command. */
  readonly contents: readonly Bytes[];
}

function refuseDown(status: number): Down {
  return { status, key: null, revision: 0n, contents: [] };
}

/** The key a hint names: one of the held ones, or a status. */
export type KeyOfHint = (hint: number) => ControlKey | number;

/** C-1 to C-4 for a whole payload; nothing is applied. */
export function openDown(payload: Bytes, topic: string, keyOf: KeyOfHint): Down {
  const count = payload.length / CONTROL_SIZE;
  if (!Number.isInteger(count) || count < 1 || count > CONTROL_FRAMES) return refuseDown(STATUS.BAD_LENGTH);
  const chunks: Bytes[] = [];
  let used: ControlKey | null = null;
  for (let i = 0; i < count; i++) {
    const frame = payload.subarray(i * CONTROL_SIZE, (i + 1) * CONTROL_SIZE);
    const header = parseHeader(frame);
    if (header.form !== CONTROL_FORM) return refuseDown(STATUS.BAD_FORM);
    const key: ControlKey | number =
      used !== null && hintOf(used.version, used.step) === header.hint ? used : keyOf(header.hint);
    if (used !== null && key !== used) return refuseDown(STATUS.BAD_PART);
    if (typeof key === "number") return refuseDown(key);
    if (header.sender !== SERVER || header.counter !== i) return refuseDown(STATUS.BAD_PART);
    const p = controlPosition(key, header.sender, header.counter);
    const opened = openFrame(p, controlSenderKey(key, header.sender), topicAd(topic), frame);
    if (opened.status !== STATUS.OK) return refuseDown(opened.status);
    used ??= key;
    const follows =
      partIndex(opened.part) === i &&
      isLastPart(opened.part) === (i === count - 1) &&
      opened.chunk.length >= 8 &&
      getU64(opened.chunk, 0) === getU64(chunks[0] ?? opened.chunk, 0);
    if (!follows) return refuseDown(STATUS.BAD_PART);
    chunks.push(opened.chunk);
  }
  return {
    status: STATUS.OK,
    key: used,
    revision: getU64(chunks[0] ?? zeros(8), 0),
    contents: chunks.map((chunk) => chunk.slice(8)),
  };
}

/** C-17: what an ack and a hello hold. */
export interface Answer {
  readonly revision: bigint;
  readonly echo: Bytes;
  readonly bootNonce: Bytes;
  readonly digest: Bytes;
  readonly sequence: number;
  readonly bootSequence: number;
  readonly version: number;
  readonly class: number;
  readonly suites: number;
  readonly channels: number;
  readonly senders: number;
  readonly frameMax: number;
  readonly span: number;
  readonly want: Bytes;
  readonly statuses: readonly number[];
}

const ANSWER_SIZE = 77;

/** C-17, 77 bytes. */
export function packAnswer(answer: Answer): Bytes {
  return concat(
    u64(answer.revision),
    answer.echo,
    answer.bootNonce,
    answer.digest,
    u32(answer.sequence),
    u32(answer.bootSequence),
    u32(answer.version),
    u8(answer.class),
    u8(answer.suites),
    u16(answer.channels),
    u16(answer.senders),
    u8(answer.frameMax / 8),
    u8(answer.span),
    answer.want,
    u8(answer.statuses.length),
    Uint8Array.from(answer.statuses),
    zeros(CONTROL_FRAMES - answer.statuses.length),
  );
}

export function parseAnswer(chunk: Bytes): Answer | null {
  const count = at(chunk, 68);
  if (chunk.length !== ANSWER_SIZE || count > CONTROL_FRAMES) return null;
  if (chunk.slice(69 + count).some((x) => x !== 0)) return null;
  return {
    revision: getU64(chunk, 0),
    echo: chunk.slice(8, 16),
    bootNonce: chunk.slice(16, 24),
    digest: chunk.slice(24, 40),
    sequence: getU32(chunk, 40),
    bootSequence: getU32(chunk, 44),
    version: getU32(chunk, 48),
    class: at(chunk, 52),
    suites: at(chunk, 53),
    channels: getU16(chunk, 54),
    senders: getU16(chunk, 56),
    frameMax: at(chunk, 58) * 8,
    span: at(chunk, 59),
    want: chunk.slice(60, 68),
    statuses: [...chunk.slice(69, 69 + count)],
  };
}

export interface Up {
  readonly status: number;
  readonly key: ControlKey | null;
  /** The answer, under the name of its kind. */
  readonly ack: Answer | null;
  readonly hello: Answer | null;
}

/** What a server reads of an up frame, with the keys it still holds for the device. */
export function openUp(frame: Bytes, topic: string, keys: readonly ControlKey[]): Up {
  const refuse = (status: number): Up => ({ status, key: null, ack: null, hello: null });
  if (frame.length !== CONTROL_SIZE) return refuse(STATUS.BAD_LENGTH);
  const header = parseHeader(frame);
  if (header.form !== CONTROL_FORM) return refuse(STATUS.BAD_FORM);
  const key = keys.find((candidate) => hintOf(candidate.version, candidate.step) === header.hint);
  if (key === undefined) return refuse(STATUS.UNKNOWN_EPOCH);
  const p = controlPosition(key, header.sender, header.counter);
  const opened = openFrame(p, controlSenderKey(key, header.sender), topicAd(topic), frame);
  if (opened.status !== STATUS.OK) return refuse(opened.status);
  if (header.sender !== DEVICE || opened.part !== partOf(0, 1)) return refuse(STATUS.BAD_PART);
  const answer = parseAnswer(opened.chunk);
  const ack = header.counter === ACK ? answer : null;
  const hello = header.counter === HELLO ? answer : null;
  if (ack === null && hello === null) return refuse(STATUS.BAD_COMMAND);
  return { status: STATUS.OK, key, ack, hello };
}

/** C-15. */
export function nextKey(realm: Bytes, device: Bytes, version: number, key: Bytes, fresh: Bytes): Bytes {
  return deriveIn(controlScope(realm, device, version), key, "A1-next", fresh, 16);
}

/** C-20. */
export function sessionSecret(
  realm: Bytes,
  device: Bytes,
  version: number,
  key: Bytes,
  bootNonce: Bytes,
  random: Bytes,
): Bytes {
  return deriveIn(controlScope(realm, device, version), key, "A1-sess", concat(bootNonce, random), 16);
}

/** C-19: the entry of one channel. */
export function digestEntry(realm: Bytes, p: Parameters, lock: Bytes): Bytes {
  const rest = concat(
    u16(p.from),
    u16(p.open),
    u16(p.to),
    u8(p.form),
    u8(p.size / 8),
    u8(p.la),
    u8(p.flags),
    u16(p.sender),
    u16(p.will),
  );
  return deriveIn(scopeOf(realm, p.id, p), lock, "A1-sync", rest, 16);
}
