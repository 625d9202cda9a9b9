// The known-answer module behind functions that take and return bytes: no
// lengths, no addresses.

import { readFileSync } from "node:fs";
import { testEngine } from "./engines.ts";
import { hostedEngine } from "./hosted.ts";

export const OK = 0;
export const BAD_TAG = 16;

export const ASCON_SIV = 0;
export const ASCON_AEAD = 1;
export const XOODYAK_SIV = 2;
export const XOODYAK_AEAD = 3;

/** What build/ampoule-kat.wasm exports; the contracts are in assembly/kat.ts and assembly/aead.ts. */
export interface KatExports {
  memory: WebAssembly.Memory;
  areaPtr(): number;
  areaSize(): number;
  asconP(ptr: number, rounds: number): void;
  xoodoo12(ptr: number): void;
  asconHash256(ptr: number, len: number, outPtr: number): void;
  asconXof128(ptr: number, len: number, outPtr: number, outLen: number): void;
  asconCxof128(zPtr: number, zLen: number, ptr: number, len: number, outPtr: number, outLen: number): void;
  xoodyakHash(ptr: number, len: number, outPtr: number, outLen: number): void;
  derive(
    suite: number,
    keyPtr: number,
    labelPtr: number,
    contextPtr: number,
    contextLen: number,
    outPtr: number,
    outLen: number,
  ): void;
  hashLabel(
    labelPtr: number,
    aPtr: number,
    aLen: number,
    bPtr: number,
    bLen: number,
    outPtr: number,
    outLen: number,
  ): void;
  seal(...args: AeadArgs): void;
  open(...args: AeadArgs): number;
}

type AeadArgs = [
  suite: number,
  keyPtr: number,
  noncePtr: number,
  topicPtr: number,
  topicLen: number,
  textPtr: number,
  textLen: number,
  tagPtr: number,
  tagLen: number,
];

export interface Sealed {
  ciphertext: Uint8Array;
  tag: Uint8Array;
}

export interface Opened {
  status: number;
  /** The text buffer after the call, whatever the status. */
  text: Uint8Array;
}

/** The known-answer module in every profile of assembly/ascon-p.ts. */
export const KAT_BUILDS = ["kat", "kat-interpreted", "kat-compiled", "kat-hosted"] as const;

export class Kat {
  readonly exports: Omit<KatExports, "memory">;
  readonly memory: Uint8Array;
  /** Next free address of the caller's area. */
  #next = 0;

  constructor(build: (typeof KAT_BUILDS)[number] = "kat") {
    const wasm = readFileSync(new URL(`../../build/ampoule-${build}.wasm`, import.meta.url));
    // In the place of the host's module, which no engine gives less memory than it declares.
    const bytes = Uint8Array.from(wasm);
    const engine = build === "kat-hosted" ? hostedEngine(bytes) : testEngine({ host: bytes });
    const { calls, memory } = engine.instantiate("host");
    this.exports = calls as unknown as KatExports;
    this.memory = memory;
  }

