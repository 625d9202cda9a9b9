// A test names what it needs from the machine. Where it is absent the test is
// skipped by name; under CI the file fails instead, so nothing goes unnoticed.

import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Debian package of each command, where the two names differ. */
const PACKAGES: Record<string, string> = {
  "arm-none-eabi-gcc": "gcc-arm-none-eabi",
  "c++": "g++",
  cc: "gcc",
  mosquitto_passwd: "mosquitto",
  nm: "binutils",
  "qemu-system-riscv32": "qemu-system-misc",
  "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf",
  uptime: "procps",
  wasm2c: "wabt",
  "xtensa-lx106-elf-gcc": "gcc-xtensa-lx106",
};

/** Servers live there, and an ordinary user's PATH often leaves it out. */
const SERVER_DIRS = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/** Returns the path of an installed command, or undefined. */
export function findCommand(name: string): string | undefined {
  const dirs = [...(process.env.PATH ?? "").split(delimiter), ...SERVER_DIRS];
  return dirs.map((dir) => join(dir, name)).find(isExecutable);
}

/**
 * Returns test options that skip the test where a command is absent.
 *
 *     test("mosquitto: keeps a session", need("mosquitto"), async () => { ... });
 *
 * Throws instead when CI is "true".
 */
export function need(...names: string[]): { skip: string | false } {
  const absent = names.filter((name) => findCommand(name) === undefined);
  if (absent.length === 0) return { skip: false };
  const reason = absent.map((name) => `needs ${name} (Debian package ${PACKAGES[name] ?? name})`).join(", ");
  if (process.env.CI === "true") throw new Error(`may not be skipped under CI: ${reason}`);
  return { skip: reason };
}

/** The same for a header of a C library. */
export function needHeader(header: string, debianPackage: string): { skip: string | false } {
  if (existsSync(join("/usr/include", header)) || existsSync(join("/usr/local/include", header))) {
    return { skip: false };
  }
  const reason = `needs ${header} (Debian package ${debianPackage})`;
  if (process.env.CI === "true") throw new Error(`may not be skipped under CI: ${reason}`);
  return { skip: reason };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
