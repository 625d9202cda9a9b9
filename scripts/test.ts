// The whole test command. Each stage is a title, its output and a verdict; the
// last line counts the tests, and every stage that is not made of tests as one.
//
//   node scripts/test.ts [filter]     only the test files whose path contains the filter

import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { loadWasm3 } from "../host/wasm3/index.ts";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Stage {
  title: string;
  run: () => Counts | Promise<Counts>;
}

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const TEST_TIMEOUT_MS = 300_000;
/** Test files at a time: several start brokers and children of their own. */
const CONCURRENCY = 2;

const bin = (name: string): string => join(ROOT, "node_modules", ".bin", name);
const asOne = (ok: boolean): Counts => ({ passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 });

function command(path: string, args: string[]): Counts {
  const done = spawnSync(path, args, { cwd: ROOT, stdio: "inherit" });
  if (done.error !== undefined) console.error(done.error.message);
  return asOne(done.status === 0);
}

/** as-pect sums up as "[Tests]: 3 / 4", and says nothing of the sort when a file does not compile. */
function aspect(): Counts {
  const done = spawnSync(bin("asp"), ["--summary"], { cwd: ROOT, encoding: "utf8" });
  process.stdout.write(`${done.stdout}${done.stderr}`);
  const match = /\[Tests\]:\s*(\d+) \/ (\d+)/.exec(stripVTControlCharacters(done.stdout));
  const passed = Number(match?.[1] ?? 0);
  const failed = Number(match?.[2] ?? 0) - passed;
  return { passed, failed: done.status === 0 ? failed : Math.max(failed, 1), skipped: 0 };
}

/** Brings and compiles wasm3. Where that cannot be it is skipped by name, and fails under CI. */
function wasm3(): Counts {
  for (const counting of [false, true]) {
    const { reason } = loadWasm3({ counting, say: console.log });
    if (reason === null) continue;
    console.log(`wasm3: ${reason.code}: ${reason.message}\nwasm3: hint: ${reason.hint}`);
    return process.env.CI === "true" ? asOne(false) : { passed: 0, failed: 0, skipped: 1 };
  }
  return asOne(true);
}

/** The suites that take their engine by argument, once more. */
function onWasm3(files: string[]): Counts | Promise<Counts> {
  if (loadWasm3().wasm3 !== null) return nodeTests(files, ["--engine", "wasm3"]);
  for (const file of files) console.log(`skipped: ${relative(ROOT, file)} on wasm3`);
  return { passed: 0, failed: 0, skipped: files.length };
}

function nodeTests(files: string[], argv: string[] = []): Promise<Counts> {
  return new Promise((resolve, reject) => {
    const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
    const skipped: string[] = [];
    const events = run({ cwd: ROOT, files, argv, concurrency: CONCURRENCY, timeout: TEST_TIMEOUT_MS });
    events.on("test:pass", (event) => {
      if (event.skip !== undefined) skipped.push(`${event.name}: ${event.skip}`);
    });
    events.on("test:summary", (event) => {
      if (event.file !== undefined) return;
      counts.passed = event.counts.passed;
      counts.failed = event.counts.tests - event.counts.passed - event.counts.skipped - event.counts.todo;
      if (!event.success && counts.failed === 0) counts.failed = 1;
    });
    const report = events.compose(new spec());
    report.on("end", () => {
      counts.skipped = skipped.length;
      for (const line of skipped) console.log(`skipped: ${line}`);
      resolve(counts);
    });
    report.on("error", reject);
    report.pipe(process.stdout, { end: false });
  });
}

function plan(filter: string): Stage[] {
  const files = find("test/**/*.test.ts", filter);
  const specs = find("assembly/__tests__/**/*.spec.ts", filter);
  const assembly = find("assembly/**/*.ts", "");
  const stages: Stage[] = [
    { title: "build", run: () => command(process.execPath, [join(ROOT, "scripts", "build.ts")]) },
  ];
  if (filter === "") {
    stages.push({ title: "types, host (tsc)", run: () => command(bin("tsc"), ["--noEmit"]) });
    stages.push({ title: "lint and format, host (biome)", run: () => command(bin("biome"), ["check"]) });
    if (assembly.length > 0) {
      stages.push({ title: "types, core (tsc)", run: () => command(bin("tsc"), ["-p", "assembly"]) });
      stages.push({
        title: "format, core (prettier)",
        run: () => command(bin("prettier"), ["--check", "assembly"]),
      });
    }
  }
  if (specs.length > 0) stages.push({ title: "core, from inside (as-pect)", run: aspect });
  if (files.length > 0) {
    stages.push({ title: "wasm3", run: wasm3 });
    stages.push({ title: `${files.length} test files`, run: () => nodeTests(files) });
  }
  const engines = files.filter((path) => readFileSync(path, "utf8").includes("/support/engines.ts"));
  if (engines.length > 0) {
    stages.push({ title: `${engines.length} test files on wasm3`, run: () => onWasm3(engines) });
  }
  return specs.length + files.length > 0 ? stages : [];
}

function find(pattern: string, filter: string): string[] {
  return globSync(pattern, { cwd: ROOT })
    .filter((path) => path.includes(filter))
    .sort()
    .map((path) => join(ROOT, path));
}

async function main(filter: string): Promise<boolean> {
  const stages = plan(filter);
  if (stages.length === 0) {
    console.error(`test: error: no test file has ${JSON.stringify(filter)} in its path`);
    return false;
  }
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const verdicts: string[] = [];
  for (const stage of stages) {
    console.log(`\n=== ${stage.title}`);
    const start = performance.now();
    const counts = await stage.run();
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    verdicts.push(`${counts.failed === 0 ? "ok    " : "FAILED"} ${stage.title} (${seconds} s)`);
  }
  console.log(`\n=== summary\n${verdicts.join("\n")}`);
  if (total.skipped > 0) console.log(`${total.skipped} skipped`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0;
}

process.exitCode = (await main(process.argv[2] ?? "")) ? 0 : 1;
