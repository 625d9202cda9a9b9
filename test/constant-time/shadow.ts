// Rewrites a module so that every value carries a label beside it and every byte of memory has a shadow.
//
// Each place of the operand stack becomes a local, and a second local holds its label; a second memory
// holds the labels of the first one's bytes; a third one notes which instructions ran and which labels each
// load met. Before an instruction of `forbiddenOf` uses an operand with a forbidden label, it calls
// `finding`. What the module computes stays as it was: the same cases run over it, byte for byte.

import { forbiddenOf } from "./rules.ts";
import {
  type Func,
  I32,
  I64,
  type Instruction,
  loadOf,
  type Module,
  numericOf,
  OP,
  storeOf,
} from "./wasm.ts";

const IMPORTS = 2;
const FINDING = 0;
const STORED = 1;
const VOID_BLOCK = 0x40;
const SHADOW = 1;
const NOTES = 2;

function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
}

function i32Const(value: number): number[] {
  const bytes: number[] = [OP.i32Const];
  for (let rest = value | 0; ; rest >>= 7) {
    const last = rest >> 6 === 0 || rest >> 6 === -1;
    bytes.push((rest & 0x7f) | (last ? 0 : 0x80));
    if (last) return bytes;
  }
}

const text = (name: string): number[] => [...leb(name.length), ...Buffer.from(name)];
const list = (items: number[][]): number[] => [...leb(items.length), ...items.flat()];
const section = (id: number, body: number[] | Uint8Array): number[] => [id, ...leb(body.length), ...body];
/** A memory argument: bit 6 of the alignment says that an index of a memory follows. */
const memarg = (memory: number, offset: number): number[] => [0x40, ...leb(memory), ...leb(offset)];
const get = (local: number): number[] => [OP.localGet, ...leb(local)];
const set = (local: number): number[] => [OP.localSet, ...leb(local)];

/**
 * @param watched addresses: a store there calls `stored(index)` afterwards
 * @returns a module that imports env.finding(site, operand, label) and env.stored(index) and exports, beside
 *   the functions of the original, memory, shadow and notes: at site 1 once it ran, at sites + site the
 *   labels its loads met
 */
export function shadowed(module: Module, watched: readonly number[]): Uint8Array<ArrayBuffer> {
  const types = module.functions.map(({ type: { params, results } }) => [
    0x60,
    ...list([...params, ...params.map(() => I32)].map((type) => [type])),
    ...list(results.map((type) => [type])),
  ]);
  const imported = [
    [0x60, 3, I32, I32, I32, 0],
    [0x60, 1, I32, 0],
  ];
  const labels = module.globals.length;
  const globals = [
    ...module.globals.map(({ type, mutable, init }) => [type, mutable ? 1 : 0, ...init]),
    // One label for each, and the last for the result of a call.
    ...Array.from({ length: labels + 1 }, () => [I32, 1, OP.i32Const, 0, OP.end]),
  ];
  const notePages = Math.ceil((2 * module.sites) / 65536);
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, list([...imported, ...types])),
    ...section(
      2,
      list([
        [...text("env"), ...text("finding"), 0, ...leb(FINDING)],
        [...text("env"), ...text("stored"), 0, ...leb(STORED)],
      ]),
    ),
    ...section(3, list(module.functions.map((_, i) => leb(i + IMPORTS)))),
    ...section(5, list([module.pages, module.pages, notePages].map((pages) => [0, ...leb(pages)]))),
    ...section(6, list(globals)),
    ...section(
      7,
      list([
        ...module.exports
          .filter(({ kind }) => kind === 0)
          .map(({ name, index }) => [...text(name), 0, ...leb(index + IMPORTS)]),
        ...["memory", "shadow", "notes"].map((name, i) => [...text(name), 2, i]),
      ]),
    ),
    ...(module.dataCount === undefined ? [] : section(12, module.dataCount)),
    ...section(
      10,
      list(
        module.functions.map((func) => {
          const body = new Rewriter(module, func, watched).rewrite();
          return [...leb(body.length), ...body];
        }),
      ),
    ),
    ...(module.data === undefined ? [] : section(11, module.data)),
  ]);
}

interface Frame {
  op: number;
  /** Height of the stack below it. */
  height: number;
  /** Type of its result, -1: none. */
  result: number;
}

