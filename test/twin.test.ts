import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { asconCxof, asconEncrypt, asconOpen } from "./twin/ascon.ts";
import { at, concat, equal, getU64, hex, run, u16, u32, u64, unhex, zeros } from "./twin/bytes.ts";
import { CASES, runCases } from "./twin/cases.ts";
import { parseCommand } from "./twin/control.ts";
import { Device } from "./twin/device.ts";
import { chunkSize, isFrameSize, padText, splitMessage, unpadText } from "./twin/frame.ts";
import { addNode, cover, cutNodes, fitsSlots, NODE_SLOTS, span } from "./twin/keytree.ts";
import { Random } from "./twin/random.ts";
import { DEVICE, generationOf, KEY, REALM, STORING } from "./twin/stage.ts";
import { STATUS } from "./twin/status.ts";
import { channelId, open, parseForm, seal } from "./twin/suites.ts";
import { StoredValues } from "./twin/window.ts";
import { Cyclist } from "./twin/xoodyak.ts";

const RESULTS = "d5e971c9d445586361456c94cab736950ae80a2bd59a59c4ab0204702744fd7c";
const RECORDS = "432d87c8d2eadbf0e823e84e4ac7b5e53fb747cd1d7b5f06a9553f8d7221c24b";

const upper = (bytes: Uint8Array) => hex(bytes).toUpperCase();

// Each official file is made again by the fixed rule of its generator, and compared by its SHA-256.
function katDigest(cases: Iterable<[string, Uint8Array][]>): string {
  const hash = createHash("sha256");
  let count = 0;
  for (const fields of cases) {
    count++;
    const lines = fields.map(([name, bytes]) => `${name} = ${upper(bytes)}\n`);
    hash.update(`Count = ${count}\n${lines.join("")}\n`);
  }
  return hash.digest("hex");
}

function* lengths(outer: number, inner: number): Generator<[number, number]> {
  for (let i = 0; i <= outer; i++) for (let j = 0; j <= inner; j++) yield [i, j];
}

test("twin: Ascon-AEAD128 and Ascon-CXOF128 remake the official known-answer files [S-1, S-2, S-8]", () => {
  const key = run(0, 16);
  const nonce = run(16, 16);
  const aead = [...lengths(32, 32)].map(([n, m]): [string, Uint8Array][] => {
    const [text, ad] = [run(0x20, n), run(0x30, m)];
    const { cipher, tag } = asconEncrypt(key, nonce, ad, text);
    const opened = asconOpen(key, nonce, ad, cipher, tag);
    assert.ok(opened !== null && equal(opened, text));
    return [
      ["Key", key],
      ["Nonce", nonce],
      ["PT", text],
      ["AD", ad],
      ["CT", concat(cipher, tag)],
    ];
  });
  assert.equal(katDigest(aead), "bbbc34692fe05e5fda0a3b025585622ab3e3747495e5e3655b29aae8c2a4bd33");
  const cxof = [...lengths(32, 32)].map(([n, m]): [string, Uint8Array][] => [
    ["Msg", run(0, n)],
    ["Z", run(16, m)],
    ["MD", asconCxof(run(16, m), run(0, n), 64)],
  ]);
  assert.equal(katDigest(cxof), "abcbb0cc851a7f9cfc5ea2bcaf3eba5b2056e37fcb8ce541ceda1d1b960fc9dc");
});

test("twin: Xoodyak remakes the known-answer files of the final round [S-3, S-4, S-6]", () => {
  const key = run(0, 16);
  const aead = [...lengths(32, 32)].map(([n, m]): [string, Uint8Array][] => {
    const cyclist = new Cyclist(key, key);
    cyclist.absorb(run(0, m));
    const cipher = cyclist.encrypt(run(0, n));
    return [
      ["Key", key],
      ["Nonce", key],
      ["PT", run(0, n)],
      ["AD", run(0, m)],
      ["CT", concat(cipher, cyclist.squeeze(16))],
    ];
  });
  assert.equal(katDigest(aead), "6064e17e8ecba23bea6419d2e1da5004241c8cf1436be82be6fef4847e838666");
  const hashes = Array.from({ length: 1025 }, (_, n): [string, Uint8Array][] => {
    const cyclist = new Cyclist();
    cyclist.absorb(run(0, n));
    return [
      ["Msg", run(0, n)],
      ["MD", cyclist.squeeze(32)],
    ];
  });
  assert.equal(katDigest(hashes), "dc12875027d8d2145a6b58c2ffe78a9ff395e8953d6259328d6e66da8ccd44fb");
});

