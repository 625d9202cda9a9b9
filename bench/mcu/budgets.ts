// The counts that a test holds. They are exact, and true of one version of each compiler alone.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CORTEX_M3, compilerVersion, type Machine, RV32IMAC } from "./machine.ts";
import { AOT_O2, BARE, type Case, DEVICES, INTERPRETED, keyOf } from "./plan.ts";

export const BUDGETS: string = join(import.meta.dirname, "..", "..", "test", "mcu", "budgets.json");

/** Counts by key, for each compiler version they were made with. */
export type Budgets = Record<string, Record<string, number>>;

export const readBudgets = (): Budgets => JSON.parse(readFileSync(BUDGETS, "utf8")) as Budgets;

const BARE_COUNTS = ["seal1024", "open1024", "seal16"];
const DEVICE_COUNTS = ["seal suite 0 F 64", "open suite 0 F 64", "seal suite 1 F 256"];

export interface Budgeted {
  machine: Machine;
  one: Case;
  counts: readonly string[];
  /** Of calls whose rooms are the bench's own a count is exact; of whole devices it is a limit. */
  exact: boolean;
}

function find<One extends Case>(cases: readonly One[], way: Case["way"], module: string): One {
  const found = cases.find((one) => one.way === way && one.module === module);
  if (found === undefined) throw new Error(`the plan has no ${way.name} of ${module}`);
  return found;
}

export const budgeted: readonly Budgeted[] = [
  ...[CORTEX_M3, RV32IMAC].flatMap((machine) => [
    { machine, one: find(BARE, AOT_O2, "bare-ascon"), counts: BARE_COUNTS, exact: true },
    { machine, one: find(BARE, INTERPRETED, "bare-ascon-interpreted"), counts: BARE_COUNTS, exact: true },
    { machine, one: find(BARE, INTERPRETED, "bare-ascon-hosted"), counts: BARE_COUNTS, exact: true },
  ]),
  { machine: CORTEX_M3, one: find(BARE, AOT_O2, "bare-ascon-compiled"), counts: BARE_COUNTS, exact: true },
  { machine: CORTEX_M3, one: find(DEVICES, AOT_O2, "device"), counts: DEVICE_COUNTS, exact: false },
  { machine: CORTEX_M3, one: find(DEVICES, INTERPRETED, "device"), counts: DEVICE_COUNTS, exact: false },
  {
    machine: CORTEX_M3,
    one: find(DEVICES, INTERPRETED, "device-ascon-hosted"),
    counts: DEVICE_COUNTS,
    exact: false,
  },
];

/** Keeps the budgets of other versions. */
export function writeBudgets(counts: Readonly<Record<string, number>>): void {
  const budgets: Budgets = readBudgets();
  const made: Budgets = {};
  for (const { machine, one, counts: whats } of budgeted) {
    const version = compilerVersion(machine);
    made[version] ??= {};
    for (const what of whats) {
      const key = keyOf(machine, one, what);
      (made[version] as Record<string, number>)[key] = counts[key] as number;
    }
  }
  writeFileSync(BUDGETS, `${JSON.stringify({ ...budgets, ...made }, null, 2)}\n`);
}
