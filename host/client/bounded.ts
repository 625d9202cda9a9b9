// A map that never grows past its bound: what was written longest ago makes room.

export class BoundedMap<V> {
  readonly #entries = new Map<string, V>();
  readonly #max: number;
  readonly #onEvicted: (key: string, value: V) => void;

  constructor(max: number, onEvicted: (key: string, value: V) => void = () => {}) {
    this.#max = max;
    this.#onEvicted = onEvicted;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    return this.#entries.get(key);
  }

  /** Writes an entry and makes it the youngest. */
  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#max) return;
    for (const [oldest, evicted] of this.#entries) {
      this.#entries.delete(oldest);
      this.#onEvicted(oldest, evicted);
      return;
    }
  }

  delete(key: string): boolean {
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
  }

  /** Oldest first; a copy, so that entries may be changed meanwhile. */
  entries(): [string, V][] {
    return [...this.#entries];
  }
}
