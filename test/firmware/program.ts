// Builds C programs on the library, and runs test/firmware/device.c as a device one can talk to.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { toHex } from "../../host/bytes.ts";
import { formatModule } from "../../host/cli/image/module-header.ts";
import { readModule, type Shipped } from "../../host/core/wasm.ts";
import type { Identity } from "../../host/index.ts";
import { wasm3Source } from "../../host/wasm3/source.ts";
import { assembleFirmware, moduleFor } from "../../scripts/firmware.ts";

export const STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"];
export const SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const COMMON = ["-D_GNU_SOURCE", "-std=c99"];
const ROOT = join(import.meta.dirname, "../..");

/** Back ends, and what a compiler must be told of them. */
export const ENGINES = {
  aot: [],
  wasm3: ["-DAMP_WASM3"],
  "wasm3-hosted": ["-DAMP_WASM3", "-DAMP_ASCON_HOSTED"],
  "wasm3-frugal": ["-DAMP_WASM3", "-DAMP_WASM3_FRUGAL"],
} as const;
export type EngineName = keyof typeof ENGINES;

/** The module that a program has with it. */
function moduleOf(engine: EngineName, flags: readonly string[]): Shipped {
  return engine === "wasm3-hosted" && !flags.includes("-DAMP_XOODYAK")
    ? "device-ascon-hosted"
    : moduleFor(flags);
}

/**
 * A core that traps in the middle of its work: the last bytes of its memory are out of bounds, or the stack of the
 * interpreter is short.
 */
export function compileTrapping(dir: string, engine: EngineName): string {
  const library = join(dir, `trapping-${engine}`);
  cpSync(assembleFirmware(), library, { recursive: true });
  const source = join(library, "src/amp_core_device_ascon.c");
  const text = readFileSync(source, "utf8");
  const size = Number(/AMP_WASM_SIZE (\d+)u/.exec(text)?.[1]);
  writeFileSync(source, text.replace(`AMP_WASM_SIZE ${size}u`, `AMP_WASM_SIZE ${size - 16}u`));
  return compileWith(library, "device", library, engine, "-w", "-O1", "-DAMP_WASM3_STACK=800");
}

/** Compiles a test program with the whole library; returns its path. */
export function compile(program: string, dir: string, engine: EngineName, ...flags: string[]): string {
  return compileWith(assembleFirmware(), program, dir, engine, ...flags);
}

export function compileWith(
  library: string,
  program: string,
  dir: string,
  engine: EngineName,
  ...flags: string[]
): string {
  const src = join(library, "src");
  // What plays on the core itself stands in for ampoule.c.
  const absent = ["core_wasm3.c", ...(["vectors", "hosted"].includes(program) ? ["ampoule.c"] : [])];
  const sources = readdirSync(src).filter((name) => name.endsWith(".c") && !absent.includes(name));
  const out = join(dir, `${program}-${engine}`);
  const build = moduleOf(engine, flags);
  writeFileSync(join(dir, "amp_module.h"), formatModule(build, readModule(build)));
  const includes = ["-I", join(library, "include"), "-I", src, "-I", dir];
  const files = [join(import.meta.dirname, `${program}.c`), ...sources.map((name) => join(src, name))];
  if (engine !== "aot") files.push(wasm3Object(library, [...ENGINES[engine], ...flags]));
  execFileSync("cc", [...COMMON, ...ENGINES[engine], ...flags, ...includes, ...files, "-o", out]);
  return out;
}

/** The interpreter takes long to compile: an object of it is kept for each set of its inputs. It has no sanitizers. */
function wasm3Object(library: string, flags: string[]): string {
  const src = join(library, "src");
  const defines = flags.filter((flag) => flag.startsWith("-D"));
  const hash = createHash("sha256").update(defines.join(" "));
  for (const name of readdirSync(src).sort())
    if (/\.h$|^core_wasm3/.test(name)) hash.update(readFileSync(join(src, name)));
  const folder = join(ROOT, "build", "firmware-test");
  const object = join(folder, `core_wasm3-${hash.digest("hex").slice(0, 16)}.o`);
  if (existsSync(object)) return object;
  mkdirSync(folder, { recursive: true });
  const part = `${object}.${process.pid}.part`;
  const includes = ["-I", join(library, "include"), "-I", src, "-isystem", wasm3Source()];
  const all = [...COMMON, ...defines, "-Os", "-w", ...includes];
  execFileSync("cc", [...all, "-x", "c", "-c", join(src, "core_wasm3.c"), "-o", part]);
  renameSync(part, object);
  return object;
}

