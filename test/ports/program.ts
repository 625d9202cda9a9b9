// A program of this machine as a child process: what it says, and what is typed.

import { type ChildProcess, spawn } from "node:child_process";

export class Program {
  out = "";
  err = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk) => {
      this.out += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      this.err += chunk;
    });
    child.stdin?.on("error", () => {});
    this.#ended = new Promise((resolve) => child.once("close", resolve));
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Its exit code; null after a signal. */
  ended(): Promise<number | null> {
    return this.#ended;
  }
}

export function start(path: string, args: string[]): Program {
  return new Program(spawn(path, args, { stdio: "pipe" }));
}
