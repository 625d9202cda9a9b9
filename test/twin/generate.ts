/**
 * Writes test/vectors/*.json from the twin. `node test/twin/generate.ts` after a change of the protocol;
 * vectors.test.ts compares what this module makes with what is committed.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import * as beacon from "./beacon.ts";
import { type Bytes, concat, hex, run, u8, u16, u32, utf8, zeros } from "./bytes.ts";
import type { Command } from "./control.ts";
import * as control from "./control.ts";
import { type Ad, channelAd, chunkSize, type Position, partOf, sealFrame, topicAd } from "./frame.ts";
import { printJson } from "./json.ts";
import { addNode, cover, cutNode, leafNumber, lockOf, type Node, span } from "./keytree.ts";
import { refusals } from "./refusals.ts";
import { rowText, twinRooms } from "./rooms.ts";
import type {
  CoverVector,
  Derivation,
  DigestVector,
  FrameVector,
  RecordVector,
  WindowVector,
} from "./run-vectors.ts";
import * as scenarios from "./scenarios.ts";
import type { Generation } from "./server.ts";
import { BOOT_NONCE, DEVICE, generationOf, KEY, REALM, random } from "./stage.ts";
import type { Parameters } from "./state.ts";
import { STATUS, statusName } from "./status.ts";
import * as storage from "./storage.ts";
import { base, channelId, derive, digest, keySize, makeForm, type Scope } from "./suites.ts";
import { type Epoch, markRow, restoreRow, type Window, type Windows } from "./window.ts";

const DIRECTORY = join(import.meta.dirname, "..", "vectors");
const SUITES = [0, 1, 2, 3];
const NOTHING = zeros(0);

function derivation(
  title: string,
  scope: Scope,
  label: string,
  key: Bytes,
  rest: Bytes,
  n: number,
): Derivation {
  const context = concat(base(scope, n), rest);
  const output = hex(derive(scope.suite, key, label, context, n));
  return { title, suite: scope.suite, label, key: hex(key), context: hex(context), n, output };
}

/** One sealed frame with every intermediate. */
export function frameVector(
  generation: Generation,
  p: Position,
  topic: string | null,
  part: number,
  chunk: Bytes,
) {
  const { scope } = generation;
  const ad: Ad = topic === null ? channelAd(scope.id) : topicAd(topic);
  const secret = generation.leaf(p.step);
  const n = keySize(scope.suite);
  const context = concat(base(scope, n), u16(p.step), u16(p.sender));
  const key = derive(scope.suite, secret, "A1-send", context, n);
  const sealed = sealFrame(p, key, ad, part, chunk);
  const vector: FrameVector = {
    suite: scope.suite,
    t: sealed.tag.length,
    F: p.size,
    topicMode: topic === null ? 1 : 0,
    topic: topic ?? "",
    generation: p.generation,
    step: p.step,
    sender: p.sender,
    counter: p.counter,
    stepSecret: hex(secret),
    context: hex(context),
    senderKey: hex(key),
    A16: hex(sealed.nonce),
    ad: hex(ad.bytes),
    part,
    chunk: hex(chunk),
    text: hex(sealed.text),
    N: hex(sealed.n),
    C: hex(sealed.cipher),
    T: hex(sealed.tag),
    frame: hex(sealed.frame),
  };
  return vector;
}

function chunkLengths(form: number, size: number): number[] {
  const full = chunkSize(form, size);
  return size > 64 ? [full] : [0, 1, full - 1, full];
}

function frameVectors(): FrameVector[] {
  const out: FrameVector[] = [];
  for (const suite of SUITES) {
    const generation = generationOf(suite, 0xfffffffe);
    for (const t of [8, 16]) {
      for (const size of t === 8 ? [24, 32, 64, 256, 1024] : [32, 64, 256, 1024]) {
        const form = makeForm(suite, t);
        chunkLengths(form, size).forEach((length, i) => {
          const number = 0xfffffffe;
          const step = [0, 1, 4095, 2048][i % 4] ?? 0;
          const counter = [0, 1, 65535, 256][i % 4] ?? 0;
          const sender = [1, 65535, 0, 258][i % 4] ?? 0;
          const p = { form, size, sender, generation: number, step, counter };
          const topic = [`plant/${suite}/temp`, null, "", "größe/°C"][(i + size / 8) % 4];
          const part = i % 2 === 0 ? partOf(0, 1) : partOf(i, 64);
          out.push(frameVector(generation, p, topic === undefined ? "" : topic, part, run(0x30, length)));
        });
      }
    }
  }
  return out;
}

