// The control channel on the wire (SPEC section 10): commands, down payloads, acks and hellos.

import { concat, fromHex } from "../bytes.ts";
import type { FrameHead, Kit } from "../core/kit.ts";
import { Reader, type Revision, readRevision, revisionBytes, u16, u32 } from "./bytes.ts";
import type { TreeNode } from "./tree.ts";

export const CONTROL_FRAME = 128;
export const COMMANDS_MAX = 8;
export const NODES_MAX = 4;
const ANSWER_SIZE = 77;
const LAST_PART = 0x80;

/** Everything `set channel` fixes for a member, its ids as hex (SPEC section 10, code 1). */
export interface Setting {
  channel: string;
  generation: number;
  from: number;
  open: number;
  to: number;
  form: number;
  /** Frame size / 8. */
  frame: number;
  /** late in the low nibble, ahead in the high one. */
  la: number;
  flags: number;
  sender: number;
  will: number;
}

export type Command =
  | ({ kind: "set"; step: number; v: Uint8Array } & Setting)
  | { kind: "nodes"; channel: string; generation: number; nodes: TreeNode[] }
  | { kind: "drop"; channel: string }
  | { kind: "reset" }
  | { kind: "ratchet"; target: number; fresh: Uint8Array }
  | { kind: "session"; boot: string; random: Uint8Array }
  | {
      kind: "counters";
      channel: string;
      generation: number;
      step: number;
      sender: number;
      first: number;
      end: number;
    }
  | { kind: "query"; nonce: string };

export type CommandKind = Command["kind"];

const CODE: Record<CommandKind, number> = {
  set: 1,
  nodes: 2,
  drop: 3,
  reset: 4,
  ratchet: 5,
  session: 6,
  counters: 7,
  query: 8,
};

/** code(1) || body. */
export function encodeCommand(command: Command): Uint8Array {
  return concat(Uint8Array.of(CODE[command.kind]), encodeBody(command));
}

function encodeBody(command: Command): Uint8Array {
  switch (command.kind) {
    case "set":
      return concat(
        fromHex(command.channel),
        u32(command.generation),
        ...[command.step, command.from, command.open, command.to].map(u16),
        Uint8Array.of(command.form, command.frame, command.la, command.flags),
        u16(command.sender),
        u16(command.will),
        command.v,
      );
    case "nodes":
      return concat(
        fromHex(command.channel),
        u32(command.generation),
        Uint8Array.of(command.nodes.length),
        ...command.nodes.map((node) => concat(u16(node.h), node.key)),
      );
    case "drop":
      return fromHex(command.channel);
    case "reset":
      return new Uint8Array(0);
    case "ratchet":
      return concat(u32(command.target), command.fresh);
    case "session":
      return concat(fromHex(command.boot), command.random);
    case "counters":
      return concat(
        fromHex(command.channel),
        u32(command.generation),
        u16(command.step),
        u16(command.sender),
        u32(command.first),
        u32(command.end),
      );
    case "query":
      return fromHex(command.nonce);
  }
}

/** The inverse of encodeCommand, for bytes that it made. */
export function decodeCommand(bytes: Uint8Array): Command {
  const read = new Reader(bytes);
  const code = read.u8();
  switch (code) {
    case CODE.set:
      return decodeSet(read);
    case CODE.nodes: {
      const [channel, generation, count] = [read.hex(8), read.u32(), read.u8()];
      const nodes = Array.from({ length: count }, () => ({ h: read.u16(), key: read.bytes(16) }));
      return { kind: "nodes", channel, generation, nodes };
    }
    case CODE.drop:
      return { kind: "drop", channel: read.hex(8) };
    case CODE.reset:
      return { kind: "reset" };
    case CODE.ratchet:
      return { kind: "ratchet", target: read.u32(), fresh: read.bytes(32) };
    case CODE.session:
      return { kind: "session", boot: read.hex(8), random: read.bytes(16) };
    case CODE.counters:
      return decodeCounters(read);
    case CODE.query:
      return { kind: "query", nonce: read.hex(8) };
    default:
      throw new RangeError(`no command has the code ${code}`);
  }
}

function decodeSet(read: Reader): Command {
  const [channel, generation] = [read.hex(8), read.u32()];
  const [step, from, open, to] = [read.u16(), read.u16(), read.u16(), read.u16()];
  const [form, frame, la, flags] = [read.u8(), read.u8(), read.u8(), read.u8()];
  const [sender, will] = [read.u16(), read.u16()];
  const v = read.bytes(16);
  return { kind: "set", channel, generation, step, from, open, to, form, frame, la, flags, sender, will, v };
}