test("twin: every suite opens what it sealed for every length up to two rates and refuses each bit of the tag [S-1, S-2, S-3, S-4, S-5]", () => {
  const nonce = run(0x50, 16);
  for (const suite of [0, 1, 2, 3]) {
    const key = run(9, suite % 2 === 0 ? 32 : 16);
    for (const t of [8, 16]) {
      for (let n = 0; n <= 2 * 44 + 1; n++) {
        const { cipher, tag } = seal(suite, key, nonce, run(1, n), run(2, n), t);
        const opened = open(suite, key, nonce, run(1, n), cipher, tag);
        assert.ok(opened !== null && equal(opened, run(2, n)));
      }
      const { cipher, tag } = seal(suite, key, nonce, run(1, 20), run(2, 20), t);
      for (let bit = 0; bit < 8 * t; bit++) {
        const forged = tag.map((x, i) => (i === bit >> 3 ? x ^ (1 << (bit & 7)) : x));
        assert.equal(open(suite, key, nonce, run(1, 20), cipher, forged), null);
      }
    }
  }
});

test("twin: integers are little-endian and ids are 16 lower-case digits in byte order [N-1, N-2]", () => {
  assert.equal(
    hex(concat(u16(0x0102), u32(0x03040506), u64(0x0708090a0b0c0d0en))),
    "0201060504030e0d0c0b0a090807",
  );
  assert.equal(getU64(unhex("0807060504030201"), 0), 0x0102030405060708n);
  assert.match(hex(channelId(REALM, "plant/+")), /^[0-9a-f]{16}$/);
});

test("twin: fields called zero are refused with another value [N-4, F-1, C-8]", () => {
  for (const form of [0x01, 0x02, 0x20, 0x40, 0x80]) assert.equal(parseForm(form), null);
  assert.deepEqual(parseForm(0x1c), { suite: 3, t: 8 });
  assert.equal(parseCommand(unhex("0400")), null);
});

test("twin: text is padded and found again at every length of every frame size [F-3]", () => {
  for (const form of [0x00, 0x10]) {
    for (let size = 16; size <= 1032; size++) {
      if (!isFrameSize(form, size)) continue;
      const room = size - 6 - (form === 0 ? 16 : 8);
      for (const n of [0, 1, chunkSize(form, size) - 1, chunkSize(form, size)]) {
        const text = padText(0x85, run(0x7f, n), room);
        assert.equal(text.length, room);
        assert.deepEqual(unpadText(text), { part: 0x85, chunk: run(0x7f, n) });
      }
    }
  }
  assert.deepEqual(
    [23, 24, 31, 32, 1024, 1032].map((size) => [isFrameSize(0x10, size), isFrameSize(0, size)]),
    [
      [false, false],
      [true, false],
      [false, false],
      [true, true],
      [true, true],
      [false, false],
    ],
  );
});

test("twin: a message is split into full chunks and a last one, and an empty text has one frame [F-5]", () => {
  assert.deepEqual(
    [0, 1, 39, 40, 41, 80, 81].map((n) => splitMessage(run(0, n), 40).map((c) => c.length)),
    [[0], [1], [39], [40], [40, 1], [40, 40], [40, 40, 1]],
  );
});

test("twin: no step move needs a ninth slot where K-6 took the nodes, and some does where it did not [K-6]", () => {
  const generation = generationOf(0);
  const worst = (hs: readonly number[]): number => {
    const nodes = hs.map((h) => generation.node(h));
    let most = 0;
    for (let step = 0; step <= 400; step++)
      most = Math.max(most, cutNodes(generation.scope, nodes, step).length);
    return most;
  };
  const random = new Random(7);
  let refused = 0;
  for (let i = 0; i < 60; i++) {
    const hs: number[] = [];
    for (let first = random.below(64); first < 384; ) {
      const size = 2 ** random.below(8);
      first = Math.ceil(first / size) * size;
      hs.push(4096 / size + first / size);
      first += size + random.below(40);
      if (random.once(4)) break;
    }
    const nodes = hs.map((h) => ({ h, key: zeros(16) }));
    if (!fitsSlots(nodes)) refused++;
    else assert.ok(worst(hs) <= NODE_SLOTS, hs.join());
  }
  assert.ok(refused > 5);
  assert.ok(worst([32, 33, 34]) > NODE_SLOTS);
});

