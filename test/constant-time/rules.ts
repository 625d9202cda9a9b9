// What a secret may not decide, and how much of that each label stands for.

import { type Func, type Instruction, loadOf, OP, storeOf } from "./wasm.ts";

/** Labels of a value: bits. */
export const SECRET = 1;
/** The lock of a channel: that it is there, eight bytes that are not all zero, may decide a branch. */
export const LOCK = 2;

export interface Forbidden {
  /** Which operand, counted from the top of the stack. */
  operand: number;
  labels: number;
  what: string;
}

const ANY = SECRET | LOCK;
const within = (op: number, first: number, last: number): boolean => op >= first && op <= last;

/**
 * Operands that no secret may reach. Beside branches and addresses: `select`, which interpreters and
 * compilers turn into a branch; division, whose time depends on the numbers; comparisons of order, products
 * and counts of zeros in 64 bits or by library calls on 32-bit machines; shifts by a secret amount.
 */
export function forbiddenOf({ op }: Instruction): Forbidden[] {
  if (op === OP.if || op === OP.brIf) return [{ operand: 0, labels: SECRET, what: "branch" }];
  if (op === OP.brTable) return [{ operand: 0, labels: ANY, what: "branch" }];
  if (op === OP.select) return [{ operand: 0, labels: ANY, what: "select" }];
  if (loadOf(op) !== undefined) return [{ operand: 0, labels: ANY, what: "load address" }];
  if (storeOf(op) !== undefined) return [{ operand: 1, labels: ANY, what: "store address" }];
  if (op === OP.memoryCopy) return both("copied range", [0, 1, 2]);
  if (op === OP.memoryFill) return both("filled range", [0, 2]);
  if (op === OP.memoryGrow) return both("memory size", [0]);
  if (within(op, 0x6d, 0x70) || within(op, 0x7f, 0x82)) return both("division", [0, 1]);
  if (within(op, 0x53, 0x5a)) return both("order of 64 bits", [0, 1]);
  if (within(op, 0x74, 0x78) || within(op, 0x86, 0x8a)) return both("shift amount", [0]);
  if (op === 0x6c || op === 0x7e) return both("product", [0, 1]);
  if (within(op, 0x67, 0x69) || within(op, 0x79, 0x7b)) return both("count of bits", [0]);
  return [];
}

function both(what: string, operands: number[]): Forbidden[] {
  return operands.map((operand) => ({ operand, labels: ANY, what }));
}

export interface Finding {
  where: string;
  what: string;
}

export function findingAt(func: Func, instruction: Instruction, what: string): Finding {
  return { where: `function ${func.name} at 0x${instruction.at.toString(16)}`, what };
}
