// Calls of a module as lines that another machine can play: what the host wrote to memory, which bytes are
// secret, the call, and at which of its stores bytes became public.
//
//   i                  a new instance
//   p at hex           bytes the host writes
//   l at size label    labels
//   c call n arg...    a call by its number; then
//   s k at size        after its k-th store to a watched address these bytes are public
//   e result           now make it

import { toHex } from "../../host/bytes.ts";
import type { Recorder, Step } from "./engine.ts";
import type { Module } from "./wasm.ts";

export interface Signature {
  name: string;
  parameters: number;
  hasResult: boolean;
}

/** Exported functions in the order that gives them their numbers. */
export function signaturesOf(module: Module): Signature[] {
  return module.exports
    .filter(({ kind }) => kind === 0)
    .map(({ name, index }) => {
      const type = module.functions[index]?.type;
      return { name, parameters: type?.params.length ?? 0, hasResult: type?.results.length === 1 };
    });
}

export class Transcript implements Recorder {
  readonly lines: string[] = ["i"];
  private readonly memory: Uint8Array;
  private readonly names: string[];
  /** Memory as the last call left it. */
  private left: Buffer;

  constructor(module: Module, memory: Uint8Array) {
    this.memory = memory;
    this.names = signaturesOf(module).map(({ name }) => name);
    this.left = Buffer.from(memory);
  }

  before(step: Step): void {
    this.pokes();
    for (const { at, size, label } of step.labels) if (size > 0) this.lines.push(`l ${at} ${size} ${label}`);
  }

  after(step: Step): void {
    const args = step.args.map((arg) => arg >>> 0);
    this.lines.push(`c ${this.names.indexOf(step.name)} ${args.length} ${args.join(" ")}`);
    step.stores.forEach((ranges, k) => {
      for (const { at, size } of ranges) this.lines.push(`s ${k} ${at} ${size}`);
    });
    this.lines.push(`e ${step.result >>> 0}`);
    this.left = Buffer.from(this.memory);
  }

  private pokes(): void {
    const { memory, left } = this;
    if (left.compare(memory) === 0) return;
    for (let at = 0; at < memory.length; at++) {
      if (memory[at] === left[at]) continue;
      let end = at + 1;
      // Runs that are a few equal bytes apart are one.
      for (let i = end; i < Math.min(end + 8, memory.length); i++) if (memory[i] !== left[i]) end = i + 1;
      this.lines.push(`p ${at} ${toHex(memory.subarray(at, end))}`);
      at = end;
    }
  }
}