class Rewriter {
  private readonly module: Module;
  private readonly func: Func;
  private readonly watched: readonly number[];
  private readonly out: number[] = [];
  /** Types of what lies on the operand stack. */
  private stack: number[] = [];
  private readonly frames: Frame[] = [];
  private dead = false;
  private deepest = 0;
  private readonly types: number[];
  private readonly parameters: number;
  /** Number of locals that are not places of the stack. */
  private readonly fixed: number;

  constructor(module: Module, func: Func, watched: readonly number[]) {
    this.module = module;
    this.func = func;
    this.watched = watched;
    this.types = [...func.type.params, ...func.locals];
    this.parameters = func.type.params.length;
    // Parameters, their labels, locals, their labels, one i32 and one i64 to fold labels in.
    this.fixed = 2 * this.types.length + 2;
  }

  private local(index: number): number {
    return index < this.parameters ? index : index + this.parameters;
  }

  private localLabel(index: number): number {
    return index < this.parameters ? index + this.parameters : index + this.types.length;
  }

  private place(depth: number, type: number): number {
    this.deepest = Math.max(this.deepest, depth + 1);
    return this.fixed + 3 * depth + (type === I32 ? 0 : 1);
  }

  private placeLabel(depth: number): number {
    this.deepest = Math.max(this.deepest, depth + 1);
    return this.fixed + 3 * depth + 2;
  }

  /** Value and label of an operand, counted from the top. */
  private operand(fromTop: number): { value: number; label: number; type: number } {
    const depth = this.stack.length - 1 - fromTop;
    const type = this.stack[depth] as number;
    return { value: this.place(depth, type), label: this.placeLabel(depth), type };
  }

  private push(type: number): { value: number; label: number } {
    this.stack.push(type);
    const { value, label } = this.operand(0);
    return { value, label };
  }

  private drop(count: number): void {
    this.stack.length -= count;
  }

  private emit(...parts: (number | number[] | Uint8Array)[]): void {
    for (const part of parts) {
      if (typeof part === "number") this.out.push(part);
      else for (const byte of part) this.out.push(byte);
    }
  }

  private global(index: number): number[] {
    return leb(index);
  }

  private globalLabel(index: number): number[] {
    return leb(this.module.globals.length + index);
  }

  rewrite(): number[] {
    this.frames.push({ op: OP.block, height: 0, result: this.func.type.results[0] ?? -1 });
    this.emit(OP.block, VOID_BLOCK);
    let leader = true;
    for (const instruction of this.func.code) {
      if (this.dead) this.skip(instruction);
      else {
        if (leader) this.noteRun(instruction.site);
        this.check(instruction);
        this.one(instruction);
      }
      leader = LEADERS.has(instruction.op);
    }
    const slots = Array.from({ length: this.deepest }, () => [I32, I64, I32]).flat();
    const locals = [...this.func.locals, ...this.func.locals.map(() => I32), I32, I64, ...slots];
    return [...list(locals.map((type) => [1, type])), ...this.out, OP.end];
  }

  private noteRun(site: number): void {
    this.emit(i32Const(site), i32Const(1), 0x3a, memarg(NOTES, 0));
  }

  private check(instruction: Instruction): void {
    for (const { operand, labels } of forbiddenOf(instruction)) {
      const { label } = this.operand(operand);
      this.emit(get(label), i32Const(labels), 0x71, OP.if, VOID_BLOCK);
      this.emit(i32Const(instruction.site), i32Const(operand), get(label), OP.call, leb(FINDING), OP.end);
    }
  }

  /** Code that no path reaches: only the nesting of blocks counts. */
  private skip({ op }: Instruction): void {
    if (op === OP.block || op === OP.loop || op === OP.if) {
      this.frames.push({ op: -1, height: 0, result: -1 });
    } else if (op === OP.end) {
      if (this.frames.at(-1)?.op === -1) this.frames.pop();
      else this.end();
    } else if (op === OP.else && this.frames.at(-1)?.op !== -1) this.else();
  }

  private end(): void {
    const frame = this.frames.pop() as Frame;
    this.emit(OP.end);
    this.dead = false;
    this.stack.length = frame.height;
    if (frame.result !== -1) this.push(frame.result);
    if (this.frames.length === 0) this.leave();
  }

  private else(): void {
    this.emit(OP.else);
    this.dead = false;
    this.stack.length = (this.frames.at(-1) as Frame).height;
  }

  /** Moves the result of a frame to where what follows expects it. */
  private settle(frame: Frame): void {
    if (frame.result === -1 || this.stack.length === frame.height + 1) return;
    const from = this.operand(0);
    this.emit(get(from.value), set(this.place(frame.height, from.type)));
    this.emit(get(from.label), set(this.placeLabel(frame.height)));
  }

