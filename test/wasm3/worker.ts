// A thread that counts, and ends with instances in use.

import { parentPort, workerData } from "node:worker_threads";
import { loadWasm3 } from "../../host/wasm3/index.ts";

const { bytes, turns } = workerData as { bytes: Uint8Array; turns: number };
const { wasm3, reason } = loadWasm3({ counting: true });
if (wasm3 === null) throw reason;
const kept = Array.from({ length: 50 }, () => wasm3.instantiate(bytes));
for (const { exports } of kept) exports.loop?.(turns);
parentPort?.postMessage([...new Set(kept.map(({ operations }) => operations()))]);
