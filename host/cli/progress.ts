// Progress of long work: a bar where a person watches stderr, nothing where a program does.

import progress from "cli-progress";
import type { Io } from "./io.ts";

export interface Progress {
  step(name: string): void;
  stop(): void;
}

export function startProgress(total: number, io: Io, quiet: boolean): Progress {
  if (!io.interactive || quiet) return { step: () => {}, stop: () => {} };
  const bar = new progress.SingleBar({
    format: "{bar} {value}/{total} {name}",
    barsize: 24,
    clearOnComplete: true,
    hideCursor: true,
    stream: process.stderr,
  });
  bar.start(total, 0, { name: "" });
  return { step: (name) => bar.increment(1, { name }), stop: () => bar.stop() };
}
