// The bench programs: which engine runs which module, built in which way.

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { wasm3Source } from "../../host/wasm3/source.ts";
import { compileToC } from "../../scripts/aot.ts";
import {
  BenchError,
  compile,
  execute,
  GUEST,
  keep,
  link,
  type Machine,
  type Outcome,
  STRICT,
  sections,
} from "./machine.ts";
import type { Module } from "./modules.ts";
import { encode, type Trace } from "./trace.ts";

const ROOT = join(import.meta.dirname, "..", "..");

export interface Engine {
  name: "native" | "AOT" | "wasm3";
  define: string;
  /** Compiles the module and what runs it. */
  objects(
    machine: Machine,
    module: Module,
    level: string,
  ): Promise<{ objects: string[]; flags: string[]; headers: string[] }>;
}

export const NATIVE: Engine = {
  name: "native",
  define: "-DNATIVE",
  async objects(machine, _module, level) {
    const object = await compile(machine, {
      file: join(GUEST, "native-ascon.c"),
      object: "module.o",
      flags: [...level.split(" "), ...STRICT],
    });
    return { objects: [object], flags: [], headers: [] };
  },
};

const FIRMWARE = join(ROOT, "firmware", "src");
const AMP_WASM = join(FIRMWARE, "amp_wasm.h");

export const AOT: Engine = {
  name: "AOT",
  define: "-DAOT",
  async objects(machine, module, level) {
    const { c, h } = compileToC({ ...module, prefix: "amp_core", header: "module.h" });
    const [source, header] = [await keep("module.c", c), await keep("module.h", h)];
    const include = ["-I", dirname(header), "-I", dirname(AMP_WASM)];
    const headers = [header, AMP_WASM];
    const object = await compile(machine, {
      file: source,
      object: "module.o",
      flags: [...level.split(" "), ...include],
      headers,
    });
    return { objects: [object], flags: include, headers };
  },
};

/** The settings of firmware/src/core_wasm3.c, and one array for all of its heap. */
const WASM3_FLAGS = [
  "-DNDEBUG",
  "-Dd_m3HasFloat=0",
  "-Dd_m3HasWASI=0",
  "-Dd_m3VerboseErrorMessages=0",
  "-Dd_m3MaxFunctionStackHeight=160",
  "-Dd_m3CodePageAlignSize=1024",
  "-Dd_m3FixedHeap=81920",
  "-fno-strict-aliasing",
];
const WASM3_PARTS = "bind code compile core emit env exec function info module parse".split(" ");

export const WASM3: Engine = {
  name: "wasm3",
  define: "-DWASM3",
  async objects(machine, { wasm, memorySize, isHosted }, level) {
    const folder = wasm3Source(console.error);
    const flags = [...WASM3_FLAGS, "-isystem", folder];
    const hosted = isHosted ? ["-DHOSTED", "-I", FIRMWARE] : [];
    const bytes = [...wasm].map((byte, i) => (i % 24 === 0 ? `\n${byte}` : byte)).join(",");
    const header = await keep(
      "module.h",
      `#include <stdint.h>\n#define MODULE_MEMORY_SIZE ${memorySize}u\nextern const uint8_t module_wasm[${wasm.length}];\n`,
    );
    const blob = await keep("module.c", `const unsigned char module_wasm[${wasm.length}] = {${bytes}};\n`);
    const include = ["-I", dirname(header)];
    const parts = WASM3_PARTS.map((part) =>
      compile(machine, {
        file: part === "core" ? join(GUEST, "engine-wasm3-core.c") : join(folder, `m3_${part}.c`),
        object: `engine-m3-${part}.o`,
        flags: [...level.split(" "), "-w", ...flags],
      }),
    );
    parts.push(
      compile(machine, {
        file: join(GUEST, "engine-wasm3.c"),
        object: "engine-wasm3.o",
        flags: ["-O2", ...STRICT, ...flags, ...hosted],
        headers: isHosted ? [join(FIRMWARE, "amp_ascon_p.h")] : [],
      }),
      compile(machine, { file: blob, object: "module.o", flags: [] }),
    );
    if (isHosted) {
      const file = join(FIRMWARE, "amp_ascon_p.c");
      const headers = [join(FIRMWARE, "amp_ascon_p.h")];
      const flags = [...machine.small.split(" "), ...STRICT, "-DAMP_WASM3", "-DAMP_ASCON_HOSTED"];
      parts.push(compile(machine, { file, object: "engine-ascon-p.o", flags, headers }));
    }
    return { objects: await Promise.all(parts), flags: [...flags, ...include], headers: [header] };
  },
};