test("twin: the cover of a range is the range, from nodes of 128 steps or fewer [K-2, K-4]", () => {
  const random = new Random(3);
  for (let i = 0; i < 200; i++) {
    const from = random.below(4096);
    const to = random.between(from, 4095);
    let next = from;
    for (const h of cover(from, to)) {
      const { first, last, size } = span(h);
      assert.equal(first, next);
      assert.ok(size <= 128);
      next = last + 1;
    }
    assert.equal(next, to + 1);
  }
});

test("twin: a node that was erased does not come back under held ones [K-5]", () => {
  const { scope } = generationOf(0);
  const generation = generationOf(0);
  const lease = { from: 0, to: 127 };
  const held = cutNodes(scope, [generation.node(32)], 5);
  const again = addNode(scope, held, generation.node(32), lease, 5);
  assert.equal(again.status, STATUS.HELD);
  assert.deepEqual(again.nodes, held);
});

test("twin: a stored value older than the last of its sender and topic is dropped [R-11]", () => {
  const values = new StoredValues();
  const epoch = (generation: number, step: number) => ({ generation, step });
  assert.equal(values.take("a", 1, epoch(7, 3), 5), true);
  assert.equal(values.take("a", 1, epoch(7, 3), 5), true);
  assert.equal(values.take("a", 1, epoch(7, 3), 4), false);
  assert.equal(values.take("a", 1, epoch(7, 2), 9), false);
  assert.equal(values.take("a", 1, epoch(6, 9), 9), false);
  assert.equal(values.take("b", 1, epoch(6, 9), 9), true);
  assert.equal(values.take("a", 2, epoch(6, 9), 9), true);
  assert.equal(values.take("a", 1, epoch(7, 4), 0), true);
});

test("twin: random bytes in every call give a status and never throw [N-3]", () => {
  const random = new Random(11);
  const device = new Device(STORING);
  const statuses = new Set<number>();
  device.provision({ realm: REALM, device: DEVICE, key: KEY }, zeros(8));
  for (let i = 0; i < 3000; i++) {
    const bytes = random.bytes(random.pick([0, 1, 6, 25, 48, 64, 128, 256, 432]));
    const outcomes = [
      device.unprotect("00".repeat(8), bytes, "t", random.once(2)),
      device.beacon("no id", bytes),
      device.control(bytes, "t"),
      device.protect("", bytes, "t", true),
      device.saveBlob(random.pick([-1, 0.5, Number.NaN, 2 ** 32])),
      device.confirm(true),
    ];
    if (random.once(50)) outcomes.push(device.restart([bytes, zeros(0)], [bytes, zeros(48)], bytes));
    for (const { status } of outcomes) statuses.add(status);
  }
  const known = new Set<number>(Object.values(STATUS));
  assert.deepEqual(
    [...statuses].filter((status) => !known.has(status)),
    [],
  );
});

test("twin: the generator gives the numbers of the reference code of xoshiro128**", () => {
  const random = new Random(0);
  const first = [random.u32(), random.u32(), random.u32()];
  assert.deepEqual(first, [1789933344, 44971166, 2521387044]);
  assert.equal(at(u32(first[0] ?? 0), 0), (first[0] ?? 0) & 255);
});

test(`twin: ${CASES} seeded cases give one hash, every status, and no refusal that changes state [N-3, B-5, R-10, R-12]`, () => {
  const { hash, records, statuses } = runCases((options) => new Device(options));
  // A full sender table is left to the scripts.
  const missing = Object.keys(STATUS).filter((name) => !statuses.has(name) && name !== "NO_ROOM");
  assert.deepEqual(missing, []);
  assert.equal(hash, RESULTS);
  assert.equal(records, RECORDS);
});
