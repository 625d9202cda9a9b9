import { absorb, cxof128Init, endAbsorb, squeeze } from "../ascon";
import { state as ascon } from "../ascon-p";
import { A1_CHAN, A1_ROOT, A1_TREE, derive, hashLabel } from "../kdf";
import { STATE_SIZE, state as xoodoo } from "../xoodoo";
import * as xoodyak from "../xoodyak";

const KEY = memory.data(24, 8);
const CONTEXT = memory.data(40, 8);
const OUT = memory.data(72, 8);
const OUT2 = memory.data(72, 8);
const LABEL = memory.data(8, 8);

function prepare(): void {
  for (let i = 0; i < 16; ++i) store<u8>(KEY + i, i);
  for (let i = 0; i < 33; ++i) store<u8>(CONTEXT + i, 0x30 + i);
  memory.fill(OUT, 0xee, 72);
  memory.fill(OUT2, 0xee, 72);
}

/** Whether nothing is left in the states. */
function isWiped(): bool {
  let bits: u64 = ascon.S0 | ascon.S1 | ascon.S2 | ascon.S3 | ascon.S4;
  for (let i = 0; i < STATE_SIZE; ++i) bits |= load<u8>(xoodoo + i);
  return bits == 0;
}

describe("kdf", () => {
  it("spells its labels", () => {
    store<u64>(LABEL, A1_ROOT);
    const text = String.UTF8.decodeUnsafe(LABEL, 7);
    expect(text).toBe("A1-root");
    expect(load<u8>(LABEL + 7)).toBe(0);
  });

  it("derives by Ascon-CXOF128 of key || context in suites 0 and 1 [S-6]", () => {
    store<u64>(LABEL, A1_TREE);
    for (let len = 0; len <= 33; ++len) {
      prepare();
      cxof128Init(LABEL, 7);
      absorb(KEY, 16);
      absorb(CONTEXT, len);
      endAbsorb();
      squeeze(OUT, 2 * len);
      for (let suite = 0; suite < 2; ++suite) {
        derive(suite, KEY, A1_TREE, CONTEXT, len, OUT2, 2 * len);
        expect(memory.compare(OUT, OUT2, 72)).toBe(0);
        expect(isWiped()).toBe(true);
      }
    }
  });

  it("derives by three Absorb calls in suites 2 and 3 [S-6]", () => {
    store<u64>(LABEL, A1_TREE);
    for (let len = 0; len <= 33; ++len) {
      prepare();
      xoodyak.hashInit();
      xoodyak.absorbBegin();
      xoodyak.absorb(LABEL, 7);
      xoodyak.absorbEnd();
      xoodyak.absorbBegin();
      xoodyak.absorb(KEY, 16);
      xoodyak.absorbEnd();
      xoodyak.absorbBegin();
      xoodyak.absorb(CONTEXT, len);
      xoodyak.absorbEnd();
      xoodyak.squeeze(OUT, 2 * len);
      for (let suite = 2; suite < 4; ++suite) {
        derive(suite, KEY, A1_TREE, CONTEXT, len, OUT2, 2 * len);
        expect(memory.compare(OUT, OUT2, 72)).toBe(0);
        expect(isWiped()).toBe(true);
      }
    }
  });

  it("may write over its key or its context", () => {
    for (let suite = 0; suite < 4; ++suite) {
      prepare();
      derive(suite, KEY, A1_TREE, CONTEXT, 25, OUT, 16);
      memory.copy(OUT2, CONTEXT, 33);
      derive(suite, KEY, A1_TREE, CONTEXT, 25, CONTEXT, 16);
      expect(memory.compare(OUT, CONTEXT, 16)).toBe(0);
      memory.copy(CONTEXT, OUT2, 33);
      derive(suite, KEY, A1_TREE, CONTEXT, 25, KEY, 16);
      expect(memory.compare(OUT, KEY, 16)).toBe(0);
    }
  });

  it("hashes a || b wherever it is cut [S-8]", () => {
    prepare();
    hashLabel(A1_CHAN, CONTEXT, 33, 0, 0, OUT, 64);
    for (let cut = 0; cut <= 33; ++cut) {
      hashLabel(A1_CHAN, CONTEXT, cut, CONTEXT + cut, 33 - cut, OUT2, 64);
      expect(memory.compare(OUT, OUT2, 64)).toBe(0);
      expect(isWiped()).toBe(true);
    }
  });

  it("gives every label and suite family its own output", () => {
    prepare();
    derive(0, KEY, A1_ROOT, CONTEXT, 22, OUT, 16);
    derive(0, KEY, A1_TREE, CONTEXT, 22, OUT2, 16);
    expect(memory.compare(OUT, OUT2, 16)).not.toBe(0);
    derive(2, KEY, A1_ROOT, CONTEXT, 22, OUT2, 16);
    expect(memory.compare(OUT, OUT2, 16)).not.toBe(0);
  });
});
