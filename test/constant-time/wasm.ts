// A module as its instructions, byte offsets kept: what the checks of constant time read. It knows the
// integer instructions our modules consist of and throws on any other, on tables and on floating point.

export const I32 = 0x7f;
export const I64 = 0x7e;

export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  memoryCopy: 0xfc0a,
  memoryFill: 0xfc0b,
} as const;

export interface Type {
  params: number[];
  results: number[];
}

export interface Instruction {
  /** Position in the module, and in the count of all instructions. */
  at: number;
  site: number;
  op: number;
  /** Index, depth or memory offset. */
  a: number;
  /** Result type of a block; -1: none. Alignment of a load or store. */
  b: number;
  /** Of br_table: all depths, the default last. */
  depths: number[];
  bytes: Uint8Array;
}

export interface Func {
  index: number;
  /** Name of the export, or its number. */
  name: string;
  type: Type;
  /** Types of the locals after the parameters. */
  locals: number[];
  code: Instruction[];
}

export interface Global {
  type: number;
  mutable: boolean;
  /** Constant expression, its end included. */
  init: Uint8Array;
}

export interface Module {
  types: Type[];
  functions: Func[];
  globals: Global[];
  /** Pages of the memory. */
  pages: number;
  exports: { name: string; kind: number; index: number }[];
  data: Uint8Array | undefined;
  dataCount: Uint8Array | undefined;
  /** Number of instructions. */
  sites: number;
}

interface Access {
  type: number;
  size: number;
}

// i32.load to i64.load32_u, i32.store to i64.store32; floats are absent.
const LOADS: Record<number, Access> = Object.fromEntries(
  [4, 8, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 4, 4].map((size, i) => [
    0x28 + i,
    { size, type: i === 0 || (i > 3 && i < 8) ? I32 : I64 },
  ]),
);
const STORES: Record<number, Access> = Object.fromEntries(
  [4, 8, 0, 0, 1, 2, 1, 2, 4].map((size, i) => [
    0x36 + i,
    { size, type: i === 0 || i === 4 || i === 5 ? I32 : I64 },
  ]),
);

export const loadOf = (op: number): Access | undefined => (LOADS[op]?.size ? LOADS[op] : undefined);
export const storeOf = (op: number): Access | undefined => (STORES[op]?.size ? STORES[op] : undefined);

const within = (op: number, first: number, last: number): boolean => op >= first && op <= last;

/** Operand count, operand type and result type of an instruction that only computes. */
export function numericOf(op: number): { operands: number; from: number; to: number } | undefined {
  if (op === 0x45 || within(op, 0x67, 0x69) || op === 0xc0 || op === 0xc1)
    return { operands: 1, from: I32, to: I32 };
  if (within(op, 0x46, 0x4f) || within(op, 0x6a, 0x78)) return { operands: 2, from: I32, to: I32 };
  if (op === 0x50 || op === 0xa7) return { operands: 1, from: I64, to: I32 };
  if (within(op, 0x51, 0x5a)) return { operands: 2, from: I64, to: I32 };
  if (within(op, 0x79, 0x7b) || within(op, 0xc2, 0xc4)) return { operands: 1, from: I64, to: I64 };
  if (within(op, 0x7c, 0x8a)) return { operands: 2, from: I64, to: I64 };
  if (op === 0xac || op === 0xad) return { operands: 1, from: I32, to: I64 };
  return undefined;
}

