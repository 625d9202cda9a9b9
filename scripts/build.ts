// Compiles assembly/ to the modules of asconfig.json, checks them and writes
// build/. It does nothing when neither the inputs nor the outputs have changed.
// The modules for devices are shrunk once more by the compiler's own optimizer.
//
//   node scripts/build.ts [--quiet] [--force] [target...]

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Expressions, reorder } from "./reorder.ts";

interface Target {
  name: string;
  entry: string;
  /** Runs shrink() over the module. */
  shrink?: boolean;
  /** Puts the rounds of a permutation one after another. */
  unroll?: boolean;
  /** Imports its permutation. */
  hosted?: boolean;
}

/** What build/sizes.json says of one module; every number is in bytes unless it says otherwise. */
interface Sizes {
  wasmBytes: number;
  codeBytes: number;
  dataBytes: number;
  memoryPages: number;
  /** End of the static data: what a runtime with less than a page must give. 0 where the module does not say. */
  memoryInUse: number;
  functions: number;
  exports: number;
  sha256: string;
}

interface Stamp {
  inputs: string;
  outputs: Record<string, string>;
}

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD = join(ROOT, "build");
const STAMP = join(BUILD, "stamp.json");
const SIZES = join(BUILD, "sizes.json");

const TARGETS: Target[] = [
  { name: "device", entry: "assembly/index.ts", shrink: true },
  { name: "device-ascon", entry: "assembly/index.ts", shrink: true },
  { name: "device-ascon-volatile", entry: "assembly/volatile.ts", shrink: true },
  { name: "host", entry: "assembly/host.ts" },
  { name: "kat", entry: "assembly/kat.ts" },
  // The other profiles of assembly/ascon-p.ts, and what the bench takes.
  { name: "device-ascon-interpreted", entry: "assembly/index.ts", shrink: true },
  { name: "device-ascon-compiled", entry: "assembly/index.ts", shrink: true, unroll: true },
  { name: "device-ascon-hosted", entry: "assembly/index.ts", shrink: true, hosted: true },
  { name: "kat-interpreted", entry: "assembly/kat.ts", shrink: true },
  { name: "kat-compiled", entry: "assembly/kat.ts", shrink: true, unroll: true },
  { name: "kat-hosted", entry: "assembly/kat.ts", shrink: true, hosted: true },
  { name: "bare-ascon", entry: "assembly/bare-ascon.ts", shrink: true },
  { name: "bare-ascon-interpreted", entry: "assembly/bare-ascon.ts", shrink: true },
  { name: "bare-ascon-compiled", entry: "assembly/bare-ascon.ts", shrink: true, unroll: true },
  { name: "bare-ascon-hosted", entry: "assembly/bare-ascon.ts", shrink: true, hosted: true },
  { name: "bare-xoodyak", entry: "assembly/bare-xoodyak.ts", shrink: true },
];

/** Named in a variable: the compiler's own types would redeclare our globals. */
const COMPILER: string = "assemblyscript/asc";
/** The version that the compiler itself brings and runs. */
const OPTIMIZER: string = "binaryen";

/** What the compiler says where one more round of optimizing won nothing. Nobody who builds can do a thing about it. */
const NO_MATTER = "Last converge was suboptimal.\n";

/** Tells the end of the static data. For measure() alone: shrink() takes it out. */
const MEMORY_END = "memoryEnd";

const SECTION = { function: 3, memory: 5, start: 8, code: 10, data: 11 };

interface Compiler {
  createMemoryStream(): { toString(): string };
  main(
    args: string[],
    options: {
      stderr: { toString(): string };
      readFile(name: string, base: string): string | null;
      writeFile(name: string, contents: Uint8Array | string): void;
    },
  ): Promise<{ error: Error | null }>;
}

interface OptimizedModule {
  setFeatures(features: number): void;
  removeExport(name: string): void;
  optimize(): void;
  validate(): number;
  emitBinary(): Uint8Array<ArrayBuffer>;
  emitText(): string;
  getNumFunctions(): number;
  getFunctionByIndex(index: number): number;
  runPasses(passes: string[]): void;
  dispose(): void;
}

