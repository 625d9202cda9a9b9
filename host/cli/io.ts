// What a command may touch of the process, so that another program can run it and read its answers.

import { readSync } from "node:fs";
import type { Readable } from "node:stream";
import pc from "picocolors";

export interface Io {
  readonly stdin: Readable;
  readonly env: Record<string, string | undefined>;
  /** True when a person watches stderr: progress may be drawn. */
  readonly interactive: boolean;
  readonly colors: ReturnType<typeof pc.createColors>;
  out(text: string | Uint8Array): void;
  err(text: string): void;
  /** Asks at the terminal without echo; undefined when there is no terminal. */
  askSecret(question: string): string | undefined;
  /** Resolves when the process is asked to stop; waits no longer once `over` fires. */
  untilStopped(over?: AbortSignal): Promise<void>;
}

/** The real one. A reader of stdout that goes away ends the process quietly. */
export function processIo(): Io {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    process.exit(error.code === "EPIPE" ? 0 : 2);
  });
  const forced = process.env.FORCE_COLOR !== undefined;
  return {
    stdin: process.stdin,
    env: process.env,
    interactive: process.stderr.isTTY === true,
    colors: pc.createColors(pc.isColorSupported && (process.stdout.isTTY === true || forced)),
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    askSecret,
    untilStopped,
  };
}

const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Waiting keeps the process alive, even with nothing on the network. */
function untilStopped(over?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wait = setInterval(() => {}, 60_000);
    const stop = (): void => {
      clearInterval(wait);
      for (const signal of STOP_SIGNALS) process.removeListener(signal, stop);
      resolve();
    };
    for (const signal of STOP_SIGNALS) process.once(signal, stop);
    over?.addEventListener("abort", stop, { once: true });
  });
}

/** Synchronous on purpose: nothing else runs while the terminal does not echo. */
function askSecret(question: string): string | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined;
  process.stderr.write(question);
  process.stdin.setRawMode(true);
  try {
    return readLine();
  } finally {
    process.stdin.setRawMode(false);
    process.stderr.write("\n");
  }
}

const KEY = { interrupt: 3, end: 4, backspace: 8, newline: 10, enter: 13, erase: 127 } as const;

function readLine(): string {
  const typed: number[] = [];
  const byte = Buffer.alloc(1);
  while (readByte(byte)) {
    const key = byte[0] as number;
    if (key === KEY.interrupt) process.exit(130);
    if (key === KEY.enter || key === KEY.newline || key === KEY.end) break;
    if (key === KEY.erase || key === KEY.backspace) dropCharacter(typed);
    else typed.push(key);
  }
  return Buffer.from(typed).toString("utf8");
}

/** Takes the last character of UTF-8 away, all its bytes. */
function dropCharacter(typed: number[]): void {
  while (((typed.at(-1) ?? 0) & 0xc0) === 0x80) typed.pop();
  typed.pop();
}

function readByte(byte: Buffer): boolean {
  for (;;) {
    try {
      return readSync(0, byte, 0, 1, null) === 1;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
