// Planted leaks: each function lets a secret decide what it must not, and each check must find those it can
// see. One function leaks nothing.

export type Check = "labels" | "walk" | "sanitizer" | "trace";

export interface Leak {
  name: string;
  /** What `forbiddenOf` calls it; none: it does not leak. */
  what: string | null;
  foundBy: Check[];
  /** Body of a function of len (8), with KEY: 16 secret bytes, GIVEN: 16 public ones, AREA: 1024 bytes. */
  body: string;
}

const ALL: Check[] = ["labels", "walk", "sanitizer", "trace"];
const BY_LABELS: Check[] = ["labels", "walk"];

export const LEAKS: Leak[] = [
  {
    name: "compare_all_bytes",
    what: null,
    foundBy: [],
    body: `let sum: u32 = 0;
      for (let i = 0; i < len; ++i) sum |= load<u8>(KEY + i) ^ load<u8>(GIVEN + i);
      store<u32>(AREA, (sum - 1) >> 31);`,
  },
  {
    name: "compare_up_to_the_first_difference",
    what: "branch",
    foundBy: ALL,
    body: `for (let i = 0; i < len; ++i) if (load<u8>(KEY + i) != load<u8>(GIVEN + i)) return 1;`,
  },
  {
    name: "look_up_by_a_byte_of_the_key",
    what: "load address",
    foundBy: ALL,
    body: `store<u8>(GIVEN, load<u8>(AREA + <usize>load<u8>(KEY)));`,
  },
  {
    name: "store_at_a_place_the_key_names",
    what: "store address",
    foundBy: ALL,
    body: `store<u8>(AREA + <usize>load<u8>(KEY), 1);`,
  },
  {
    name: "run_as_long_as_the_key_says",
    what: "branch",
    foundBy: ALL,
    body: `for (let i = <i32>load<u8>(KEY); i; --i) store<u8>(AREA, load<u8>(AREA) + 3);`,
  },
  {
    name: "wipe_as_much_as_the_key_says",
    what: "filled range",
    foundBy: ALL,
    body: `memory.fill(AREA, 1, load<u8>(KEY));`,
  },
  {
    name: "select_by_a_bit_of_the_key",
    what: "select",
    foundBy: ALL,
    body: `const a = load<u32>(GIVEN), b = load<u32>(GIVEN, 4);
      store<u32>(AREA, load<u8>(KEY) & 1 ? a : b);`,
  },
  {
    name: "divide_by_the_key",
    what: "division",
    // One instruction on a Cortex-M3, whose time depends on the numbers; a zero would trap, and that is a branch.
    foundBy: ["labels", "walk", "sanitizer"],
    body: `store<u32>(AREA, load<u32>(GIVEN) / (load<u32>(KEY) | 1));`,
  },
  {
    name: "shift_by_the_key",
    what: "shift amount",
    foundBy: BY_LABELS,
    body: `store<u32>(AREA, load<u32>(GIVEN) << (load<u8>(KEY) & 31));`,
  },
  {
    name: "order_by_64_bits_of_the_key",
    what: "order of 64 bits",
    // A Cortex-M3 has no instruction for it: the compiler makes a branch.
    foundBy: ["labels", "walk", "trace"],
    body: `store<u32>(AREA, u32(load<u64>(KEY) < load<u64>(GIVEN)));`,
  },
  {
    name: "multiply_by_64_bits_of_the_key",
    what: "product",
    foundBy: BY_LABELS,
    body: `store<u64>(AREA, load<u64>(GIVEN) * load<u64>(KEY));`,
  },
  {
    name: "count_zeros_of_the_key",
    what: "count of bits",
    foundBy: ["labels", "walk", "sanitizer"],
    body: `store<u32>(AREA, clz(load<u32>(KEY)));`,
  },
  {
    name: "branch_where_no_test_goes",
    what: "branch",
    foundBy: ["walk"],
    body: `if (len != 1000) return 0;
      for (let i = 0; i < len; ++i) if (load<u8>(KEY + i)) store<u8>(AREA + i, 1);`,
  },
];

/** Refuses by one comparison: without one of its instructions it accepts. Not one of the leaks. */
export const ONE_COMPARISON = "refuse_by_one_comparison";

/** All of them as one module for the compiler. */
export const SOURCE = `
  const KEY = memory.data(16, 16);
  const GIVEN = memory.data(16, 16);
  const AREA = memory.data(1024, 16);
  export function keyPtr(): i32 { return KEY as i32; }
  export function givenPtr(): i32 { return GIVEN as i32; }
  export function ${ONE_COMPARISON}(len: i32): i32 {
    let sum: u32 = 0;
    for (let i = 0; i < len; ++i) sum |= load<u8>(KEY + i) ^ load<u8>(GIVEN + i);
    return sum ? 16 : 0;
  }
  ${LEAKS.map(({ name, body }) => `export function ${name}(len: i32): i32 {\n${body}\nreturn 0; }`).join("\n")}
`;
