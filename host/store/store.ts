// What a client keeps: an identity, two blob slots and appended marks (SPEC section 12).
// All calls are synchronous and durable when they return: the core decides on text and counters
// right after them, so an answer "stored" that is not true would repeat a position.

export interface Identity {
  /** 8 bytes each. */
  realm: Uint8Array;
  device: Uint8Array;
  /** Topic prefix of control and epoch topics. */
  prefix: string;
  /** K(0), 16 bytes; undefined once overwritten (SPEC I-1). */
  key?: Uint8Array;
  /** 32 bytes; present from the first boot on. */
  storageKey?: Uint8Array;
}

export interface StoredState {
  /** Slot contents; null is blank (never written). */
  slots: [Uint8Array | null, Uint8Array | null];
  /** Records of 48 bytes, in the order they were appended; a torn last record is left out. */
  marks: Uint8Array[];
}

export interface Store {
  identity(): Identity;
  /** Replaces the identity (K(0) overwritten by the storage key). */
  saveIdentity(identity: Identity): void;
  load(): StoredState;
  writeSlot(index: 0 | 1, blob: Uint8Array): void;
  appendMark(mark: Uint8Array): void;
  /** Called after both slots were written: marks of older sequences are not needed any more. */
  clearMarks(): void;
  /** True when so many marks have been appended that a blob should be stored, after which they go. */
  wantsBlob?(): boolean;
  close(): void;
}
