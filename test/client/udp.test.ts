import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const EXAMPLE = join(import.meta.dirname, "..", "..", "examples", "udp-v2v.ts");

test("udp: two vehicles without broker or server read each other, and refuse a repeated and a changed datagram", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE], { timeout: 30_000 });
  const lines = stdout.trim().split("\n");
  for (const [reader, sender] of [
    ["blue", 1],
    ["red", 2],
  ]) {
    const read = lines.filter((line) => line.startsWith(`${reader} reads`));
    assert.equal(read.length, 3, stdout);
    assert.ok(read.every((line) => line.endsWith(`from vehicle ${sender}`)));
  }
  assert.deepEqual(lines.slice(-2), ["red refuses a datagram: REPLAYED", "red refuses a datagram: BAD_TAG"]);
});