const CORE_HEADERS = ["core_wasm3.h", "core_wasm3_code.h", "amp_ascon_p.h", "amp_sha256.h"];
const API = join(ROOT, "firmware", "include");

/** The back end of the library itself, with a heap of so many bytes; frugal: it compiles again what it dropped. */
export const firmware = (heap: number, isFrugal: boolean): Engine => ({
  name: "wasm3",
  define: "-DFIRMWARE",
  async objects(machine, { wasm, memorySize, isHosted }, level) {
    const digest = [...createHash("sha256").update(wasm).digest()].join(",");
    const bytes = [...wasm].map((byte, i) => (i % 24 === 0 ? `\n${byte}` : byte)).join(",");
    const header = await keep(
      "module.h",
      `#include <stdint.h>\nextern const uint8_t module_wasm[${wasm.length}];\n#define MODULE_SHA256 {${digest}}\n`,
    );
    const blob = await keep("module.c", `const unsigned char module_wasm[${wasm.length}] = {${bytes}};\n`);
    const known = await keep(
      "amp_module_digest.h",
      `#define AMP_MODULE_MEMORY ${memorySize}u\n#define AMP_MODULE_SHA256 {0}\n`,
    );
    const headers = [header, join(API, "ampoule.h"), ...CORE_HEADERS.map((name) => join(FIRMWARE, name))];
    const defines = ["-DAMP_WASM3", `-DHEAP_SIZE=${heap}`];
    if (isFrugal) defines.push("-DAMP_WASM3_FRUGAL");
    if (isHosted) defines.push("-DAMP_ASCON_HOSTED");
    const include = [header, known].flatMap((path) => ["-I", dirname(path)]);
    const flags = [...defines, ...include, "-I", FIRMWARE, "-I", API];
    const own = (name: string, ...how: string[]): Promise<string> =>
      compile(machine, {
        file: join(FIRMWARE, `${name}.c`),
        object: `engine-${name}.o`,
        flags: [...how, ...flags],
        headers: [...headers, known],
      });
    const small = machine.small.split(" ");
    const objects = await Promise.all([
      own("core_wasm3", ...level.split(" "), "-w", "-isystem", wasm3Source(console.error)),
      own("amp_sha256", ...small),
      own("amp_ascon_p", ...small),
      compile(machine, { file: blob, object: "module.o", flags: [] }),
    ]);
    return { objects, flags, headers };
  },
});

export interface Flash {
  /** Code and constants of the module, or the module itself for an interpreter. */
  module: number;
  /** Code and constants of the interpreter. */
  engine: number;
  /** What of the C library is linked with it. */
  libc: number;
}

export interface Program {
  outcome: Outcome;
  flash: Flash;
}

/** Builds a guest program around an engine and a module, and runs it. */
export async function measure(
  machine: Machine,
  engine: Engine,
  module: Module,
  level: string,
  program: { file: string; extra?: string[] },
): Promise<Program> {
  const { objects, flags, headers } = await engine.objects(machine, module, level);
  const main = await compile(machine, {
    file: program.file,
    object: "bench.o",
    flags: ["-O2", ...STRICT, engine.define, ...flags, ...(program.extra ?? [])],
    headers,
  });
  const elf = await link(machine, [main, ...objects]);
  const found = await sections(machine, elf);
  const of = (name: string): number => found.get(name) ?? 0;
  return {
    outcome: await execute(machine, elf),
    flash: { module: of(".module"), engine: of(".engine"), libc: of(".libc") },
  };
}

