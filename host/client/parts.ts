// Narrow channels: one frame is one payload, and a message is joined here (SPEC F-6, R-9).

import { concat } from "../bytes.ts";
import type { Opened } from "../core/device.ts";
import { RefusedError } from "../status.ts";
import { BoundedMap } from "./bounded.ts";

/** Messages that may be unfinished at a time, over all topics and senders. */
const UNFINISHED_MAX = 64;

interface Unfinished {
  topic: string;
  generation: number;
  step: number;
  /** Counter and index the next part must have. */
  counter: number;
  part: number;
  chunks: Uint8Array[];
}

export class Parts {
  /** Told of each message that is dropped unfinished while the part at hand is good. */
  readonly #onGap: (topic: string) => void;
  readonly #unfinished: BoundedMap<Unfinished>;

  constructor(onGap: (topic: string) => void) {
    this.#onGap = onGap;
    this.#unfinished = new BoundedMap(UNFINISHED_MAX, (_key, dropped) => onGap(dropped.topic));
  }

  /**
   * Takes a frame that the core accepted. Returns the text of a message that is now whole, or null
   * while parts are missing.
   *
   * Throws RefusedError GAP for a part that does not follow what is held; that message is dropped.
   */
  add(topic: string, opened: Opened): Uint8Array | null {
    const key = `${opened.sender} ${topic}`;
    const held = this.#unfinished.get(key);
    this.#unfinished.delete(key);
    if (opened.part === 0) {
      if (held !== undefined) this.#onGap(topic);
      return this.#keep(key, topic, opened, []);
    }
    if (held === undefined || !follows(held, opened)) throw new RefusedError("GAP", topic);
    return this.#keep(key, topic, opened, held.chunks);
  }

  clear(): void {
    this.#unfinished.clear();
  }

  #keep(key: string, topic: string, opened: Opened, before: Uint8Array[]): Uint8Array | null {
    const chunks = [...before, opened.text];
    if (opened.last) return concat(...chunks);
    const { generation, step, counter, part } = opened;
    this.#unfinished.set(key, { topic, generation, step, counter: counter + 1, part: part + 1, chunks });
    return null;
  }
}

function follows(held: Unfinished, opened: Opened): boolean {
  return (
    held.generation === opened.generation &&
    held.step === opened.step &&
    held.counter === opened.counter &&
    held.part === opened.part
  );
}