  hash256(message: Uint8Array): Uint8Array {
    this.#clear();
    const [ptr, out] = [this.#put(message), this.#reserve(32)];
    this.exports.asconHash256(ptr, message.length, out);
    return this.#get(out, 32);
  }

  xof128(message: Uint8Array, size: number): Uint8Array {
    this.#clear();
    const [ptr, out] = [this.#put(message), this.#reserve(size)];
    this.exports.asconXof128(ptr, message.length, out, size);
    return this.#get(out, size);
  }

  cxof128(customization: Uint8Array, message: Uint8Array, size: number): Uint8Array {
    this.#clear();
    const [zPtr, ptr, out] = [this.#put(customization), this.#put(message), this.#reserve(size)];
    this.exports.asconCxof128(zPtr, customization.length, ptr, message.length, out, size);
    return this.#get(out, size);
  }

  xoodyakHash(message: Uint8Array, size: number): Uint8Array {
    this.#clear();
    const [ptr, out] = [this.#put(message), this.#reserve(size)];
    this.exports.xoodyakHash(ptr, message.length, out, size);
    return this.#get(out, size);
  }

  derive(suite: number, key: Uint8Array, label: string, context: Uint8Array, size: number): Uint8Array {
    this.#clear();
    const [keyPtr, labelPtr] = [this.#put(key), this.#put(Buffer.from(`${label}\0`))];
    const [contextPtr, out] = [this.#put(context), this.#reserve(size)];
    this.exports.derive(suite, keyPtr, labelPtr, contextPtr, context.length, out, size);
    return this.#get(out, size);
  }

  hashLabel(label: string, a: Uint8Array, b: Uint8Array, size: number): Uint8Array {
    this.#clear();
    const labelPtr = this.#put(Buffer.from(`${label}\0`));
    const [aPtr, bPtr, out] = [this.#put(a), this.#put(b), this.#reserve(size)];
    this.exports.hashLabel(labelPtr, aPtr, a.length, bPtr, b.length, out, size);
    return this.#get(out, size);
  }

  /** shift moves every buffer that many bytes off its alignment. */
  seal(
    suite: number,
    key: Uint8Array,
    nonce: Uint8Array,
    topic: Uint8Array,
    text: Uint8Array,
    tagSize: number,
    shift = 0,
  ): Sealed {
    this.#clear();
    const [keyPtr, noncePtr, topicPtr] = [
      this.#put(key, shift),
      this.#put(nonce, shift),
      this.#put(topic, shift),
    ];
    const [textPtr, tagPtr] = [this.#put(text, shift), this.#reserve(tagSize, shift)];
    this.exports.seal(suite, keyPtr, noncePtr, topicPtr, topic.length, textPtr, text.length, tagPtr, tagSize);
    return { ciphertext: this.#get(textPtr, text.length), tag: this.#get(tagPtr, tagSize) };
  }

  /** shift moves every buffer that many bytes off its alignment. */
  open(
    suite: number,
    key: Uint8Array,
    nonce: Uint8Array,
    topic: Uint8Array,
    sealed: Sealed,
    shift = 0,
  ): Opened {
    this.#clear();
    const { ciphertext, tag } = sealed;
    const [keyPtr, noncePtr, topicPtr] = [
      this.#put(key, shift),
      this.#put(nonce, shift),
      this.#put(topic, shift),
    ];
    const [textPtr, tagPtr] = [this.#put(ciphertext, shift), this.#put(tag, shift)];
    const status = this.exports.open(
      suite,
      keyPtr,
      noncePtr,
      topicPtr,
      topic.length,
      textPtr,
      ciphertext.length,
      tagPtr,
      tag.length,
    );
    return { status, text: this.#get(textPtr, ciphertext.length) };
  }

  /** Ascon-p (40 bytes) with 12 or 8 rounds. */
  asconP(state: Uint8Array, rounds: number): Uint8Array {
    this.#clear();
    const ptr = this.#put(state);
    this.exports.asconP(ptr, rounds);
    return this.#get(ptr, state.length);
  }

  /** Xoodoo[12] (48 bytes). */
  xoodoo12(state: Uint8Array): Uint8Array {
    this.#clear();
    const ptr = this.#put(state);
    this.exports.xoodoo12(ptr);
    return this.#get(ptr, state.length);
  }

  /** Tells which addresses outside of the caller's area are not zero. */
  residue(): number[] {
    const begin = this.exports.areaPtr();
    const end = begin + this.exports.areaSize();
    const found: number[] = [];
    this.memory.forEach((byte, address) => {
      if (byte !== 0 && (address < begin || address >= end)) found.push(address);
    });
    return found;
  }

  #clear(): void {
    this.#next = this.exports.areaPtr();
  }

  #reserve(size: number, shift = 0): number {
    const ptr = Math.ceil(this.#next / 16) * 16 + shift;
    this.#next = ptr + size;
    if (this.#next > this.exports.areaPtr() + this.exports.areaSize()) throw new RangeError("area is full");
    return ptr;
  }

  #put(bytes: Uint8Array, shift = 0): number {
    const ptr = this.#reserve(bytes.length, shift);
    this.memory.set(bytes, ptr);
    return ptr;
  }

  #get(ptr: number, size: number): Uint8Array {
    return this.memory.slice(ptr, ptr + size);
  }
}
