// npm run bench:mcu [-- --budgets]: what a device pays, in exactly executed instructions and in bytes, on two emulated
// machines: the module compiled to C, and the module in wasm3, beside plain C of the same compiler and flags.
//
// Writes build/bench-mcu.json and build/bench-mcu.md. With --budgets the counts that test/mcu/ holds are made anew.

import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { BUDGETS, budgeted, writeBudgets } from "./budgets.ts";
import { compilerVersion, MACHINES, type Machine } from "./machine.ts";
import { readModule } from "./modules.ts";
import {
  BARE,
  type Case,
  DEVICES,
  INTERPRETED,
  keyOf,
  LIBRARIES,
  runBare,
  runDevice,
  runLibrary,
} from "./plan.ts";
import type { Bare, Replayed } from "./programs.ts";
import { FRAME_SIZES } from "./trace.ts";

const TEXT = 1024;
const SUITES = ["ASCON-SIV", "ASCON-AEAD", "XOODYAK-SIV", "XOODYAK-AEAD"];
/** What the module is given by its user, and the limits leave out. */
const FRAME_BUFFER = 1024;

const { values } = parseArgs({ options: { budgets: { type: "boolean", default: false } } });
const out: string[] = [];
const counts: Record<string, number> = {};

function table(title: string, head: string[], rows: (string | number)[][]): void {
  const cells = [head, ...rows.map((row) => row.map(String))];
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const line = (row: string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  const text = [`## ${title}`, "", line(head), rule, ...cells.slice(1).map(line), ""];
  out.push(...text);
  console.log(text.join("\n"));
}

const perByte = (count: number): string => (count / TEXT).toFixed(1);
const name = ({ way, module }: Case): string =>
  way.name.startsWith("C ") ? way.name : `${way.name}, ${module}`;

async function bare(machine: Machine): Promise<void> {
  const rows: (string | number)[][] = [];
  for (const one of BARE) {
    const result: Bare = await runBare(machine, one);
    for (const what of ["seal1024", "open1024", "seal16", "open16", "coldSeal"] as const)
      counts[keyOf(machine, one, what)] = result[what];
    const { module, engine, libc } = result.flash;
    rows.push([
      name(one),
      perByte(result.seal1024),
      perByte(result.open1024),
      result.seal16,
      result.open16,
      module,
      engine + libc,
      result.stack,
      result.heap === 0 ? "-" : result.heap,
    ]);
  }
  table(
    `${machine.name}: Ascon-AEAD128 and Xoodyak alone, 8 bytes of associated data`,
    ["", "seal i/B", "open i/B", "seal 16 B", "open 16 B", "flash", "and run-time", "stack", "heap"],
    rows,
  );
}

async function devices(machine: Machine): Promise<void> {
  const results: [(typeof DEVICES)[number], Replayed][] = [];
  for (const one of DEVICES) results.push([one, await runDevice(machine, one)]);
  for (const [one, { counts: found }] of results)
    for (const [label, count] of found) counts[keyOf(machine, one, label)] = count;
  const rows: (string | number)[][] = [];
  for (const [suite, suiteName] of SUITES.entries()) {
    for (const what of ["seal", "open"]) {
      for (const [one, { counts: found }] of results) {
        if (!one.suites.includes(suite)) continue;
        const numbers = FRAME_SIZES.map((size) => found.get(`${what} suite ${suite} F ${size}`) ?? 0);
        rows.push([`${suiteName}, ${what}: ${name(one)}`, ...numbers]);
      }
    }
  }
  const head = FRAME_SIZES.map((size) => `F = ${size}`);
  table(`${machine.name}: one frame of a device, full, topic of 24 bytes`, ["", ...head], rows);

  table(
    `${machine.name}: flash and RAM of a device, bytes`,
    ["", "flash", "and run-time", "RAM beside the frame buffer", "of it stack", "wasm3's heap"],
    results.map(([one, { flash, instance, stack, heap }]) => {
      const most = heap.at(-1)?.bytes ?? 0;
      return [
        name(one),
        flash.module,
        flash.engine + flash.libc,
        (most === 0 ? instance : most) + stack - FRAME_BUFFER,
        stack,
        most === 0 ? "-" : most,
      ];
    }),
  );

  const libraries: (string | number)[][] = [];
  for (const one of LIBRARIES) {
    const { counts: found, dearest, open, stack } = await runLibrary(machine, one);
    const [sealed, opened] = ["seal", "open"].map((what) => found.get(`${what} suite 0 F 64`) ?? 0);
    const most = ["control", "protect", "unprotect"].map((what) => dearest.get(what) ?? 0);
    libraries.push([name(one), open, sealed ?? 0, opened ?? 0, ...most, stack]);
  }
  table(
    `${machine.name}: the library's wasm3 with less heap, instructions of ASCON-SIV F = 64, and of the dearest calls`,
    ["", "amp_open", "seal", "open", "control", "protect", "unprotect", "stack, bytes"],
    libraries,
  );

  const [paths] = results.filter(([{ way, module }]) => way === INTERPRETED && module === "device-ascon");
  if (paths === undefined) return;
  const [one, { heap }] = paths;
  table(
    `${machine.name}: heap of ${name(one)} after the first call of each function, in this order`,
    ["", "bytes", "more"],
    heap.map(({ after, bytes }, i) => [after, bytes, bytes - (heap[i - 1]?.bytes ?? 0)]),
  );
}

out.push(
  "# Devices, measured",
  "",
  "`npm run bench:mcu` writes this file. i/B: executed instructions per byte of 1024.",
  "",
);
for (const machine of MACHINES) {
  out.push(
    `${machine.name}: ${compilerVersion(machine)}; smallest: \`${machine.small}\`; wasm3: \`${machine.interpreter}\`.`,
    "",
  );
  await bare(machine);
  await devices(machine);
}

const modules = [...new Set([...BARE, ...DEVICES].map(({ module }) => module))];
table(
  "Modules",
  ["", ".wasm", "linear memory"],
  modules.map((module) => {
    const { wasm, memorySize } = readModule(module);
    return [module, wasm.length, memorySize];
  }),
);

const build = join(import.meta.dirname, "..", "..", "build");
mkdirSync(build, { recursive: true });
const compilers = Object.fromEntries(MACHINES.map((machine) => [machine.name, compilerVersion(machine)]));
writeFileSync(join(build, "bench-mcu.json"), `${JSON.stringify({ compilers, counts }, null, 2)}\n`);
writeFileSync(join(build, "bench-mcu.md"), `${out.join("\n")}\n`);
console.log("written to build/bench-mcu.json and build/bench-mcu.md");
if (values.budgets) {
  writeBudgets(counts);
  console.log(`written to ${relative(process.cwd(), BUDGETS)}: counts of ${budgeted.length} cases`);
}