class Reader {
  at = 0;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  byte(): number {
    return this.bytes[this.at++] ?? 0;
  }
  /** An unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }
  skipLeb(): void {
    while (this.byte() >= 0x80);
  }
  list<T>(read: () => T): T[] {
    return Array.from({ length: this.u32() }, read);
  }
  name(): string {
    const length = this.u32();
    this.at += length;
    return Buffer.from(this.bytes.subarray(this.at - length, this.at)).toString();
  }
}

export function decode(bytes: Uint8Array): Module {
  const reader = new Reader(bytes);
  const module: Module = {
    types: [],
    functions: [],
    globals: [],
    pages: 0,
    exports: [],
    data: undefined,
    dataCount: undefined,
    sites: 0,
  };
  let typeIndices: number[] = [];
  reader.at = 8;
  while (reader.at < bytes.length) {
    const id = reader.byte();
    const size = reader.u32();
    const end = reader.at + size;
    if (id === 1) module.types = reader.list(() => readType(reader));
    else if (id === 3) typeIndices = reader.list(() => reader.u32());
    else if (id === 5) module.pages = readPages(reader);
    else if (id === 6) module.globals = reader.list(() => readGlobal(reader));
    else if (id === 7) module.exports = reader.list(() => readExport(reader));
    else if (id === 10) readCode(reader, module, typeIndices);
    else if (id === 11) module.data = bytes.subarray(reader.at, end);
    else if (id === 12) module.dataCount = bytes.subarray(reader.at, end);
    else if (id !== 0) throw new Error(`section ${id}: imports, tables and start functions are not expected`);
    reader.at = end;
  }
  return module;
}

function readType(reader: Reader): Type {
  reader.byte();
  return { params: reader.list(() => reader.byte()), results: reader.list(() => reader.byte()) };
}

function readPages(reader: Reader): number {
  reader.u32();
  reader.byte();
  return reader.u32();
}

function readGlobal(reader: Reader): Global {
  const type = reader.byte();
  const mutable = reader.byte() === 1;
  const start = reader.at;
  const op = reader.byte();
  if (op !== OP.i32Const && op !== OP.i64Const) throw new Error("a global must begin with a constant");
  reader.skipLeb();
  reader.byte();
  return { type, mutable, init: reader.bytes.subarray(start, reader.at) };
}

function readExport(reader: Reader): { name: string; kind: number; index: number } {
  return { name: reader.name(), kind: reader.byte(), index: reader.u32() };
}

function readCode(reader: Reader, module: Module, typeIndices: number[]): void {
  const names = new Map(
    module.exports.filter(({ kind }) => kind === 0).map(({ name, index }) => [index, name]),
  );
  reader.list(() => {
    const index = module.functions.length;
    const size = reader.u32();
    const end = reader.at + size;
    const locals = reader.list(() => ({ count: reader.u32(), type: reader.byte() }));
    const code: Instruction[] = [];
    while (reader.at < end) code.push(readInstruction(reader, module.sites++));
    module.functions.push({
      index,
      name: names.get(index) ?? `${index}`,
      type: module.types[typeIndices[index] ?? -1] as Type,
      locals: locals.flatMap(({ count, type }) => Array.from({ length: count }, () => type)),
      code,
    });
  });
}

function readInstruction(reader: Reader, site: number): Instruction {
  const at = reader.at;
  let op = reader.byte();
  if (op === 0xfc) op = 0xfc00 | reader.u32();
  let a = 0;
  let b = 0;
  let depths: number[] = [];
  if (op === OP.block || op === OP.loop || op === OP.if) {
    b = reader.byte();
    if (b === 0x40) b = -1;
    else if (b !== I32 && b !== I64) throw new Error(`block type ${b}`);
  } else if (op === OP.brTable) depths = [...reader.list(() => reader.u32()), reader.u32()];
  else if (within(op, OP.br, OP.brIf) || op === OP.call || within(op, OP.localGet, OP.globalSet))
    a = reader.u32();
  else if (loadOf(op) !== undefined || storeOf(op) !== undefined) {
    b = reader.u32();
    a = reader.u32();
  } else if (op === OP.i32Const || op === OP.i64Const) reader.skipLeb();
  else if (op === OP.memorySize || op === OP.memoryGrow || op === OP.memoryFill) reader.byte();
  else if (op === OP.memoryCopy) reader.at += 2;
  else if (numericOf(op) === undefined && !PLAIN.has(op)) {
    throw new Error(`instruction 0x${op.toString(16)} at 0x${at.toString(16)} is not expected`);
  }
  return { at, site, op, a, b, depths, bytes: reader.bytes.subarray(at, reader.at) };
}

const PLAIN: ReadonlySet<number> = new Set([
  OP.unreachable,
  OP.nop,
  OP.else,
  OP.end,
  OP.return,
  OP.drop,
  OP.select,
]);
