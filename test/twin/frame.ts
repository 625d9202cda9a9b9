/** SPEC section 6: header, nonce, associated data, text and the sealed frame. */

import { at, type Bytes, concat, getU16, u8, u16, u32, utf8, zeros } from "./bytes.ts";
import { STATUS } from "./status.ts";
import { open, parseForm, type Sealed, seal } from "./suites.ts";

export const HEADER_SIZE = 6;
export const MESSAGE_FRAMES = 64;
export const TOPIC_MAX = 1024;
const CHANNEL_AD = 0xffff;
const END_MARK = 0x80;
const LAST_PART = 0x80;

export interface Header {
  readonly form: number;
  readonly hint: number;
  readonly sender: number;
  readonly counter: number;
}

/** Everything that fixes nonce and shape of a frame, apart from its key. */
export interface Position {
  readonly form: number;
  /** F, in bytes. */
  readonly size: number;
  readonly sender: number;
  readonly generation: number;
  readonly step: number;
  readonly counter: number;
}

/** Associated data of F-2 with the topicLen that goes with it. */
export interface Ad {
  readonly bytes: Bytes;
  readonly topicLen: number;
}

export function topicAd(topic: string): Ad {
  const bytes = utf8(topic);
  return { bytes, topicLen: bytes.length };
}

export function channelAd(id: Bytes): Ad {
  return { bytes: id, topicLen: CHANNEL_AD };
}

export function hintOf(generation: number, step: number): number {
  return ((generation & 15) << 4) | (step & 15);
}

export function packHeader(p: Position): Bytes {
  return concat(u8(p.form), u8(hintOf(p.generation, p.step)), u16(p.sender), u16(p.counter));
}

export function parseHeader(frame: Bytes): Header {
  return { form: at(frame, 0), hint: at(frame, 1), sender: getU16(frame, 2), counter: getU16(frame, 4) };
}

/** F-1. */
export function nonceOf(p: Position, topicLen: number): Bytes {
  return concat(
    u8(p.form),
    u8(p.size / 8),
    u16(p.sender),
    u32(p.generation),
    u16(p.step),
    u16(p.counter),
    zeros(2),
    u16(topicLen),
  );
}

export function tagSize(form: number): number {
  return (form & 0x10) !== 0 ? 8 : 16;
}

/** Bytes of application text that one frame holds. */
export function chunkSize(form: number, size: number): number {
  return size - tagSize(form) - HEADER_SIZE - 2;
}

/** The limits of section 1: a multiple of 8, from 24 (32 with full tags) to 1024. */
export function isFrameSize(form: number, size: number): boolean {
  return size % 8 === 0 && size >= (tagSize(form) === 8 ? 24 : 32) && size <= 1024;
}

/** F-3. */
export function padText(part: number, chunk: Bytes, textSize: number): Bytes {
  return concat(u8(part), chunk, u8(END_MARK), zeros(textSize - chunk.length - 2));
}

export function unpadText(text: Bytes): { part: number; chunk: Bytes } | null {
  const part = at(text, 0);
  let end = text.length - 1;
  while (end > 0 && at(text, end) === 0) end--;
  if (end === 0 || at(text, end) !== END_MARK || (part & 0x40) !== 0) return null;
  return { part, chunk: text.slice(1, end) };
}

export interface SealedFrame extends Sealed {
  readonly nonce: Bytes;
  readonly text: Bytes;
  readonly frame: Bytes;
}

export function sealFrame(p: Position, key: Bytes, ad: Ad, part: number, chunk: Bytes): SealedFrame {
  const t = tagSize(p.form);
  const suite = parseForm(p.form)?.suite ?? 0;
  const nonce = nonceOf(p, ad.topicLen);
  const text = padText(part, chunk, p.size - HEADER_SIZE - t);
  const sealed = seal(suite, key, nonce, ad.bytes, text, t);
  return { ...sealed, nonce, text, frame: concat(packHeader(p), sealed.cipher, sealed.tag) };
}

export interface OpenedFrame {
  readonly status: number;
  readonly part: number;
  readonly chunk: Bytes;
}

/** OK, BAD_TAG or BAD_PADDING. The caller has checked length, form and hint; `frame` has p.size bytes. */
export function openFrame(p: Position, key: Bytes, ad: Ad, frame: Bytes): OpenedFrame {
  const t = tagSize(p.form);
  const suite = parseForm(p.form)?.suite ?? 0;
  const cipher = frame.subarray(HEADER_SIZE, p.size - t);
  const tag = frame.subarray(p.size - t);
  const text = open(suite, key, nonceOf(p, ad.topicLen), ad.bytes, cipher, tag);
  if (text === null) return { status: STATUS.BAD_TAG, part: 0, chunk: zeros(0) };
  const unpadded = unpadText(text);
  if (unpadded === null) return { status: STATUS.BAD_PADDING, part: 0, chunk: zeros(0) };
  return { status: STATUS.OK, ...unpadded };
}

/** F-5: the chunks of a message, all full but the last; one empty chunk for an empty text. */
export function splitMessage(text: Bytes, chunk: number): Bytes[] {
  const chunks = [text.slice(0, chunk)];
  for (let i = chunk; i < text.length; i += chunk) chunks.push(text.slice(i, i + chunk));
  return chunks;
}

export function partOf(index: number, count: number): number {
  return index === count - 1 ? LAST_PART | index : index;
}

export function isLastPart(part: number): boolean {
  return (part & LAST_PART) !== 0;
}

export function partIndex(part: number): number {
  return part & 0x3f;
}