interface Optimizer extends Expressions {
  Features: Record<"MutableGlobals" | "SignExt" | "BulkMemory" | "BulkMemoryOpt", number>;
  readBinary(wasm: Uint8Array): OptimizedModule;
  setOptimizeLevel(level: number): void;
  setShrinkLevel(level: number): void;
  setLowMemoryUnused(on: boolean): void;
  setAlwaysInlineMaxSize(size: number): void;
  setFlexibleInlineMaxSize(size: number): void;
  setOneCallerInlineMaxSize(size: number): void;
  setDebugInfo(on: boolean): void;
  setPassArgument(name: string, value: string): void;
}

interface Output {
  wasm: Uint8Array<ArrayBuffer>;
  wat: string;
}

class BuildError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const sha256 = (bytes: Uint8Array | string): string => createHash("sha256").update(bytes).digest("hex");
const outFile = (target: Target): string => join(BUILD, `ampoule-${target.name}.wasm`);

function sources(dir: string): string[] {
  try {
    return readdirSync(join(ROOT, dir), { recursive: true, encoding: "utf8" })
      .map((name) => join(dir, name))
      .filter((path) => path.endsWith(".ts") && !path.includes("__tests__"))
      .sort();
  } catch {
    return [];
  }
}

function hashInputs(): string {
  const paths = [
    ...sources("assembly"),
    "asconfig.json",
    "scripts/build.ts",
    "scripts/reorder.ts",
    compilerManifest(),
  ];
  const lines = paths.map((path) => `${path} ${sha256(readFileSync(join(ROOT, path)))}`);
  return sha256(lines.join("\n"));
}

function compilerManifest(): string {
  const path = join("node_modules", "assemblyscript", "package.json");
  if (readOrUndefined(join(ROOT, path)) === undefined) {
    throw new BuildError("NO_COMPILER", "assemblyscript is not installed; run npm ci first");
  }
  return path;
}

function readOrUndefined(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function readJson<T>(path: string, otherwise: T): T {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return otherwise;
  }
}

/** A reader never sees half a file, and two builds at once cannot mix in one. */
function replaceFile(path: string, bytes: Uint8Array | string): void {
  const part = `${path}.${process.pid}.part`;
  writeFileSync(part, bytes);
  renameSync(part, path);
}

function isCurrent(target: Target, stamp: Stamp, inputs: string): boolean {
  const wasm = readOrUndefined(outFile(target));
  return stamp.inputs === inputs && wasm !== undefined && stamp.outputs[target.name] === sha256(wasm);
}

async function compile(target: Target): Promise<Output> {
  if (readOrUndefined(join(ROOT, target.entry)) === undefined) {
    throw new BuildError("NO_SOURCE", `${target.name}: ${target.entry} is missing`);
  }
  const asc = (await import(COMPILER)) as Compiler;
  const files = new Map<string, Uint8Array | string>();
  const stderr = asc.createMemoryStream();
  const { error } = await asc.main(
    [
      target.entry,
      "--config",
      "asconfig.json",
      "--target",
      target.name,
      "--textFile",
      "module.wat",
      "--noColors",
      ...(target.unroll ? ["--debug"] : []),
    ],
    {
      stderr,
      readFile: (name, base) => readOrUndefined(resolve(base, name))?.toString("utf8") ?? null,
      writeFile: (name, contents) => void files.set(name, contents),
    },
  );
  const messages = stderr.toString().replaceAll(NO_MATTER, "").trim();
  if (error !== null) throw new BuildError("COMPILE_FAILED", `${target.name}: ${messages || error.message}`);
  if (messages !== "") console.error(messages);
  const wasm = files.get(relative(ROOT, outFile(target)));
  const wat = files.get("module.wat");
  if (!(wasm instanceof Uint8Array) || typeof wat !== "string") {
    throw new BuildError("COMPILE_FAILED", `${target.name}: the compiler wrote no module`);
  }
  return { wasm: new Uint8Array(wasm), wat };
}

/**
 * Folds constant offsets into loads and stores, and shrinks until nothing more is won.
 *
 * The optimizer folds `ptr + constant` only if it may assume that the sum never wraps around to a low
 * address, which it takes from "low memory is unused". Ours is used, but our sums never wrap: every
 * pointer is the address of a static buffer plus offsets that are not negative.
 */