export interface Bare {
  /** Instructions of one call; the cold ones are the first of each direction. */
  seal1024: number;
  open1024: number;
  seal16: number;
  open16: number;
  coldSeal: number;
  coldOpen: number;
  stack: number;
  heap: number;
  sealed: string[];
  flash: Flash;
}

/** Bare calls of the standard: 1024 and 16 bytes of text, 8 bytes of associated data. */
export async function measureBare(
  machine: Machine,
  engine: Engine,
  module: Module,
  level: string,
): Promise<Bare> {
  const { outcome, flash } = await measure(machine, engine, module, level, {
    file: join(GUEST, "bare.c"),
  });
  const { regions, lines } = outcome;
  if (regions.length !== 6) throw new BenchError(`${regions.length} regions in place of 6`);
  const said = (name: string): string[] =>
    lines.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
  const [coldSeal, coldOpen, seal1024, open1024, seal16, open16] = regions as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return {
    coldSeal,
    coldOpen,
    seal1024,
    open1024,
    seal16,
    open16,
    stack: Math.max(...said("stack").map(Number)),
    heap: Number(said("heap")[0] ?? 0),
    sealed: said("sealed"),
    flash,
  };
}

export interface Replayed {
  /** Instructions of the marked calls, by their labels. */
  counts: Map<string, number>;
  /** Most that any call used of the stack, in bytes. */
  stack: number;
  /** wasm3: its heap after the first call of each export, in order. */
  heap: { after: string; bytes: number }[];
  /** AOT: globals and linear memory, in bytes. */
  instance: number;
  /** Most instructions of any call of an export, marked or not, by its name. */
  dearest: Map<string, number>;
  /** Back end of the library: instructions that opening takes. */
  open: number;
  flash: Flash;
}

/** Runs a recorded device. */
export async function measureTrace(
  machine: Machine,
  engine: Engine,
  module: Module,
  level: string,
  trace: Trace,
): Promise<Replayed> {
  const calls = trace.exports.map(({ name, arguments: count }, number) => {
    const list = Array.from({ length: count }, (_, i) => `, a[${i}]`).join("");
    return `X(${number}, amp_core_${name}(&instance${list}))`;
  });
  const frame = trace.calls.find(({ name }) => name === "buffers")?.result;
  const bytes = [...encode(trace)].map((byte, i) => (i % 24 === 0 ? `\n${byte}` : byte)).join(",");
  const header = await keep(
    "trace.h",
    `#define CALLS(X) ${calls.join(" ")}
#ifdef WASM3
static const char *const names[] = {${trace.exports.map(({ name }) => JSON.stringify(name)).join(", ")}};
#endif
enum { FRAME_AT = ${frame} };
static const uint8_t trace[] = {${bytes}};
`,
  );
  const { outcome, flash } = await measure(machine, engine, module, level, {
    file: join(GUEST, "replay.c"),
    extra: ["-I", dirname(header)],
  });
  const { regions, lines } = outcome;
  const open = engine.define === "-DFIRMWARE" ? (regions.shift() ?? 0) : 0;
  if (regions.length !== trace.calls.length)
    throw new BenchError(`${regions.length} regions in place of ${trace.calls.length}`);
  const said = (name: string): number[] =>
    lines.filter((line) => line.startsWith(`${name} `)).map((line) => Number(line.slice(name.length + 1)));
  const counts = new Map([...trace.marks].map(([label, index]) => [label, regions[index] as number]));
  const heaps = said("heap");
  const heap =
    heaps.length === 0
      ? []
      : trace.exports.map(({ name }) => {
          const first = trace.calls.findIndex((call) => call.name === name);
          return { after: name, bytes: heaps[first] as number };
        });
  const dearest = new Map<string, number>();
  for (const [i, { name }] of trace.calls.entries())
    dearest.set(name, Math.max(dearest.get(name) ?? 0, regions[i] as number));
  const stack = Math.max(...said("stack"));
  return { counts, stack, heap, instance: said("instance")[0] ?? 0, dearest, open, flash };
}
