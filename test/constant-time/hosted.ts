// A module that leaves its permutation to its host, with a permutation in the place of the import: checks that know no
// imports then see the module whole. Every number of a function stays, as the import was number 0.

import { compile } from "./compile.ts";

/** By itself: no globals, no other function. */
const PERMUTATION = `
  export function ascon_p(state: usize, rounds: i32): void {
    let x0 = load<u64>(state);
    let x1 = load<u64>(state, 8);
    let x2 = load<u64>(state, 16);
    let x3 = load<u64>(state, 24);
    let x4 = load<u64>(state, 32);
    for (let constant = 60 + 15 * rounds; constant != 60; constant -= 15) {
      x2 ^= (<u64>constant) ^ x1;
      x0 ^= x4;
      x4 ^= x3;
      const t3 = x0 & ~x4;
      x0 ^= x2 & ~x1;
      x2 ^= x4 & ~x3;
      x4 ^= x1 & ~x0;
      x1 ^= x3 & ~x2;
      x3 ^= t3;
      x1 ^= x0;
      x3 ^= x2;
      x0 ^= x4;
      x2 = ~x2;
      x1 = rotr(x1, 61) ^ x1 ^ rotr(x1, 39);
      x3 = rotr(x3, 10) ^ x3 ^ rotr(x3, 17);
      x2 = rotr(x2, 1) ^ x2 ^ rotr(x2, 6);
      x0 = rotr(x0, 19) ^ x0 ^ rotr(x0, 28);
      x4 = rotr(x4, 7) ^ x4 ^ rotr(x4, 41);
    }
    store<u64>(state, x0);
    store<u64>(state, x1, 8);
    store<u64>(state, x2, 16);
    store<u64>(state, x3, 24);
    store<u64>(state, x4, 32);
  }
`;
const SECTION = { import: 2, function: 3, code: 10 } as const;

interface Section {
  id: number;
  body: number[];
}

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}

/** The number at a place, and where it ends. */
function number(bytes: ArrayLike<number>, at: number): [value: number, end: number] {
  const byte = bytes[at] as number;
  if (byte < 128) return [byte, at + 1];
  const [high, end] = number(bytes, at + 1);
  return [(byte & 127) + high * 128, end];
}

function split(wasm: Uint8Array): Section[] {
  const sections: Section[] = [];
  for (let at = 8; at < wasm.length; ) {
    const [size, start] = number(wasm, at + 1);
    sections.push({ id: wasm[at] as number, body: [...wasm.subarray(start, start + size)] });
    at = start + size;
  }
  return sections;
}

function bodyOf(sections: Section[], id: number): number[] {
  const found = sections.find((section) => section.id === id);
  if (found === undefined) throw new Error(`no section ${id}`);
  return found.body;
}

/** A list with one more item in front. */
function prepend(list: number[], item: number[]): number[] {
  const [count, start] = number(list, 0);
  return [...leb(count + 1), ...item, ...list.slice(start)];
}

/** The module itself if it imports nothing; it may import ampoule.ascon_p alone. */
export async function filled(wasm: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const [found, ...others] = WebAssembly.Module.imports(new WebAssembly.Module(wasm));
  if (found === undefined) return wasm;
  if (found.name !== "ascon_p" || others.length > 0) throw new Error("other imports than were expected");
  const own = split(await compile("kat", [], PERMUTATION));
  const code = bodyOf(own, SECTION.code);
  const [count, start] = number(code, 0);
  if (count !== 1) throw new Error("the permutation has more than one function");
  const sections = split(wasm);
  const type = bodyOf(sections, SECTION.import).at(-1) as number;
  const whole = sections
    .filter(({ id }) => id !== SECTION.import)
    .map(({ id, body }) => {
      if (id === SECTION.function) return { id, body: prepend(body, [type]) };
      if (id === SECTION.code) return { id, body: prepend(body, code.slice(start)) };
      return { id, body };
    });
  return Uint8Array.from([
    ...wasm.subarray(0, 8),
    ...whole.flatMap(({ id, body }) => [id, ...leb(body.length), ...body]),
  ]);
}
