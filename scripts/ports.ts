// Builds the programs of firmware/ports for the machines that QEMU emulates: build/ports/<machine>-<program>.elf.
//
//   node scripts/ports.ts [--quiet] [--engine aot|wasm3|wasm3-hosted|wasm3-frugal] [program...]
//
// With the engine wasm3 it is build/ports/<machine>-<program>-wasm3.elf, which carries the module and the interpreter;
// with wasm3-hosted the module that leaves Ascon-p to C, with wasm3-frugal an interpreter with little memory.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatModule } from "../host/cli/image/module-header.ts";
import { readModule } from "../host/core/wasm.ts";
import { wasm3Source } from "../host/wasm3/source.ts";
import { assembleFirmware, moduleFor } from "./firmware.ts";

const ROOT = join(fileURLToPath(import.meta.url), "../..");
const PORTS = join(ROOT, "firmware", "ports");
const OUT = join(ROOT, "build", "ports");

export type Machine = "m3" | "rv32";

interface Tools {
  prefix: string;
  flags: string[];
  /** Of code and constants, and of memory. */
  flash: number;
  ram: number;
}

const TOOLS: Record<Machine, Tools> = {
  m3: { prefix: "arm-none-eabi-", flags: ["-mcpu=cortex-m3", "-mthumb"], flash: 0, ram: 0x20000000 },
  rv32: {
    prefix: "riscv64-unknown-elf-",
    flags: ["-march=rv32imac", "-mabi=ilp32"],
    flash: 0x80000000,
    ram: 0x80400000,
  },
};
const AREA = 0x400000;
const STACK = 0x4000;

/** The core as C, or the module in the interpreter. */
const ENGINES = ["aot", "wasm3", "wasm3-hosted", "wasm3-frugal"] as const;
export type EngineName = (typeof ENGINES)[number];

/** What a compiler must be told of the interpreter beside that it is one. */
const MODES: Partial<Record<EngineName, string[]>> = {
  "wasm3-hosted": ["-DAMP_ASCON_HOSTED"],
  "wasm3-frugal": ["-DAMP_WASM3_FRUGAL"],
};

export interface Program {
  sources: string[];
  flags: string[];
  /** Headers that are compiled in, beside those of library and ports. */
  headers?: string[];
  /** Without ampoule.c and what is for it. */
  isCoreOnly?: boolean;
}

export const PROGRAMS: Record<string, Program> = {
  live: { sources: [join(PORTS, "live", "main.c")], flags: [] },
};

/** Sources of the library that are not the core. */
const NOT_CORE = /\/(ampoule|amp_join|amp_status)\.c$/;

/** Compiles a program with the library and the board, unless that is done. Returns the path of the ELF file. */
export function buildPort(
  machine: Machine,
  name: string,
  engine: EngineName = "aot",
  program = PROGRAMS[name],
): string {
  if (program === undefined)
    throw new Error(`no program ${name}; there are ${Object.keys(PROGRAMS).join(", ")}`);
  const { prefix, flags, flash, ram } = TOOLS[machine];
  const library = assembleFirmware();
  const folders = [join(library, "include"), join(library, "src"), PORTS, join(PORTS, "qemu")];
  const board = [join(PORTS, "qemu", "board.c"), join(PORTS, "qemu", `${machine}.c`)];
  const isWanted = (path: string): boolean => program.isCoreOnly !== true || !NOT_CORE.test(path);
  const sources = [
    ...program.sources,
    ...files(join(library, "src"), ".c").filter(isWanted),
    ...files(PORTS, ".c"),
    ...board,
  ];
  const headers = [...folders.flatMap((folder) => files(folder, ".h")), ...(program.headers ?? [])];
  const elf = join(OUT, `${machine}-${name}${engine === "aot" ? "" : `-${engine}`}.elf`);
  if (isNewer(elf, [...sources, ...headers, fileURLToPath(import.meta.url)])) return elf;
  mkdirSync(OUT, { recursive: true });
  const memory = { __ram: ram, __ram_size: AREA, __stack_low: ram + AREA - STACK };
  const places = { __flash: flash, __flash_size: AREA, ...memory };
  const part = `${elf}.${process.pid}.part`;
  execFileSync(
    `${prefix}gcc`,
    [
      ...flags,
      ...["--specs=picolibc.specs", "--crt0=hosted", "-std=gnu99", "-Os", "-g"],
      ...["-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror"],

      ...folders.map((folder) => `-I${folder}`),
      ...(engine === "aot" ? [] : interpreter(program, engine)),
      ...Object.entries(places).map(([symbol, value]) => `-Wl,--defsym=${symbol}=0x${value.toString(16)}`),
      ...program.flags,
      ...["-o", part],
      ...sources,
    ],
    { stdio: ["ignore", "inherit", "pipe"] },
  );
  renameSync(part, elf);
  return elf;
}

/** Flags for the interpreter, whose sources are brought, and the module as an array. */
function interpreter(program: Program, engine: EngineName): string[] {
  const build = engine === "wasm3-hosted" ? "device-ascon-hosted" : moduleFor(program.flags);
  const folder = join(OUT, build);
  const header = join(folder, "amp_module.h");
  const part = `${header}.${process.pid}.part`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(part, formatModule(build, readModule(build)));
  renameSync(part, header);
  return ["-DAMP_WASM3", ...(MODES[engine] ?? []), `-I${folder}`, "-isystem", wasm3Source()];
}

/** Bytes of code and constants, initialised data, and zeroed data. */
export function sizeOf(machine: Machine, elf: string): { text: number; data: number; bss: number } {
  const out = execFileSync(`${TOOLS[machine].prefix}size`, [elf], { encoding: "utf8" });
  const [text = 0, data = 0, bss = 0] = (out.split("\n")[1] ?? "").trim().split(/\s+/).map(Number);
  return { text, data, bss };
}

function files(dir: string, ending: string): string[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(dir, name));
}

function isNewer(path: string, inputs: string[]): boolean {
  if (!existsSync(path)) return false;
  const { mtimeMs } = statSync(path);
  return inputs.every((input) => statSync(input).mtimeMs < mtimeMs);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quiet: { type: "boolean", default: false },
      engine: { type: "string", default: "aot" },
    },
  });
  const engine = ENGINES.find((name) => name === values.engine) ?? "aot";
  for (const name of positionals.length === 0 ? Object.keys(PROGRAMS) : positionals) {
    for (const machine of ["m3", "rv32"] as const) {
      const elf = buildPort(machine, name, engine);
      const { text, data, bss } = sizeOf(machine, elf);
      if (!values.quiet) console.log(`ports: ${elf}: ${text} bytes of code, ${data + bss} of memory`);
    }
  }
}
