// wasm3 for tests. Where this machine cannot have it, a test is skipped by name; under CI the file fails instead.

import { type LoadOptions, loadWasm3, type Wasm3 } from "../../host/wasm3/index.ts";

/**
 *     const { wasm3, options } = needWasm3();
 *     test("wasm3: ...", options, () => { wasm3().instantiate(bytes) ... });
 */
export function needWasm3(load?: LoadOptions): { wasm3: () => Wasm3; options: { skip: string | false } } {
  const loaded = loadWasm3(load);
  const wasm3 = (): Wasm3 => {
    if (loaded.wasm3 === null) throw loaded.reason;
    return loaded.wasm3;
  };
  if (loaded.reason === null) return { wasm3, options: { skip: false } };
  const reason = `needs wasm3: ${loaded.reason.message}`;
  if (process.env.CI === "true") throw new Error(`may not be skipped under CI: ${reason}`);
  return { wasm3, options: { skip: reason } };
}
