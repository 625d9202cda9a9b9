// A store in a directory: slot-0, slot-1 and marks, beside the identity file they belong to.

import type { Disk, World } from "../world.ts";
import { LockedError, StoreError } from "./errors.ts";
import { formatIdentity, IDENTITY_MAX, type NamedIdentity, parseIdentity } from "./identity.ts";
import { MARK_SIZE, splitMarks, wholeMarks } from "./memory.ts";
import type { Identity, Store, StoredState } from "./store.ts";

/** More than the largest blob of the host build (SPEC T-2, T-3). */
const SLOT_MAX = 4 << 20;
/** A third of a million marks: far more than a device appends before it stores the blob it is asked for. */
const MARKS_MAX = 16 << 20;
/** Five thousand marks: what is read at each start stays short. */
const MARKS_WANTED = 256 << 10;
const FILES = new Set(["lock", "slot-0", "slot-1", "marks"]);
const TEMPORARY = /\.tmp$/;

export class DirectoryStore implements Store {
  readonly #disk: Disk;
  readonly #identityPath: string;
  readonly #directory: string;
  readonly #lock: { release(): void };
  #identity: NamedIdentity;
  #marksSize = 0;
  #closed = false;

  /**
   * Opens the state of one identity, exclusively: a second opening, by this process or another,
   * throws LockedError. Files are written with mode 0600. State lies beside the file that a symbolic link names, and K(0)
   * is overwritten there.
   *
   * Throws StoreError NO_IDENTITY_FILE, BAD_IDENTITY, UNKNOWN_FILE or OVERSIZE, nothing changed; and OTHER_DEVICE
   * where the port for files in C keeps the state of this identity: two would seal the same positions.
   */
  constructor(world: World, identityPath: string, stateDir?: string) {
    this.#disk = world.disk;
    this.#identityPath = world.disk.real(identityPath);
    this.#directory = stateDir ?? stateDirectory(this.#identityPath);
    readIdentity(this.#disk, this.#identityPath);
    this.#checkOther();
    this.#lock = this.#disk.lock(this.#path("lock"));
    try {
      // Read again: until the lock was taken another process could replace the identity.
      this.#identity = readIdentity(this.#disk, this.#identityPath);
      this.#checkOther();
      this.#checkFiles();
      this.#mendMarks();
    } catch (error) {
      this.#lock.release();
      throw error;
    }
  }

  identity(): Identity {
    this.#demandOpen();
    return parseIdentity(formatIdentity(this.#identity, this.#identityPath), this.#identityPath);
  }

  saveIdentity(identity: Identity): void {
    this.#demandOpen();
    const { name } = this.#identity;
    const text = formatIdentity(name === undefined ? identity : { ...identity, name }, this.#identityPath);
    this.#disk.write(this.#identityPath, new TextEncoder().encode(text));
    this.#identity = parseIdentity(text, this.#identityPath);
  }

  load(): StoredState {
    this.#demandOpen();
    const slot = (index: number): Uint8Array | null => this.#read(`slot-${index}`, SLOT_MAX);
    return {
      slots: [slot(0), slot(1)],
      marks: splitMarks(this.#read("marks", MARKS_MAX) ?? new Uint8Array(0)),
    };
  }

  writeSlot(index: 0 | 1, blob: Uint8Array): void {
    this.#demandOpen();
    if (blob.length > SLOT_MAX) throw new StoreError("OVERSIZE", `a slot has at most ${SLOT_MAX} bytes`);
    this.#disk.write(this.#path(`slot-${index}`), blob);
  }

  appendMark(mark: Uint8Array): void {
    this.#demandOpen();
    if (mark.length !== MARK_SIZE) throw new StoreError("BAD_MARK", `a mark has ${MARK_SIZE} bytes`);
    if (this.#marksSize + MARK_SIZE > MARKS_MAX) {
      throw new StoreError("FULL", `${this.#path("marks")} is full: no blob was stored for a long time`);
    }
    this.#disk.append(this.#path("marks"), mark);
    this.#marksSize += MARK_SIZE;
  }

  clearMarks(): void {
    this.#demandOpen();
    this.#disk.remove(this.#path("marks"));
    this.#marksSize = 0;
  }

  wantsBlob(): boolean {
    return this.#marksSize > MARKS_WANTED;
  }

  /** Gives the lock back. May be called twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#lock.release();
  }

  /** The other side looks for ours in the same way, before and after it makes its own. */
  #checkOther(): void {
    const other = deviceDirectory(this.#identityPath);
    if (this.#disk.list(other).length === 0) return;
    throw new StoreError("OTHER_DEVICE", `${this.#identityPath} is in use by a device in C, ${other} says`);
  }

  /** Leftovers of a write that was cut off are removed; anything else foreign is refused. */
  #checkFiles(): void {
    const names = this.#disk.list(this.#directory);
    const foreign = names.find((name) => !FILES.has(name) && !TEMPORARY.test(name));
    if (foreign !== undefined) {
      throw new StoreError("UNKNOWN_FILE", `${this.#path(foreign)} is not part of a state directory`);
    }
    this.#read("slot-0", SLOT_MAX);
    this.#read("slot-1", SLOT_MAX);
    for (const name of names) if (TEMPORARY.test(name)) this.#disk.remove(this.#path(name));
  }

  /** Cuts a torn last record off: what is appended next must begin at a record's start. */
  #mendMarks(): void {
    const bytes = this.#read("marks", MARKS_MAX);
    if (bytes === null) return;
    const whole = wholeMarks(bytes);
    if (whole.length !== bytes.length) this.#disk.write(this.#path("marks"), whole);
    this.#marksSize = whole.length;
  }

  #read(name: string, max: number): Uint8Array | null {
    const bytes = this.#disk.read(this.#path(name));
    if (bytes !== null && bytes.length > max) {
      throw new StoreError("OVERSIZE", `${this.#path(name)} has more than ${max} bytes`);
    }
    return bytes;
  }

  #path(name: string): string {
    return `${this.#directory}/${name}`;
  }

  #demandOpen(): void {
    if (this.#closed) throw new StoreError("CLOSED", `${this.#directory} is closed`);
  }
}

const stateDirectory = (identityPath: string): string => `${identityPath}.state`;
/** Where firmware/ports/posix/files.c keeps the state of an identity. */
const deviceDirectory = (identityPath: string): string => `${identityPath}.device`;

/** Where state of an identity may be, beside it. */
export function stateDirectories(identityPath: string): string[] {
  return [stateDirectory(identityPath), deviceDirectory(identityPath)];
}

/** A directory beside an identity that says it is in use; null if there is none. */
export function stateInUse(disk: Disk, identityPath: string): string | null {
  const path = disk.real(identityPath);
  const [ours, other] = [stateDirectory(path), deviceDirectory(path)];
  if (disk.list(other).length > 0) return other;
  return isInUse(disk, ours) ? ours : null;
}

/** A program that has stored nothing leaves its lock, which says so only while it is held. */
function isInUse(disk: Disk, directory: string): boolean {
  const names = disk.list(directory);
  if (names.some((name) => name !== "lock")) return true;
  try {
    if (names.length > 0) disk.lock(`${directory}/lock`).release();
    return false;
  } catch (error) {
    if (error instanceof LockedError) return true;
    throw error;
  }
}

function readIdentity(disk: Disk, path: string): NamedIdentity {
  const bytes = disk.read(path);
  if (bytes === null) throw new StoreError("NO_IDENTITY_FILE", `there is no identity file ${path}`);
  if (bytes.length > IDENTITY_MAX) throw new StoreError("OVERSIZE", `${path} is too long for an identity`);
  return parseIdentity(new TextDecoder().decode(bytes), path);
}
