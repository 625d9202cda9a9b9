// Walks every path of a module with labels in place of values: what the runs of shadow.ts show of the paths
// they took, this shows of all. A load gives what `loaded` says of its place in the code; parameters of
// exports are public; a global has the labels of everything that is stored in it anywhere.

import { type Finding, findingAt, forbiddenOf } from "./rules.ts";
import { type Func, type Instruction, loadOf, type Module, numericOf, OP, storeOf } from "./wasm.ts";

export interface Walked {
  findings: Finding[];
  /** Functions and instructions that some path from an export reaches. */
  functions: number;
  instructions: number;
  /** Exports that paths begin at. */
  roots: string[];
}

interface Frame {
  op: number;
  height: number;
  arity: number;
  /** Where its code begins. */
  start: number;
  /** Labels of the locals where a loop begins, or else before the block. */
  before: number[];
  /** Labels of the locals and of the result behind it, joined over all ways there; null: none yet. */
  after: number[] | null;
  result: number;
  again: boolean;
}

export function walk(module: Module, loaded: (site: number) => number): Walked {
  const walker = new Walker(module, loaded);
  const exported = module.exports.filter(({ kind }) => kind === 0);
  do {
    walker.begin();
    for (const { index } of exported) {
      const func = module.functions[index] as Func;
      walker.call(
        func,
        func.type.params.map(() => 0),
      );
    }
  } while (walker.changed);
  return { ...walker.walked(), roots: exported.map(({ name }) => name) };
}

const join = (a: number[] | null, b: number[]): number[] =>
  a === null ? [...b] : a.map((x, i) => x | (b[i] ?? 0));

class Walker {
  changed = false;
  private readonly module: Module;
  private readonly loaded: (site: number) => number;
  private readonly globals: number[];
  private readonly findings = new Map<string, Finding>();
  private readonly reached = new Set<number>();
  /** Label of the result, by function and labels of its arguments. */
  private known = new Map<string, number>();

  constructor(module: Module, loaded: (site: number) => number) {
    this.module = module;
    this.loaded = loaded;
    this.globals = module.globals.map(() => 0);
  }

  begin(): void {
    this.changed = false;
    this.known = new Map();
  }

  walked(): Omit<Walked, "roots"> {
    const functions = this.module.functions.filter(({ code }) =>
      code.some(({ site }) => this.reached.has(site)),
    );
    return {
      findings: [...this.findings.values()],
      functions: functions.length,
      instructions: this.reached.size,
    };
  }

