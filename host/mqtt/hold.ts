// Payloads to be tried again: those whose keys or derivation credit may come, bounded in number and time,
// and those whose acceptance could not be stored. Of a few the acknowledgement is held back, so that
// they outlive this process.

import type { IPublishPacket } from "mqtt";
import { RefusedError } from "../status.ts";
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
  /** A verdict, or for what could not be stored the failure. */
  error: Error;
  /** PUBACK or PUBCOMP is owed to the broker. */
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

  /** `onExpired` is called with each payload that is given up; none is for want of a store. */
  constructor(world: World, max: number, ms: number, onExpired: (held: Held) => void) {
    this.#world = world;
    this.#max = max;
    this.#ms = ms;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** True if something waits for its acceptance to be stored, or for derivation credit. */
  waitsForTick(): boolean {
    return this.#entries.some(({ error }) => !isVerdict(error) || error.status === "BUSY");
  }

  /** True if the acknowledgement of one more payload may be held back. */
  mayWithhold(): boolean {
    return this.#entries.filter((entry) => entry.unacknowledged).length < UNACKNOWLEDGED_MAX;
  }

  /** Keeps a payload; the oldest one is given up to make room. */
  add(held: Held): void {
    if (this.#max === 0) {
      this.#onExpired(held);
      return;
    }
    this.#entries.push({ ...held, until: this.#until(held.error) });
    this.#arm();
    if (this.#entries.length <= this.#max) return;
    const oldest = this.#entries.shift();
    if (oldest !== undefined) this.#onExpired(oldest);
  }

  /**
   * Tries each payload again, oldest first; those for which `open` returns an error stay. What `open`
   * throws ends the round: those that were not tried yet stay too.
   */
  retry(open: (held: Held) => Error | null): void {
    const untried = this.#entries;
    const kept: Entry[] = [];
    this.#entries = [];
    try {
      for (let entry = untried.shift(); entry !== undefined; entry = untried.shift()) {
        const error = open(entry);
        if (error !== null) kept.push({ ...entry, error, until: Math.min(entry.until, this.#until(error)) });
      }
    } finally {
      this.#entries = [...kept, ...untried, ...this.#entries];
      this.#arm();
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
    for (let entry = this.#entries.shift(); entry !== undefined; entry = this.#entries.shift()) {
      this.#onExpired(entry);
    }
  }

  /** When a payload is given up; what waits for the store is not. */
  #until(error: Error): number {
    return isVerdict(error) ? this.#world.now() + this.#ms : Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const next = Math.min(...this.#entries.map(({ until }) => until));
    if (this.#timer !== null || next === Number.POSITIVE_INFINITY) return;
    const wait = Math.max(1, next - this.#world.now());
    this.#timer = this.#world.setTimer(Math.min(wait, this.#ms), () => this.#expire());
  }

  #expire(): void {
    this.#timer = null;
    const now = this.#world.now();
    const isOver = ({ until }: Entry): boolean => until <= now;
    try {
      for (let at = this.#entries.findIndex(isOver); at >= 0; at = this.#entries.findIndex(isOver)) {
        for (const entry of this.#entries.splice(at, 1)) this.#onExpired(entry);
      }
    } finally {
      this.#arm();
    }
  }
}

/** False for a failure of the store, now or before (PENDING), which says nothing about the payload. */
export function isVerdict(error: Error): error is RefusedError {
  return error instanceof RefusedError && error.status !== "PENDING";
}