interface InsertVector {
  title: string;
  lease: { from: number; to: number };
  base: number;
  held: number[];
  node: number;
  status: string;
  after: number[];
}

function insertVectors(): InsertVector[] {
  const generation = generationOf(0);
  const all = { from: 0, to: 4095 };
  const rows: [string, { from: number; to: number }, number, number[], number, number][] = [
    ["first node", all, 0, [], 32, STATUS.OK],
    ["second node of 128 steps", all, 0, [32], 33, STATUS.OK],
    ["third node of 128 steps: 7 + 2 > 8", all, 0, [32, 33], 34, STATUS.LEASE_FULL],
    ["held node", all, 0, [32], 32, STATUS.HELD],
    ["part of a held node", all, 0, [32], 64, STATUS.HELD],
    ["parent of two held halves", all, 0, [64, 65], 32, STATUS.HELD],
    ["parent of one held half", all, 0, [64], 32, STATUS.OK],
    ["parent with held nodes inside", all, 0, [4097, 4098], 512, STATUS.OK],
    ["wholly left of base", all, 128, [], 32, STATUS.HELD],
    ["cut to its last step", all, 127, [], 32, STATUS.OK],
    ["cut to all but its first step", all, 1, [], 32, STATUS.OK],
    ["cut, and the second node right of it", all, 1, [33], 32, STATUS.OK],
    ["depth 5", all, 0, [], 32, STATUS.OK],
    ["depth 4", all, 0, [], 31, STATUS.BAD_NODE],
    ["depth 12", all, 0, [], 8191, STATUS.OK],
    ["depth 13", all, 0, [], 8192, STATUS.BAD_NODE],
    ["number 0", all, 0, [], 0, STATUS.BAD_NODE],
    ["from the first step of the lease", { from: 4, to: 7 }, 4, [], 1025, STATUS.OK],
    ["from one step before the lease", { from: 5, to: 7 }, 4, [], 1025, STATUS.BAD_NODE],
    ["to one step after the lease", { from: 4, to: 6 }, 4, [], 1025, STATUS.BAD_NODE],
    ["ninth single step", all, 0, [4096, 4098, 4100, 4102, 4104, 4106, 4108], 4110, STATUS.OK],
    ["tenth single step", all, 0, [4096, 4098, 4100, 4102, 4104, 4106, 4108, 4110], 4112, STATUS.LEASE_FULL],
    ["between two nodes", all, 0, [4096, 33], 64 + 1, STATUS.OK],
    ["64 steps with two nodes right of it: 6 + 2 = 8", all, 0, [33, 4096 + 300], 64, STATUS.OK],
    ["64 steps with three nodes right of it", all, 0, [33, 4396, 4398], 64, STATUS.LEASE_FULL],
  ];
  return rows.map(([title, lease, from, held, h, expected]) => {
    const nodes = held.map((number) => generation.node(number));
    const node: Node = h >= 1 && h < 8192 ? generation.node(h) : { h, key: zeros(16) };
    const added = addNode(generation.scope, nodes, node, lease, from);
    const status = statusName(added.status);
    if (added.status !== expected) throw new Error(`${title}: ${status}`);
    return { title, lease, base: from, held, node: h, status, after: added.nodes.map((n) => n.h) };
  });
}

