// Compiles a module to plain C: wasm2c of the npm package wabt, with our own run-time in place of its own.
//
//   node scripts/aot.ts <module.wasm> <out.c> [--prefix amp_core] [--memory bytes]
//
// Writes <out>.c and <out>.h, which need firmware/src/amp_wasm.h and nothing else. The memory size is by default what
// build/sizes.json says of the module, and its whole pages where that says nothing. What wasm2c writes is read by
// shape: anything this file has not been told of is an error, never passed on.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { withNeededChecks } from "./reach.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const WASM2C = join(ROOT, "node_modules", "wabt", "bin", "wasm2c");
/** The name wasm2c is given; every symbol it writes carries it. */
const NAME = "amp";

/** What may stand in a function beside its own variables, functions and globals. */
const KNOWN = new Set(
  `if else goto return switch case default u32 u64 s32 s64 instance memory amp_trap UNREACHABLE DIV_U REM_U
   I32_ROTL I32_ROTR I64_ROTL I64_ROTR I32_CLZ I32_CTZ I64_CLZ I64_CTZ memory_fill memory_copy
   i32_load i32_load8_s i32_load8_u i32_load16_s i32_load16_u i32_store i32_store8 i32_store16
   i64_load i64_load8_s i64_load8_u i64_load16_s i64_load16_u i64_load32_s i64_load32_u
   i64_store i64_store8 i64_store16 i64_store32`.split(/\s+/),
);

export class AotError extends Error {}

export interface AotOptions {
  wasm: Uint8Array;
  /** Begins the name of the instance's type and of each function: `amp_core` gives amp_core_protect(). */
  prefix: string;
  /** Bytes of linear memory; rounded up to 8. */
  memorySize: number;
  /** File name of the header, for the include line. */
  header: string;
  /** Condition of the preprocessor under which the source is more than an empty file. */
  guard?: string;
}

interface Export {
  name: string;
  result: string;
  parameters: string[];
  /** The function behind it. */
  target: string;
}

/** An export that does nothing but return a number: it becomes an inline function in the header. */
interface Constant {
  name: string;
  value: string;
}

interface Shape {
  constants: Constant[];
  globals: { type: string; name: string; value: string }[];
  data: { at: number; bytes: string; size: number }[];
  exports: Export[];
  prototypes: string[];
  bodies: string;
}

