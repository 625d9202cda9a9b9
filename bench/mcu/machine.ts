// The two emulated machines: compiling for them, running on them, counting what was executed.

import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, "..", "..");
export const GUEST = join(import.meta.dirname, "guest");
/** Objects are kept: what is in a folder here follows from the folder's name. */
const CACHE = join(ROOT, "build", "mcu");

const RUN_TIMEOUT_MS = 60_000;

export interface Machine {
  readonly name: "Cortex-M3" | "RV32IMAC";
  readonly compiler: string;
  readonly size: string;
  readonly emulator: readonly string[];
  readonly flags: readonly string[];
  /** What makes a compiled module small and not slow, and the interpreter fast: found by trying. */
  readonly small: string;
  readonly interpreter: string;
  /** Where the two memories begin. */
  readonly flash: number;
  readonly ram: number;
}

export const CORTEX_M3: Machine = {
  name: "Cortex-M3",
  compiler: "arm-none-eabi-gcc",
  size: "arm-none-eabi-size",
  emulator: ["qemu-system-arm", "-machine", "mps2-an385", "-semihosting"],
  flags: ["-mcpu=cortex-m3", "-mthumb"],
  small: "-Os -fschedule-insns",
  interpreter: "-Os -fno-split-wide-types",
  flash: 0,
  ram: 0x20000000,
};

export const RV32IMAC: Machine = {
  name: "RV32IMAC",
  compiler: "riscv64-unknown-elf-gcc",
  size: "riscv64-unknown-elf-size",
  emulator: ["qemu-system-riscv32", "-machine", "virt", "-bios", "none"],
  flags: ["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32", "-msmall-data-limit=0"],
  small: "-Os",
  interpreter: "-O2",
  flash: 0x80000000,
  ram: 0x80200000,
};

export const MACHINES: readonly Machine[] = [CORTEX_M3, RV32IMAC];

/** Everything that runs on them needs these. */
export const NEEDS = MACHINES.flatMap(({ compiler, emulator }) => [compiler, emulator[0] as string]);

/** For what is our own. */
export const STRICT: readonly string[] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"];

export class BenchError extends Error {}

/** The compiler's own word for its version: instruction counts hold for one version alone. */
export function compilerVersion(machine: Machine): string {
  const [line = ""] = execFileSync(machine.compiler, ["--version"], { encoding: "utf8" }).split("\n");
  return line;
}

export interface Source {
  /** Path, or undefined when text is given. */
  file: string;
  /** Name of the object; by it the linker script knows what belongs to whom. */
  object: string;
  flags: readonly string[];
  /** Further files the result depends on, beside those in the guest folder. */
  headers?: readonly string[];
}

const sha256 = (...parts: (string | Uint8Array)[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
};

const versions = new Map<string, string>();
let guestHeaders: string | undefined;

function versionOf(machine: Machine): string {
  const version = versions.get(machine.name) ?? compilerVersion(machine);
  versions.set(machine.name, version);
  return version;
}

/** Returns the path of a file that `make` writes when no run before has. */
async function cached(key: string, name: string, make: (path: string) => Promise<unknown>): Promise<string> {
  const folder = join(CACHE, key.slice(0, 24));
  const path = join(folder, name);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const part = join(folder, `${process.pid}.part.o`);
  await make(part);
  renameSync(part, path);
  return path;
}

async function tool(command: string, args: readonly string[]): Promise<string> {
  try {
    return (await run(command, args, { maxBuffer: 1 << 26 })).stdout;
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new BenchError(`${command}: ${stderr || message}`);
  }
}

export function compile(machine: Machine, { file, object, flags, headers = [] }: Source): Promise<string> {
  guestHeaders ??= sha256(...texts(GUEST, ".h"));
  const all = [...machine.flags, "-ffunction-sections", "-fdata-sections", "-I", GUEST, ...flags];
  const key = sha256(
    versionOf(machine),
    all.join(" "),
    guestHeaders,
    readFileSync(file),
    ...headers.map((path) => readFileSync(path)),
  );
  return cached(key, object, (path) => tool(machine.compiler, [...all, "-c", file, "-o", path]));
}

function texts(folder: string, end: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(end))
    .sort()
    .map((name) => readFileSync(join(folder, name), "utf8"));
}

/** Links the objects with the start of the machine. */
export async function link(machine: Machine, objects: readonly string[]): Promise<string> {
  const start = await compile(machine, {
    file: join(GUEST, "guest.c"),
    object: "guest.o",
    flags: ["-O2", ...STRICT],
  });
  const script = join(GUEST, "layout.ld");
  const key = sha256(versionOf(machine), readFileSync(script), start, ...objects);
  return cached(key, "bench.elf", (path) =>
    tool(machine.compiler, [
      ...machine.flags,
      "-nostartfiles",
      "-Wl,--gc-sections",
      `-Wl,--defsym=FLASH_AT=${machine.flash}`,
      `-Wl,--defsym=RAM_AT=${machine.ram}`,
      "-T",
      script,
      start,
      ...objects,
      "-o",
      path,
    ]),
  );
}

/** Bytes of each section of a program. */
export async function sections(machine: Machine, elf: string): Promise<Map<string, number>> {
  const text = await tool(machine.size, ["-A", elf]);
  return new Map(
    [...text.matchAll(/^(\.\S+)\s+(\d+)/gm)].map(([, name, size]) => [name as string, Number(size)]),
  );
}

export interface Outcome {
  /** Executed instructions of each region, in order. */
  regions: number[];
  /** What the program wrote, without the last line, which was "ok". */
  lines: string[];
}

let plugin: Promise<string> | undefined;

async function counter(): Promise<string> {
  const source = join(import.meta.dirname, "count.c");
  plugin ??= cached(sha256(readFileSync(source)), "count.so", (path) =>
    tool("cc", ["-O2", ...STRICT, "-shared", "-fPIC", "-o", path, source]),
  );
  return plugin;
}

export async function execute(machine: Machine, elf: string): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "ampoule-mcu-"));
  try {
    const [counts, serial] = [join(folder, "counts"), join(folder, "serial")];
    const [command = "", ...args] = machine.emulator;
    const count = await counter();
    await run(
      command,
      [
        ...args,
        ..."-display none -monitor none".split(" "),
        ...["-serial", `file:${serial}`, "-kernel", elf, "-plugin", `${count},out=${counts}`],
      ],
      { timeout: RUN_TIMEOUT_MS },
    );
    const lines = readFileSync(serial, "latin1").trimEnd().split("\n");
    const verdict = lines.pop();
    if (verdict !== "ok")
      throw new BenchError(`${machine.name}, ${basename(elf)}: ${verdict ?? "no output"}`);
    const regions = readFileSync(counts, "latin1").trimEnd().split("\n").map(Number);
    if (regions.some(Number.isNaN)) throw new BenchError(`${machine.name}: a region without an end`);
    return { regions, lines };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Writes a text to the cache, by its own digest. */
export function keep(name: string, text: string): Promise<string> {
  return cached(sha256(text), name, async (path) => writeFileSync(path, text));
}
