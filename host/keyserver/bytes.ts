// Numbers as little-endian fields, revisions, and the context every derivation begins with.

import { concat, toHex } from "../bytes.ts";

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >>> 8);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
}

/** SPEC S-7: base(suite, n, id, generation), 22 bytes. */
export function base(
  suite: number,
  n: number,
  realm: Uint8Array,
  id: Uint8Array,
  generation: number,
): Uint8Array {
  return concat(Uint8Array.of(suite, n), realm, id, u32(generation));
}

/** Reads fields in order; the caller has checked the length. */
export class Reader {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#view.byteLength - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#at++);
  }

  u16(): number {
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2, true);
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  /** A copy. */
  bytes(size: number): Uint8Array {
    this.#at += size;
    const start = this.#view.byteOffset + this.#at - size;
    return new Uint8Array(this.#view.buffer.slice(start, start + size) as ArrayBuffer);
  }

  hex(size: number): string {
    return toHex(this.bytes(size));
  }
}

/** A revision as text: incarnation and count as 8 hex digits each, so that revisions compare as text. */
export type Revision = string;

export const NO_REVISION: Revision = "0000000000000000";

export function revisionOf(incarnation: number, count: number): Revision {
  return incarnation.toString(16).padStart(8, "0") + count.toString(16).padStart(8, "0");
}

export function incarnationOf(revision: Revision): number {
  return Number.parseInt(revision.slice(0, 8), 16);
}

/** SPEC C-2: count(4) || incarnation(4). */
export function revisionBytes(revision: Revision): Uint8Array {
  return concat(u32(Number.parseInt(revision.slice(8), 16)), u32(incarnationOf(revision)));
}

export function readRevision(reader: Reader): Revision {
  const count = reader.u32();
  return revisionOf(reader.u32(), count);
}

/** The next revision of a device in an incarnation that is at least `incarnation`. */
export function nextRevision(last: Revision, incarnation: number): Revision {
  const held = incarnationOf(last);
  const count = Number.parseInt(last.slice(8), 16);
  if (held < incarnation) return revisionOf(incarnation, 1);
  return count === 0xffffffff ? revisionOf(held + 1, 1) : revisionOf(held, count + 1);
}
