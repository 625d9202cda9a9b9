// Which accesses of a compiled module need no bounds check of their own, because one before has made it for them.
//
// A value is known by what it began as, its key, and what was added since. An access needs no check if
//   - it goes to a constant, or to what cannot be larger than one (a byte times 18, either of two addresses);
//   - every way to it has checked the same bytes: where several accesses through one value follow each other without a
//     branch, the first checks for all of them;
//   - its value comes out of a global, and whatever is written into that global is checked when it is;
//   - its value is a parameter, and with every call's argument one of these holds.
// Every other access keeps its check. The lines are those of aot.ts, after its rewriting.

/** Between key + low and key + high; of key NUMBER, between low and high. */
interface Value {
  key: string;
  low: number;
  high: number;
}

/** The bytes from key + from to key + to were checked. */
interface Range {
  from: number;
  to: number;
}

interface State {
  values: Map<string, Value>;
  checked: Map<string, Range>;
}

interface Access {
  line: number;
  pointer: string;
  value: Value;
  /** From the value on. */
  range: Range;
  /** Accesses of one segment follow each other without a branch. */
  segment: number;
  isCovered: boolean;
}

interface Call {
  target: string;
  values: Value[];
}

interface Body {
  name: string;
  parameters: string[];
  lines: string[];
  isExported: boolean;
}

