// Brings wasm3's C sources, for everything that compiles them, and prints their folder.
//
//   node scripts/wasm3-source.ts

import { Wasm3Error, wasm3Source } from "../host/wasm3/source.ts";

export { wasm3Source };

if (import.meta.main) {
  try {
    console.log(wasm3Source(console.error));
  } catch (error) {
    if (!(error instanceof Wasm3Error)) throw error;
    console.error(`wasm3: error ${error.code}: ${error.message}\nwasm3: hint: ${error.hint}`);
    process.exitCode = 1;
  }
}
