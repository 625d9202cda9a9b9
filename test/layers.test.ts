// The layout of the project as a test: imports point down, and each outside thing has one door.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { STATUS } from "../host/status.ts";

const ROOT = join(import.meta.dirname, "..");

/** Rooms of the core from the bottom up; rooms of one row do not import each other. */
const ROWS = [
  ["bytes", "layout", "status"],
  ["form", "interleaved", "ampoule"],
  ["ascon-p", "xoodoo"],
  ["ascon", "xoodyak"],
  ["aead", "kdf"],
  ["context"],
  ["frame", "keytree", "beacon", "window", "channel", "credit"],
  ["epoch", "state"],
  ["session", "control"],
  ["index", "kit"],
  ["host", "volatile", "kat", "bare-ascon", "bare-xoodyak"],
];

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts") && !name.includes("__tests__"))
    .map((name) => join(folder, name));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), "utf8");
  return [...text.matchAll(/^(?:import|export) [^;]*?from "([^"]+)"/gm)].map((found) => found[1] ?? "");
}

function rowOf(room: string): number {
  const row = ROWS.findIndex((rooms) => rooms.includes(room));
  assert.notEqual(row, -1, `${room} has no row: say where it belongs`);
  return row;
}

test("core: imports point down, and rooms of one row do not import each other", () => {
  for (const file of sources("assembly")) {
    const room = file.slice("assembly/".length, -".ts".length);
    for (const imported of importsOf(file)) {
      const below = imported.slice("./".length);
      assert.ok(rowOf(below) < rowOf(room), `${room} imports ${below}`);
    }
  }
});

function filesSaying(pattern: RegExp): string[] {
  return sources("host").filter((file) => pattern.test(readFileSync(join(ROOT, file), "utf8")));
}

test("host: one file says WebAssembly", () => {
  assert.deepEqual(filesSaying(/\bWebAssembly\./), ["host/core/wasm.ts"]);
});

test("host: tables and queries are known to the key server's database and records alone", () => {
  const files = filesSaying(/\b(SELECT|INSERT INTO|CREATE TABLE|UPDATE \w+ SET)\b/);
  assert.ok(files.length > 0);
  for (const file of files) assert.match(file, /^host\/keyserver\/(database|records|schema)\.ts$/);
});

test("host: nothing below the client imports it, and the core imports no room of the host but bytes, status, world and store", () => {
  const above = /\/(client|mqtt|keyserver|cli|demo)\//;
  for (const file of sources("host/core")) {
    for (const imported of importsOf(file)) assert.doesNotMatch(imported, above, file);
  }
  for (const file of [...sources("host/client"), ...sources("host/keyserver"), ...sources("host/store")]) {
    for (const imported of importsOf(file)) assert.doesNotMatch(imported, /\/(mqtt|cli|demo)\//, file);
  }
});

test("host: the binding to wasm3 imports nothing outside of its folder, and is imported as a whole", () => {
  for (const file of sources("host/wasm3")) {
    for (const imported of importsOf(file)) assert.match(imported, /^(node:|\.\/[\w-]+\.ts$)/, file);
  }
  for (const file of sources("host").filter((name) => !name.startsWith("host/wasm3/"))) {
    for (const imported of importsOf(file)) assert.doesNotMatch(imported, /\/wasm3\/(?!index\.ts)/, file);
  }
});

test("statuses: SPEC.md, core and host give the same numbers to the same names", () => {
  const spec = readFileSync(join(ROOT, "SPEC.md"), "utf8");
  const rows = [...spec.matchAll(/^\| (\d+) \| ([A-Z_]+) \|/gm)].map(([, number, name]) => [
    name,
    Number(number),
  ]);
  assert.deepEqual(Object.fromEntries(rows), { ...STATUS });
  const core = readFileSync(join(ROOT, "assembly/status.ts"), "utf8");
  for (const [, name, number] of core.matchAll(/export const ([A-Z_]+): i32 = (\d+);/g)) {
    assert.equal(STATUS[name as keyof typeof STATUS], Number(number), name);
  }
});