const NUMBER = "number";
const NUMBER_MAX = 2 ** 31;
/** Through so many accesses a global is worth a check when it is written. */
const WORTH = 4;
const ACCESS = /\b(i(?:32|64)_(?:load|store)(\d*)(?:_[su])?)\(instance, (var_\w+), (\d+)u/;

const isExact = ({ low, high }: Value): boolean => low === high && low >= 0;
const keyOfParameter = (name: string, index: number): string => `${name} ${index}`;

/**
 * Takes the checks out of the text of all functions that are not needed.
 *
 * @param exported functions whose arguments come from outside
 * @param initial values of the globals
 * @param size bytes of memory
 */
export function withNeededChecks(
  bodies: string,
  exported: ReadonlySet<string>,
  initial: ReadonlyMap<string, number>,
  size: number,
): string {
  const functions = split(bodies, exported);
  const first = functions.map((one) => new Walk(one, size, new Map()));
  const reach = findReach(functions, first, initial, size);
  return functions.map((one) => place(one, new Walk(one, size, reach).accesses, reach)).join("\n\n");
}

function split(bodies: string, exported: ReadonlySet<string>): Body[] {
  const heads = /^static (?:void|u32|u64) (\w+)\(AMP_WASM_INSTANCE \*instance(.*)\) \{\n[\s\S]*?^\}$/gm;
  return [...bodies.matchAll(heads)].map(([text, name = "", list = ""]) => ({
    name,
    parameters: [...list.matchAll(/var_p\d+/g)].map(([parameter]) => parameter),
    lines: text.split("\n"),
    isExported: exported.has(name),
  }));
}

/** Bytes behind each parameter and global that are inside of memory because each call, or write, vouches for them. */
function findReach(
  functions: readonly Body[],
  walks: readonly Walk[],
  initial: ReadonlyMap<string, number>,
  size: number,
): Map<string, number> {
  const accesses = walks.flatMap((one) => one.accesses);
  const calls = walks.flatMap((one) => one.calls);
  const reach = new Map<string, number>();
  for (const key of initial.keys()) {
    if (accesses.filter(({ value }) => value.key === key).length >= WORTH) reach.set(key, 0);
  }
  for (const { name, parameters, isExported } of functions) {
    if (!isExported) for (const index of parameters.keys()) reach.set(keyOfParameter(name, index), 0);
  }
  let isMoving = false;
  const need = (key: string, bytes: number): void => {
    if ((reach.get(key) ?? bytes) < bytes) isMoving = reach.set(key, bytes) !== undefined;
  };
  // What goes to an offset that is not constant makes no demands.
  for (const { value, range } of accesses) if (isExact(value)) need(value.key, value.high + range.to);
  do {
    isMoving = false;
    const refused: string[] = [];
    for (const { target, values } of calls) {
      for (const [index, value] of values.entries()) {
        const key = keyOfParameter(target, index);
        const bytes = value.high + (reach.get(key) ?? 0);
        if (!reach.get(key) || (value.key === NUMBER && bytes <= size)) continue;
        if (isExact(value) && reach.has(value.key) && bytes <= size) need(value.key, bytes);
        else if (value.low < 0 || bytes > (reach.get(value.key) ?? 0)) refused.push(key);
      }
    }
    for (const [key, value] of initial) if (value + (reach.get(key) ?? 0) > size) refused.push(key);
    if (!isMoving) for (const key of refused) isMoving = reach.delete(key) || isMoving;
  } while (isMoving);
  return reach;
}

/** Follows the lines of one function. */
class Walk {
  readonly accesses: Access[] = [];
  readonly calls: Call[] = [];
  readonly #name: string;
  readonly #size: number;
  readonly #reach: ReadonlyMap<string, number>;
  /** Null where nothing comes by. */
  #state: State | null;
  #segment = 0;
  #keys = 0;
  readonly #jumps = new Map<string, State[]>();
  readonly #blocks: { before: State | null; taken: State | null | undefined }[] = [];

  constructor({ name, parameters, lines }: Body, size: number, reach: ReadonlyMap<string, number>) {
    this.#name = name;
    this.#size = size;
    this.#reach = reach;
    this.#state = { values: new Map(), checked: new Map() };
    for (const [index, parameter] of parameters.entries())
      this.#state.values.set(parameter, { key: keyOfParameter(name, index), low: 0, high: 0 });
    for (const [number, line] of lines.entries()) {
      if (number > 0) this.#step(line.trim(), number, lines);
    }
  }

  #fresh(): Value {
    return { key: `${this.#name} #${++this.#keys}`, low: 0, high: 0 };
  }

  #value(name: string): Value {
    const known = this.#state?.values.get(name);
    if (known !== undefined) return known;
    const value = this.#fresh();
    this.#state?.values.set(name, value);
    return value;
  }

  #step(line: string, number: number, lines: readonly string[]): void {
    const label = /^(var_[BL]\w+): ?;?$/.exec(line)?.[1];
    if (label !== undefined) this.#label(label, lines.slice(number + 1));
    else if (/[{}]|^goto |^return|UNREACHABLE/.test(line)) this.#branch(line);
    else this.#plain(line, number);
  }

  #plain(line: string, number: number): void {
    const access = ACCESS.exec(line);
    if (access !== null) this.#access(access, number);
    const call = /\b(\w+)\(instance((?:, var_\w+)*)\)/.exec(line);
    if (call !== null && access === null) {
      const [, target = "", list = ""] = call;
      this.calls.push({
        target,
        values: list
          .split(", ")
          .slice(1)
          .map((name) => this.#value(name)),
      });
    }
    const [, name, operator, expression] = /^(var_\w+) ([-+*/%&|^<>]*)= (.*);$/.exec(line) ?? [];
    if (name === undefined || operator === undefined || expression === undefined) return;
    const value =
      operator === "" ? this.#evaluate(expression) : this.#change(this.#value(name), operator, expression);
    this.#state?.values.set(name, value);
  }

  #evaluate(expression: string): Value {
    const literal = /^(\d+)u$/.exec(expression)?.[1];
    if (literal !== undefined) return this.#number(Number(literal), Number(literal));
    if (/^var_\w+$/.test(expression)) return this.#value(expression);
    const global = /^instance->(g\d+)$/.exec(expression)?.[1];
    // In the second walk a global is known by its name only if it is guarded.
    if (global !== undefined && (this.#reach.size === 0 || this.#reach.has(global)))
      return { key: global, low: 0, high: 0 };
    if (/^i32_load8_u\(/.test(expression)) return this.#number(0, 255);
    if (/^i32_load16_u\(/.test(expression)) return this.#number(0, 65535);
    if (/ [=!<>]=? |^!/.test(expression) && !/[?]/.test(expression)) return this.#number(0, 1);
    const [, one, other] = /^var_\w+ \? (var_\w+) : (var_\w+)$/.exec(expression) ?? [];
    if (one !== undefined && other !== undefined) return this.#join(this.#value(one), this.#value(other));
    return this.#fresh();
  }

  #change(value: Value, operator: string, expression: string): Value {
    const by = this.#value(/var_\w+/.exec(expression)?.[0] ?? "");
    const isNumber = value.key === NUMBER;
    if (operator === "+" && by.key === NUMBER) return this.#add(value, by.low, by.high);
    if (operator === "+" && isNumber) return this.#add(by, value.low, value.high);
    if (operator === "-" && by.key === NUMBER) return this.#add(value, -by.high, -by.low);
    if (operator === "&" && (isNumber || by.key === NUMBER))
      return this.#number(
        0,
        Math.min(isNumber ? value.high : Infinity, by.key === NUMBER ? by.high : Infinity),
      );
    if (by.key !== NUMBER) return this.#fresh();
    if (operator === ">>" && by.low === by.high && by.low < 32)
      return this.#number(0, (isNumber ? value.high : 2 ** 32 - 1) / 2 ** by.low);
    if (!isNumber) return this.#fresh();
    if (operator === "*") return this.#number(value.low * by.low, value.high * by.high);
    if (operator === "<<" && by.high < 32)
      return this.#number(value.low * 2 ** by.low, value.high * 2 ** by.high);
    if (operator === "|") return this.#number(0, value.high + by.high);
    return this.#fresh();
  }

  #number(low: number, high: number): Value {
    if (low < 0 || high >= NUMBER_MAX) return this.#fresh();
    return { key: NUMBER, low, high: Math.floor(high) };
  }

  #add({ key, low, high }: Value, least: number, most: number): Value {
    if (key === NUMBER) return this.#number(low + least, high + most);
    if (high + most >= NUMBER_MAX || low + least <= -NUMBER_MAX) return this.#fresh();
    return { key, low: low + least, high: high + most };
  }

  #join(one: Value, other: Value): Value {
    if (one.key !== other.key) return this.#fresh();
    return { key: one.key, low: Math.min(one.low, other.low), high: Math.max(one.high, other.high) };
  }

  #access([, name = "", bits, pointer = "", offset]: RegExpExecArray, line: number): void {
    const value = this.#value(pointer);
    const from = Number(offset);
    const bytes = bits ? Number(bits) / 8 : name.startsWith("i64") ? 8 : 4;
    const range = { from, to: from + bytes };
    const isCovered = this.#state !== null && this.#covers(value, range);
    this.accesses.push({ line, pointer, value, range, segment: this.#segment, isCovered });
    if (isCovered || this.#state === null || value.low !== value.high || value.key === NUMBER) return;
    const old = this.#state.checked.get(value.key);
    const now = { from: value.low, to: value.low + range.to };
    if (old === undefined || (now.from <= old.from && now.to >= old.to))
      this.#state.checked.set(value.key, now);
  }

  #covers({ key, low, high }: Value, range: Range): boolean {
    if (key === NUMBER) return high + range.to <= this.#size;
    if (low >= 0 && high + range.to <= (this.#reach.get(key) ?? 0)) return true;
    const checked = this.#state?.checked.get(key);
    return checked !== undefined && checked.from <= low && high + range.to <= checked.to;
  }

  #label(label: string, rest: readonly string[]): void {
    ++this.#segment;
    const isLoop = label.startsWith("var_L");
    for (const state of this.#jumps.get(label) ?? []) this.#state = this.#merge(this.#state, state);
    if (!isLoop || this.#state === null) return;
    // What a round changes is another value in the next.
    for (const line of rest) {
      const name = /^\s*(var_\w+) [-+*/%&|^<>]*= /.exec(line)?.[1];
      if (name !== undefined) this.#state.values.set(name, this.#fresh());
    }
  }

  #branch(line: string): void {
    ++this.#segment;
    const copy = (): State | null =>
      this.#state && { values: new Map(this.#state.values), checked: new Map(this.#state.checked) };
    for (const [, target = ""] of line.matchAll(/goto (var_\w+);/g)) {
      const jumps = this.#jumps.get(target) ?? [];
      const state = copy();
      if (state !== null) this.#jumps.set(target, [...jumps, state]);
    }
    if (/^(?:goto|return|UNREACHABLE)/.test(line)) this.#state = null;
    else if (line === "} else {") {
      const block = this.#blocks.at(-1);
      if (block === undefined) throw new Error(`else without if in ${this.#name}`);
      block.taken = this.#state;
      this.#state = block.before;
      block.before = null;
    } else if (line === "}") {
      const block = this.#blocks.pop();
      if (block === undefined) return;
      this.#state = this.#merge(this.#state, block.taken === undefined ? block.before : block.taken);
    } else if (line.endsWith("{")) this.#blocks.push({ before: copy(), taken: undefined });
  }

  #merge(one: State | null, other: State | null): State | null {
    if (one === null || other === null) return one ?? other;
    const merged: State = { values: new Map(), checked: new Map() };
    for (const [name, value] of one.values) {
      const second = other.values.get(name);
      if (second !== undefined) merged.values.set(name, this.#join(value, second));
    }
    for (const [key, range] of one.checked) {
      const second = other.checked.get(key);
      if (second === undefined) continue;
      const common = { from: Math.max(range.from, second.from), to: Math.min(range.to, second.to) };
      if (common.from < common.to) merged.checked.set(key, common);
    }
    return merged;
  }
}

/** The lines of a function, where a covered access has no check, and the first of a segment checks for those behind it. */
function place({ lines }: Body, accesses: readonly Access[], reach: ReadonlyMap<string, number>): string {
  const before = new Map<number, string>();
  const free = new Set<number>();
  for (const [index, { line, pointer, value, range, segment, isCovered }] of accesses.entries()) {
    if (isCovered) free.add(line);
    if (isCovered || free.has(line) || value.low !== value.high) continue;
    const followers = accesses
      .slice(index)
      .filter((one) => !one.isCovered && one.segment === segment && one.value.key === value.key)
      .filter((one) => one.value.low === one.value.high && one.value.low >= value.low);
    const to = Math.max(...followers.map((one) => one.value.low - value.low + one.range.to));
    if (to === range.to && followers.length === 1) continue;
    before.set(line, `check(instance, ${pointer}, ${to}u);`);
    for (const one of followers) free.add(one.line);
  }
  const out: string[] = [];
  for (const [number, line] of lines.entries()) {
    const check = before.get(number);
    if (check !== undefined) out.push(`${/^\s*/.exec(line)?.[0]}${check}`);
    const guarded = line.replace(/^(\s*instance->(g\d+) = )(var_i\d+);$/, (all, start, name, value) => {
      const bytes = reach.get(name);
      return bytes ? `${start}checked(instance, ${value}, ${bytes}u);` : all;
    });
    out.push(
      free.has(number) ? guarded.replace(ACCESS, (all, name) => all.replace(name, `${name}_at`)) : guarded,
    );
  }
  return out.join("\n");
}
