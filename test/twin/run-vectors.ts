/** Runs test/vectors/*.json over any implementation. Every function throws on the first difference. */

import { type Bytes, concat, hex, unhex } from "./bytes.ts";
import type { DeviceModel, DeviceOptions } from "./model.ts";
import { runScript, type Script } from "./script.ts";

/** What sections 3 to 6 ask of cryptography. */
export interface Primitives {
  /** t is 8 or 16. */
  seal(
    suite: number,
    key: Bytes,
    nonce: Bytes,
    ad: Bytes,
    text: Bytes,
    t: number,
  ): { cipher: Bytes; tag: Bytes };
  /** null when the tag is another; tag has t bytes. */
  open(suite: number, key: Bytes, nonce: Bytes, ad: Bytes, cipher: Bytes, tag: Bytes): Bytes | null;
  /** label of 7 ASCII characters. */
  derive(suite: number, key: Bytes, label: string, context: Bytes, n: number): Bytes;
  digest(label: string, message: Bytes, n: number): Bytes;
}

/** One row of section 9, as the tables hold it. bits: 16 hex digits, the lowest bit stands for top. */
export interface WindowText {
  generation: number;
  step: number;
  top: number;
  bits: string;
}

export interface RowText {
  n1: WindowText;
  n0: WindowText | null;
  closedBelow: boolean;
}

export interface Rooms {
  /** K-4: heap numbers of the smallest cover. */
  cover(from: number, to: number): number[];
  /** Section 9: the status of a counter and, if it is OK, the row after it is marked. */
  window(row: RowText | null, epoch: { generation: number; step: number }, counter: number): WindowVerdict;
}

export interface WindowVerdict {
  status: string;
  after: RowText | null;
}

export interface Derivation {
  title: string;
  suite: number;
  label: string;
  key: string;
  context: string;
  n: number;
  output: string;
}

export interface FrameVector {
  suite: number;
  t: number;
  F: number;
  topicMode: number;
  topic: string;
  generation: number;
  step: number;
  sender: number;
  counter: number;
  stepSecret: string;
  context: string;
  senderKey: string;
  A16: string;
  ad: string;
  part: number;
  chunk: string;
  text: string;
  N: string;
  C: string;
  T: string;
  frame: string;
}

export interface DigestVector {
  title: string;
  label: string;
  message: string;
  output: string;
}

export interface CoverVector {
  from: number;
  to: number;
  nodes: number[];
}

export interface WindowVector {
  title: string;
  row: RowText | null;
  epoch: { generation: number; step: number };
  counter: number;
  status: string;
  after: RowText | null;
}

/** A record of section 12: a mark or one chunk of a blob. */
export interface RecordVector {
  title: string;
  key: string;
  nonce: string;
  ad: string;
  text: string;
  C: string;
  T: string;
}

function same(where: string, actual: unknown, expected: unknown): void {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (got !== wanted) throw new Error(`${where}: ${got} instead of ${wanted}`);
}

export function runDerivations(impl: Primitives, vectors: readonly Derivation[]): void {
  for (const { title, suite, label, key, context, n, output } of vectors) {
    same(title, hex(impl.derive(suite, unhex(key), label, unhex(context), n)), output);
  }
}

export function runDigests(impl: Primitives, vectors: readonly DigestVector[]): void {
  for (const { title, label, message, output } of vectors) {
    same(title, hex(impl.digest(label, unhex(message), output.length / 2)), output);
  }
}

/** Key, seal, open, and every single changed bit of the tag refused. */
export function runFrameVectors(impl: Primitives, vectors: readonly FrameVector[]): void {
  vectors.forEach((v, i) => {
    const where = `frame ${i} (suite ${v.suite}, t = ${v.t}, F = ${v.F})`;
    const [nonce, ad, text, tag] = [unhex(v.A16), unhex(v.ad), unhex(v.text), unhex(v.T)];
    const key = impl.derive(
      v.suite,
      unhex(v.stepSecret),
      "A1-send",
      unhex(v.context),
      v.senderKey.length / 2,
    );
    same(`${where} sender key`, hex(key), v.senderKey);
    const sealed = impl.seal(v.suite, key, nonce, ad, text, v.t);
    same(`${where} C`, hex(sealed.cipher), v.C);
    same(`${where} T`, hex(sealed.tag), v.T);
    const opened = impl.open(v.suite, key, nonce, ad, unhex(v.C), tag);
    same(`${where} opened`, opened === null ? null : hex(opened), v.text);
    same(`${where} frame`, v.frame.slice(12), hex(concat(sealed.cipher, sealed.tag)));
    for (const bit of [0, 8 * v.t - 1]) {
      const forged = tag.slice();
      forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      same(`${where} forged`, impl.open(v.suite, key, nonce, ad, unhex(v.C), forged), null);
    }
  });
}

export function runRecordVectors(impl: Primitives, vectors: readonly RecordVector[]): void {
  for (const { title, key, nonce, ad, text, C, T } of vectors) {
    const sealed = impl.seal(0, unhex(key), unhex(nonce), unhex(ad), unhex(text), 16);
    same(`${title} C`, hex(sealed.cipher), C);
    same(`${title} T`, hex(sealed.tag), T);
    const opened = impl.open(0, unhex(key), unhex(nonce), unhex(ad), unhex(C), unhex(T));
    same(`${title} opened`, opened === null ? null : hex(opened), text);
  }
}

export function runCoverVectors(impl: Rooms, vectors: readonly CoverVector[]): void {
  for (const { from, to, nodes } of vectors) same(`cover ${from}..${to}`, impl.cover(from, to), nodes);
}

export function runWindowVectors(impl: Rooms, vectors: readonly WindowVector[]): void {
  for (const { title, row, epoch, counter, status, after } of vectors) {
    const verdict = impl.window(row, epoch, counter);
    same(`${title}, counter ${counter}`, verdict, { status, after });
  }
}

export function runScripts(make: (options: DeviceOptions) => DeviceModel, scripts: readonly Script[]): void {
  for (const script of scripts) runScript(make, script);
}