  call(func: Func, labels: number[]): number {
    const key = `${func.index} ${labels.join("")}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const result = new Path(func, labels, this).run();
    this.known.set(key, result);
    return result;
  }

  callee(index: number): Func {
    return this.module.functions[index] as Func;
  }

  reach(func: Func, instruction: Instruction, operand: (fromTop: number) => number): void {
    this.reached.add(instruction.site);
    for (const rule of forbiddenOf(instruction)) {
      if ((operand(rule.operand) & rule.labels) === 0) continue;
      this.findings.set(`${instruction.site} ${rule.what}`, findingAt(func, instruction, rule.what));
    }
  }

  load(site: number): number {
    return this.loaded(site);
  }

  global(index: number): number {
    return this.globals[index] ?? 0;
  }

  setGlobal(index: number, label: number): void {
    const joined = this.global(index) | label;
    if (joined !== this.globals[index]) this.changed = true;
    this.globals[index] = joined;
  }
}

/** One function under given labels of its arguments. */
class Path {
  private readonly func: Func;
  private readonly walker: Walker;
  private locals: number[];
  private stack: number[] = [];
  private readonly frames: Frame[] = [];
  private dead = false;
  private at = 0;

  constructor(func: Func, labels: number[], walker: Walker) {
    this.func = func;
    this.walker = walker;
    this.locals = [...labels, ...func.locals.map(() => 0)];
  }

  run(): number {
    const { code, type } = this.func;
    const body = this.enter(OP.block, type.results.length);
    while (this.at < code.length) {
      const instruction = code[this.at++] as Instruction;
      if (this.dead) this.skip(instruction);
      else {
        this.walker.reach(this.func, instruction, (fromTop) => this.stack.at(-1 - fromTop) ?? 0);
        this.one(instruction);
      }
    }
    return body.result;
  }

  private enter(op: number, arity: number): Frame {
    const before = [...this.locals];
    const height = this.stack.length;
    const frame = { op, height, arity, start: this.at, before, after: null, result: 0, again: false };
    this.frames.push(frame);
    return frame;
  }

  private pop(): number {
    return this.stack.pop() ?? 0;
  }

  private skip({ op }: Instruction): void {
    if (op === OP.block || op === OP.loop || op === OP.if) this.enter(-1, 0);
    else if (op === OP.end && this.frames.at(-1)?.op === -1) this.frames.pop();
    else if (op === OP.end) this.end();
    else if (op === OP.else && this.frames.at(-1)?.op !== -1) this.else();
  }

  /** Goes to the end of the frame, or to the beginning of a loop. */
  private branch(depth: number): void {
    const frame = this.frames.at(-1 - depth) as Frame;
    if (frame.op === OP.loop) {
      const joined = join(frame.before, this.locals);
      frame.again ||= joined.some((label, i) => label !== frame.before[i]);
      frame.before = joined;
      return;
    }
    frame.after = join(frame.after, this.locals);
    if (frame.arity > 0) frame.result |= this.stack.at(-1) ?? 0;
  }

  private else(): void {
    const frame = this.frames.at(-1) as Frame;
    if (!this.dead) this.branch(0);
    frame.op = OP.else;
    this.locals = [...frame.before];
    this.stack.length = frame.height;
    this.dead = false;
  }

  private end(): void {
    const frame = this.frames.at(-1) as Frame;
    if (frame.op === OP.loop && frame.again) {
      frame.again = false;
      this.at = frame.start;
      this.locals = [...frame.before];
      this.stack.length = frame.height;
      this.dead = false;
      return;
    }
    if (frame.op === OP.loop) frame.op = OP.block;
    if (!this.dead) this.branch(0);
    // Without else the condition may have been false.
    if (frame.op === OP.if) frame.after = join(frame.after, frame.before);
    this.frames.pop();
    this.stack.length = frame.height;
    this.dead = frame.after === null;
    if (frame.after !== null) this.locals = frame.after;
    if (frame.arity > 0) this.stack.push(frame.result);
  }

  private one(instruction: Instruction): void {
    const { op, a, b, site } = instruction;
    const numeric = numericOf(op);
    if (numeric !== undefined) {
      const labels = Array.from({ length: numeric.operands }, () => this.pop());
      this.stack.push(labels.reduce((x, y) => x | y));
    } else if (loadOf(op) !== undefined) {
      this.pop();
      this.stack.push(this.walker.load(site));
    } else if (storeOf(op) !== undefined) this.stack.length -= 2;
    else if (op === OP.block || op === OP.loop) this.enter(op, b === -1 ? 0 : 1);
    else if (op === OP.if) {
      this.pop();
      this.enter(op, b === -1 ? 0 : 1);
    } else if (op === OP.else) this.else();
    else if (op === OP.end) this.end();
    else if (op === OP.br || op === OP.return) {
      this.branch(op === OP.br ? a : this.frames.length - 1);
      this.dead = true;
    } else if (op === OP.brIf) {
      this.pop();
      this.branch(a);
    } else if (op === OP.brTable) {
      this.pop();
      for (const depth of instruction.depths) this.branch(depth);
      this.dead = true;
    } else if (op === OP.unreachable) this.dead = true;
    else if (op === OP.call) this.call(this.walker.callee(a));
    else if (op === OP.drop) this.pop();
    else if (op === OP.select) this.stack.push(this.pop() | this.pop() | this.pop());
    else if (op === OP.localGet) this.stack.push(this.locals[a] ?? 0);
    else if (op === OP.localSet) this.locals[a] = this.pop();
    else if (op === OP.localTee) this.locals[a] = this.stack.at(-1) ?? 0;
    else if (op === OP.globalGet) this.stack.push(this.walker.global(a));
    else if (op === OP.globalSet) this.walker.setGlobal(a, this.pop());
    else if (op === OP.i32Const || op === OP.i64Const || op === OP.memorySize) this.stack.push(0);
    else if (op === OP.memoryCopy || op === OP.memoryFill) this.stack.length -= 3;
    else if (op !== OP.nop) throw new Error(`instruction 0x${op.toString(16)} is not expected`);
  }

  private call(callee: Func): void {
    const count = callee.type.params.length;
    const labels = this.stack.splice(this.stack.length - count, count);
    const result = this.walker.call(callee, labels);
    if (callee.type.results.length > 0) this.stack.push(result);
  }
}
