// The device processes seen from outside: orders go in, reports come out and are kept.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { DeviceConfig, Order, Report } from "./orders.ts";

const SCRIPT = fileURLToPath(new URL("device.ts", import.meta.url));

export type ReportOf<K extends Report["report"]> = Extract<Report, { report: K }>;

/** Resolves once the process is gone, which it may be already. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}

export class DeviceProcess {
  readonly config: DeviceConfig;
  readonly reports: Report[] = [];
  onReport: (report: Report) => void = () => {};
  #child: ChildProcess | undefined;
  #waiting = new Set<() => void>();

  constructor(config: DeviceConfig) {
    this.config = config;
  }

  get name(): string {
    return this.config.name;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the process; its state directory is what it remembers. */
  start(intervalMs = this.config.intervalMs): void {
    const child = fork(SCRIPT, [], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
    let complaint = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      complaint = `${complaint}${chunk}`.slice(-2000);
    });
    child.on("message", (report) => this.#take(report as Report));
    child.on("exit", (code) => {
      if (code !== null && code !== 0)
        this.#take({ report: "failed", message: complaint.trim() || `exit ${code}` });
    });
    this.#child = child;
    this.order({ order: "start", config: { ...this.config, intervalMs } });
  }

  order(order: Order): void {
    if (this.#child?.connected) this.#child.send(order);
  }

  /** As a power cut does: nothing is flushed, nobody is told. */
  async kill(): Promise<void> {
    if (this.#child !== undefined) await kill(this.#child);
  }

  /** Kills without waiting, for the last moments of the demo's own process. */
  killNow(): void {
    this.#child?.kill("SIGKILL");
  }

  /** How many reports there are so far: a place to count from. */
  get mark(): number {
    return this.reports.length;
  }

  since<K extends Report["report"]>(mark: number, kind: K): ReportOf<K>[] {
    return this.reports.slice(mark).filter((report): report is ReportOf<K> => report.report === kind);
  }

  /** Resolves with true once `test` holds, checked at every report; false after `ms`. */
  async until(test: () => boolean, ms: number): Promise<boolean> {
    const end = performance.now() + ms;
    while (!test()) {
      const left = end - performance.now();
      if (left <= 0) return false;
      await this.#next(left);
    }
    return true;
  }

  #next(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms).unref();
      this.#waiting.add(done);
    });
  }

  #take(report: Report): void {
    this.reports.push(report);
    this.onReport(report);
    for (const wake of [...this.#waiting]) wake();
  }
}
