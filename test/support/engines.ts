// The engine of a test run: every suite that runs the core takes it by argument.
//
//   node test/core/agree.test.ts --engine wasm3

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test as nodeTest } from "node:test";
import { parseArgs } from "node:util";
import type { Engine } from "../../host/core/engine.ts";
import { type Modules, v8Engine } from "../../host/core/wasm.ts";
import { wasm3Engine } from "../../host/wasm3-engine.ts";

const ENGINES: Record<string, (modules?: Modules) => Engine> = {
  v8: v8Engine,
  wasm3: (modules) => wasm3Engine(modules, modules === undefined ? { memory: memoryInUse() } : {}),
};

/** Not a byte more than the build says that its modules use: every access beyond traps. */
function memoryInUse(): Record<string, number> {
  const sizes: Record<string, { memoryInUse: number }> = JSON.parse(
    readFileSync(join(import.meta.dirname, "..", "..", "build", "sizes.json"), "utf8"),
  );
  const shipped = Object.entries(sizes).filter(([, { memoryInUse }]) => memoryInUse > 0);
  return Object.fromEntries(shipped.map(([build, { memoryInUse }]) => [build, memoryInUse]));
}

const { engine: name } = parseArgs({
  options: { engine: { type: "string", default: "v8" } },
  strict: false,
}).values as { engine: string };

/** The engine under test; `modules` stand in for the shipped ones. */
export function testEngine(modules?: Modules): Engine {
  const make = ENGINES[name];
  if (make === undefined) throw new RangeError(`no engine ${name}; there are ${Object.keys(ENGINES)}`);
  return make(modules);
}

/** node:test's, with the engine in the title where it is not the usual one. */
export const test = ((title: string, ...rest: unknown[]) =>
  (nodeTest as (...args: unknown[]) => unknown)(
    name === "v8" ? title : `${name}, ${title}`,
    ...rest,
  )) as typeof nodeTest;
