// The two emulated machines: a flash that is a file, a serial line that is a socket, and a power switch.

import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Identity } from "../../host/store/store.ts";
import { wasm3Source } from "../../host/wasm3/source.ts";
import { norImage } from "../../scripts/nor-image.ts";
import type { EngineName, Machine } from "../../scripts/ports.ts";
import { need } from "../support/need.ts";

const MIB = 1 << 20;

interface Kind {
  command: string;
  /** Sector and whole size of the flash. */
  sector: number;
  size: number;
  args(flash: string, elf: string): string[];
}

const KINDS: Record<Machine, Kind> = {
  m3: {
    command: "qemu-system-arm",
    sector: 4096,
    size: 16 * MIB,
    args: (flash, elf) => [
      ...["-M", "mps2-an385,memory-backend=flash", "-kernel", elf],
      ...["-object", `memory-backend-file,id=flash,size=16M,mem-path=${flash},share=on`],
      ...["-semihosting-config", "enable=on,target=native"],
    ],
  },
  rv32: {
    command: "qemu-system-riscv32",
    sector: 256 * 1024,
    size: 32 * MIB,
    // With a drive for the second flash -kernel is ignored.
    args: (flash, elf) => [
      ...["-M", "virt", "-m", "32M", "-bios", "none", "-device", `loader,file=${elf},cpu-num=0`],
      ...["-drive", `if=pflash,unit=1,format=raw,file=${flash}`],
    ],
  },
};

export const MACHINES = Object.keys(KINDS) as Machine[];
const COMMON = ["-display", "none", "-monitor", "none"];

/** What a test on a machine needs. */
export function needMachine(machine: Machine, ...more: string[]): { skip: string | false } {
  const [compiler, library] =
    machine === "m3"
      ? ["arm-none-eabi-gcc", "picolibc-arm-none-eabi"]
      : ["riscv64-unknown-elf-gcc", "picolibc-riscv64-unknown-elf"];
  const needed = need(KINDS[machine].command, compiler, ...more);
  if (needed.skip !== false) return needed;
  // The compiler answers with a path if it knows the file, else with the name.
  const found = execFileSync(compiler, ["-print-file-name=picolibc.specs"], { encoding: "utf8" });
  return found.includes("/") ? needed : lacking(`needs picolibc (Debian package ${library})`);
}

/** Skips by name; under CI nothing may be lacking. */
export function lacking(reason: string): { skip: string } {
  if (process.env.CI === "true") throw new Error(`may not be skipped under CI: ${reason}`);
  return { skip: reason };
}

/** The same with an engine; wasm3's sources must be there, or come. */
export function needEngine(
  machine: Machine,
  engine: EngineName,
  ...more: string[]
): { skip: string | false } {
  const needed = needMachine(machine, ...more);
  if (engine === "aot" || needed.skip !== false) return needed;
  try {
    wasm3Source();
    return needed;
  } catch (error) {
    return lacking((error as Error).message);
  }
}

/** Writes the flash of a device as it leaves the factory. */
export function provisionFlash(machine: Machine, path: string, identity: Identity): void {
  const { sector, size } = KINDS[machine];
  const file = openSync(path, "wx", 0o600);
  writeSync(file, norImage(identity, sector));
  ftruncateSync(file, size);
  closeSync(file);
}

/** Runs a program to its end; returns its exit code and what it wrote on the serial line. */
export function runProgram(
  machine: Machine,
  elf: string,
  flash: string,
): { code: number | null; out: string } {
  const { command, size, args } = KINDS[machine];
  const file = openSync(flash, "a", 0o600);
  ftruncateSync(file, size);
  closeSync(file);
  const { status, stdout, stderr } = spawnSync(
    command,
    [...args(flash, elf), ...COMMON, "-serial", "stdio"],
    {
      stdio: ["ignore", "pipe", "pipe"],
      encoding: "utf8",
      timeout: 60_000,
    },
  );
  return { code: status, out: stdout + stderr };
}

/** A machine that is switched on and off. */
export class Board {
  readonly machine: Machine;
  readonly #dir: string;
  readonly #elf: string;
  readonly #isPort: boolean;
  #child: ChildProcess | undefined;
  /** For `ampoule bridge --serial`. */
  serial: string;

  /** Its flash is `<machine>.flash` in the directory. Its line is a socket, or a serial port of this machine (a pty). */
  constructor(machine: Machine, dir: string, elf: string, isPort = false) {
    this.machine = machine;
    this.#dir = dir;
    this.#elf = elf;
    this.#isPort = isPort;
    this.serial = `unix:${join(dir, `${machine}.serial`)}`;
  }

  get flash(): string {
    return join(this.#dir, `${this.machine}.flash`);
  }

  async on(): Promise<void> {
    const { command, args } = KINDS[this.machine];
    const serial = this.#isPort ? "pty" : `${this.serial},server=on,wait=off`;
    const child = spawn(command, [...args(this.flash, this.#elf), ...COMMON, "-serial", serial], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    if (!this.#isPort) return;
    const [said] = await once(child.stdout, "data");
    this.serial = /redirected to (\S+)/.exec(String(said))?.[1] ?? "";
  }

  /** At any moment, between any two instructions. */
  async cutPower(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
}
