/** The hex of SPEC section 16, computed. */

import * as beacon from "./beacon.ts";
import { type Bytes, concat, hex, run, u16, u64, utf8, zeros } from "./bytes.ts";
import * as control from "./control.ts";
import { chunkSize, packHeader, padText, partOf, sealFrame, splitMessage, topicAd } from "./frame.ts";
import { leafNumber } from "./keytree.ts";
import { Client, Generation, parametersOf, revisionOf } from "./server.ts";
import * as storage from "./storage.ts";
import { base, channelId, derive, keySize, makeForm } from "./suites.ts";

type Field = readonly [string, Bytes | string];

const REALM = run(0x00, 8);
const DEVICE = run(0x10, 8);
const KEY = run(0x20, 16);
const SECRET = run(0x30, 16);
const FILTER = "plant/+/temp";
const TOPIC = "plant/7/temp";
const DOWN = "ampoule/1011121314151617/down";
const NAME_WIDTH = 18;

// One code block: names in a column, values beside it, 32 bytes of hex in a line.
function block(fields: readonly Field[]): string {
  const lines = fields.flatMap(([name, value]) => {
    const text = typeof value === "string" ? value : hex(value);
    const pieces = typeof value === "string" ? [text] : (text.match(/.{1,64}/g) ?? [""]);
    return pieces.map((piece, i) => (i === 0 ? name : "").padEnd(NAME_WIDTH) + piece);
  });
  return lines.map((line) => `    ${line}`.trimEnd()).join("\n");
}

function generationOf(suite: number): Generation {
  const scope = { suite, realm: REALM, id: channelId(REALM, FILTER), generation: 3 };
  return new Generation(scope, SECRET);
}

function keyFields(generation: Generation, step: number, sender: number): Field[] {
  const { scope } = generation;
  const n = keySize(scope.suite);
  const context = concat(base(scope, n), u16(step), u16(sender));
  const leaf = generation.leaf(step);
  return [
    ["context", context],
    ["sender key", derive(scope.suite, leaf, "A1-send", context, n)],
  ];
}

function oneFrame(): string {
  const generation = generationOf(0);
  const { scope } = generation;
  const [step, sender, counter, size] = [5, 2, 9, 64];
  const form = makeForm(0, 16);
  const position = { form, size, sender, generation: 3, step, counter };
  const ad = topicAd(TOPIC);
  const key = generation.key(step, sender);
  const sealed = sealFrame(position, key, ad, partOf(0, 1), utf8("21.5"));
  return block([
    ["realm", REALM],
    ["filter", FILTER],
    ["channel id", scope.id],
    ["secret", SECRET],
    ["root context", base(scope, 16)],
    ["root", generation.root.key],
    ["node 2", generation.node(2).key],
    ["node 32", generation.node(32).key],
    ["leaf 5", generation.node(leafNumber(step)).key],
    ...keyFields(generation, step, sender),
    ["topic", TOPIC],
    ["ad", ad.bytes],
    ["A16", sealed.nonce],
    ["text", sealed.text],
    ["T", sealed.tag],
    ["N", sealed.n],
    ["C", sealed.cipher],
    ["header", packHeader(position)],
    ["frame", sealed.frame],
  ]);
}

function message(): string {
  const generation = generationOf(2);
  const [step, sender, size] = [0, 7, 32];
  const form = makeForm(2, 8);
  const chunks = splitMessage(utf8("pump 7 stopped: no flow at the inlet"), chunkSize(form, size));
  const key = generation.key(step, sender);
  const ad = topicAd(TOPIC);
  const frames = chunks.map((chunk, i) => {
    const position = { form, size, sender, generation: 3, step, counter: 65530 + i };
    return sealFrame(position, key, ad, partOf(i, chunks.length), chunk);
  });
  return block([
    ["leaf 0", generation.leaf(0)],
    ...keyFields(generation, step, sender),
    ...frames.flatMap((frame, i): Field[] => [
      [`A16 ${i}`, frame.nonce],
      [`text ${i}`, frame.text],
      [`N ${i}`, frame.n],
      [`frame ${i}`, frame.frame],
    ]),
  ]);
}

function controlPayload(): string {
  const generation = generationOf(0);
  const client = new Client(REALM, DEVICE, KEY);
  const key = client.base();
  const parameters = parametersOf(generation, { step: 5, from: 4, to: 7, sender: 2, la: 0x12 });
  const { id } = parameters;
  const contents = [
    control.packCommand({ code: 1, parameters }),
    control.packCommand({ code: 2, channel: id, generation: 3, nodes: generation.lease(4, 7, 3) }),
  ];
  const revision = revisionOf(1, 2);
  const payload = control.sealDown(key, revision, contents, DOWN);
  const scope = control.controlScope(REALM, DEVICE, 0);
  return block([
    ["device", DEVICE],
    ["K(0)", KEY],
    ["topic", DOWN],
    ["context", concat(base(scope, 32), u16(0), u16(0))],
    ["sender key", control.controlSenderKey(key, 0)],
    ["set channel", contents[0] ?? zeros(0)],
    ["add nodes", contents[1] ?? zeros(0)],
    ["revision", u64(revision)],
    ...contents.flatMap((content, i): Field[] => [
      [`text ${i}`, padText(partOf(i, 2), concat(u64(revision), content), 106)],
      [`frame ${i}`, payload.slice(128 * i, 128 * i + 128)],
    ]),
  ]);
}

function beaconOf(): string {
  const generation = generationOf(0);
  const { scope } = generation;
  const seed = beacon.chainSeed(scope, SECRET);
  return block([
    ["seed", seed],
    ["v(4095)", generation.v(4095)],
    ["context of v(6)", concat(base(scope, 16), u16(6))],
    ["v(6)", generation.v(6)],
    ["v(5)", generation.v(5)],
    ["beacon", generation.beacon(0, 6)],
  ]);
}

function mark(): string {
  const storageKey = storage.storageKey(REALM, DEVICE, KEY);
  const keeper = { realm: REALM, device: DEVICE, storageKey, layout: 1 as const };
  const value = {
    channel: channelId(REALM, FILTER),
    generation: 3,
    bound: 16,
    step: 5,
    sender: 2,
    what: storage.OWN,
  };
  const record = storage.sealMark(keeper, value, 1, 1);
  const scope = control.controlScope(REALM, DEVICE, 0);
  return block([
    ["context", base(scope, 32)],
    ["storage key", storageKey],
    ["nonce", storage.recordNonce(2, 1, 0, 1, 1)],
    ["ad", storage.recordAd(keeper, zeros(16))],
    ["text", storage.markText(value)],
    ["C", record.slice(8, 32)],
    ["T", record.slice(32)],
    ["mark", record],
  ]);
}

/** The code blocks of SPEC section 16, in order. */
export function workedBlocks(): string[] {
  return [oneFrame(), message(), controlPayload(), beaconOf(), mark()];
}
