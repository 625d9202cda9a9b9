/** Xoodyak of the NIST LWC final round: Cyclist over Xoodoo[12], Rhash = 16, Rkin = 44, Rkout = 24. */

import { at, type Bytes, concat, u8 } from "./bytes.ts";

const STATE_SIZE = 48;
const R_HASH = 16;
const R_KIN = 44;
const R_KOUT = 24;

const ROUND_CONSTANTS = [0x58, 0x38, 0x3c0, 0xd0, 0x120, 0x14, 0x60, 0x2c, 0x380, 0xf0, 0x1a0, 0x12];

function rotl(x: number, n: number): number {
  return (x << n) | (x >>> (32 - n));
}

// Lane (x, y) is word x + 4y. Theta, rho-west, iota, chi, rho-east as in the Xoodoo cookbook.
function xoodoo(state: Bytes): void {
  const view = new DataView(state.buffer, state.byteOffset, STATE_SIZE);
  const a = new Int32Array(12);
  const b = new Int32Array(12);
  const e = new Int32Array(4);
  const lane = (from: Int32Array, x: number, y: number) => from[(x & 3) + 4 * y] as number;
  for (let i = 0; i < 12; i++) a[i] = view.getInt32(4 * i, true);
  for (const constant of ROUND_CONSTANTS) {
    for (let x = 0; x < 4; x++) {
      const p = lane(a, x + 3, 0) ^ lane(a, x + 3, 1) ^ lane(a, x + 3, 2);
      e[x] = rotl(p, 5) ^ rotl(p, 14);
    }
    for (let x = 0; x < 4; x++) {
      b[x] = lane(a, x, 0) ^ (e[x] as number);
      b[x + 4] = lane(a, x + 3, 1) ^ (e[(x + 3) & 3] as number);
      b[x + 8] = rotl(lane(a, x, 2) ^ (e[x] as number), 11);
    }
    b[0] = (b[0] as number) ^ constant;
    for (let x = 0; x < 4; x++) {
      a[x] = lane(b, x, 0) ^ (~lane(b, x, 1) & lane(b, x, 2));
      a[x + 4] = rotl(lane(b, x, 1) ^ (~lane(b, x, 2) & lane(b, x, 0)), 1);
    }
    for (let x = 0; x < 4; x++) {
      a[x + 8] = rotl(lane(b, x + 2, 2) ^ (~lane(b, x + 2, 0) & lane(b, x + 2, 1)), 8);
    }
  }
  for (let i = 0; i < 12; i++) view.setInt32(4 * i, a[i] as number, true);
}

function split(input: Bytes, rate: number): Bytes[] {
  const blocks = [input.subarray(0, rate)];
  for (let i = rate; i < input.length; i += rate) blocks.push(input.subarray(i, i + rate));
  return blocks;
}

export class Cyclist {
  private readonly state = new Uint8Array(STATE_SIZE);
  private readonly keyed: boolean;
  private phaseUp = true;

  /** Hash mode without a key; else keyed mode with a key id and an empty counter. */
  constructor(key?: Bytes, id?: Bytes) {
    this.keyed = key !== undefined;
    if (key !== undefined) {
      const keyId = id ?? new Uint8Array(0);
      this.absorbAny(concat(key, keyId, u8(keyId.length)), R_KIN, 0x02);
    }
  }

  private down(block: Bytes, color: number): void {
    this.phaseUp = false;
    for (let i = 0; i < block.length; i++) this.state[i] = at(this.state, i) ^ at(block, i);
    this.state[block.length] = at(this.state, block.length) ^ 0x01;
    this.state[STATE_SIZE - 1] = at(this.state, STATE_SIZE - 1) ^ (this.keyed ? color : color & 0x01);
  }

  private up(n: number, color: number): Bytes {
    this.phaseUp = true;
    if (this.keyed) this.state[STATE_SIZE - 1] = at(this.state, STATE_SIZE - 1) ^ color;
    xoodoo(this.state);
    return this.state.slice(0, n);
  }

  private absorbAny(input: Bytes, rate: number, color: number): void {
    split(input, rate).forEach((block, i) => {
      if (!this.phaseUp) this.up(0, 0x00);
      this.down(block, i === 0 ? color : 0x00);
    });
  }

  private crypt(input: Bytes, decrypt: boolean): Bytes {
    const parts = split(input, R_KOUT).map((block, i) => {
      const pad = this.up(block.length, i === 0 ? 0x80 : 0x00);
      const out = block.map((x, j) => x ^ at(pad, j));
      this.down(decrypt ? out : block, 0x00);
      return out;
    });
    return concat(...parts);
  }

  absorb(input: Bytes): void {
    this.absorbAny(input, this.keyed ? R_KIN : R_HASH, 0x03);
  }

  encrypt(text: Bytes): Bytes {
    return this.crypt(text, false);
  }

  decrypt(cipher: Bytes): Bytes {
    return this.crypt(cipher, true);
  }

  squeeze(n: number): Bytes {
    const rate = this.keyed ? R_KOUT : R_HASH;
    const parts = [this.up(Math.min(n, rate), 0x40)];
    for (let done = rate; done < n; done += rate) {
      this.down(new Uint8Array(0), 0x00);
      parts.push(this.up(Math.min(n - done, rate), 0x00));
    }
    return concat(...parts);
  }
}
