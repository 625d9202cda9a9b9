// Makes and drops instances, twice as many as it is told, and prints how much memory the process has beside V8's heap before,
// half way and after, in bytes. Run with --expose-gc, in a process of its own: others' garbage would be measured, too.
//
//   node --expose-gc test/wasm3/instances.ts <count>

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { loadWasm3, type Wasm3 } from "../../host/wasm3/index.ts";

const DEVICE = readFileSync(join(import.meta.dirname, "..", "..", "build", "ampoule-device.wasm"));
const WARM_UP = 3000;
const wasm3 = load();

function load(): Wasm3 {
  const { wasm3, reason } = loadWasm3();
  if (wasm3 === null) throw reason;
  return wasm3;
}

function make(): void {
  const { exports, memory } = wasm3.instantiate(DEVICE, { memoryLimit: 8192, stackSize: 16_384 });
  memory[8191] = 1;
  exports.init?.(0, 0);
}

/** Its data does not fit. */
function fail(): boolean {
  try {
    wasm3.instantiate(DEVICE, { memoryLimit: 4096 });
    return false;
  } catch {
    return true;
  }
}

/** Finalizers run between turns of the event loop. */
async function collect(): Promise<void> {
  globalThis.gc?.();
  await turn();
}

/** Collected often: how much waits for the collector at a time would be left in malloc's hands, and measured. */
async function round(count: number) {
  for (let i = 0; i < count; ++i) {
    make();
    if (!fail()) throw new Error("a module fits where it cannot");
    if (i % 200 === 0) await collect();
  }
  for (let i = 0; i < 10; ++i) await collect();
  const { rss, heapTotal, external } = process.memoryUsage();
  return { rss: rss - heapTotal, external };
}

const count = Number(process.argv[2]);
console.log(JSON.stringify([await round(WARM_UP), await round(count), await round(count)]));
