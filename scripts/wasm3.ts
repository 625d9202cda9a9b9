// Brings and compiles wasm3 and the binding to it; it does nothing when both are there.
//
//   node scripts/wasm3.ts

import { loadWasm3 } from "../host/wasm3/index.ts";

for (const counting of [false, true]) {
  const { reason } = loadWasm3({ counting, say: console.log });
  if (reason === null) continue;
  console.error(`wasm3: error ${reason.code}: ${reason.message}\nwasm3: hint: ${reason.hint}`);
  process.exitCode = 1;
  break;
}