function treeOf(suite: number) {
  const filter = `plant/${suite}/+`;
  const secret = random(`${filter} 7`, 16);
  const generation = generationOf(suite);
  const { scope } = generation;
  const node = (h: number) => ({ h, key: hex(generation.node(h).key) });
  const parents = [1, 2, 3, 32, 63, 2048, 4095].map((h) => {
    const { depth, index } = span(h);
    const rest = concat(u8(depth), u16(index));
    return derivation(`children of ${h}`, scope, "A1-tree", generation.node(h).key, rest, 32);
  });
  const leaves = [0, 1, 127, 128, 2047, 2048, 4095].map((step) => node(leafNumber(step)));
  const senders = [
    [0, 0],
    [0, 1],
    [1, 256],
    [4095, 65535],
  ].map(([step = 0, sender = 0]) => {
    const rest = concat(u16(step), u16(sender));
    return derivation(
      `step ${step} sender ${sender}`,
      scope,
      "A1-send",
      generation.leaf(step),
      rest,
      keySize(suite),
    );
  });
  const locks = [0, 127, 4095].map((to) =>
    derivation(`lock of ${to}`, scope, "A1-lock", generation.leaf(to), u16(to), 8),
  );
  return {
    suite,
    realm: hex(REALM),
    channel: hex(scope.id),
    generation: 7,
    secret: hex(secret),
    root: derivation("root", scope, "A1-root", secret, NOTHING, 16),
    seed: derivation("seed", scope, "A1-seed", secret, NOTHING, 16),
    nodes: [1, 2, 3, 32, 33, 63, 64].map(node),
    leaves,
    derivations: [...parents, ...senders, ...locks],
  };
}

function keytreeVectors() {
  const ranges: [number, number][] = [
    [0, 0],
    [0, 1],
    [1, 1],
    [1, 2],
    [0, 127],
    [1, 127],
    [1, 126],
    [0, 128],
    [0, 255],
    [100, 255],
    [3, 4095],
    [4095, 4095],
  ];
  const covers: CoverVector[] = ranges.map(([from, to]) => ({ from, to, nodes: cover(from, to) }));
  const generation = generationOf(0);
  const cuts = [
    [32, 0],
    [32, 1],
    [32, 64],
    [32, 127],
    [32, 128],
    [33, 128],
    [8191, 4095],
  ].map(([h = 0, from = 0]) => {
    const parts = cutNode(generation.scope, generation.node(h), from);
    return { node: h, base: from, parts: parts.map((part) => ({ h: part.h, key: hex(part.key) })) };
  });
  const message = concat(REALM, utf8("plant/0/+"));
  const digests: DigestVector[] = [
    {
      title: "channel id of plant/0/+",
      label: "A1-chan",
      message: hex(message),
      output: hex(digest("A1-chan", message, 8)),
    },
    {
      title: "channel id of an empty filter",
      label: "A1-chan",
      message: hex(REALM),
      output: hex(channelId(REALM, "")),
    },
  ];
  return { trees: SUITES.map(treeOf), covers, cuts, inserts: insertVectors(), digests };
}

function beaconVectors() {
  const chains = SUITES.map((suite) => {
    const generation = generationOf(suite);
    const { scope } = generation;
    const seed = beacon.chainSeed(scope, random(`plant/${suite}/+ 7`, 16));
    const links = [4095, 4094, 4093, 257, 1, 0].map((step) => {
      const above = step === 4095 ? seed : generation.v(step + 1);
      return derivation(`v(${step})`, scope, "A1-step", above, u16(step), 16);
    });
    const form = makeForm(suite, 16);
    const beacons = [0, 1, 256, 4095].map((step) => ({ step, beacon: hex(generation.beacon(form, step)) }));
    return { suite, channel: hex(scope.id), generation: 7, seed: hex(seed), links, form, beacons };
  });
  return { chains, scripts: scenarios.beaconScripts() };
}

function exampleParameters(): Parameters {
  const { scope } = generationOf(2);
  return {
    id: scope.id,
    generation: 0x01020304,
    step: 0x0102,
    from: 0x0103,
    open: 0x0104,
    to: 0x0105,
    form: 0x18,
    size: 1024,
    la: 0x12,
    flags: 0x8d,
    sender: 0x0607,
    will: 0x0809,
    v: random("v", 16),
  };
}

