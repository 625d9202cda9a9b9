// What a call costs on a microcontroller, counted again: instructions executed by an emulated machine are exact, so a
// change of one is seen. Each compiler version has counts of its own.
//
//   npm run bench:mcu -- --budgets     after a change that is meant: writes test/mcu/budgets.json

import assert from "node:assert/strict";
import { test } from "node:test";
import { budgeted, readBudgets } from "../../bench/mcu/budgets.ts";
import { CORTEX_M3, compilerVersion, NEEDS } from "../../bench/mcu/machine.ts";
import { AOT_O2, BARE, DEVICES, INTERPRETED, keyOf, runBare, runDevice } from "../../bench/mcu/plan.ts";
import { Wasm3Error, wasm3Source } from "../../host/wasm3/source.ts";
import { need } from "../support/need.ts";

const budgets = readBudgets();

/** As need(), for C sources and for a compiler that counts are known of. */
function needs(machine: typeof CORTEX_M3, interpreted: boolean): { skip: string | false } {
  const tools = need("cc", ...NEEDS);
  if (tools.skip !== false) return tools;
  let reason: string | false = false;
  const version = compilerVersion(machine);
  if (budgets[version] === undefined) {
    reason = `no counts of ${version}: npm run bench:mcu -- --budgets makes them`;
  } else if (interpreted) {
    try {
      wasm3Source();
    } catch (error) {
      if (!(error instanceof Wasm3Error)) throw error;
      reason = `${error.message}; ${error.hint}`;
    }
  }
  if (reason !== false && process.env.CI === "true")
    throw new Error(`may not be skipped under CI: ${reason}`);
  return { skip: reason };
}

for (const { machine, one, counts, exact } of budgeted) {
  const what = exact ? "takes exactly what it did" : "takes no more than it did";
  test(
    `${machine.name}, ${one.way.name}, ${one.module}: ${what}`,
    needs(machine, one.way === INTERPRETED),
    async (context) => {
      const device = DEVICES.find((other) => other === one);
      const bare = BARE.find((other) => other === one);
      const found = new Map<string, number>(
        device !== undefined
          ? (await runDevice(machine, device)).counts
          : Object.entries(await runBare(machine, bare ?? one)).filter(
              (entry): entry is [string, number] => typeof entry[1] === "number",
            ),
      );
      for (const count of counts) {
        const [key, executed] = [keyOf(machine, one, count), found.get(count) ?? Number.NaN];
        const budget = budgets[compilerVersion(machine)]?.[key];
        assert.ok(budget !== undefined, `no budget for ${key}`);
        context.diagnostic(`${count}: ${executed} instructions, budget ${budget}`);
        if (exact) assert.equal(executed, budget, key);
        else assert.ok(executed <= budget, `${key}: ${executed}, budget ${budget}`);
      }
    },
  );
}

/** What was aimed at on the Cortex-M3, for 1024 bytes: instructions per byte, and bytes of flash for both directions. */
const TARGETS = [
  { name: "small profile, compiled", way: AOT_O2, module: "bare-ascon", perByte: 62, flash: 1945 },
  { name: "compiled profile", way: AOT_O2, module: "bare-ascon-compiled", perByte: 50, flash: undefined },
  {
    name: "interpreted profile in wasm3",
    way: INTERPRETED,
    module: "bare-ascon-interpreted",
    perByte: 580,
    flash: undefined,
  },
  {
    name: "Ascon-p in C beside wasm3",
    way: INTERPRETED,
    module: "bare-ascon-hosted",
    perByte: 161,
    flash: undefined,
  },
];

for (const { name, way, module, perByte, flash } of TARGETS) {
  test(
    `Cortex-M3, ${name}: at most ${perByte} instructions per byte`,
    needs(CORTEX_M3, way === INTERPRETED),
    async (context) => {
      const result = await runBare(CORTEX_M3, { way, module });
      const most = Math.max(result.seal1024, result.open1024) / 1024;
      context.diagnostic(`${most.toFixed(1)} instructions per byte, ${result.flash.module} bytes of flash`);
      assert.ok(most <= perByte, `${most} instructions per byte`);
      if (flash !== undefined)
        assert.ok(result.flash.module <= flash, `${result.flash.module} bytes of flash`);
    },
  );
}
