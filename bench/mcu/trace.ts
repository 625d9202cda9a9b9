// What a device did, call by call, so that a machine without a host can do it again: bytes that were written to
// memory, arguments, results, and what was in the frame buffer afterwards.

import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import { v8Engine } from "../../host/core/wasm.ts";
import { hostedEngine } from "../../test/support/hosted.ts";
import { stage, TOPIC } from "../rig.ts";
import { readModule } from "./modules.ts";

const FRAME_MAX = 1024;
const OVERHEAD = 24;

export const FRAME_SIZES = [32, 64, 256];

interface Call {
  name: string;
  args: number[];
  /** What the host had changed in memory before. */
  writes: { at: number; bytes: Uint8Array }[];
  result: number;
  /** Of the frame buffer after the call. */
  sum: number;
}

export interface Trace {
  /** Exports in the order of their numbers, each with its count of arguments. */
  exports: { name: string; arguments: number }[];
  /** Which calls of the trace measure what, by name. */
  marks: Map<string, number>;
  calls: Call[];
}

/** Sum of the bytes that replay.c computes too. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
  return sum >>> 0;
}

/** An engine whose devices write down what is done with them. */
class Recorder implements Engine {
  readonly name = "recorder";
  readonly calls: Call[] = [];
  readonly #hosts = v8Engine();
  readonly #engine: Engine;
  /** One for all devices: init() begins each anew, as on a machine. */
  #instance: Instance | undefined;

  constructor(module: string) {
    const { wasm, isHosted } = readModule(module);
    this.#engine = isHosted ? hostedEngine(wasm) : v8Engine({ device: wasm });
  }

  instantiate(build: Build): Instance {
    if (build !== "device") return this.#hosts.instantiate(build);
    this.#instance ??= this.#record(this.#engine.instantiate(build));
    return this.#instance;
  }

  #record(instance: Instance): Instance {
    const { memory } = instance;
    const frame = instance.calls.buffers?.() as number;
    // Nothing has happened yet: the machine's memory is as the module brings it.
    const before = memory.slice();
    const calls: Instance["calls"] = {};
    for (const [name, call] of Object.entries(instance.calls)) {
      calls[name] = (...args) => {
        const writes = changes(before, memory);
        const result = call(...args);
        before.set(memory);
        const sum = checksum(memory.subarray(frame, frame + FRAME_MAX));
        this.calls.push({ name, args, writes, result, sum });
        return result;
      };
    }
    return { calls, memory };
  }
}

const BLOCK = 32;

function changes(before: Uint8Array, now: Uint8Array): Call["writes"] {
  const found: Call["writes"] = [];
  for (let at = 0; at < now.length; at += BLOCK) {
    const bytes = now.subarray(at, at + BLOCK);
    if (Buffer.compare(bytes, before.subarray(at, at + BLOCK)) === 0) continue;
    const last = found.at(-1);
    if (last !== undefined && last.at + last.bytes.length === at) {
      last.bytes = Buffer.concat([last.bytes, bytes]);
    } else found.push({ at, bytes: bytes.slice() });
  }
  return found;
}

/**
 * Devices of every suite and frame size: each gets its keys, seals a few messages, opens a few and takes a beacon.
 *
 * @param module target of a device's module
 * @param suites that it has
 */
export function record(module: string, suites: readonly number[]): Trace {
  const recorder = new Recorder(module);
  const { calls } = recorder;
  const marks = new Map<string, number>();
  const markLast = (label: string, name: string): void => {
    marks.set(
      label,
      calls.findLastIndex((call) => call.name === name),
    );
  };
  for (const suite of suites) {
    for (const size of FRAME_SIZES) {
      const text = Uint8Array.from({ length: size - OVERHEAD }, (_, i) => 0x20 + i);
      const { channel, join, beacon } = stage(suite, size, recorder, "device");
      const label = `suite ${suite} F ${size}`;
      const writer = join(1);
      const frames = [0, 1, 2].map(() => writer.protect(channel, TOPIC, text)[0] as Uint8Array);
      markLast(`seal ${label}`, "protect");
      const reader = join(2);
      for (const frame of frames) reader.unprotect(channel, TOPIC, frame);
      markLast(`open ${label}`, "unprotect");
      reader.beacon(channel, beacon(1));
      markLast(`beacon ${label}`, "beacon");
    }
  }
  const names = [...new Set(calls.map(({ name }) => name))];
  const exports = names.map((name) => ({
    name,
    arguments: calls.find((call) => call.name === name)?.args.length ?? 0,
  }));
  return { exports, marks, calls };
}

/** The calls as replay.c reads them. */
export function encode({ exports, calls }: Trace): Buffer {
  const parts: Buffer[] = [];
  const u8 = (value: number): void => void parts.push(Buffer.of(value));
  const u16 = (value: number): void => void parts.push(Buffer.of(value & 255, value >> 8));
  const u32 = (value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value | 0);
    parts.push(bytes);
  };
  for (const { name, args, writes, result, sum } of calls) {
    u8(exports.findIndex((one) => one.name === name));
    u8(writes.length);
    for (const { at, bytes } of writes) {
      u16(at);
      u16(bytes.length);
      parts.push(Buffer.from(bytes));
    }
    u8(args.length);
    for (const value of args) u32(value);
    u32(result);
    u32(sum);
  }
  return Buffer.concat(parts);
}
