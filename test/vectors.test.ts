import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { hex, unhex } from "./twin/bytes.ts";
import * as control from "./twin/control.ts";
import { Device } from "./twin/device.ts";
import { generate } from "./twin/generate.ts";
import { cover } from "./twin/keytree.ts";
import type { DeviceOptions } from "./twin/model.ts";
import { twinRooms } from "./twin/rooms.ts";
import * as vectors from "./twin/run-vectors.ts";
import type { Script } from "./twin/script.ts";
import { derive, digest, open, seal } from "./twin/suites.ts";
import { workedBlocks } from "./twin/worked.ts";

const FILES = [
  "frames.json",
  "keytree.json",
  "beacon.json",
  "control.json",
  "blob.json",
  "mark.json",
  "window.json",
  "messages.json",
  "refusals.json",
];

const PRIMITIVES = { seal, open, derive, digest };
const make = (options: DeviceOptions) => new Device(options);

function text(name: string): string {
  return readFileSync(join(import.meta.dirname, "vectors", name), "utf8");
}

function read(name: string) {
  return JSON.parse(text(name));
}

test("vectors: every file is what the twin generates, byte for byte", () => {
  const made = generate();
  assert.deepEqual([...made.keys()].sort(), [...FILES].sort());
  for (const [name, content] of made) assert.ok(text(name) === content, `${name} differs`);
});

test("vectors: frames of every suite, tag, size and topic mode are sealed and opened as written [F-1, F-2, F-3, F-4, S-1, S-2, S-3, S-4, S-5]", () => {
  const frames: vectors.FrameVector[] = read("frames.json");
  vectors.runFrameVectors(PRIMITIVES, frames);
  const kinds = new Set(frames.map(({ suite, t, F, topicMode }) => `${suite} ${t} ${F} ${topicMode}`));
  assert.ok(kinds.size >= 4 * 9);
});

test("vectors: tree, seed, sender keys, locks and channel ids are derived as written [K-1, K-2, K-3, K-7, S-6, S-7, S-8, S-9]", () => {
  const { trees, digests } = read("keytree.json");
  for (const tree of trees) {
    vectors.runDerivations(PRIMITIVES, [tree.root, tree.seed, ...tree.derivations]);
    const key = (h: number) =>
      [...tree.nodes, ...tree.leaves].find((node: { h: number; key: string }) => node.h === h)?.key;
    assert.equal(tree.root.output, key(1));
    assert.equal(tree.derivations[0].output, key(2) + key(3));
  }
  vectors.runDigests(PRIMITIVES, digests);
});

test("vectors: leases are covered by the fewest nodes of 128 steps or fewer [K-4]", () => {
  vectors.runCoverVectors({ ...twinRooms, cover }, read("keytree.json").covers);
});

test("vectors: chains and beacons are as written [B-1, B-2]", () => {
  for (const chain of read("beacon.json").chains) {
    vectors.runDerivations(PRIMITIVES, chain.links);
    for (const { beacon } of chain.beacons) assert.equal(beacon.length, 50);
  }
});

test("vectors: control keys, sessions, digest entries and storage keys are derived as written [C-15, C-19, C-20, T-1]", () => {
  for (const name of ["control.json", "blob.json", "mark.json"]) {
    vectors.runDerivations(PRIMITIVES, read(name).derivations);
  }
});

test("vectors: every command has the bytes of the table and reads back the same [C-3, N-1]", () => {
  for (const { title, command } of read("control.json").commands) {
    const parsed = control.parseCommand(unhex(command));
    assert.ok(parsed !== null, title);
    assert.equal(hex(control.packCommand(parsed)), command);
    assert.equal(control.parseCommand(unhex(`${command}00`)), null);
    assert.equal(control.parseCommand(unhex(command.slice(0, -2))), null);
  }
});

test("vectors: down, ack and hello frames are as written [C-1, C-2, C-17, C-18]", () => {
  for (const frame of read("control.json").frames) {
    const { version, step, topics } = frame;
    const secret = unhex(frame.stepSecret);
    const key = {
      realm: unhex("0102030405060708"),
      device: unhex("d0d1d2d3d4d5d6d7"),
      version,
      step,
      secret,
    };
    assert.equal(hex(control.controlSenderKey(key, 0)), frame.senderKeyDown);
    const down = control.openDown(unhex(frame.down), topics.down, () => key);
    assert.deepEqual([down.revision.toString(), down.contents.map(hex)], [frame.revision, frame.commands]);
    const ack = control.openUp(unhex(frame.ack), topics.up, [key]).ack;
    const hello = control.openUp(unhex(frame.hello), topics.up, [key]).hello;
    assert.ok(ack !== null && hello !== null);
    assert.equal(hex(control.packAnswer(ack)), frame.answerChunk);
    assert.equal(hex(control.packAnswer(hello)), frame.answerChunk);
    assert.equal(frame.answerChunk.length, 154);
  }
});

test("vectors: every chunk of every blob and every mark is sealed as written [T-1, T-2, T-3, T-4, T-5]", () => {
  for (const example of read("blob.json").examples) {
    vectors.runRecordVectors(PRIMITIVES, example.chunks);
    const chunks = example.chunks.map(({ T, C }: { T: string; C: string }) => C + T);
    assert.equal(example.header + chunks.join(""), example.blob);
  }
  const { marks } = read("mark.json");
  vectors.runRecordVectors(PRIMITIVES, marks);
  for (const { record, C, T } of marks) assert.equal(record.slice(16), C + T);
});

test("vectors: windows answer each counter as the tables say [W-1, W-2, W-3, W-4, W-6]", () => {
  vectors.runWindowVectors(twinRooms, read("window.json"));
});

for (const name of ["beacon.json", "control.json", "blob.json", "mark.json", "messages.json"]) {
  for (const script of read(name).scripts as Script[]) {
    test(`vectors: ${script.title}`, () => vectors.runScripts(make, [script]));
  }
}

for (const { script } of read("refusals.json") as { script: Script }[]) {
  test(`vectors: ${script.title}`, () => vectors.runScripts(make, [script]));
}

test("vectors: section 16 of SPEC.md shows what the twin computes, every hex string of it", () => {
  const spec = readFileSync(join(import.meta.dirname, "..", "SPEC.md"), "utf8");
  const [, section = ""] = spec.split("\n## 16. Worked frames\n");
  const [shown = ""] = section.split("\n## ");
  const blocks = shown.match(/(?:^ {4}.*\n)+/gm) ?? [];
  assert.deepEqual(
    blocks.map((block) => block.trimEnd()),
    workedBlocks(),
  );
});

test("vectors: section 15 of SPEC.md lists every file", () => {
  const spec = readFileSync(join(import.meta.dirname, "..", "SPEC.md"), "utf8");
  const [, section = ""] = spec.split("\n## 15. Vectors\n");
  const listed = [...section.matchAll(/^\| `(\S+\.json)` \|/gm)].map((match) => match[1]);
  assert.deepEqual(listed.sort(), [...FILES].sort());
});
