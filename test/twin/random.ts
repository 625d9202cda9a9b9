/** xoshiro128** 1.1 of Blackman and Vigna, seeded through splitmix32. */

import type { Bytes } from "./bytes.ts";

function rotl(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}

export class Random {
  private readonly s = new Int32Array(4);

  constructor(seed: number) {
    let x = seed | 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) | 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.s[i] = z ^ (z >>> 15);
    }
  }

  /** 0 to 2^32 - 1. */
  u32(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.s;
    const result = Math.imul(rotl(Math.imul(b, 5), 7), 9) >>> 0;
    const e = c ^ a;
    const f = d ^ b;
    this.s.set([a ^ f, b ^ e, e ^ (b << 9), rotl(f, 11)]);
    return result;
  }

  /** 0 to n - 1, n from 1 to 2^32. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  /** low to high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in n. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** One of the values, by weight. */
  weighted<T>(list: readonly (readonly [number, T])[]): T {
    let at = this.below(list.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of list) {
      if (at < weight) return value;
      at -= weight;
    }
    return (list[0] as readonly [number, T])[1];
  }

  bytes(n: number): Bytes {
    return Uint8Array.from({ length: n }, () => this.below(256));
  }
}
