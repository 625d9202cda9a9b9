// What the key server asks of the core: the same rooms the device runs, with keys given by the caller.

import { RefusedError, STATUS, statusName } from "../status.ts";
import { CHUNK_OFFSET, KIT_CONTEXT_MAX, placesOf } from "./abi.ts";
import type { Engine, Instance } from "./engine.ts";

/** Labels of SPEC section 3; the number is the index the core knows them by. */
export const LABEL = {
  root: 0,
  tree: 1,
  send: 2,
  seed: 3,
  step: 4,
  next: 5,
  sess: 6,
  stor: 7,
  sync: 8,
  lock: 9,
} as const;
export type Label = keyof typeof LABEL;

/** Everything of a frame but its text (SPEC F-1). `id` is the channel or device id, 8 bytes. */
export interface FrameHead {
  form: number;
  frameSize: number;
  sender: number;
  generation: number;
  step: number;
  counter: number;
  realm: Uint8Array;
  id: Uint8Array;
  /** Bytes of the topic; null in topic mode 1. */
  topic: Uint8Array | null;
  /** 16 bytes. */
  stepSecret: Uint8Array;
}

export class Kit {
  readonly #instance: Instance;
  readonly #a: number;
  readonly #b: number;
  readonly #out: number;
  readonly #frame: number;
  readonly #topic: number;

  constructor(engine: Engine) {
    this.#instance = engine.instantiate("host");
    const { calls } = this.#instance;
    this.#a = call(calls, "kitA");
    this.#b = call(calls, "kitB");
    this.#out = call(calls, "kitOut");
    this.#frame = call(calls, "buffers");
    this.#topic = placesOf(this.#frame, "host").topic;
  }

  /** SPEC S-6; key 16 bytes, context at most 64 bytes, n at most 64. */
  derive(suite: number, key: Uint8Array, label: Label, context: Uint8Array, n: number): Uint8Array {
    if (key.length !== 16 || context.length > KIT_CONTEXT_MAX || n > 64)
      throw new RefusedError("BAD_ARGUMENT");
    const { memory, calls } = this.#instance;
    memory.set(key, this.#a);
    memory.set(context, this.#b);
    this.#check(call(calls, "kitDerive", suite, LABEL[label], context.length, n));
    return this.#take(this.#out, n);
  }

  /** SPEC section 3: channel id of a filter. */
  channelId(realm: Uint8Array, filter: string): Uint8Array {
    const bytes = new TextEncoder().encode(filter);
    const { memory, calls } = this.#instance;
    if (realm.length !== 8 || bytes.length > 1024) throw new RefusedError("BAD_ARGUMENT");
    memory.set(realm, this.#a);
    memory.set(bytes, this.#topic);
    this.#check(call(calls, "kitChannelId", bytes.length));
    return this.#take(this.#out, 8);
  }

  /** Seals one frame; `part` as in SPEC F-3, chunk at most F - t - 8 bytes. */
  sealFrame(head: FrameHead, part: number, chunk: Uint8Array): Uint8Array {
    const { memory, calls } = this.#instance;
    this.#setHead(head);
    const room = head.frameSize - (head.form & 16 ? 8 : 16) - 8;
    if (chunk.length > room) throw new RefusedError("BAD_LENGTH");
    memory.set(chunk, this.#frame + CHUNK_OFFSET);
    this.#check(call(calls, "kitSeal", ...this.#numbers(head), part, chunk.length));
    return this.#take(this.#frame, head.frameSize);
  }

  /** Opens one frame with the given head; throws RefusedError (BAD_TAG, BAD_FORM, BAD_LENGTH, BAD_PADDING). */
  openFrame(head: FrameHead, frame: Uint8Array): { part: number; chunk: Uint8Array } {
    const { memory, calls } = this.#instance;
    if (frame.length !== head.frameSize || head.frameSize > 1024) throw new RefusedError("BAD_LENGTH");
    this.#setHead(head);
    memory.set(frame, this.#frame);
    this.#check(call(calls, "kitOpen", ...this.#numbers(head)));
    const part = memory[this.#out] ?? 0;
    const length = (memory[this.#out + 4] ?? 0) | ((memory[this.#out + 5] ?? 0) << 8);
    const chunk = this.#take(this.#frame + CHUNK_OFFSET, length);
    memory.fill(0, this.#frame, this.#frame + head.frameSize);
    return { part, chunk };
  }

  #setHead(head: FrameHead): void {
    const { memory } = this.#instance;
    if (head.stepSecret.length !== 16 || head.realm.length !== 8 || head.id.length !== 8)
      throw new RefusedError("BAD_ARGUMENT");
    if (head.topic !== null && head.topic.length > 1024) throw new RefusedError("BAD_ARGUMENT");
    memory.set(head.stepSecret, this.#a);
    memory.set(head.realm, this.#b);
    memory.set(head.id, this.#b + 8);
    if (head.topic !== null) memory.set(head.topic, this.#topic);
  }

  #numbers(head: FrameHead): number[] {
    return [
      head.form,
      head.frameSize,
      head.sender,
      head.generation | 0,
      head.step,
      head.counter,
      head.topic === null ? 0xffff : head.topic.length,
    ];
  }

  #take(at: number, size: number): Uint8Array {
    const { memory } = this.#instance;
    const bytes = memory.slice(at, at + size);
    memory.fill(0, at, at + size);
    return bytes;
  }

  #check(status: number): void {
    const { memory } = this.#instance;
    memory.fill(0, this.#a, this.#a + 16);
    memory.fill(0, this.#b, this.#b + KIT_CONTEXT_MAX);
    if (status !== STATUS.OK) throw new RefusedError(statusName(status));
  }
}

function call(calls: Instance["calls"], name: string, ...args: number[]): number {
  const f = calls[name];
  if (f === undefined) throw new Error(`the core module has no export ${name}`);
  return f(...args);
}