  private target(depth: number): Frame {
    return this.frames[this.frames.length - 1 - depth] as Frame;
  }

  private branch(depth: number): void {
    const frame = this.target(depth);
    if (frame.op !== OP.loop) this.settle(frame);
    this.emit(OP.br, leb(depth));
  }

  private leave(): void {
    if (this.func.type.results.length === 0) return;
    const { value, label } = this.operand(0);
    this.emit(get(label), OP.globalSet, this.globalLabel(this.module.globals.length), get(value));
  }

  private one(instruction: Instruction): void {
    const { op, a, b } = instruction;
    const numeric = numericOf(op);
    if (numeric !== undefined) {
      this.numeric(instruction, numeric.operands, numeric.to);
      return;
    }
    if (loadOf(op) !== undefined) {
      this.load(instruction);
      return;
    }
    if (storeOf(op) !== undefined) {
      this.store(instruction);
      return;
    }
    switch (op) {
      case OP.nop:
        return;
      case OP.unreachable:
        this.emit(op);
        this.dead = true;
        return;
      case OP.block:
      case OP.loop:
        this.frames.push({ op, height: this.stack.length, result: b });
        this.emit(op, VOID_BLOCK);
        return;
      case OP.if: {
        const { value } = this.operand(0);
        this.drop(1);
        this.frames.push({ op, height: this.stack.length, result: b });
        this.emit(get(value), op, VOID_BLOCK);
        return;
      }
      case OP.else:
        this.else();
        return;
      case OP.end:
        this.end();
        return;
      case OP.br:
        this.branch(a);
        this.dead = true;
        return;
      case OP.brIf: {
        const { value } = this.operand(0);
        this.drop(1);
        // One block deeper than the module has it.
        this.emit(get(value), OP.if, VOID_BLOCK);
        this.frames.push({ op: OP.if, height: 0, result: -1 });
        this.branch(a + 1);
        this.frames.pop();
        this.emit(OP.end);
        return;
      }
      case OP.brTable: {
        const { value } = this.operand(0);
        this.drop(1);
        if (instruction.depths.some((depth) => this.target(depth).result !== -1))
          throw new Error("br_table with a value");
        this.emit(
          get(value),
          op,
          list(instruction.depths.slice(0, -1).map(leb)),
          leb(instruction.depths.at(-1) ?? 0),
        );
        this.dead = true;
        return;
      }
      case OP.return:
        this.branch(this.frames.length - 1);
        this.dead = true;
        return;
      case OP.call:
        this.call(a);
        return;
      case OP.drop:
        this.drop(1);
        return;
      case OP.select:
        this.select();
        return;
      case OP.localGet: {
        const { value, label } = this.push(this.types[a] as number);
        this.emit(get(this.local(a)), set(value), get(this.localLabel(a)), set(label));
        return;
      }
      case OP.localSet:
      case OP.localTee: {
        const { value, label } = this.operand(0);
        if (op === OP.localSet) this.drop(1);
        this.emit(get(value), set(this.local(a)), get(label), set(this.localLabel(a)));
        return;
      }
      case OP.globalGet: {
        const { value, label } = this.push((this.module.globals[a] as { type: number }).type);
        this.emit(op, this.global(a), set(value));
        this.emit(op, this.globalLabel(a), set(label));
        return;
      }
      case OP.globalSet: {
        const { value, label } = this.operand(0);
        this.drop(1);
        this.emit(get(value), op, this.global(a));
        this.emit(get(label), op, this.globalLabel(a));
        return;
      }
      case OP.i32Const:
      case OP.i64Const: {
        const { value, label } = this.push(op === OP.i32Const ? I32 : I64);
        this.emit(instruction.bytes, set(value), i32Const(0), set(label));
        return;
      }
      case OP.memorySize: {
        const { value, label } = this.push(I32);
        this.emit(op, 0, set(value), i32Const(0), set(label));
        return;
      }
      case OP.memoryCopy:
      case OP.memoryFill:
        this.bulk(op);
        return;
      default:
        throw new Error(`instruction 0x${op.toString(16)} is not expected`);
    }
  }

