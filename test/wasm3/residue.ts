// Has secrets in wasm3 and gets rid of them, step by step, so that the process that started it can look for them
// in its memory. The secrets are made in wasm3 alone: no other byte of this process says them.
//
//   node --expose-gc test/wasm3/residue.ts <module in base64>

import { setImmediate as turn } from "node:timers/promises";
import { loadWasm3 } from "../../host/wasm3/index.ts";

const { wasm3, reason } = loadWasm3();
if (wasm3 === null) throw reason;
const bytes = Buffer.from(process.argv[2] ?? "", "base64");
const first = wasm3.instantiate(bytes);

const steps: Record<string, () => unknown> = {
  "a call works with it": () => first.exports.work?.(3n),
  "a call traps with it": () => {
    try {
      first.exports.fail?.(3n);
    } catch {}
  },
  "a global and memory hold it": () => first.exports.keep?.(3n),
  "the instance is wiped": () => first.wipe(),
  "another instance holds it": () => wasm3.instantiate(bytes).exports.keep?.(3n),
  "that instance is collected": async () => {
    for (let i = 0; i < 10; ++i) {
      globalThis.gc?.();
      await turn();
    }
  },
};

for await (const name of process.stdin.setEncoding("utf8")) {
  await steps[name.trim()]?.();
  console.log(name.trim());
}