function commandVectors() {
  const parameters = exampleParameters();
  const { id } = parameters;
  const nodes = [0x0040, 0x0083, 0x1fff, 0x1000].map((h) => ({ h, key: random(`node ${h}`, 16) }));
  const commands: [string, Command][] = [
    ["set channel", { code: 1, parameters }],
    ["add nodes, one", { code: 2, channel: id, generation: 0x01020304, nodes: nodes.slice(0, 1) }],
    ["add nodes, four", { code: 2, channel: id, generation: 0x01020304, nodes }],
    ["drop channel", { code: 3, channel: id }],
    ["reset", { code: 4 }],
    ["ratchet", { code: 5, target: 0x01020304, fresh: random("fresh", 32) }],
    ["grant session", { code: 6, bootNonce: BOOT_NONCE, random: random("session", 16) }],
    [
      "grant counters",
      {
        code: 7,
        channel: id,
        generation: 0x01020304,
        step: 0x0102,
        sender: 0x0607,
        first: 0x00010000 - 16,
        end: 0x00010000,
      },
    ],
    ["query", { code: 8, nonce: random("query", 8) }],
  ];
  return commands.map(([title, command]) => ({ title, command: hex(control.packCommand(command)) }));
}

function controlFrames() {
  const version = 5;
  const secret = random("K(5)", 16);
  const key = { realm: REALM, device: DEVICE, version, step: 0, secret };
  const session = {
    ...key,
    step: 1,
    secret: control.sessionSecret(REALM, DEVICE, version, secret, BOOT_NONCE, random("session", 16)),
  };
  const topics = { down: "site/d0d1d2d3d4d5d6d7/down", up: "site/d0d1d2d3d4d5d6d7/up" };
  const revision = 0x0000000200000001n;
  const query: Command = { code: 8, nonce: random("query", 8) };
  const commands = [query, { code: 4 } as Command];
  const contents = commands.map(control.packCommand);
  const answer = control.packAnswer({
    revision,
    echo: random("query", 8),
    bootNonce: BOOT_NONCE,
    digest: random("digest", 16),
    sequence: 4,
    bootSequence: 3,
    version,
    class: 1,
    suites: 0b0101,
    channels: 4,
    senders: 8,
    frameMax: 1024,
    span: 3,
    want: random("want", 8),
    statuses: [STATUS.OK, STATUS.BAD_COMMAND, STATUS.HELD],
  });
  return [key, session].map((used) => ({
    title: used.step === 0 ? "under K(5)" : "under the session secret",
    version,
    step: used.step,
    stepSecret: hex(used.secret),
    senderKeyDown: hex(control.controlSenderKey(used, 0)),
    senderKeyUp: hex(control.controlSenderKey(used, 1)),
    topics,
    revision: revision.toString(),
    commands: contents.map(hex),
    down: hex(control.sealDown(used, revision, contents, topics.down)),
    answerChunk: hex(answer),
    ack: hex(control.sealUp(used, control.ACK, answer, topics.up)),
    hello: hex(control.sealUp(used, control.HELLO, answer, topics.up)),
  }));
}

function controlVectors() {
  const scope = control.controlScope(REALM, DEVICE, 5);
  const secret = random("K(5)", 16);
  const parameters = exampleParameters();
  const lock = lockOf({ ...scope, id: parameters.id }, random("leaf", 16), parameters.to);
  const { form, size, la, flags, from, open, to, sender, will } = parameters;
  const fields = concat(
    ...[from, open, to].map(u16),
    u8(form),
    u8(size / 8),
    u8(la),
    u8(flags),
    ...[sender, will].map(u16),
  );
  const sync = { suite: (form >> 2) & 3, realm: REALM, id: parameters.id, generation: parameters.generation };
  const derivations = [
    derivation("K(6) from K(5)", scope, "A1-next", secret, random("fresh", 32), 16),
    derivation("session secret", scope, "A1-sess", secret, concat(BOOT_NONCE, random("session", 16)), 16),
    derivation("digest entry", sync, "A1-sync", lock, fields, 16),
    derivation("digest entry without lock", sync, "A1-sync", zeros(16), fields, 16),
  ];
  return {
    derivations,
    commands: commandVectors(),
    frames: controlFrames(),
    scripts: scenarios.controlScripts(),
  };
}

function storageScope(): Scope {
  return { suite: 0, realm: REALM, id: DEVICE, generation: 0 };
}

const KEEPER: storage.Keeper = {
  realm: REALM,
  device: DEVICE,
  storageKey: storage.storageKey(REALM, DEVICE, KEY),
  layout: 1,
};

