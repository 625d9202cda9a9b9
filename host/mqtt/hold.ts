// Payloads whose keys may be on their way: kept, bounded in number and time, and tried again when
// keys change. Of a few QoS 1 payloads the PUBACK is held back, so that they outlive this process.

import type { IPublishPacket } from "mqtt";
import type { RefusedError } from "../status.ts";
import type { Timer, World } from "../world.ts";

/**
 * Payloads that may be unacknowledged at a time. Brokers send about 20 without an answer, and the
 * command that brings the key has to pass too.
 */
const UNACKNOWLEDGED_MAX = 8;

export interface Held {
  topic: string;
  payload: Buffer;
  packet: IPublishPacket;
  error: RefusedError;
  /** The PUBACK is owed to the broker. */
  unacknowledged: boolean;
}

interface Entry extends Held {
  /** When it is given up, by `World.now`. */
  until: number;
}

export class Hold {
  readonly #world: World;
  readonly #max: number;
  readonly #ms: number;
  readonly #onExpired: (held: Held) => void;
  #entries: Entry[] = [];
  #timer: Timer | null = null;

  /** `onExpired` is called with each payload that is given up. */
  constructor(world: World, max: number, ms: number, onExpired: (held: Held) => void) {
    this.#world = world;
    this.#max = max;
    this.#ms = ms;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** True if the PUBACK of one more payload may be held back. */
  mayWithhold(): boolean {
    return this.#entries.filter((entry) => entry.unacknowledged).length < UNACKNOWLEDGED_MAX;
  }

  /** Keeps a payload; the oldest one is given up to make room. */
  add(held: Held): void {
    if (this.#max === 0) {
      this.#onExpired(held);
      return;
    }
    this.#entries.push({ ...held, until: this.#world.now() + this.#ms });
    if (this.#entries.length > this.#max) {
      const oldest = this.#entries.shift();
      if (oldest !== undefined) this.#onExpired(oldest);
    }
    this.#arm();
  }

  /** Tries each payload again, oldest first; those for which `open` returns an error stay. */
  retry(open: (held: Held) => RefusedError | null): void {
    const entries = this.#entries;
    this.#entries = [];
    for (const entry of entries) {
      const error = open(entry);
      if (error !== null) this.#entries.push({ ...entry, error });
    }
  }

  /**
   * The connection is gone. With a session the broker sends unacknowledged payloads again: they are
   * forgotten here. Without one they are kept, and nothing is owed.
   */
  reconnected(session: boolean): void {
    if (session) this.#entries = this.#entries.filter((entry) => !entry.unacknowledged);
    for (const entry of this.#entries) entry.unacknowledged = false;
  }

  /** Gives up everything that is held. */
  close(): void {
    if (this.#timer !== null) this.#world.clearTimer(this.#timer);
    this.#timer = null;
    const entries = this.#entries;
    this.#entries = [];
    for (const entry of entries) this.#onExpired(entry);
  }

  #arm(): void {
    const oldest = this.#entries[0];
    if (this.#timer !== null || oldest === undefined) return;
    const wait = Math.max(1, oldest.until - this.#world.now());
    this.#timer = this.#world.setTimer(Math.min(wait, this.#ms), () => this.#expire());
  }

  #expire(): void {
    this.#timer = null;
    const now = this.#world.now();
    const expired = this.#entries.filter((entry) => entry.until <= now);
    this.#entries = this.#entries.filter((entry) => entry.until > now);
    for (const entry of expired) this.#onExpired(entry);
    this.#arm();
  }
}
