// Numbers of the core's ABI (assembly/index.ts, assembly/layout.ts) that the host needs.

import type { Build } from "./engine.ts";

/** Where a chunk lies in the frame buffer: after header and part byte. */
export const CHUNK_OFFSET = 7;
/** Where an answer expects the id of the wanted channel. */
export const WANT_OFFSET = 67;
export const FRAME_MAX = 1024;
export const CONTROL_FRAME = 128;
export const CONTROL_FRAMES = 8;
export const MARK_SIZE = 48;
export const BLOB_HEADER = 16;
export const KIT_CONTEXT_MAX = 64;

/** What lies behind buffers(), and the size of a blob's chunks. */
export interface Places {
  record: number;
  out: number;
  ask: number;
  topic: number;
  topicMax: number;
  state: number;
  blobChunk: number;
}

export function placesOf(buffers: number, build: Build): Places {
  const topicMax = build === "host" ? 1024 : 256;
  const record = buffers + FRAME_MAX;
  const out = record + MARK_SIZE;
  const ask = out + 20;
  const topic = ask + 4;
  return {
    record,
    out,
    ask,
    topic,
    topicMax,
    state: topic + topicMax,
    blobChunk: build === "host" ? 504 : 336,
  };
}

/** Within the device's state. */
export const VERSION_AT = 40;
export const STORAGE_KEY_AT = 112;

/** Within a channel: F/8 and number of leaves of the kept previous generation. */
export const PREVIOUS_SIZE_AT = 81;
export const PREVIOUS_COUNT_AT = 82;
export const PREVIOUS_FLAGS_AT = 83;

/** kind of `answer`. */
export const HELLO = 0;
export const ACK = 1;

/** flags of `unprotect`. */
export const FLAG_FIRST = 1;
export const FLAG_FINAL = 2;
export const FLAG_STORED = 4;
