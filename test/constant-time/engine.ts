// The shipped modules, rewritten by shadow.ts, as an engine that the tests of the core run on. It notes each
// use of a secret that is forbidden, which instructions ran, and which loads met a secret.

import type { Build, Engine, Instance } from "../../host/core/engine.ts";
import type { DeviceOptions } from "../twin/model.ts";
import { compile, shippedModule } from "./compile.ts";
import { filled } from "./hosted.ts";
import { LAYOUT_NAMES, type Labelled, type Layout, Policy, type Release, watchedOf } from "./policy.ts";
import { type Finding, findingAt, forbiddenOf } from "./rules.ts";
import { shadowed } from "./shadow.ts";
import { decode, type Func, type Instruction, type Module, OP } from "./wasm.ts";

/** The layout as functions, compiled after the core itself, which keeps its addresses. */
const TELLER = `
  import { ${LAYOUT_NAMES.join(", ")} } from "./layout";
  ${LAYOUT_NAMES.map((name) => `export function of_${name}(): i32 { return ${name} as i32; }`).join("\n")}
`;

/** Every module that is shipped. A profile runs wherever device-ascon does. */
export const SHIPPED = {
  device: "device",
  "device-ascon": "device-ascon",
  "device-ascon-interpreted": "device-ascon",
  "device-ascon-compiled": "device-ascon",
  "device-ascon-volatile": "device-ascon-volatile",
  "device-ascon-hosted": "device-ascon",
  host: "host",
} as const satisfies Record<string, Build>;

export type Shipped = keyof typeof SHIPPED;

const OPTIONS: Record<Build, Partial<DeviceOptions>> = {
  device: { suites: 0b1111, layout: 1, channels: 4, senders: 8 },
  "device-ascon": { suites: 0b0011, layout: 1, channels: 4, senders: 8 },
  "device-ascon-volatile": { suites: 0b0011, layout: 1, channels: 4, senders: 8 },
  host: { suites: 0b1111, layout: 2, channels: 1024, senders: 65536 },
};

/** What asconfig.json's targets are compiled from. */
const ENTRIES: Record<Build, string> = {
  device: "assembly/index.ts",
  "device-ascon": "assembly/index.ts",
  "device-ascon-volatile": "assembly/volatile.ts",
  host: "assembly/host.ts",
};

type Calls = Record<string, (...args: number[]) => number>;

/** What was noted of one module. */
export class Notes {
  readonly module: Module;
  readonly findings: Finding[] = [];
  /** By site: whether the instruction began a stretch that ran, and the labels a load met. */
  readonly ran: Uint8Array;
  readonly labels: Uint8Array;
  private readonly places = new Map<number, [Func, Instruction]>();
  private readonly known = new Set<string>();

  constructor(module: Module) {
    this.module = module;
    this.ran = new Uint8Array(module.sites);
    this.labels = new Uint8Array(module.sites);
    for (const func of module.functions) {
      for (const instruction of func.code) this.places.set(instruction.site, [func, instruction]);
    }
  }

  find(site: number, operand: number): void {
    const [func, instruction] = this.places.get(site) as [Func, Instruction];
    const what = forbiddenOf(instruction).find((rule) => rule.operand === operand)?.what ?? "";
    const finding = findingAt(func, instruction, what);
    const key = `${finding.where} ${what}`;
    if (!this.known.has(key)) this.findings.push(finding);
    this.known.add(key);
  }

  fold(notes: Uint8Array): void {
    const { sites } = this.module;
    for (let site = 0; site < sites; site++) {
      if (notes[site]) this.ran[site] = 1;
      if (notes[sites + site]) this.labels[site] = (this.labels[site] ?? 0) | (notes[sites + site] ?? 0);
    }
    notes.fill(0);
  }

  /** Every instruction that ran: those after a noted one, up to where a path may end. */
  ranSites(): Set<number> {
    const sites = new Set<number>();
    for (const { code } of this.module.functions) {
      let runs = false;
      for (const { site, op } of code) {
        if (this.ran[site]) runs = true;
        if (runs) sites.add(site);
        if (ENDS.has(op)) runs = false;
      }
    }
    return sites;
  }

  /** Share of the instructions that ran, and the functions that never did. */
  coverage(): { share: number; missing: string[] } {
    const ran = this.ranSites();
    const missing = this.module.functions.filter(({ code }) => !code.some(({ site }) => ran.has(site)));
    return { share: ran.size / this.module.sites, missing: missing.map(({ name }) => name) };
  }
}

