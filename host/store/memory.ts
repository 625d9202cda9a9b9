// A store in memory, with the power cuts of a real one: a write may be torn, and then nothing works
// until power is back.

import { concat } from "../bytes.ts";
import { StoreError } from "./errors.ts";
import { checkIdentity, copyIdentity } from "./identity.ts";
import type { Identity, Store, StoredState } from "./store.ts";

/** Size of a mark record (SPEC T-5). */
export const MARK_SIZE = 48;

/** Everything a MemoryStore holds; shares no memory with it. */
export interface StoreImage {
  identity: Identity;
  slots: [Uint8Array | null, Uint8Array | null];
  /** Appended records one after the other; the last one may be torn. */
  marks: Uint8Array;
}

export class MemoryStore implements Store {
  #image: StoreImage;
  /** Writes left until power fails; null while it is steady. */
  #writesLeft: number | null = null;
  #torn = 0;
  #closed = false;

  /** Throws StoreError BAD_IDENTITY. */
  constructor(identity: Identity) {
    checkIdentity(identity, "identity");
    this.#image = { identity: copyIdentity(identity), slots: [null, null], marks: new Uint8Array(0) };
  }

  identity(): Identity {
    this.#demandPower();
    return copyIdentity(this.#image.identity);
  }

  saveIdentity(identity: Identity): void {
    checkIdentity(identity, "identity");
    this.#write(() => {
      this.#image.identity = copyIdentity(identity);
    });
  }

  load(): StoredState {
    this.#demandPower();
    const { slots, marks } = this.#image;
    return { slots: [slots[0]?.slice() ?? null, slots[1]?.slice() ?? null], marks: splitMarks(marks) };
  }

  writeSlot(index: 0 | 1, blob: Uint8Array): void {
    const torn = (): void => {
      this.#image.slots[index] = blob.slice(0, this.#torn);
    };
    this.#write(() => {
      this.#image.slots[index] = blob.slice();
    }, torn);
  }

  appendMark(mark: Uint8Array): void {
    if (mark.length !== MARK_SIZE) throw new StoreError("BAD_MARK", `a mark has ${MARK_SIZE} bytes`);
    const whole = wholeMarks(this.#image.marks);
    const append = (size: number): void => {
      this.#image.marks = concat(whole, mark.subarray(0, size));
    };
    this.#write(
      () => append(MARK_SIZE),
      () => append(Math.min(this.#torn, MARK_SIZE - 1)),
    );
  }

  clearMarks(): void {
    this.#write(() => {
      this.#image.marks = new Uint8Array(0);
    });
  }

  close(): void {
    this.#closed = true;
  }

  /** The whole content, as a disk image would have it. */
  snapshot(): StoreImage {
    return copyImage(this.#image);
  }

  /** Puts a disk image back, with power on and the store open. */
  restore(image: StoreImage): void {
    this.#image = copyImage(image);
    this.powerOn();
  }

  /**
   * Lets `writes` more writes through; the next one is torn after `torn` bytes (identity and
   * clearMarks are atomic: they do not happen), throws StoreError POWER_CUT, and so does every
   * later call until powerOn() or restore().
   */
  cutPower(writes: number, torn = 0): void {
    this.#writesLeft = writes;
    this.#torn = torn;
  }

  /** Power is back: content is what the cut left. */
  powerOn(): void {
    this.#writesLeft = null;
    this.#closed = false;
  }

  #write(whole: () => void, torn: () => void = () => {}): void {
    this.#demandPower();
    if (this.#writesLeft === 0) {
      torn();
      this.#writesLeft = -1;
      throw new StoreError("POWER_CUT", "the power failed");
    }
    if (this.#writesLeft !== null) this.#writesLeft -= 1;
    whole();
  }

  #demandPower(): void {
    if (this.#closed) throw new StoreError("CLOSED", "the store is closed");
    if (this.#writesLeft === -1) throw new StoreError("POWER_CUT", "the power failed");
  }
}

/** Whole records of appended marks; a torn last one is left out. */
export function splitMarks(bytes: Uint8Array): Uint8Array[] {
  const marks: Uint8Array[] = [];
  for (let at = 0; at + MARK_SIZE <= bytes.length; at += MARK_SIZE)
    marks.push(bytes.slice(at, at + MARK_SIZE));
  return marks;
}

/** The part of appended marks that is whole records. */
export function wholeMarks(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, bytes.length - (bytes.length % MARK_SIZE));
}

function copyImage(image: StoreImage): StoreImage {
  const { identity, slots, marks } = image;
  return {
    identity: copyIdentity(identity),
    slots: [slots[0]?.slice() ?? null, slots[1]?.slice() ?? null],
    marks: marks.slice(),
  };
}
