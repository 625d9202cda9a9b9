import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../../host/bytes.ts";
import { Kit } from "../../host/core/kit.ts";
import { digestOf, type Entry } from "../../host/keyserver/digest.ts";
import {
  BeaconChain,
  cover,
  firstStep,
  KeyTree,
  LAST_STEP,
  lastStep,
  leaseCover,
  leaseEnd,
  lockUnder,
  rootOf,
  type Scope,
  seedOf,
} from "../../host/keyserver/tree.ts";
import * as twinBeacon from "../twin/beacon.ts";
import * as twinControl from "../twin/control.ts";
import * as twinTree from "../twin/keytree.ts";
import { ENGINE } from "./stage.ts";

const kit = new Kit(ENGINE);
const realm = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
const channel = Uint8Array.from({ length: 8 }, (_, i) => 0xa0 + i);
const secret = Uint8Array.from({ length: 16 }, (_, i) => 7 * i);

const scopeOf = (suite: number): Scope => ({ kit, suite, realm, channel, generation: 5 });
const twinScope = (suite: number) => ({ suite, realm, id: channel, generation: 5 });

test("tree: a cover is exact, in order, and no smaller one exists [K-4]", () => {
  for (let i = 0; i < 2000; i++) {
    const [a, b] = [(i * 2654435761) % 4096, (i * 40503 + 17) % 4096];
    const [first, last] = [Math.min(a, b), Math.max(a, b)];
    assertCovers(cover(first, last), first, last);
    const lease = leaseCover(first, Math.min(last, first + 255));
    assertCovers(lease, first, Math.min(last, first + 255));
    assert.ok(lease.every((h) => lastStep(h) - firstStep(h) < 128));
  }
  assert.deepEqual(cover(0, LAST_STEP), [1]);
  assert.deepEqual(cover(5, 4), []);
});

test("tree: keys, lock and beacon values are those of the slow twin in every suite [K-1] [K-2] [K-7] [B-1]", () => {
  for (const suite of [0, 1, 2, 3]) {
    const scope = scopeOf(suite);
    const root = { h: 1, key: rootOf(scope, secret) };
    const twinRoot = { h: 1, key: twinTree.treeRoot(twinScope(suite), secret) };
    assert.deepEqual(root.key, twinRoot.key);
    const tree = new KeyTree(scope, [root]);
    for (const h of [2, 3, 37, 4096, 5555, 8191]) {
      assert.deepEqual(tree.node(h)?.key, twinTree.descend(twinScope(suite), twinRoot, h).key);
    }
    const leaf = twinTree.descend(twinScope(suite), twinRoot, 4096 + 127).key;
    assert.deepEqual(tree.leaf(127), leaf);
    const lock = twinTree.lockOf(twinScope(suite), leaf, 127);
    assert.deepEqual(lockUnder(scope, { h: 32, key: tree.node(32)?.key as Uint8Array }, 127), lock);
  }
});

test("tree: beacon values are right in any order of asking [B-1]", () => {
  const scope = scopeOf(0);
  const seed = twinBeacon.chainSeed(twinScope(0), secret);
  assert.deepEqual(seedOf(scope, secret), seed);
  const values = twinBeacon.chain(twinScope(0), seed);
  for (const order of [
    [4095, 0, 63, 64, 65],
    [70, 4095, 3],
    [0, 1, 2, 3, 4094],
  ]) {
    const chain = new BeaconChain(scope, seed);
    for (const step of order) assert.equal(toHex(chain.value(step)), toHex(values[step] as Uint8Array));
  }
});

test("tree: what is kept reaches every later step and no earlier one [V-6]", () => {
  const scope = scopeOf(0);
  let tree = new KeyTree(scope, [{ h: 1, key: rootOf(scope, secret) }]);
  const whole = tree;
  for (const base of [1, 2, 3, 100, 128, 2047, 4095]) {
    const kept = tree.rest(base);
    assert.ok(kept.length <= 12);
    tree = new KeyTree(scope, kept);
    assert.equal(tree.leaf(base - 1), undefined);
    assert.equal(tree.leaf(0), undefined);
    for (const step of [base, base + 1, 4095]) {
      if (step <= LAST_STEP) assert.deepEqual(tree.leaf(step), whole.leaf(step));
    }
  }
});

test("tree: leases end at a block and always fit the node slots, with their renewals [K-6]", () => {
  for (const steps of [1, 2, 7, 8, 33, 64, 100, 127, 128]) {
    const block = 2 ** Math.floor(Math.log2(steps));
    for (let current = 0; current < 700; current++) {
      const to = leaseEnd(current, steps);
      assert.ok(to >= current + steps - 1 && (to + 1) % block === 0);
      for (const late of [0, 2, 7]) {
        const held = leaseCover(Math.max(current - late, 0), to);
        assertFits(held, `${steps} steps from ${current}`);
        const later = Math.max(current, to - Math.max(Math.ceil(steps / 2), 2));
        const kept = leaseCover(Math.max(later - late, 0), to);
        assertFits(
          [...kept, ...leaseCover(to + 1, leaseEnd(later, Math.max(steps, 3)))],
          `renewed at ${later}`,
        );
      }
    }
  }
  assert.equal(leaseEnd(4090, 64), LAST_STEP);
});

test("digest: entries are those of the slow twin, and their order does not matter [C-19]", () => {
  const lock = Uint8Array.from({ length: 16 }, (_, i) => 3 * i);
  const entry: Entry = {
    channel: toHex(channel),
    generation: 5,
    from: 2,
    open: 3,
    to: 127,
    form: 16,
    frame: 8,
    la: 0x12,
    flags: 0x8a,
    sender: 513,
    will: 514,
    lock,
  };
  const shape = { generation: 5, form: 16, size: 64, flags: 0x8a, sender: 513, will: 514 };
  const parameters = {
    id: channel,
    step: 9,
    from: 2,
    open: 3,
    to: 127,
    la: 0x12,
    v: new Uint8Array(16),
    ...shape,
  };
  assert.equal(digestOf(kit, realm, [entry]), toHex(twinControl.digestEntry(realm, parameters, lock)));
  const other = { ...entry, sender: 9, lock: null };
  assert.equal(digestOf(kit, realm, [entry, other]), digestOf(kit, realm, [other, entry]));
  assert.equal(digestOf(kit, realm, [entry, entry]), "0".repeat(32));
  assert.notEqual(digestOf(kit, realm, [other]), digestOf(kit, realm, [{ ...other, open: 4 }]));
});

/** The nodes lie side by side, and no two of them are the children of one node that fits as well. */
function assertCovers(nodes: number[], first: number, last: number): void {
  let next = first;
  for (const h of nodes) {
    assert.equal(firstStep(h), next);
    next = lastStep(h) + 1;
  }
  assert.equal(next, last + 1);
  const small = nodes.filter((h) => lastStep(h) - firstStep(h) < 127);
  assert.ok(small.every((h) => h % 2 === 1 || !small.includes(h + 1)));
}

/** SPEC K-6. */
function assertFits(nodes: number[], what: string): void {
  for (const h of nodes) {
    const size = Math.max(1, Math.log2(lastStep(h) - firstStep(h) + 1));
    const right = nodes.filter((other) => firstStep(other) > firstStep(h)).length;
    assert.ok(size + right <= 8, what);
  }
}
