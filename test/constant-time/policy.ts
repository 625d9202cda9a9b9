// What is secret in the core: where secrets come in, and every place where one becomes public, with the
// reason. All else follows from labels carried along by each instruction (shadow.ts).
//
// Records and commands are those of SPEC sections 10 and 12.

import { CHUNK_OFFSET, CONTROL_FRAME, FRAME_MAX } from "../../host/core/abi.ts";
import { LOCK, SECRET } from "./rules.ts";

/** Addresses, offsets and sizes of assembly/layout.ts that this file needs. */
export const LAYOUT_NAMES = [
  "FRAME",
  "OUT",
  "REVISION",
  "CONTROL_KEY",
  "NEXT_KEY",
  "KEY_SIZE",
  "DEVICE_STORED",
  "CHANNELS",
  "CHANNEL_TABLE",
  "CHANNEL_SIZE",
  "CH_LOCK",
  "CH_OWN",
  "CH_LEAVES",
  "CH_NODES",
  "NODES",
  "NODE_SIZE",
  "STATE",
  "ROW_END",
] as const;

export type Layout = Record<(typeof LAYOUT_NAMES)[number], number>;

/** Stores to these are reported to `Policy.stored`, in this order. */
export const watchedOf = ({ OUT }: Layout): number[] => [OUT, OUT + 4];
const PART = 0;

/** Everything that becomes public, and why that gives away nothing of keys or text. */
export const RELEASES = {
  verdict: "whether a tag agrees: the status says so",
  part: "the part byte of an opened frame: the host joins messages by it, and the status depends on it",
  length: "the chunk length of an opened frame, or that it has no end mark: given to the host",
  command:
    "code, revision, channel, epochs, counters and heap numbers of a verified command: all but its keys",
  device: "revision, version, statuses and echo of a verified blob: all but the control keys",
  channel: "parameters, epochs, counters, beacon value and heap numbers of a verified blob: all but its keys",
  row: "senders, epochs and bounds of a verified blob or mark",
  lock: "that a channel has a lock: it may decide a branch and nothing else",
} as const;

export type Release = keyof typeof RELEASES;

const MARK_TEXT = 24;
/** Of a channel; a chunk of rows begins with zeros instead. */
const ID_SIZE = 8;

const CODE_AT = 8;
const BODY_AT = 9;
const ADD_NODES = 2;
/** Public bytes at the beginning of a body, by code; nodes follow in ADD_NODES, keys in the others. */
const PUBLIC_BODY: Record<number, number> = { 1: 44, [ADD_NODES]: 13, 3: 8, 4: 0, 5: 4, 6: 8, 7: 24, 8: 8 };

export interface Labelled {
  at: number;
  size: number;
  label: number;
}

export interface Core {
  calls: Record<string, (...args: number[]) => number>;
  memory: Uint8Array;
  /** One label for each byte of memory. */
  shadow: Uint8Array;
}

/** Follows the calls of one instance. */
export class Policy {
  readonly released = new Set<Release>();
  private readonly core: Core;
  private readonly layout: Layout;
  private readonly frame: number;
  private readonly kitA: number | undefined;
  private name = "";
  /** Chunks of a blob that were loaded. */
  private chunk = 0;
  /** Frames of a control payload that were opened in this call. */
  private opened = 0;
  /** Verdicts of the open that runs that found no difference; after the second one comes the length. */
  private agreed = 0;

  private readonly labelled: (range: Labelled) => void;

  /** @param labelled is told of all bytes that get a label by other means than the module's own work */
  constructor(core: Core, layout: Layout, labelled: (range: Labelled) => void = () => {}) {
    this.core = core;
    this.labelled = labelled;
    this.layout = layout;
    this.frame = layout.FRAME;
    this.kitA = core.calls.kitA?.();
  }

  private label(at: number, size: number, label: number): void {
    this.core.shadow.fill(label, at, at + size);
    this.labelled({ at, size, label });
  }

  private release(why: Release, at: number, size: number): void {
    this.released.add(why);
    this.label(at, size, 0);
  }

  /** Before a call: labels what the host brings. Bytes from a network or a storage are public until they are opened. */
  before(name: string, args: number[]): void {
    this.name = name;
    this.agreed = this.opened = 0;
    const [first = 0, second = 0] = args;
    if (name === "init") {
      this.label(this.frame, 24, 0);
      this.label(this.frame + 24, second ? 32 : 16, SECRET);
    } else if (name === "protect") this.text(args[4] ?? 0);
    else if (name === "kitSeal") this.text(args[8] ?? 0);
    else if (name === "unprotect") this.label(this.frame, args[1] ?? 0, 0);
    else if (name === "control") this.label(this.frame, first, 0);
    else if (INPUT.has(name)) this.label(this.frame, FRAME_MAX, 0);
    if (name === "loadBegin") this.chunk = 0;
    if (KIT.has(name) && this.kitA !== undefined) this.label(this.kitA, 16, SECRET);
    this.relabelLocks();
  }