/** A blob taken apart: its header, and each chunk with nonce, ad and text. */
export function takeApart(blob: Bytes, texts: readonly Bytes[], keeper: storage.Keeper): RecordVector[] {
  let offset: number = storage.HEADER_SIZE;
  let previous = blob.slice(0, offset);
  return texts.map((text, i) => {
    const C = blob.slice(offset, offset + text.length);
    const T = blob.slice(offset + text.length, offset + text.length + 16);
    const sequence = blob.slice(8, 12);
    const nonce = concat(u8(1), u8(keeper.layout), u16(i), sequence, zeros(8));
    const ad = storage.recordAd(keeper, previous);
    offset += 16 + text.length;
    previous = T;
    return {
      title: `chunk ${i}`,
      key: hex(keeper.storageKey),
      nonce: hex(nonce),
      ad: hex(ad),
      text: hex(text),
      C: hex(C),
      T: hex(T),
    };
  });
}

function blobExample(layout: 1 | 2, channels: number, rows: number) {
  const keeper = { ...KEEPER, layout };
  const parameters = { ...exampleParameters(), step: 0x0104, from: 0x0100, to: 0x017f };
  const leaves = Array.from({ length: storage.keptLeaves(layout) - 1 }, (_, i) => random(`leaf ${i}`, 16));
  const numbers = { step: 0x0104, counter: 0x0200, limit: 0x0210, block: 16 };
  const list = Array.from({ length: channels }, (_, i) => ({
    ...parameters,
    id: random(`channel ${i}`, 8),
    lock: random(`lock ${i}`, 16),
    own: numbers,
    willOwn: { ...numbers, limit: 0x10000 },
    hold: i === 0 ? 0 : 0x0106,
    previous:
      i === 0
        ? { generation: 0x01020303, form: 0, size: 64, flags: 2, sender: 5, will: 0, first: 0x0fe0, leaves }
        : null,
    nodes: [{ h: 33, key: random(`node of ${i}`, 16) }],
  }));
  const state = {
    channels: list,
    rows: Array.from({ length: rows }, (_, i) => ({
      channel: hex(list[i % channels]?.id ?? zeros(8)),
      sender: i,
      windows: restoreRow({ generation: parameters.generation, step: 0x0104 }, 1 + i),
      bound: 1 + i,
      cached: false,
    })),
    joins: [],
    version: 5,
    key: random("K(5)", 16),
    nextKey: layout === 1 ? random("K(6)", 16) : null,
    revision: 0x0000000200000001n,
    statuses: [STATUS.OK, STATUS.HELD],
    echo: random("query", 8),
    session: null,
    heard: false,
    sequence: 0,
    bootSequence: 0,
    number: 0,
    blobDue: false,
  };
  const blob = storage.sealBlob(keeper, state, 0x01020304);
  const chunks = takeApart(blob, storage.blobTexts(keeper, state), keeper);
  return {
    layout,
    channels,
    rows,
    sequence: 0x01020304,
    header: hex(blob.slice(0, 16)),
    chunks,
    blob: hex(blob),
  };
}

function storageKeyVector(): Derivation {
  return derivation("storage key", storageScope(), "A1-stor", KEY, NOTHING, 32);
}

function blobVectors() {
  return {
    derivations: [storageKeyVector()],
    examples: [blobExample(1, 1, 0), blobExample(1, 2, 17), blobExample(1, 1, 13), blobExample(2, 1, 1)],
    scripts: scenarios.blobScripts(),
  };
}

/** A mark with every intermediate. */
export function markVector(title: string, mark: storage.Mark, sequence: number, number: number) {
  const nonce = concat(u8(2), u8(1), u16(0), u32(sequence), u32(number), zeros(4));
  const record = storage.sealMark(KEEPER, mark, sequence, number);
  return {
    title,
    key: hex(KEEPER.storageKey),
    nonce: hex(nonce),
    ad: hex(storage.recordAd(KEEPER, zeros(16))),
    text: hex(storage.markText(mark)),
    C: hex(record.slice(8, 32)),
    T: hex(record.slice(32)),
    record: hex(record),
  };
}

