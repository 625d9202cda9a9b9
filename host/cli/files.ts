// Files are whole or absent: written beside their place, synced, then moved into it.

import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { refused, usage } from "./errors.ts";

export interface Output {
  path: string;
  bytes: Uint8Array | string;
}

/** Refuses a file with a secret in it that other users can read; returns its size. */
export function privateSize(path: string): number {
  const stat = statSync(path);
  if (process.platform !== "win32" && stat.isFile() && (stat.mode & 0o077) !== 0) {
    throw refused(`${path} can be read by other users`, `chmod 600 ${path}`);
  }
  return stat.size;
}

/** Refuses when something is there already, so that nothing else need be undone later. */
export function checkFree(paths: string[], force: boolean): void {
  const taken = force ? undefined : paths.find((path) => existsSync(path));
  if (taken !== undefined)
    throw usage(`${taken} exists already`, "name another file, or overwrite with --force");
}

/** Writes all files or none; mode 0600. Without `force` an existing file is left as it is. */
export function writeAll(outputs: Output[], force: boolean): void {
  const staged: { from: string; to: string }[] = [];
  const placed: string[] = [];
  try {
    for (const output of outputs) {
      staged.push({ from: named(output.path, () => stage(output)), to: output.path });
    }
    for (const { from, to } of staged) {
      named(to, () => place(from, to, force));
      placed.push(to);
    }
  } catch (error) {
    if (!force) for (const path of placed) rmSync(path, { force: true });
    throw error;
  } finally {
    for (const { from } of staged) rmSync(from, { force: true });
  }
}

function stage({ path, bytes }: Output): string {
  const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
  const file = openSync(temporary, "wx", 0o600);
  try {
    const data = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    for (let done = 0; done < data.length; ) done += writeSync(file, data, done);
    fsyncSync(file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  return temporary;
}

/** A failure of the system names the file that was asked for, not the one beside it. */
function named<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && "syscall" in error) Object.assign(error, { path });
    throw error;
  }
}

/** A hard link fails where a file is; a rename replaces it. */
function place(from: string, to: string, force: boolean): void {
  try {
    if (force) renameSync(from, to);
    else linkSync(from, to);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EEXIST")
      throw usage(`${to} exists already`, "name another file, or overwrite with --force");
    if (force || (code !== "EPERM" && code !== "ENOTSUP" && code !== "EOPNOTSUPP")) throw error;
    renameSync(from, to);
  }
}