function decodeCounters(read: Reader): Command {
  const [channel, generation, step, sender] = [read.hex(8), read.u32(), read.u16(), read.u16()];
  return { kind: "counters", channel, generation, step, sender, first: read.u32(), end: read.u32() };
}

/** Commands of one revision as they are stored until they are acknowledged: length(1) || command, each. */
export function packCommands(commands: Command[]): Uint8Array {
  return concat(...commands.map(encodeCommand).flatMap((bytes) => [Uint8Array.of(bytes.length), bytes]));
}

/** The inverse of packCommands. */
export function parseCommands(bytes: Uint8Array): Command[] {
  const read = new Reader(bytes);
  const commands: Command[] = [];
  while (read.left > 0) commands.push(decodeCommand(read.bytes(read.u8())));
  return commands;
}

/** The control channel of one device under one of its keys. */
export interface ControlKey {
  realm: Uint8Array;
  device: Uint8Array;
  /** Control key version v. */
  version: number;
  /** 0: `secret` is K(v). 1: `secret` is the session secret. */
  step: 0 | 1;
  secret: Uint8Array;
}

/** One down payload: a frame for each command, 1 to 8 (SPEC C-1 to C-3). */
export function sealDown(
  kit: Kit,
  key: ControlKey,
  topic: string,
  revision: Revision,
  commands: Command[],
): Uint8Array {
  const frames = commands.map((command, i) => {
    const part = i === commands.length - 1 ? i | LAST_PART : i;
    const chunk = concat(revisionBytes(revision), encodeCommand(command));
    return kit.sealFrame(headOf(key, topic, 0, i), part, chunk);
  });
  return concat(...frames);
}

/** What the clear header of an up frame says; nothing in it is authentic before openUp. */
export interface UpHeader {
  kind: "hello" | "ack";
  versionHint: number;
  step: 0 | 1;
}

/** Undefined if the payload cannot be a control frame of a device. */
export function readUpHeader(payload: Uint8Array): UpHeader | undefined {
  if (payload.length !== CONTROL_FRAME) return undefined;
  const read = new Reader(payload);
  const [form, hint, sender, counter] = [read.u8(), read.u8(), read.u16(), read.u16()];
  const step = hint & 15;
  if (form !== 0 || sender !== 1 || counter > 1 || step > 1) return undefined;
  return { kind: counter === 0 ? "hello" : "ack", versionHint: hint >> 4, step: step === 0 ? 0 : 1 };
}

/** What an ack and a hello hold (SPEC C-17). */
export interface Answer {
  kind: "ack" | "hello";
  revision: Revision;
  echo: string;
  boot: string;
  digest: string;
  blobSequence: number;
  bootSequence: number;
  version: number;
  class: number;
  suites: number;
  channels: number;
  senders: number;
  frameMax: number;
  laMax: number;
  /** Channel whose counters are wanted; null if none. */
  want: string | null;
  statuses: number[];
}

/** bootSequence while a channel of the device is shut (SPEC T-8). */
export const SHUT = 0xffffffff;

/** Throws RefusedError if the frame was not sealed with this key; undefined if its text is malformed. */
export function openUp(
  kit: Kit,
  key: ControlKey,
  topic: string,
  header: UpHeader,
  payload: Uint8Array,
): Answer | undefined {
  const counter = header.kind === "hello" ? 0 : 1;
  const { part, chunk } = kit.openFrame(headOf(key, topic, 1, counter), payload);
  return part === LAST_PART ? parseAnswer(header.kind, chunk) : undefined;
}

function parseAnswer(kind: "ack" | "hello", chunk: Uint8Array): Answer | undefined {
  if (chunk.length !== ANSWER_SIZE) return undefined;
  const read = new Reader(chunk);
  const revision = readRevision(read);
  const answer: Answer = {
    kind,
    revision,
    echo: read.hex(8),
    boot: read.hex(8),
    digest: read.hex(16),
    blobSequence: read.u32(),
    bootSequence: read.u32(),
    version: read.u32(),
    class: read.u8(),
    suites: read.u8(),
    channels: read.u16(),
    senders: read.u16(),
    frameMax: read.u8() * 8,
    laMax: read.u8(),
    want: read.hex(8),
    statuses: [],
  };
  const count = read.u8();
  if (count > COMMANDS_MAX || answer.class > 2) return undefined;
  answer.statuses = [...read.bytes(count)];
  if (answer.want === "0000000000000000") answer.want = null;
  return answer;
}

function headOf(key: ControlKey, topic: string, sender: number, counter: number): FrameHead {
  return {
    form: 0,
    frameSize: CONTROL_FRAME,
    sender,
    generation: key.version,
    step: key.step,
    counter,
    realm: key.realm,
    id: key.device,
    topic: new TextEncoder().encode(topic),
    stepSecret: key.secret,
  };
}