  after(): void {
    if (this.name === "loadNext") this.chunk++;
  }

  private text(length: number): void {
    this.label(this.frame, FRAME_MAX, 0);
    this.label(this.frame + CHUNK_OFFSET, Math.min(length >>> 0, FRAME_MAX - CHUNK_OFFSET), SECRET);
  }

  private relabelLocks(): void {
    const { shadow } = this.core;
    const { CHANNELS, CHANNEL_TABLE, CHANNEL_SIZE, CH_LOCK, CH_OWN } = this.layout;
    for (let slot = 0; slot < CHANNELS; slot++) {
      const channel = CHANNEL_TABLE + slot * CHANNEL_SIZE;
      for (let at = channel + CH_LOCK; at < channel + CH_OWN; at++) {
        if (shadow[at] !== SECRET) continue;
        this.label(at, 1, LOCK);
        this.released.add("lock");
      }
    }
  }

  /** A watched address was written. */
  stored(index: number): void {
    const { OUT } = this.layout;
    if (index === PART) {
      this.release("part", OUT, 4);
      return;
    }
    // Negative: no frame is open, the tag differs, or there is no end mark.
    const isOpen = ((this.core.memory[OUT + 7] ?? 0) & 0x80) === 0;
    this.release(this.agreed === 2 ? "length" : "verdict", OUT + 4, 4);
    if (isOpen && this.agreed === 2 && this.name === "control") this.openedCommand();
    this.agreed = isOpen && this.agreed < 2 ? this.agreed + 1 : 0;
    if (this.agreed < 2) return;
    if (this.name === "loadNext") this.openedChunk();
    if (this.name === "loadMark") this.release("row", this.frame + 8, MARK_TEXT);
  }

  private openedCommand(): void {
    const chunk = this.frame + CONTROL_FRAME * this.opened++ + CHUNK_OFFSET;
    const body = chunk + BODY_AT;
    const { memory } = this.core;
    const code = memory[chunk + CODE_AT] ?? 0;
    const size = PUBLIC_BODY[code] ?? 0;
    this.release("command", chunk, BODY_AT + size);
    if (code !== ADD_NODES) return;
    const nodes = Math.min(memory[body + 12] ?? 0, 4);
    for (let i = 0; i < nodes; i++) this.release("command", body + size + i * this.layout.NODE_SIZE, 2);
  }

  private openedChunk(): void {
    const text = this.frame;
    const { layout } = this;
    const publicBut = (why: Release, size: number, ...secrets: [number, number][]) => {
      let from = 0;
      for (const [at, end] of [...secrets, [size, size]] as const) {
        this.release(why, text + from, at - from);
        from = end;
      }
    };
    if (this.chunk === 0) {
      const { REVISION, CONTROL_KEY, NEXT_KEY, KEY_SIZE, DEVICE_STORED } = layout;
      publicBut("device", DEVICE_STORED, [CONTROL_KEY - REVISION, NEXT_KEY + KEY_SIZE - REVISION]);
    } else if (this.core.memory.subarray(text, text + ID_SIZE).some((byte) => byte !== 0)) {
      const { CH_LOCK, CH_OWN, CH_LEAVES, CH_NODES, NODES, NODE_SIZE } = layout;
      const end = CH_NODES + NODES * NODE_SIZE;
      const keys = Array.from({ length: NODES }, (_, i) => CH_NODES + i * NODE_SIZE);
      publicBut(
        "channel",
        end,
        [CH_LOCK, CH_OWN],
        [CH_LEAVES, CH_NODES],
        ...keys.map((at): [number, number] => [at + 2, at + NODE_SIZE]),
      );
    } else this.release("row", text, FRAME_MAX);
  }
}

/** Calls that read what the host put at FRAME, none of it secret. */
const INPUT: ReadonlySet<string> = new Set([
  "beacon",
  "answer",
  "kitOpen",
  "loadBegin",
  "loadMark",
  "loadNext",
]);

/** Calls that take a secret at kitA(). */
const KIT: ReadonlySet<string> = new Set(["kitDerive", "kitSeal", "kitOpen"]);
