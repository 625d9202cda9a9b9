/** SPEC section 2: every integer is unsigned and little-endian. */

export type Bytes = Uint8Array;

const HEX = /^(?:[0-9a-f]{2})*$/;

export function at(bytes: Bytes, index: number): number {
  return bytes[index] ?? 0;
}

export function u8(x: number): Bytes {
  return Uint8Array.of(x);
}

export function u16(x: number): Bytes {
  return Uint8Array.of(x, x >>> 8);
}

export function u32(x: number): Bytes {
  return Uint8Array.of(x, x >>> 8, x >>> 16, x >>> 24);
}

export function u64(x: bigint): Bytes {
  return concat(u32(Number(x & 0xffffffffn)), u32(Number((x >> 32n) & 0xffffffffn)));
}

export function getU16(bytes: Bytes, offset: number): number {
  return at(bytes, offset) + at(bytes, offset + 1) * 0x100;
}

export function getU32(bytes: Bytes, offset: number): number {
  return getU16(bytes, offset) + getU16(bytes, offset + 2) * 0x10000;
}

export function getU64(bytes: Bytes, offset: number): bigint {
  return BigInt(getU32(bytes, offset)) + (BigInt(getU32(bytes, offset + 4)) << 32n);
}

export function zeros(n: number): Bytes {
  return new Uint8Array(n);
}

export function concat(...parts: Bytes[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

export function equal(a: Bytes, b: Bytes): boolean {
  if (a.length !== b.length) return false;
  let diff = 0;
  for (let i = 0; i < a.length; i++) diff |= at(a, i) ^ at(b, i);
  return diff === 0;
}

export function xor(a: Bytes, b: Bytes): Bytes {
  return a.map((x, i) => x ^ at(b, i));
}

export function isZero(bytes: Bytes): boolean {
  return bytes.every((x) => x === 0);
}

export function utf8(text: string): Bytes {
  return new TextEncoder().encode(text);
}

export function hex(bytes: Bytes): string {
  let out = "";
  for (const x of bytes) out += x.toString(16).padStart(2, "0");
  return out;
}

/** @throws when text is not an even number of lower-case hex digits */
export function unhex(text: string): Bytes {
  if (!HEX.test(text)) throw new Error(`not hex: ${text}`);
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

/** n consecutive byte values from `first` on, as the known-answer files use them. */
export function run(first: number, n: number): Bytes {
  return Uint8Array.from({ length: n }, (_, i) => first + i);
}
