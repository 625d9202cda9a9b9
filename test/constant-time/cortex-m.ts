// A module compiled for a Cortex-M3 and an emulator that plays transcripts over it (cortex-m.c).

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

export interface Call {
  /** Number of the call in its transcript, and its result. */
  call: number;
  result: number;
  instructions: number;
  /** Of every address, of code and of data. */
  hash: string;
}

export interface Skips {
  instructions: number;
  accepted: number;
  leaked: number;
  refused: number;
  trapped: number;
  crashed: number;
  endless: number;
  unlike: number;
  /** Function and address of each skip that was accepted or leaked. */
  where: string[];
}

export class CortexM {
  private readonly emulator: string;
  private readonly args: string[];
  private readonly symbols: [number, string][];

  /** @param optimize as for the compiler, `-Os` */
  constructor(root: string, wasm: Uint8Array<ArrayBuffer>, optimize: string, memorySize?: number) {
    const dir = mkdtempSync(join(root, "m-"));
    writeModule(dir, wasm, [], memorySize);
    writeFileSync(join(dir, "image.c"), IMAGE);
    const image = join(dir, "image.elf");
    const sources = [join(dir, "module.c"), join(dir, "image.c")];
    cc("arm-none-eabi-gcc", [
      ...["-mcpu=cortex-m3", "-mthumb", optimize, "-std=c99", "-w", "-I", RUNTIME, "-I", dir],
      ...["--specs=nano.specs", "-nostartfiles", "-Wl,--entry=amp_core_instantiate"],
      ...[`-Wl,-Ttext=${hex(TEXT_AT)}`, `-Wl,-Tbss=${hex(RAM_AT)}`, ...sources, "-o", image],
    ]);
    const flat = join(dir, "image.bin");
    cc("arm-none-eabi-objcopy", ["-O", "binary", "-R", ".ARM.exidx", image, flat]);
    this.emulator = join(root, "cortex-m");
    cc("cc", [
      "-O2",
      "-Wall",
      "-Wextra",
      "-Werror",
      join(import.meta.dirname, "cortex-m.c"),
      "-lunicorn",
      "-o",
      this.emulator,
    ]);
    const listing = execFileSync("arm-none-eabi-nm", [image], { encoding: "utf8" });
    this.symbols = [...listing.matchAll(/^([0-9a-f]+) [tTbBrR] (\w+)$/gm)]
      .map(([, at = "", name = ""]): [number, string] => [Number.parseInt(at, 16), name])
      .sort(([a], [b]) => a - b);
    // An export that only gives a constant is no function of the image: 0.
    const functions = signaturesOf(decode(wasm)).map(({ name }) => this.find(`amp_core_${name}`) ?? 0);
    const places = ["core", "amp_core_instantiate", "amp_trap"].map((name) => this.find(name));
    const memory = readFileSync(flat).readUInt32LE((this.find("ct_memory") ?? 0) - TEXT_AT);
    this.args = [flat, TEXT_AT, memory, ...places, ...functions].map(String);
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
      maxBuffer: 2 ** 26,
    });
    if (status !== 0) throw new Error(`cortex-m: ${status} ${stderr}`);
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
   * @param at where of the linear memory no 8 bytes of `text` may be left
   */
  skip(lines: string[], at: { at: number; size: number }, text: string, stride = 1): Skips {
    const out = this.run([...lines.slice(0, -1), `k ${at.at} ${at.size} ${stride} ${text}`]);
    const numbers = (out.at(-1) ?? "").split(" ").slice(1).map(Number);
    const [instructions, accepted, leaked, refused, trapped, crashed, endless, unlike] = numbers as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const where = out
      .filter((line) => line.startsWith("a "))
      .map((line) => {
        const [, place, number, result] = line.split(" ");
        return `${this.inside(Number(place))}, instruction ${number}: ${result}`;
      });
    return { instructions, accepted, leaked, refused, trapped, crashed, endless, unlike, where };
  }
}
