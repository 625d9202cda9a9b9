// V8 as the host of a module that imports its permutation: that of the slow twin.

import type { Engine, Instance } from "../../host/core/engine.ts";
import { permute } from "../twin/ascon.ts";

/** Words of a state, each as two halves. */
const HALVES = 10;

type Told = (state: number, rounds: number) => void;

/** An engine for one module, whatever build it is asked for; `tell` hears of each permutation. */
export function hostedEngine(wasm: Uint8Array<ArrayBuffer>, tell: Told = () => {}): Engine {
  const module = new WebAssembly.Module(wasm);
  return {
    name: "v8, hosted",
    instantiate(): Instance {
      const ascon_p: Told = (state, rounds) => {
        tell(state, rounds);
        permute(new Int32Array(memory.buffer, state, HALVES), rounds);
      };
      const { exports } = new WebAssembly.Instance(module, { ampoule: { ascon_p } });
      const memory = exports.memory as WebAssembly.Memory;
      const calls = Object.entries(exports).filter(([, value]) => typeof value === "function");
      return { calls: Object.fromEntries(calls) as Instance["calls"], memory: new Uint8Array(memory.buffer) };
    },
  };
}
