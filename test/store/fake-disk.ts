// A disk in memory whose power fails at a given write: an append is torn, a replaced file is the old
// one or the new one, and what was being written beside it may stay.

import { LockedError } from "../../host/store/errors.ts";
import type { Disk } from "../../host/world.ts";

export class FakeDisk implements Disk {
  readonly files = new Map<string, Uint8Array>();
  readonly #locks = new Set<string>();
  #writesLeft = Number.POSITIVE_INFINITY;
  #torn = 0;
  writes = 0;

  read(path: string): Uint8Array | null {
    return this.files.get(path)?.slice() ?? null;
  }

  write(path: string, bytes: Uint8Array): void {
    this.#spend(() => this.files.set(`${path}.tmp`, bytes.slice(0, this.#torn)));
    this.files.set(path, bytes.slice());
  }

  append(path: string, bytes: Uint8Array): void {
    const before = this.files.get(path) ?? new Uint8Array(0);
    this.#spend(() => this.files.set(path, joined(before, bytes.subarray(0, this.#torn))));
    this.files.set(path, joined(before, bytes));
  }

  remove(path: string): void {
    this.#spend(() => {});
    this.files.delete(path);
  }

  real(path: string): string {
    return path;
  }

  list(path: string): string[] {
    const prefix = `${path}/`;
    return [...this.files.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => name.slice(prefix.length))
      .sort();
  }

  lock(path: string): { release(): void } {
    if (this.#locks.has(path)) throw new LockedError(path);
    this.#locks.add(path);
    return { release: () => this.#locks.delete(path) };
  }

  /** The next `writes` writes pass; the one after them is torn after `torn` bytes and throws, as do all others. */
  cutPower(writes: number, torn: number): void {
    this.#writesLeft = writes;
    this.#torn = torn;
  }

  /** The process is gone: its locks are free. */
  powerOn(): void {
    this.#writesLeft = Number.POSITIVE_INFINITY;
    this.#locks.clear();
  }

  #spend(tear: () => void): void {
    if (this.#writesLeft === 0) {
      tear();
      this.#writesLeft = -1;
    }
    if (this.#writesLeft < 0) throw new Error("the power failed");
    this.#writesLeft -= 1;
    this.writes += 1;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  return new Uint8Array([...a, ...b]);
}