const ENDS: ReadonlySet<number> = new Set([
  OP.if,
  OP.else,
  OP.end,
  OP.br,
  OP.brIf,
  OP.brTable,
  OP.return,
  OP.loop,
  OP.unreachable,
]);

export interface Running {
  calls: Calls;
  memory: Uint8Array;
  shadow: Uint8Array;
  fold(): void;
}

/** Runs a module with labels; `stored` is told of stores to the watched addresses, by index. */
export function run(compiled: WebAssembly.Module, notes: Notes, stored: (index: number) => void): Running {
  const { exports } = new WebAssembly.Instance(compiled, {
    env: { finding: (site: number, operand: number) => notes.find(site, operand), stored },
  });
  const bytes = (name: string) => new Uint8Array((exports[name] as WebAssembly.Memory).buffer);
  const noted = bytes("notes");
  const calls = Object.fromEntries(
    Object.entries(exports).filter(([, value]) => typeof value === "function"),
  ) as unknown as Calls;
  return { calls, memory: bytes("memory"), shadow: bytes("shadow"), fold: () => notes.fold(noted) };
}

/** One shipped module. */
export class ShadowEngine implements Engine {
  readonly name = "shadow";
  readonly released = new Set<Release>();
  /** Begins to record an instance. */
  record: ((memory: Uint8Array) => Recorder) | undefined;
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly layout: Layout;
  readonly notes: Notes;
  private readonly shipped: Shipped;
  private readonly compiled: WebAssembly.Module;

  private constructor(shipped: Shipped, wasm: Uint8Array<ArrayBuffer>, layout: Layout) {
    this.shipped = shipped;
    this.wasm = wasm;
    this.layout = layout;
    this.notes = new Notes(decode(wasm));
    this.compiled = new WebAssembly.Module(shadowed(this.notes.module, watchedOf(layout)));
  }

  static async load(shipped: Shipped): Promise<ShadowEngine> {
    const wasm = await filled(shippedModule(shipped));
    return new ShadowEngine(shipped, wasm, await layoutOf(shipped, decode(wasm)));
  }

  /** What makes a device one that runs the module. */
  get options(): Partial<DeviceOptions> {
    return OPTIONS[SHIPPED[this.shipped]];
  }

  instantiate(build: Build): Instance {
    if (build !== SHIPPED[this.shipped]) throw new Error(`${this.shipped} is not a module for ${build}`);
    const { compiled, layout, notes } = this;
    const running = run(compiled, notes, (index) => {
      step.stores.push([]);
      policy.stored(index);
    });
    const { calls, memory, shadow } = running;
    let step = newStep("");
    const policy = new Policy({ calls, memory, shadow }, layout, (range) => {
      (step.stores.at(-1) ?? step.labels).push(range);
    });
    const record = this.record?.(memory);
    const checked = (name: string, call: (...args: number[]) => number) => {
      if (QUIET.has(name)) return call;
      return (...args: number[]): number => {
        step = newStep(name, args);
        policy.before(name, args);
        record?.before(step);
        step.result = call(...args) ?? 0;
        policy.after();
        record?.after(step);
        for (const release of policy.released) this.released.add(release);
        running.fold();
        return step.result;
      };
    };
    const guarded = Object.entries(calls).map(([name, call]) => [name, checked(name, call)] as const);
    return { calls: Object.fromEntries(guarded), memory };
  }
}

/** Calls that only say where something lies; the host makes them by the thousand. */
const QUIET: ReadonlySet<string> = new Set(["buffers", "channelPtr", "memoryEnd"]);

/** One call, and the labels given before it and at each of its stores to a watched address. */
export interface Step {
  name: string;
  args: number[];
  labels: Labelled[];
  stores: Labelled[][];
  result: number;
}

const newStep = (name: string, args: number[] = []): Step => ({
  name,
  args,
  labels: [],
  stores: [],
  result: 0,
});

/** Is told of every call of one instance. */
export interface Recorder {
  before(step: Step): void;
  after(step: Step): void;
}

/** Where the core has what, from a module whose constant data lies as in the shipped one. */
async function layoutOf(shipped: Shipped, module: Module): Promise<Layout> {
  const entry = ENTRIES[SHIPPED[shipped]];
  const wasm = await filled(await compile(shipped, [entry], TELLER));
  const told = decode(wasm);
  const data = (of: Module) => Buffer.from(of.data ?? []).toString("hex");
  if (data(told) !== data(module)) throw new Error(`${shipped}: constant data lies elsewhere`);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm));
  const entries = LAYOUT_NAMES.map((name) => [name, (exports[`of_${name}`] as () => number)()]);
  return Object.fromEntries(entries) as Layout;
}