async function shrink(target: Target, wasm: Uint8Array): Promise<Output> {
  const { default: optimizer } = (await import(OPTIMIZER)) as { default: Optimizer };
  const { Features } = optimizer;
  optimizer.setOptimizeLevel(2);
  optimizer.setShrinkLevel(2);
  optimizer.setLowMemoryUnused(true);
  // Whatever has one caller goes into it, and else only what is not longer than a call.
  optimizer.setAlwaysInlineMaxSize(2);
  optimizer.setFlexibleInlineMaxSize(2);
  optimizer.setOneCallerInlineMaxSize(-1);
  const module = optimizer.readBinary(wasm);
  try {
    module.setFeatures(
      Features.MutableGlobals | Features.SignExt | Features.BulkMemory | Features.BulkMemoryOpt,
    );
    module.removeExport(MEMORY_END);
    if (target.unroll) unroll(optimizer, module);
    let output: Output;
    let smaller: Output = { wasm: new Uint8Array(wasm), wat: "" };
    do {
      output = smaller;
      module.optimize();
      smaller = { wasm: new Uint8Array(module.emitBinary()), wat: module.emitText() };
    } while (smaller.wasm.length < output.wasm.length || output.wat === "");
    return inOrder(optimizer, output);
  } finally {
    module.dispose();
    optimizer.setLowMemoryUnused(false);
  }
}

/** The function that unroll() puts wherever it is called; a name that the compiler gives for its file. */
const ROUND = "assembly/interleaved/round";

function unroll(optimizer: Optimizer, module: OptimizedModule): void {
  module.optimize();
  for (let i = 0; i < module.getNumFunctions(); ++i) {
    const { name } = optimizer.getFunctionInfo(module.getFunctionByIndex(i));
    if (name === ROUND) continue;
    optimizer.setPassArgument("no-inline", name);
    module.runPasses(["no-inline"]);
  }
  optimizer.setAlwaysInlineMaxSize(1000);
  module.runPasses(["inlining"]);
  optimizer.setAlwaysInlineMaxSize(2);
}

/** See reorder.ts. Names are left out. */
function inOrder(optimizer: Optimizer, { wasm }: Output): Output {
  const module = optimizer.readBinary(wasm);
  optimizer.setDebugInfo(false);
  try {
    for (let i = 0; i < module.getNumFunctions(); ++i) reorder(optimizer, module.getFunctionByIndex(i));
    return { wasm: new Uint8Array(module.emitBinary()), wat: module.emitText() };
  } finally {
    module.dispose();
  }
}

/** The one import there is, in the modules whose permutation is their host's: assembly/ampoule.ts. */
const PERMUTATION = /^ \(import "ampoule" "ascon_p" \(func \$\S+( \(type \$\S+\))? \(param i32 i32\)\)\)$/;

/** A device runs the module in interpreters and as C: nothing to link, nothing before the first call, no FPU. */
function check(target: Target, wasm: Uint8Array<ArrayBuffer>, wat: string): void {
  const imports = wat.split("\n").filter((line) => line.startsWith(" (import "));
  if (imports.length !== WebAssembly.Module.imports(new WebAssembly.Module(wasm)).length)
    throw new BuildError("BAD_TEXT", `${target.name}: text and module have other imports`);
  const [first = "", ...others] = imports;
  if (target.hosted ? others.length > 0 || !PERMUTATION.test(first) : imports.length > 0)
    throw new BuildError(
      "HAS_IMPORTS",
      `${target.name}: the module imports${imports.join("") || " nothing"}`,
    );
  if (sections(wasm).has(SECTION.start)) {
    throw new BuildError(
      "HAS_START",
      `${target.name}: the module has a start section; make globals constant`,
    );
  }
  const float = wat.split("\n").find((line) => /\bf(32|64)\b/.test(withoutNames(line)));
  if (float !== undefined) {
    throw new BuildError("HAS_FLOAT", `${target.name}: the module uses floating point: ${float.trim()}`);
  }
}

function withoutNames(line: string): string {
  return line.replace(/"[^"]*"/g, '""').replace(/\$[^\s()]+/g, "$");
}