export interface CReceived {
  status: string;
  kind: number;
  text: string;
  generation: number;
  step: number;
  counter: number;
  sender: number;
  changed: boolean;
  part: number;
  isLast: boolean;
}

/** A process of device.c, with a directory as its storage. */
export class CDevice {
  readonly dir = mkdtempSync(join(tmpdir(), "ampoule-c-device-"));
  readonly identity: Identity;
  readonly #program: string;
  readonly #class: 0 | 1 | 2;
  #child: ChildProcess | null = null;
  #waiting: ((line: string | null) => void)[] = [];
  #boots = 0;

  constructor(program: string, identity: Identity, kind: 0 | 1 | 2 = 0) {
    this.#program = program;
    this.identity = identity;
    this.#class = kind;
    writeFileSync(join(this.dir, "key"), identity.key ?? new Uint8Array(), { mode: 0o600 });
  }

  /** Starts the process and opens the device with what is stored; `cut` as in device.c. */
  async boot(cut?: { at: number; bytes: number }): Promise<string> {
    await this.kill();
    const child = spawn(this.#program, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    child.stdin?.on("error", () => {});
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", (line) =>
      this.#waiting.shift()?.(line),
    );
    child.on("exit", () => {
      for (const answer of this.#waiting.splice(0)) answer(null);
    });
    if (cut !== undefined) await this.ask("cut", cut.at, cut.bytes);
    const { realm, device, prefix } = this.identity;
    const nonce = this.#class === 1 ? toHex(new Uint8Array(8).fill(++this.#boots)) : "-";
    return this.ask("open", this.dir, toHex(realm), toHex(device), prefix, this.#class, nonce);
  }

  /** One command and its answer; "DEAD" if the process ended. */
  ask(...words: (string | number)[]): Promise<string> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null)
      return Promise.resolve("DEAD");
    return new Promise((resolve) => {
      this.#waiting.push((line) => resolve(line ?? "DEAD"));
      child.stdin?.write(`${words.join(" ")}\n`);
    });
  }

  /** Payloads in hex, or the name of the refusal. */
  async protect(
    topic: string,
    text: string | Uint8Array,
    will = false,
  ): Promise<{ status: string; payloads: Buffer[] }> {
    const hex = Buffer.from(text as string).toString("hex") || "-";
    const [status = "", ...payloads] = (await this.ask("protect", topic, hex, will ? "will" : "own")).split(
      " ",
    );
    return { status, payloads: payloads.map((payload) => Buffer.from(payload, "hex")) };
  }

  async receive(topic: string, payload: Uint8Array, retained = false): Promise<CReceived> {
    const answer = await this.ask("receive", topic, toHex(payload) || "-", retained ? 1 : 0);
    const [status = "", kind, text = "", ...rest] = answer.split(" ");
    const [generation = 0, step = 0, counter = 0, sender = 0, changed, part = 0, last] = rest.map(Number);
    return {
      status,
      kind: Number(kind),
      text: text === "-" ? "" : Buffer.from(text, "hex").toString(),
      ...{ generation, step, counter, sender, part },
      changed: changed === 1,
      isLast: last === 1,
    };
  }

  /** Everything that is due for the key server. */
  async outgoing(): Promise<{ topic: string; payload: Buffer }[]> {
    const found: { topic: string; payload: Buffer }[] = [];
    for (;;) {
      const [status, topic = "", payload = ""] = (await this.ask("outgoing")).split(" ");
      if (status !== "OK") return found;
      found.push({ topic, payload: Buffer.from(payload, "hex") });
    }
  }

  async subscriptions(): Promise<string[]> {
    const answers = await Promise.all([0, 1, 2, 3, 4].map((index) => this.ask("subscription", index)));
    return answers.filter((answer) => answer.startsWith("OK ")).map((answer) => answer.slice(3));
  }

  /** What is stored, to be put back by restore(). */
  snapshot(): Map<string, Buffer> {
    return new Map(readdirSync(this.dir).map((name) => [name, readFileSync(join(this.dir, name))]));
  }

  restore(files: Map<string, Uint8Array>): void {
    rmSync(this.dir, { recursive: true });
    mkdirSync(this.dir, { mode: 0o700 });
    for (const [name, bytes] of files) writeFileSync(join(this.dir, name), bytes);
  }

  /** Ends the process at once. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
