// A module compiled for a microcontroller, and an emulator that plays transcripts over it (emulator.c).

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { need, needHeader } from "../support/need.ts";
import type { Shipped } from "./engine.ts";
import { cc, RUNTIME, writeModule } from "./native.ts";
import { signaturesOf } from "./transcript.ts";
import { decode } from "./wasm.ts";

const TEXT_AT = 0x8000;
const RAM_AT = 0x20000000;

const hex = (at: number): string => `0x${at.toString(16)}`;

const IMAGE = `
#include <stddef.h>
#include "module.h"
amp_core core;
const uint32_t ct_memory = offsetof(amp_core, memory);
void amp_trap(void *instance) { (void)instance; for (;;) {} }
`;

const LINK = `
ENTRY(amp_core_instantiate)
SECTIONS
{
  . = ${hex(TEXT_AT)};
  .text : { *(.text*) *(.rodata*) *(.srodata*) }
  . = ${hex(RAM_AT)};
  .bss (NOLOAD) : { *(.bss*) *(.sbss*) *(COMMON) }
  .data : { *(.data*) *(.sdata*) }
  ASSERT(SIZEOF(.data) == 0, "nothing copies data")
  /DISCARD/ : { *(.ARM.exidx*) *(.eh_frame*) }
}
`;

export type Architecture = "arm" | "rv32";

export interface Target {
  shipped: Shipped;
  architecture: Architecture;
  /** As for the compiler, `-Os`. */
  optimize: string;
}

const CPU: Record<Architecture, string> = { arm: "Cortex-M3", rv32: "RV32IMAC" };

export const titleOf = ({ shipped, architecture, optimize }: Target): string =>
  `${shipped} on ${CPU[architecture]}, ${optimize}`;

export function needsFor(architecture: Architecture): { skip: string | false } {
  const { skip } = need(`${TOOLS[architecture].prefix}gcc`, "cc");
  return skip === false ? needHeader("unicorn/unicorn.h", "libunicorn-dev") : { skip };
}

const TOOLS: Record<Architecture, { prefix: string; flags: string[] }> = {
  arm: { prefix: "arm-none-eabi-", flags: ["--specs=nano.specs", "-mcpu=cortex-m3", "-mthumb"] },
  rv32: {
    prefix: "riscv64-unknown-elf-",
    flags: ["--specs=picolibc.specs", "-march=rv32imac", "-mabi=ilp32", "-msmall-data-limit=0"],
  },
};

export interface Call {
  /** Number of the call in its transcript, and its result. */
  call: number;
  result: number;
  instructions: number;
  /** Of every address, of code and of data. */
  hash: string;
}

/** E ended, T trapped, C crashed, L did not end. */
export type Ending = "E" | "T" | "C" | "L";

export interface Run {
  /** Number and place of the instruction that was skipped. */
  instruction: number;
  where: string;
  ending: Ending;
  result: number;
  leaks: boolean;
  /** Of what was to be hashed. */
  hash: string;
  bytes: string;
  /** Of the call after it; undefined if there was none. */
  next: number | undefined;
  nextBytes: string;
}

export interface Sweep {
  /** The call without a skip. */
  base: Run;
  runs: Run[];
  instructions: number;
}

export class Emulated {
  private readonly emulator: string;
  private readonly args: string[];
  private readonly symbols: [number, string][];

  constructor(
    root: string,
    wasm: Uint8Array<ArrayBuffer>,
    { architecture, optimize }: Pick<Target, "architecture" | "optimize">,
    memorySize?: number,
  ) {
    const dir = mkdtempSync(join(root, "m-"));
    writeModule(dir, wasm, [], memorySize);
    writeFileSync(join(dir, "image.c"), IMAGE);
    writeFileSync(join(dir, "link.ld"), LINK);
    const image = join(dir, "image.elf");
    const { prefix, flags } = TOOLS[architecture];
    cc(`${prefix}gcc`, [
      ...[...flags, ...optimize.split(" "), "-std=c99", "-w", "-I", RUNTIME, "-I", dir],
      ...[
        "-nostartfiles",
        "-Wl,--no-gc-sections",
        "-T",
        join(dir, "link.ld"),
        join(dir, "module.c"),
        join(dir, "image.c"),
      ],
      ...["-o", image],
    ]);
    const flat = join(dir, "image.bin");
    cc(`${prefix}objcopy`, ["-O", "binary", "-j", ".text", image, flat]);
    this.emulator = join(root, "emulator");
    if (!existsSync(this.emulator)) {
      cc("cc", [
        ...["-O2", "-Wall", "-Wextra", "-Werror", join(import.meta.dirname, "emulator.c")],
        ...["-lunicorn", "-o", this.emulator],
      ]);
    }
    const listing = execFileSync(`${prefix}nm`, [image], { encoding: "utf8" });
    this.symbols = [...listing.matchAll(/^([0-9a-f]+) [tTbBrR] (\w+)$/gm)]
      .map(([, at = "", name = ""]): [number, string] => [Number.parseInt(at, 16), name])
      .sort(([a], [b]) => a - b);
    // An export that only gives a constant is no function of the image: 0.
    const functions = signaturesOf(decode(wasm)).map(({ name }) => this.find(`amp_core_${name}`) ?? 0);
    const places = ["core", "amp_core_instantiate", "amp_trap"].map((name) => this.find(name));
    const memory = readFileSync(flat).readUInt32LE((this.find("ct_memory") ?? 0) - TEXT_AT);
    this.args = [architecture, flat, TEXT_AT, memory, ...places, ...functions].map(String);
  }

  private find(name: string): number | undefined {
    return this.symbols.find(([, known]) => known === name)?.[0];
  }

  private inside(at: number): string {
    const name = this.symbols.findLast(([start]) => start <= at)?.[1];
    return `${name} at ${hex(at)}`;
  }

  private run(lines: string[]): string[] {
    const input = `${lines.join("\n")}\n`;
    const { status, stdout, stderr } = spawnSync(this.emulator, this.args, {
      input,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    if (status !== 0) throw new Error(`emulator: ${status} ${stderr}`);
    return stdout.trimEnd().split("\n");
  }

  /** Every call of a transcript. */
  play(lines: string[]): Call[] {
    return this.run(lines).map((line) => {
      const [, call, result, instructions, hash = ""] = line.split(" ");
      return { call: Number(call), result: Number(result), instructions: Number(instructions), hash };
    });
  }

  /**
   * Plays a transcript up to its last call, and skips each `stride`-th instruction of that one.
   *
   * @param telling lines of emulator.c that say what is to be told of each run
   */
  sweep(lines: string[], telling: string[], stride = 1): Sweep {
    const out = this.run([...lines.slice(0, -1), ...telling, `k ${stride}`]);
    const runs = out.filter((line) => /^[br] /.test(line)).map((line) => this.told(line));
    const [instructions, unlike] = (out.at(-1) ?? "").split(" ").slice(1).map(Number);
    if (unlike !== 0) throw new Error(`emulator: ${unlike} calls did not continue as they should`);
    return { base: runs[0] as Run, runs: runs.slice(1), instructions: instructions ?? 0 };
  }

  private told(line: string): Run {
    const [, instruction, at, ending, result, leaks, hash = "", bytes = "", next, nextBytes = ""] =
      line.split(" ");
    return {
      instruction: Number(instruction),
      where: this.inside(Number(at)),
      ending: ending as Ending,
      result: Number(result),
      leaks: leaks === "1",
      hash,
      bytes,
      next: next === "-" ? undefined : Number(next),
      nextBytes,
    };
  }
}
