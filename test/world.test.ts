// Clock, timers, randomness, network, disk and database are reached through World alone: what slips
// past it could not be simulated. One file says WebAssembly, one folder imports the MQTT client.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const HOST = globSync("host/**/*.ts", { cwd: ROOT }).sort();

/** What only the world may touch. */
const OUTSIDE =
  /"node:(fs|fs\/promises|crypto|sqlite|net|dgram|tls|http|https|dns|timers|timers\/promises|child_process|worker_threads|os|perf_hooks|process)"|\b(setTimeout|setInterval|setImmediate|fetch|WebSocket|crypto)\b(?!:)|\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.now\b|\bprocess\./g;
const WASM = /\bWebAssembly\b/g;
const MQTT = /\bfrom "mqtt"|\bimport\("mqtt"\)/g;

/** Files and folders that may, and what exactly. */
const ALLOWED: { path: RegExp; words: RegExp }[] = [
  { path: /^host\/(cli|demo)\//, words: /./ },
  { path: /^host\/mqtt\//, words: /^(from "mqtt"|setTimeout)$/ },
  { path: /^host\/node-world\.ts$/, words: /^("node:(fs|crypto|sqlite)"|setTimeout|Date\.now)$/ },
  { path: /^host\/keyserver\/vault\.ts$/, words: /^"node:crypto"$/ },
  { path: /^host\/core\/wasm\.ts$/, words: /^("node:fs"|WebAssembly)$/ },
  // A package of its own, which brings and compiles C; what runs the core has none of it.
  { path: /^host\/wasm3\/(source|compile)\.ts$/, words: /^("node:(fs|crypto|child_process)"|process\.)$/ },
];

/** Forbidden words of a source text, comments and what is allowed for its path left out. */
function strays(path: string, source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
  const found = [OUTSIDE, WASM, MQTT].flatMap((words) => [...code.matchAll(words)].map(([word]) => word));
  const rule = ALLOWED.find((allowed) => allowed.path.test(path));
  return found.filter((word) => rule === undefined || !rule.words.test(word));
}

test("world: no file of the host goes past it", () => {
  assert.ok(HOST.length > 10);
  for (const path of HOST) {
    assert.deepEqual(strays(path, readFileSync(join(ROOT, path), "utf8")), [], path);
  }
});

const PLANTED: [string, string][] = [
  ["host/client/client.ts", 'import { readFileSync } from "node:fs";'],
  ["host/client/client.ts", "const age = Date.now() - then;"],
  ["host/client/client.ts", "setTimeout(run, 10);"],
  ["host/client/client.ts", "const n = Math.random();"],
  ["host/client/client.ts", 'import mqtt from "mqtt";'],
  ["host/client/client.ts", "const id = crypto.randomUUID();"],
  ["host/store/directory.ts", 'import * as fs from "node:fs/promises";'],
  ["host/store/directory.ts", "if (process.env.HOME) {"],
  ["host/keyserver/server.ts", 'import { createHash } from "node:crypto";'],
  ["host/keyserver/server.ts", 'import { DatabaseSync } from "node:sqlite";'],
  ["host/keyserver/vault.ts", 'import { readFileSync } from "node:fs";'],
  ["host/keyserver/vault.ts", "const when = new Date();"],
  ["host/core/device.ts", "new WebAssembly.Memory({ initial: 1 });"],
  ["host/core/device.ts", "performance.now()"],
  ["host/core/wasm.ts", 'import { randomBytes } from "node:crypto";'],
  ["host/mqtt/protect.ts", 'import { readFileSync } from "node:fs";'],
  ["host/mqtt/protect.ts", "Date.now()"],
  ["host/wasm3/index.ts", 'import { spawnSync } from "node:child_process";'],
  ["host/wasm3/compile.ts", "Date.now()"],
  ["host/wasm3-engine.ts", 'import { readFileSync } from "node:fs";'],
  ["host/node-world.ts", 'import { createSocket } from "node:dgram";'],
  ["host/world.ts", "queueMicrotask(setImmediate);"],
];

test("world: a stray is found wherever it is planted", () => {
  for (const [path, line] of PLANTED) assert.notDeepEqual(strays(path, line), [], `${line} in ${path}`);
});

test("world: words in comments and in their own places are no strays", () => {
  assert.deepEqual(strays("host/client/client.ts", "// Date.now is for node-world\n/* Math.random */"), []);
  assert.deepEqual(strays("host/node-world.ts", "now: () => Date.now(), // ms"), []);
  assert.deepEqual(strays("host/cli/main.ts", 'import { argv } from "node:process";'), []);
});
