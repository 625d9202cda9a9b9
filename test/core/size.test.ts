// What the shipped modules weigh: no more than they did, and how far from what was aimed at.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

interface Sizes {
  wasmBytes: number;
  memoryInUse: number;
}

/** Sizes in bytes: the limit is what was reached, rounded up; the target is what was aimed at. */
const BUDGETS = [
  { build: "device-ascon", limit: 10_240, target: 8192 },
  { build: "device-ascon-volatile", limit: 8080, target: 8192 },
  { build: "device", limit: 11_544, target: 10_240 },
] as const;

/** Linear memory beside the frame buffer and the topic buffer of a device. */
const MEMORY_LIMIT = 4096;
const BUFFERS = 1024 + 256;

const SIZES: Record<string, Sizes> = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "..", "build", "sizes.json"), "utf8"),
);

function sizesOf(build: string): Sizes {
  const sizes = SIZES[build];
  assert.ok(sizes !== undefined, `build/sizes.json does not know ${build}`);
  return sizes;
}

for (const { build, limit, target } of BUDGETS) {
  test(`module ${build}: is not larger than it was`, (context) => {
    const { wasmBytes } = sizesOf(build);
    const reached = wasmBytes <= target ? "reached" : `${wasmBytes - target} bytes over`;
    context.diagnostic(`${wasmBytes} bytes; target ${target}: ${reached}`);
    assert.ok(wasmBytes <= limit, `${wasmBytes} bytes, limit ${limit}`);
  });

  test(`module ${build}: needs at most 4 KiB of linear memory beside frame and topic`, (context) => {
    const { memoryInUse } = sizesOf(build);
    context.diagnostic(`static data ends at ${memoryInUse}`);
    assert.ok(memoryInUse > BUFFERS && memoryInUse - BUFFERS <= MEMORY_LIMIT, `ends at ${memoryInUse}`);
  });
}
