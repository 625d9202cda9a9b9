// When a hello is due that no connection asks for: refusals that keys may explain (SPEC R-13), and counters
// that a device without storage lacks (P-4). Both ask at once, and again after growing pauses.

import { toHex } from "../bytes.ts";

/** Longest pause between two hellos that refusals ask for, in ticks. */
const PAUSE_MAX = 64;

interface Want {
  channel: Uint8Array;
  /** Since it was first asked for. */
  ticks: number;
  isDue: boolean;
  /** Sealing was refused, and the server has not been heard since. */
  isOpen: boolean;
}

export class Asks {
  /** Ticks until refusals are heard again, and for how many they are not after the next hello. */
  #wait = 0;
  #pause = 1;
  /** By channel id in hex. */
  readonly #wants = new Map<string, Want>();

  /**
   * True if refusals may ask now. Anybody who can publish makes refusals, stored values that are too old
   * make them in numbers, and each answer of the server begins the core's count anew: hence the pauses.
   */
  get hearsRefusals(): boolean {
    return this.#wait === 0;
  }

  /** A hello was said because of refusals. */
  refusalsAsked(): void {
    this.#wait = this.#pause;
    this.#pause = Math.min(2 * this.#pause, PAUSE_MAX);
  }

  /** Keys, steps or channels moved: what is refused from now on is another matter. */
  moved(): void {
    this.#wait = 0;
    this.#pause = 1;
  }

  /** Sealing was refused for want of counters. */
  want(channel: Uint8Array): void {
    const key = toHex(channel);
    const want = this.#wants.get(key) ?? { channel, ticks: 0, isDue: true, isOpen: true };
    want.isOpen = true;
    this.#wants.set(key, want);
  }

  /** Sealing was not refused. */
  sealed(channel: Uint8Array): void {
    if (this.#wants.size > 0) this.#wants.delete(toHex(channel));
  }

  get isWantDue(): boolean {
    return this.#open().some(({ isDue }) => isDue);
  }

  /** The channel a hello should name, if any: one that is due before others. */
  wanted(): Uint8Array | undefined {
    const open = this.#open();
    return (open.find(({ isDue }) => isDue) ?? open[0])?.channel;
  }

  /** A hello named the channel. */
  wantAsked(channel: Uint8Array): void {
    const want = this.#wants.get(toHex(channel));
    if (want !== undefined) want.isDue = false;
  }

  /**
   * The server spoke: what it granted shows when the application seals again, and nothing is asked until
   * then. Returns true if anything is wanted of a channel that `isHeld`.
   */
  heard(isHeld: (channel: Uint8Array) => boolean): boolean {
    for (const [key, want] of this.#wants) {
      want.isOpen = false;
      if (!isHeld(want.channel)) this.#wants.delete(key);
    }
    return this.#wants.size > 0;
  }

  /** `isAsking`: refusals ask for a hello that has not been said. */
  tick(isAsking: boolean): void {
    if (this.#wait > 0) this.#wait -= 1;
    else if (!isAsking) this.#pause = Math.max(1, this.#pause >> 1);
    for (const want of this.#wants.values()) {
      want.ticks += 1;
      if ((want.ticks & (want.ticks - 1)) === 0) want.isDue = true;
    }
  }

  clear(): void {
    this.#wants.clear();
  }

  #open(): Want[] {
    return [...this.#wants.values()].filter(({ isOpen }) => isOpen);
  }
}