  private numeric({ bytes }: Instruction, operands: number, to: number): void {
    const used = Array.from({ length: operands }, (_, i) => this.operand(operands - 1 - i));
    this.drop(operands);
    const { value, label } = this.push(to);
    for (const operand of used) this.emit(get(operand.value));
    this.emit(bytes, set(value));
    for (const operand of used) this.emit(get(operand.label));
    this.emit(operands === 2 ? 0x72 : OP.nop, set(label));
  }

  private load({ op, a, b, site, bytes }: Instruction): void {
    const access = loadOf(op) as { type: number; size: number };
    const address = this.operand(0).value;
    const fold = this.fixed - 2;
    // The address may be overwritten by the value: its shadow is read first, after the access that may trap.
    this.emit(get(address), bytes, OP.drop);
    this.emit(get(address), SHADOW_LOAD[access.size] as number, memarg(SHADOW, a));
    if (access.size === 8) {
      this.emit(set(fold + 1), get(fold + 1), 0xa7, get(fold + 1), 0x42, 32, 0x88, 0xa7, 0x72);
    }
    for (const shift of access.size >= 4 ? [16, 8] : access.size === 2 ? [8] : []) {
      this.emit(set(fold), get(fold), get(fold), i32Const(shift), 0x76, 0x72);
    }
    this.emit(i32Const(0xff), 0x71, set(fold));
    this.drop(1);
    const { value, label } = this.push(access.type);
    this.emit(get(address), bytes, set(value), get(fold), set(label));
    const notes = this.module.sites + site;
    this.emit(
      i32Const(notes),
      i32Const(notes),
      0x2d,
      memarg(NOTES, 0),
      get(label),
      0x72,
      0x3a,
      memarg(NOTES, 0),
    );
    if (b > 3) throw new Error("alignment");
  }

  private store({ op, a, bytes }: Instruction): void {
    const { size } = storeOf(op) as { size: number };
    const value = this.operand(0);
    const address = this.operand(1).value;
    this.drop(2);
    this.emit(get(address), get(value.value), bytes, get(address), get(value.label));
    if (size === 8) this.emit(0xad, 0x42, LABELS_64, 0x7e);
    else if (size > 1) this.emit(i32Const(size === 2 ? 0x0101 : 0x01010101), 0x6c);
    this.emit(SHADOW_STORE[size] as number, memarg(SHADOW, a));
    this.watched.forEach((watched, i) => {
      this.emit(get(address), i32Const(watched - a), 0x46, OP.if, VOID_BLOCK);
      this.emit(i32Const(i), OP.call, leb(STORED), OP.end);
    });
  }

  private bulk(op: number): void {
    const [third, second, first] = [this.operand(0), this.operand(1), this.operand(2)];
    this.drop(3);
    const isCopy = op === OP.memoryCopy;
    for (const memory of [0, SHADOW]) {
      const filler = memory === SHADOW && !isCopy ? second.label : second.value;
      this.emit(get(first.value), get(filler), get(third.value), 0xfc, op & 0xff, memory);
      if (isCopy) this.emit(memory);
    }
  }

  private call(index: number): void {
    const { params, results } = (this.module.functions[index] as Func).type;
    const used = params.map((_, i) => this.operand(params.length - 1 - i));
    this.drop(params.length);
    for (const { value } of used) this.emit(get(value));
    for (const { label } of used) this.emit(get(label));
    this.emit(OP.call, leb(index + IMPORTS));
    if (results.length === 0) return;
    const { value, label } = this.push(results[0] as number);
    this.emit(set(value), OP.globalGet, this.globalLabel(this.module.globals.length), set(label));
  }

  private select(): void {
    const [condition, second, first] = [this.operand(0), this.operand(1), this.operand(2)];
    this.drop(3);
    const { value, label } = this.push(first.type);
    this.emit(get(first.value), get(second.value), get(condition.value), OP.select, set(value));
    this.emit(get(first.label), get(second.label), 0x72, get(condition.label), 0x72, set(label));
  }
}

/** After these another path may come in, or this one may have gone elsewhere. */
const LEADERS: ReadonlySet<number> = new Set([OP.loop, OP.if, OP.else, OP.end, OP.brIf]);

const SHADOW_LOAD: Record<number, number> = { 1: 0x2d, 2: 0x2f, 4: 0x28, 8: 0x29 };
const SHADOW_STORE: Record<number, number> = { 1: 0x3a, 2: 0x3b, 4: 0x36, 8: 0x37 };
/** 0x0101010101010101 as LEB128. */
const LABELS_64 = [0x81, 0x82, 0x84, 0x88, 0x90, 0xa0, 0xc0, 0x80, 0x01];