/** Maps a section's id to its body; custom sections are left out. */
function sections(wasm: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = 8; at < wasm.length; ) {
    const id = wasm[at] as number;
    const size = readLeb(wasm, at + 1);
    if (id !== 0) found.set(id, wasm.subarray(size.end, size.end + size.value));
    at = size.end + size.value;
  }
  return found;
}

function readLeb(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  let at = start;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] ?? 0;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, end: at };
  }
}

/** End of the static data of a module that has not been shrunk yet. */
function memoryInUse(wasm: Uint8Array<ArrayBuffer>): number {
  const module = new WebAssembly.Module(wasm);
  const { exports } = new WebAssembly.Instance(module, { ampoule: { ascon_p: () => {} } });
  const end = exports[MEMORY_END];
  return typeof end === "function" ? end() : 0;
}

function measure(wasm: Uint8Array<ArrayBuffer>, inUse: number): Sizes {
  const found = sections(wasm);
  const memory = found.get(SECTION.memory);
  const functions = found.get(SECTION.function);
  return {
    wasmBytes: wasm.length,
    codeBytes: found.get(SECTION.code)?.length ?? 0,
    dataBytes: found.get(SECTION.data)?.length ?? 0,
    memoryPages: memory === undefined ? 0 : readLeb(memory, 2).value,
    memoryInUse: inUse,
    functions: functions === undefined ? 0 : readLeb(functions, 0).value,
    exports: WebAssembly.Module.exports(new WebAssembly.Module(wasm)).length,
    sha256: sha256(wasm),
  };
}

/** A build of some targets keeps what it knows of the others, as long as they still match. */
function record(inputs: string, built: Map<string, Sizes>): void {
  const old = readJson<Stamp>(STAMP, { inputs: "", outputs: {} });
  const oldSizes = readJson<Record<string, Sizes>>(SIZES, {});
  const outputs: Record<string, string> = {};
  const sizes: Record<string, Sizes> = {};
  for (const target of TARGETS) {
    const known =
      built.get(target.name) ?? (isCurrent(target, old, inputs) ? oldSizes[target.name] : undefined);
    if (known === undefined) continue;
    outputs[target.name] = known.sha256;
    sizes[target.name] = known;
  }
  replaceFile(SIZES, `${JSON.stringify(sizes, null, 2)}\n`);
  replaceFile(STAMP, `${JSON.stringify({ inputs, outputs } satisfies Stamp, null, 2)}\n`);
}

function selectTargets(names: string[]): Target[] {
  for (const name of names) {
    if (!TARGETS.some((target) => target.name === name)) {
      const known = TARGETS.map((target) => target.name).join(", ");
      throw new BuildError("BAD_TARGET", `no target ${name}; there are ${known}`);
    }
  }
  return names.length === 0 ? TARGETS : TARGETS.filter((target) => names.includes(target.name));
}

async function build(names: string[], options: { quiet: boolean; force: boolean }): Promise<void> {
  const selected = selectTargets(names);
  const inputs = hashInputs();
  const stamp = readJson<Stamp>(STAMP, { inputs: "", outputs: {} });
  const stale = selected.filter((target) => options.force || !isCurrent(target, stamp, inputs));
  const say = (line: string): void => {
    if (!options.quiet) console.log(line);
  };
  if (stale.length === 0) return say("build: nothing to do");

  mkdirSync(BUILD, { recursive: true });
  const built = new Map<string, Sizes>();
  try {
    for (const target of stale) {
      const compiled = await compile(target);
      const { wasm, wat } = target.shrink ? await shrink(target, compiled.wasm) : compiled;
      check(target, wasm, wat);
      const sizes = measure(wasm, memoryInUse(compiled.wasm));
      replaceFile(outFile(target), wasm);
      built.set(target.name, sizes);
      say(`build: ampoule-${target.name}.wasm ${sizes.wasmBytes} bytes, ${sizes.memoryPages} pages`);
    }
  } finally {
    record(inputs, built);
  }
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quiet: { type: "boolean", default: false }, force: { type: "boolean", default: false } },
  });
  process.chdir(ROOT);
  await build(positionals, values);
} catch (error) {
  const code = error instanceof BuildError ? ` ${error.code}` : "";
  console.error(`build: error${code}: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
