// Counting executed operations: exact, from the first call on, for each instance and each thread apart.

import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { before, test } from "node:test";
import { Worker } from "node:worker_threads";
import wabt from "wabt";
import { needWasm3 } from "../support/wasm3.ts";

const { wasm3, options } = needWasm3({ counting: true });
const plain = needWasm3();

const TEXT = `(module (memory 1)
  (func (export "nothing"))
  (func (export "loop") (param i32)
    loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end)
  (func (export "calls") call $later call $later)
  (func (export "branch") (param i32)
    local.get 0 if i32.const 0 i32.const 0 i32.load i32.const 1 i32.add i32.store end)
  (func (export "trap") (param i32) local.get 0 if unreachable end)
  (func $later i32.const 0 i32.const 7 i32.store))`;

let module: Uint8Array;

before(async () => {
  const { parseWat } = await wabt();
  module = parseWat("test.wat", TEXT).toBinary({}).buffer;
});

function counter() {
  const { exports, operations } = wasm3().instantiate(module);
  return (name: string, ...args: number[]): number => {
    const before = operations();
    exports[name]?.(...args);
    return operations() - before;
  };
}

test(
  "wasm3: counts no operation before the first call, and entry and end of an empty function",
  options,
  () => {
    assert.equal(wasm3().instantiate(module).operations(), 0);
    assert.equal(counter()("nothing"), 2);
  },
);

test("wasm3: counts the same for every turn of a loop", options, () => {
  const count = counter();
  const turn = count("loop", 2) - count("loop", 1);
  assert.ok(turn > 0);
  for (const turns of [1, 2, 10, 1000, 100_000]) {
    assert.equal(count("loop", turns), count("loop", 1) + (turns - 1) * turn);
  }
});

test("wasm3: counts the same when calls are made for the first time", options, () => {
  const count = counter();
  const first = count("calls");
  assert.deepEqual([count("calls"), count("calls"), counter()("calls")], [first, first, first]);
});

test("wasm3: counts a branch that is taken and one that is not differently", options, () => {
  const count = counter();
  assert.ok(count("branch", 1) > count("branch", 0));
});

test("wasm3: counts what ran until a trap, and counts on after it", options, () => {
  const { exports, operations } = wasm3().instantiate(module);
  assert.throws(() => exports.trap?.(1));
  const trapped = operations();
  assert.ok(trapped > 0);
  exports.nothing?.();
  assert.equal(operations(), trapped + 2);
});

test("wasm3: counts for each instance apart", options, () => {
  const [a, b] = [wasm3().instantiate(module), wasm3().instantiate(module)];
  a.exports.loop?.(1000);
  assert.equal(b.operations(), 0);
});

test("wasm3: counts in each thread apart, and a thread may end with instances in use", options, async () => {
  const script = join(import.meta.dirname, "worker.ts");
  const turns = Array.from({ length: 8 }, (_, i) => 20_000 + i);
  const count = async (turns: number): Promise<number[]> => {
    const worker = new Worker(script, { workerData: { bytes: module, turns } });
    const [[counts], [code]] = await Promise.all([once(worker, "message"), once(worker, "exit")]);
    assert.equal(code, 0);
    return counts;
  };
  const counts = await Promise.all(turns.map(count));
  assert.deepEqual(
    counts,
    turns.map((turns) => [counter()("loop", turns)]),
  );
});

test("wasm3: says by name that it does not count", plain.options, () => {
  const { operations } = plain.wasm3().instantiate(module);
  assert.throws(operations, { name: "Wasm3Error", code: "NOT_COUNTING" });
});
