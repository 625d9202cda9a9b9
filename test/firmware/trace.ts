// The vectors as one table for C: every script is played on the shipped module in V8, where it must give what the
// vector says, and each call of the core is written down with the memory before it and a checksum of the memory
// after it. Whatever runs the same module must give the same results and the same memory, byte for byte.
//
//   node test/firmware/trace.ts device-ascon build/amp_vectors.h     for boards, with test/firmware/vectors.c

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import { v8Engine } from "../../host/core/wasm.ts";
import { memorySizeOf } from "../../scripts/aot.ts";
import { buildFor, CoreModel } from "../core/adapter.ts";
import { hostedEngine } from "../support/hosted.ts";
import { forAscon } from "../twin/for-ascon.ts";
import { runScript, type Script } from "../twin/script.ts";

const ROOT = join(import.meta.dirname, "../..");
const OP = { end: 0, begin: 1, passed: 2, write: 3, call: 16 } as const;
const FILES = ["beacon.json", "control.json", "blob.json", "mark.json", "messages.json"];
/** Writes that lie closer to each other become one. */
const GAP = 8;

export type TraceBuild = "device" | "device-ascon" | "device-ascon-volatile" | "device-ascon-hosted";

export interface Trace {
  /** C: `amp_vectors`, and `amp_vectors_call()` that reaches the exports by number. */
  header: string;
  scripts: number;
  calls: number;
  bytes: number;
}

function read(name: string): { scripts: Script[] } & { script: Script }[] {
  return JSON.parse(readFileSync(join(ROOT, "test/vectors", name), "utf8"));
}

function scriptsFor(build: TraceBuild): Script[] {
  const all = [
    ...FILES.flatMap((name) => read(name).scripts),
    ...read("refusals.json").map(({ script }) => script),
  ];
  const fit = all.filter(({ options, calls }) => {
    const isDevice = options.layout === 1 && options.channels === 4 && options.senders === 8;
    return isDevice && calls.every((line) => !("topic" in line) || line.topic.length <= 256);
  });
  if (build === "device") return fit.filter(({ options }) => buildFor(options) === build);
  const ascon = fit.map(forAscon).filter((script) => script !== null);
  return build === "device-ascon-volatile" ? ascon.filter(({ options }) => options.class !== 0) : ascon;
}

/** FNV-1a of 32 bits. */
function checksum(bytes: Uint8Array): number {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x01000193);
  return sum >>> 0;
}

class Recorder implements Engine {
  readonly name = "recorder";
  readonly bytes: number[] = [];
  /** Exports in use, by name, with their number of parameters. */
  readonly exports = new Map<string, number>();
  calls = 0;
  readonly #size: number;
  readonly #engine: Engine;

  constructor(memorySize: number, engine: Engine) {
    this.#size = memorySize;
    this.#engine = engine;
  }

  instantiate(build: Build): Instance {
    const { calls, memory } = this.#engine.instantiate(build);
    const used = memory.subarray(0, this.#size);
    const known = used.slice();
    this.bytes.push(OP.begin);
    const traced: Instance["calls"] = {};
    for (const [name, call] of Object.entries(calls)) {
      traced[name] = (...args) => {
        this.#writes(used, known);
        const result = call(...args);
        known.set(used);
        this.#call(name, args, result, checksum(used));
        return result;
      };
    }
    return { calls: traced, memory };
  }

  #call(name: string, args: number[], result: number, sum: number): void {
    if (!this.exports.has(name)) this.exports.set(name, args.length);
    if (this.exports.get(name) !== args.length) throw new Error(`${name} has other arguments than before`);
    this.calls += 1;
    this.bytes.push(OP.call + [...this.exports.keys()].indexOf(name));
    for (const number of [...args, result, sum]) this.#number(number);
  }

  #number(value: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    this.bytes.push(...bytes);
  }

  #writes(used: Uint8Array, known: Uint8Array): void {
    for (let at = 0; at < used.length; ++at) {
      if (used[at] === known[at]) continue;
      let end = at + 1;
      for (let next = end; next < used.length && next < end + GAP; ++next)
        if (used[next] !== known[next]) end = next + 1;
      this.bytes.push(
        OP.write,
        at & 255,
        at >> 8,
        (end - at) & 255,
        (end - at) >> 8,
        ...used.subarray(at, end),
      );
      at = end;
    }
  }
}

/** Plays all scripts for the build; throws where V8 does not give what the vectors say. */
export function record(build: TraceBuild): Trace {
  const wasm = new Uint8Array(readFileSync(join(ROOT, "build", `ampoule-${build}.wasm`)));
  const memorySize = (memorySizeOf(wasm) + 7) & ~7;
  const recorder = new Recorder(
    memorySize,
    build === "device-ascon-hosted" ? hostedEngine(wasm) : v8Engine(),
  );
  const scripts = scriptsFor(build);
  const module = build === "device-ascon-volatile" ? build : undefined;
  for (const script of scripts) {
    runScript((options) => new CoreModel(recorder, options, module), script);
    recorder.bytes.push(OP.passed);
  }
  recorder.bytes.push(OP.end);
  const { exports, calls, bytes } = recorder;
  return { header: format(exports, bytes, memorySize), scripts: scripts.length, calls, bytes: bytes.length };
}

function format(exports: Map<string, number>, bytes: number[], memorySize: number): string {
  const cases = [...exports].map(([name, count], index) => {
    const args = Array.from({ length: count }, (_, i) => `, a[${i}]`).join("");
    return `    case ${index}: return amp_core_${name}(core${args});\n`;
  });
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += 32) rows.push(bytes.slice(at, at + 32).join(","));
  return `/* Written by test/firmware/trace.ts; do not edit. */
#define AMP_VECTORS_MEMORY ${memorySize}u
static const uint8_t amp_vectors_counts[] = {${[...exports.values()].join(", ")}};
static uint32_t amp_vectors_call(amp_core *core, unsigned which, const uint32_t *a)
{
  switch (which) {
${cases.join("")}  }
  return 0xdead;
}
static const uint8_t amp_vectors[] = {
${rows.join(",\n")}
};
`;
}

if (import.meta.main) {
  const [build = "device-ascon", out = join(ROOT, "build", "amp_vectors.h")] = process.argv.slice(2);
  const { header, scripts, bytes } = record(build as TraceBuild);
  writeFileSync(out, header);
  console.log(`trace: ${out}, ${scripts} scripts, ${bytes} bytes`);
}