function markVectors() {
  const { id } = exampleParameters();
  const mark = { channel: id, generation: 0x01020304, step: 0x0506, sender: 0x0708 };
  return {
    derivations: [storageKeyVector()],
    marks: [
      markVector("own", { ...mark, bound: 16, what: storage.OWN }, 1, 1),
      markVector("will", { ...mark, bound: 65536, what: storage.WILL }, 0x01020304, 2),
      markVector("peer", { ...mark, bound: 1, what: storage.PEER }, 0xffffffff, 0x01020304),
    ],
    scripts: scenarios.markScripts(),
  };
}

function windowVectors(): WindowVector[] {
  const window = (generation: number, step: number, top: number, bits: bigint): Window => {
    return { generation, step, top, bits };
  };
  const sparse = (1n << 63n) | (1n << 5n) | 1n;
  const only = { n1: window(7, 3, 100, sparse), n0: null, closedBelow: false };
  const both = { n1: window(7, 3, 5, 1n), n0: window(7, 1, 200, sparse), closedBelow: false };
  const across = { n1: window(8, 0, 5, 1n), n0: window(7, 4095, 9, 1n), closedBelow: false };
  const restored = restoreRow({ generation: 7, step: 3 }, 70);
  const low = { n1: window(7, 3, 2, 0b101n), n0: null, closedBelow: false };
  const tables: [string, Windows | null, Epoch, number[]][] = [
    ["no row [W-4]", null, { generation: 7, step: 3 }, [0, 65535]],
    [
      "in n1 [W-1]",
      only,
      { generation: 7, step: 3 },
      [101, 163, 164, 165, 65535, 100, 99, 95, 94, 38, 37, 36, 0],
    ],
    ["in n1 near zero [W-1]", low, { generation: 7, step: 3 }, [0, 1, 2, 3]],
    ["in n0 [W-1]", both, { generation: 7, step: 1 }, [201, 200, 199, 195, 137, 136]],
    ["in a newer step [W-2]", both, { generation: 7, step: 4 }, [0, 9]],
    ["in a newer generation [W-2]", both, { generation: 8, step: 0 }, [0]],
    ["between n0 and n1 [W-3]", both, { generation: 7, step: 2 }, [0]],
    ["older than n0 [W-3]", both, { generation: 7, step: 0 }, [0]],
    ["older than n1, no n0 [W-3]", only, { generation: 7, step: 2 }, [0, 9]],
    ["in n0 of the generation before [W-1]", across, { generation: 7, step: 4095 }, [9, 10]],
    ["older than n0 of the generation before [W-3]", across, { generation: 7, step: 4094 }, [10]],
    ["in n1 after a restart [W-6]", restored, { generation: 7, step: 3 }, [5, 6, 69, 70, 71]],
    ["older than n1 after a restart [W-3, W-6]", restored, { generation: 7, step: 2 }, [99]],
    ["newer than n1 after a restart [W-2, W-6]", restored, { generation: 7, step: 4 }, [0]],
    [
      "between n0 and n1 after a restart [W-2, W-3]",
      markRow(restored, { generation: 7, step: 6 }, 0),
      { generation: 7, step: 5 },
      [0],
    ],
  ];
  return tables.flatMap(([title, row, epoch, counters]) =>
    counters.map((counter) => {
      const { status, after } = twinRooms.window(rowText(row), epoch, counter);
      return {
        title: `window: ${title}`,
        row: rowText(row),
        epoch,
        counter,
        status,
        after,
      };
    }),
  );
}

/** Every vector file by its name, as text. */
export function generate(): Map<string, string> {
  const files: Record<string, unknown> = {
    "frames.json": frameVectors(),
    "keytree.json": keytreeVectors(),
    "beacon.json": beaconVectors(),
    "control.json": controlVectors(),
    "blob.json": blobVectors(),
    "mark.json": markVectors(),
    "window.json": windowVectors(),
    "messages.json": { scripts: [...scenarios.messageScripts(), ...scenarios.sendScripts()] },
    "refusals.json": refusals(),
  };
  return new Map(Object.entries(files).map(([name, value]) => [name, printJson(value)]));
}

if (process.argv[1] === import.meta.filename) {
  for (const [name, text] of generate()) writeFileSync(join(DIRECTORY, name), text);
}