/** The whole of both files. */
export function compileToC(options: AotOptions): { c: string; h: string } {
  const shape = read(runWasm2c(options.wasm));
  const size = (options.memorySize + 7) & ~7;
  for (const { at, size: length } of shape.data) {
    if (at + length > size) throw new AotError(`data at ${at} does not fit into ${size} bytes of memory`);
  }
  for (const [text, offset] of shape.bodies.matchAll(/_(?:load|store)\w*\(instance, \w+, (\d+)u/g)) {
    if (Number(offset) + 8 > size) throw new AotError(`offset outside of memory: ${text}`);
  }
  return { c: writeSource(shape, options, size), h: writeHeader(shape, options, size) };
}

function runWasm2c(wasm: Uint8Array): { c: string; h: string } {
  const dir = mkdtempSync(join(tmpdir(), "ampoule-aot-"));
  try {
    writeFileSync(join(dir, "m.wasm"), wasm);
    const args = [WASM2C, "--no-debug-names", "-n", NAME, "-o", join(dir, "m.c"), join(dir, "m.wasm")];
    execFileSync(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
    return { c: readFileSync(join(dir, "m.c"), "utf8"), h: readFileSync(join(dir, "m.h"), "utf8") };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Takes text from the front, by patterns; what does not match is an error that shows the line. */
class Reader {
  #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  maybe(pattern: RegExp): RegExpExecArray | null {
    const found = new RegExp(`^\\s*(?:${pattern.source})`, pattern.flags).exec(this.#text);
    if (found !== null) this.#text = this.#text.slice(found[0].length);
    return found;
  }
  must(pattern: RegExp): RegExpExecArray {
    const found = this.maybe(pattern);
    if (found === null) throw new AotError(`unknown shape: ${this.#text.trimStart().split("\n")[0]}`);
    return found;
  }
  all(pattern: RegExp): RegExpExecArray[] {
    const found: RegExpExecArray[] = [];
    for (let one = this.maybe(pattern); one !== null; one = this.maybe(pattern)) found.push(one);
    return found;
  }
  get rest(): string {
    return this.#text;
  }
}

function read({ c, h }: { c: string; h: string }): Shape {
  const start = /^static (?:void|u32|u64) w2c_amp_\w+\(w2c_amp\*/m.exec(c);
  if (start === null) throw new AotError("unknown shape: no function prototype");
  // The code of wasm2c's own run-time, which amp_wasm.h replaces, and nothing of the module.
  if (/w2c_amp/.test(c.slice(0, start.index))) throw new AotError("unknown shape: module before prototypes");
  const reader = new Reader(unwrapped(withoutSegue(c.slice(start.index))));
  const prototypes = reader
    .all(/static (void|u32|u64) w2c_amp_(\w+)\(w2c_amp\*((?:, u(?:32|64))*)\);\n/)
    .map(([, result, name, rest]) => `static ${result} ${name}(AMP_WASM_INSTANCE *${rest});`);
  reader.all(/FUNC_TYPE_T\(w2c_amp_t\d+\) = "[^"\n]*";\n/);
  const types = new Map(
    [...h.matchAll(/^ {2}(u32|u64) w2c_(g\d+);$/gm)].map(([, type, name]) => [name, type]),
  );
  const globals: Shape["globals"] = [];
  if (reader.maybe(/static void init_globals\(w2c_amp\* instance\) \{\n/)) {
    for (const [, name = "", value = ""] of reader.all(/instance->w2c_(g\d+) = (\d+u(?:ll)?);\n/)) {
      const type = types.get(name);
      if (type === undefined) throw new AotError(`unknown shape: global ${name}`);
      globals.push({ type, name, value });
    }
    reader.must(/\}\n/);
  }
  if (globals.length !== types.size) throw new AotError("unknown shape: a global without a value");
  const blocks = reader.all(/static const u8 data_segment_data_w2c_amp_(d\d+)\[\] = \{\n([^}]*)\};\n/);
  reader.must(/static void init_memories\(w2c_amp\* instance\) \{\n/);
  reader.must(/wasm_rt_allocate_memory\(&instance->w2c_memory, \d+, \d+, 0, 65536\);\n/);
  const loads = reader.all(
    /LOAD_DATA\(instance->w2c_memory, (\d+)u, data_segment_data_w2c_amp_(d\d+), (\d+)\);\n/,
  );
  reader.must(/\}\n/);
  const data = loads.map(([, at, name, size]) => {
    const bytes = blocks.find((block) => block[1] === name)?.[2];
    if (bytes === undefined) throw new AotError(`unknown shape: data segment ${name}`);
    return { at: Number(at), bytes: bytes.trimEnd(), size: Number(size) };
  });
  if (data.length !== blocks.length) throw new AotError("unknown shape: a passive data segment");
  reader.maybe(/static void init_data_instances\(w2c_amp \*instance\) \{\n\}\n/);
  const exports = readExports(reader);
  reader.must(/void wasm2c_amp_instantiate\(w2c_amp\* instance\) \{\n/);
  reader.must(/assert\(wasm_rt_is_initialized\(\)\);\n/);
  reader.maybe(/init_globals\(instance\);\n/);
  reader.must(/init_memories\(instance\);\n/);
  reader.maybe(/init_data_instances\(instance\);\n/);
  reader.must(/\}\n/);
  reader.must(
    /void wasm2c_amp_free\(w2c_amp\* instance\) \{\n {2}wasm_rt_free_memory\(&instance->w2c_memory\);\n\}\n/,
  );
  reader.must(/wasm_rt_func_type_t wasm2c_amp_get_func_type\([^)]*\) \{[\s\S]*?\n\}\n/);
  const shape = {
    constants: [],
    globals,
    data,
    exports,
    prototypes,
    bodies: readBodies(reader.rest, globals),
  };
  return takeConstants(shape);
}

/** Long argument lists are broken after commas. */
function unwrapped(text: string): string {
  return text.replace(/, \n\s+(?=(?:u32 |u64 )?var_)/g, ", ");
}

function withoutSegue(text: string): string {
  const begin = "#if WASM_RT_USE_SEGUE_FOR_THIS_MODULE";
  return text
    .replace(
      /#if !WASM_RT_SEGUE_FREE_SEGMENT\n {2}void\* segue_saved_base = wasm_rt_segue_read_base\(\);\n#endif\n/g,
      "",
    )
    .replaceAll(`${begin}\n  wasm_rt_segue_write_base(instance->w2c_memory.data);\n#endif\n`, "")
    .replaceAll(
      `${begin} && !WASM_RT_SEGUE_FREE_SEGMENT\n  wasm_rt_segue_write_base(segue_saved_base);\n#endif\n`,
      "",
    );
}

function readExports(reader: Reader): Export[] {
  const found: Export[] = [];
  for (;;) {
    const [, name = ""] = reader.maybe(/\/\* export: '(\w+)' \*\/\n/) ?? [];
    if (name === "") return found;
    if (
      reader.maybe(
        /wasm_rt_memory_t\* w2c_amp_\w+\(w2c_amp\* instance\) \{\n {2}return &instance->w2c_memory;\n\}\n/,
      )
    )
      continue;
    const [, result = "", list = ""] = reader.must(
      /(void|u32|u64) w2c_amp_\w+\(w2c_amp\* instance((?:, u(?:32|64) var_p\d+)*)\) \{\n/,
    );
    const [, target = ""] = reader.must(
      /(?:u32 ret = |u64 ret = )?w2c_amp_(\w+)\(instance(?:, var_p\d+)*\);\n(?:\s*return ret;\n)?\}\n/,
    );
    found.push({ name, result, target, parameters: list.split(", ").slice(1) });
  }
}

/** Rewrites the functions for amp_wasm.h, and refuses every word that is not known. */
function readBodies(text: string, globals: Shape["globals"]): string {
  const bodies = text
    .replace(
      /^(void|u32|u64) w2c_amp_(\w+)\(w2c_amp\* instance/gm,
      "static $1 $2(AMP_WASM_INSTANCE *instance",
    )
    .replace(/^ {2}FUNC_(PROLOGUE|EPILOGUE);\n/gm, "")
    .replace(
      /\b(i(?:32|64)_(?:load|store)(?:8|16|32)?(?:_[su])?)(?:_default32)?\(&instance->w2c_memory, \(u64\)\((\w+)\)(?: \+ (\d+)u?)?/g,
      (_all, name, at, offset) => `${name}(instance, ${at}, ${offset ?? 0}u`,
    )
    .replace(/\bmemory_fill\(&instance->w2c_memory, /g, "memory_fill(instance, ")
    .replace(/\bmemory_copy\(&instance->w2c_memory, &instance->w2c_memory, /g, "memory_copy(instance, ")
    .replace(/\binstance->w2c_(g\d+)\b/g, "instance->$1")
    .replace(/\bw2c_amp_(\w+)\(instance/g, "$1(instance");
  const functions = [...bodies.matchAll(/^static (?:void|u32|u64) (\w+)\(AMP_WASM_INSTANCE/gm)].map(
    ([, name]) => name,
  );
  const own = new Set([
    ...KNOWN,
    "static",
    "void",
    "AMP_WASM_INSTANCE",
    ...functions,
    ...globals.map(({ name }) => name),
  ]);
  for (const line of bodies.split("\n")) {
    for (const [word] of line.matchAll(/\b[A-Za-z_]\w*/g)) {
      if (!own.has(word) && !/^var_([BLSiIjplC]\d+|Bfunc)$/.test(word))
        throw new AotError(`unknown shape: ${word} in ${line}`);
    }
    if (/[^\w\s(){}[\];:,=+\-*/%&|^<>!?~.]|\./.test(line)) throw new AotError(`unknown shape: ${line}`);
  }
  return withoutUnused(bodies.trim());
}

/** Locals of the module that its optimizer has left without a use: a compiler would warn of them. */
function withoutUnused(bodies: string): string {
  return bodies.replace(/^static [^;]*?\{\n[\s\S]*?^\}$/gm, (body) =>
    body.replace(
      /^ {2}(u32|u64) (var_\w+(?: = 0)?(?:, var_\w+(?: = 0)?)*);\n/gm,
      (_all, type, list: string) => {
        const used = list.split(", ").filter((local) => {
          const [name = ""] = local.split(" ");
          return body.split(new RegExp(`\\b${name}\\b`)).length > 2;
        });
        return used.length === 0 ? "" : `  ${type} ${used.join(", ")};\n`;
      },
    ),
  );
}

function takeConstants(shape: Shape): Shape {
  for (const { name, target } of shape.exports) {
    const body = `static u32 ${target}\\(AMP_WASM_INSTANCE \\*instance\\) \\{\\s*u32 var_i0;\\s*var_i0 = (\\d+u);\\s*return var_i0;\\s*\\}\n*`;
    const found = new RegExp(body).exec(shape.bodies);
    const rest = shape.bodies.replace(found?.[0] ?? "", "");
    if (found === null || new RegExp(`\\b${target}\\b`).test(rest)) continue;
    shape.constants.push({ name, value: found[1] as string });
    shape.exports = shape.exports.filter((one) => one.target !== target);
    shape.prototypes = shape.prototypes.filter((line) => !line.includes(` ${target}(`));
    shape.bodies = rest;
  }
  return shape;
}

function signature({ name, result, parameters }: Export, prefix: string): string {
  return `${ctype(result)} ${prefix}_${name}(${[`${prefix} *instance`, ...parameters.map((one) => ctype(one.replace("var_", "")))].join(", ")})`;
}

function ctype(text: string): string {
  return text.replace(/^u(32|64)/, "uint$1_t");
}

function writeHeader(shape: Shape, { prefix, wasm }: AotOptions, size: number): string {
  const upper = prefix.toUpperCase();
  const fields = [...shape.globals].sort((a, b) => a.type.localeCompare(b.type));
  return `/* Written by scripts/aot.ts; do not edit. Module: ${wasm.length} bytes, SHA-256 ${sha256(wasm)} */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of linear memory. */
#define ${upper}_MEMORY_SIZE ${size}u

/** One instance of the module: globals and memory. Plain data, without pointers. */
typedef struct ${prefix} {
${fields.map(({ type, name }) => `  ${ctype(type)} ${name};\n`).join("")}  uint8_t memory[${upper}_MEMORY_SIZE] __attribute__((aligned(8)));
} ${prefix};

/** Makes an instance anew. */
void ${prefix}_instantiate(${prefix} *instance);

${shape.exports.map((one) => `${signature(one, prefix)};`).join("\n")}
${shape.constants.map(({ name, value }) => `static inline uint32_t ${prefix}_${name}(const ${prefix} *instance) { (void)instance; return ${value}; }\n`).join("")}
#ifdef __cplusplus
}
#endif

#endif
`;
}

function writeSource(shape: Shape, options: AotOptions, size: number): string {
  const source = writeFunctions(shape, options, size);
  const { guard } = options;
  const guarded =
    guard === undefined
      ? source
      : `#if ${guard}\n\n${source}\n#else\ntypedef int amp_core_is_elsewhere;\n#endif\n`;
  return `/* Written by scripts/aot.ts; do not edit. */\n${guarded}`;
}

function writeFunctions(shape: Shape, { prefix, header }: AotOptions, size: number): string {
  const initial = new Map(shape.globals.map(({ name, value }) => [name, Number.parseInt(value, 10)]));
  const exported = new Set(shape.exports.map(({ target }) => target));
  const bodies = withNeededChecks(shape.bodies, exported, initial, size);
  return `#include "${header}"

#define AMP_WASM_INSTANCE ${prefix}
#define AMP_WASM_SIZE ${size}u
#include "amp_wasm.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

${withSelf(shape.prototypes.join("\n"))}

${shape.data.map(({ bytes }, index) => `static const u8 d${index}[] = {\n${bytes}\n};\n\n`).join("")}void ${prefix}_instantiate(${prefix} *self)
{
  memset(self, 0, sizeof *self);
${shape.globals
  .filter(({ value }) => !/^0u/.test(value))
  .map(({ name, value }) => `  self->${name} = ${value};\n`)
  .join(
    "",
  )}${shape.data.map(({ at, size: length }, index) => `  memcpy(&self->memory[${at}], d${index}, ${length});\n`).join("")}}

${withSelf(bodies)}

${shape.exports.map((one) => withSelf(writeEntry(one, prefix))).join("\n")}`;
}

/** The instance is an argument of each function, or none is needed: amp_wasm.h decides. */
function withSelf(text: string): string {
  return text
    .replace(/\(AMP_WASM_INSTANCE \*(?:instance)?\)/g, "(AMP_SELF)")
    .replace(/\(AMP_WASM_INSTANCE \*(?:instance)?, /g, "(AMP_SELF_ ")
    .replace(/\b(\w+)\(instance\)/g, "$1(AMP_ME)")
    .replace(/\b(\w+)\(instance, /g, "$1(AMP_ME_ ");
}

/** An export, as whoever has the instance calls it. */
function writeEntry(one: Export, prefix: string): string {
  const names = one.parameters.map((parameter) => parameter.split(" ")[1]?.replace("var_", ""));
  const call = `${one.target}(${["instance", ...names].join(", ")})`;
  const head = signature(one, prefix).replace(" *instance", " *self");
  const [keep, give] =
    one.result === "void" ? ["", ""] : [`const ${ctype(one.result)} result = `, "  return result;\n"];
  return `${head}\n{\n  AMP_ENTER(self);\n  ${keep}${call};\n  AMP_LEAVE();\n${give}}\n`;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What build/sizes.json says of these bytes, or all the pages the module has. */
export function memorySizeOf(wasm: Uint8Array<ArrayBuffer>): number {
  const sizes = JSON.parse(readFileSync(join(ROOT, "build", "sizes.json"), "utf8")) as Record<
    string,
    { sha256: string; memoryInUse: number }
  >;
  const known = Object.values(sizes).find((one) => one.sha256 === sha256(wasm));
  if (known !== undefined && known.memoryInUse > 0) return known.memoryInUse;
  const { memory } = new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports;
  return (memory as WebAssembly.Memory).buffer.byteLength;
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { prefix: { type: "string", default: "amp_core" }, memory: { type: "string" } },
  });
  const [module, out] = positionals;
  if (module === undefined || out === undefined || !out.endsWith(".c") || !/^[a-z]\w*$/.test(values.prefix))
    throw new AotError("usage: node scripts/aot.ts <module.wasm> <out.c> [--prefix name] [--memory bytes]");
  const wasm = new Uint8Array(readFileSync(module));
  const header = out.replace(/\.c$/, ".h");
  const memorySize = values.memory === undefined ? memorySizeOf(wasm) : Number(values.memory);
  const { c, h } = compileToC({ wasm, prefix: values.prefix, memorySize, header: basename(header) });
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, c);
  writeFileSync(header, h);
}

if (import.meta.main) {
  try {
    main();
  } catch (error) {
    console.error(`aot: error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
