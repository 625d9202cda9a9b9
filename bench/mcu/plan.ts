// What is measured: engines, profiles and compiler flags, and the keys under which counts are kept.

import { checkSealed } from "./expect.ts";
import type { Machine } from "./machine.ts";
import { readModule } from "./modules.ts";
import {
  AOT,
  type Bare,
  type Engine,
  firmware,
  measureBare,
  measureTrace,
  NATIVE,
  type Replayed,
  WASM3,
} from "./programs.ts";
import { record, type Trace } from "./trace.ts";

export interface Way {
  /** As it stands in the tables. */
  name: string;
  engine: Engine;
  level: (machine: Machine) => string;
}

const compiled = (level: string): Way => ({ name: `AOT ${level}`, engine: AOT, level: () => level });

export const C_O2: Way = { name: "C -O2", engine: NATIVE, level: () => "-O2" };
export const AOT_O2 = compiled("-O2");
const AOT_UNSCHEDULED = compiled("-O2 -fno-schedule-insns");
export const AOT_SMALL: Way = { name: "AOT, small", engine: AOT, level: ({ small }) => small };
export const INTERPRETED: Way = { name: "wasm3", engine: WASM3, level: ({ interpreter }) => interpreter };

export interface Case {
  way: Way;
  module: string;
}

/** Calls of the standards alone. */
export const BARE: readonly Case[] = [
  { way: C_O2, module: "bare-ascon" },
  { way: AOT_O2, module: "bare-ascon" },
  { way: AOT_SMALL, module: "bare-ascon" },
  { way: AOT_O2, module: "bare-ascon-compiled" },
  { way: AOT_UNSCHEDULED, module: "bare-ascon-interpreted" },
  { way: INTERPRETED, module: "bare-ascon" },
  { way: INTERPRETED, module: "bare-ascon-interpreted" },
  { way: INTERPRETED, module: "bare-ascon-hosted" },
  { way: AOT_O2, module: "bare-xoodyak" },
  { way: AOT_SMALL, module: "bare-xoodyak" },
  { way: INTERPRETED, module: "bare-xoodyak" },
];

/** A device in each of its builds; suites 2 and 3 are in one alone. */
export const DEVICES: readonly (Case & { suites: readonly number[] })[] = [
  { way: AOT_O2, module: "device", suites: [0, 1, 2, 3] },
  { way: AOT_SMALL, module: "device-ascon", suites: [0, 1] },
  { way: AOT_O2, module: "device-ascon-compiled", suites: [0, 1] },
  { way: INTERPRETED, module: "device", suites: [0, 1, 2, 3] },
  { way: INTERPRETED, module: "device-ascon", suites: [0, 1] },
  { way: INTERPRETED, module: "device-ascon-interpreted", suites: [0, 1] },
  { way: INTERPRETED, module: "device-ascon-hosted", suites: [0, 1] },
];

const HEAPS = [
  { heap: 73_728, isFrugal: false },
  { heap: 36_864, isFrugal: true },
  { heap: 28_672, isFrugal: true },
];

/** The library's own back end, with heaps of several sizes. */
export const LIBRARIES: readonly (Case & { heap: number; isFrugal: boolean })[] = [
  "device-ascon",
  "device-ascon-hosted",
].flatMap((module) =>
  HEAPS.map(({ heap, isFrugal }) => ({
    way: {
      name: `${isFrugal ? "frugal" : "wasm3"}, ${heap / 1024} KB`,
      engine: firmware(heap, isFrugal),
      level: ({ interpreter }: Machine) => interpreter,
    },
    ...{ module, heap, isFrugal },
  })),
);

export function runLibrary(machine: Machine, one: (typeof LIBRARIES)[number]): Promise<Replayed> {
  return runDevice(machine, { ...one, suites: [0, 1] });
}

export const keyOf = (machine: Machine, { way, module }: Case, what: string): string =>
  `${machine.name}, ${way.name}, ${way.engine === NATIVE ? "C" : module}: ${what}`;

export async function runBare(machine: Machine, { way, module }: Case): Promise<Bare> {
  const bare = await measureBare(machine, way.engine, readModule(module), way.level(machine));
  checkSealed(module, bare.sealed);
  return bare;
}

const traces = new Map<string, Trace>();

export function runDevice(machine: Machine, one: (typeof DEVICES)[number]): Promise<Replayed> {
  const { way, module, suites } = one;
  const trace = traces.get(module) ?? record(module, suites);
  traces.set(module, trace);
  return measureTrace(machine, way.engine, readModule(module), way.level(machine), trace);
}
