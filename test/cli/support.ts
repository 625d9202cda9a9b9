// Runs the real command as a child process, in a directory of its own.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../host/cli/ampoule.js", import.meta.url));
const LIMIT_MS = 60_000;
/** Commands of one test file share what the first has compiled: each starts in a third of the time. */
const CACHE = mkdtempSync(join(tmpdir(), "ampoule-cli-cache-"));
process.on("exit", () => rmSync(CACHE, { recursive: true, force: true }));

export interface Result {
  code: number | null;
  out: string;
  err: string;
}

export interface RunOptions {
  input?: string | Buffer;
  env?: Record<string, string>;
}

/** A directory with `ampoule` in it; everything goes when it is disposed of. */
export class Shell implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "ampoule-cli-"));
  readonly #jobs: Job[] = [];
  /** Everything any command has printed. */
  printed = "";

  path(name: string): string {
    return join(this.directory, name);
  }

  async run(args: string[], options: RunOptions = {}): Promise<Result> {
    const job = new Job(this.#spawn(args, options));
    this.#jobs.push(job);
    job.child.stdin?.on("error", () => {});
    job.child.stdin?.end(options.input ?? "");
    const result = await job.ended(LIMIT_MS);
    this.printed += result.out + result.err;
    return result;
  }

  /** Runs a command that must succeed. */
  async ok(...args: string[]): Promise<string> {
    const { code, out, err } = await this.run(args);
    if (code !== 0) throw new Error(`ampoule ${args.join(" ")}: exit ${code}\n${out}${err}`);
    return out;
  }

  /** Starts a command that goes on. */
  start(...args: string[]): Job {
    const job = new Job(this.#spawn(args, {}));
    this.#jobs.push(job);
    return job;
  }

  #spawn(args: string[], { env }: RunOptions): ChildProcess {
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("AMPOULE_")),
    );
    return spawn(process.execPath, [MAIN, ...args], {
      cwd: this.directory,
      env: { ...clean, NO_COLOR: "1", NODE_COMPILE_CACHE: CACHE, ...env },
      stdio: "pipe",
    });
  }

  /** Mode and digest of every file but databases, which change with every look into them. */
  image(): Map<string, string> {
    const image = new Map<string, string>();
    for (const name of readdirSync(this.directory, { recursive: true }) as string[]) {
      const stat = statSync(this.path(name));
      if (!stat.isFile() || /\.db(-shm|-wal|\.lock)?$/.test(name)) continue;
      const digest = createHash("sha256")
        .update(readFileSync(this.path(name)))
        .digest("hex");
      image.set(name, `${(stat.mode & 0o777).toString(8)} ${digest}`);
    }
    return image;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const job of this.#jobs) job.child.kill("SIGKILL");
    await Promise.all(this.#jobs.map((job) => job.ended(5000).catch(() => undefined)));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A command that is running. */
export class Job {
  readonly child: ChildProcess;
  out = "";
  err = "";
  #wake: () => void = () => {};

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on("data", (chunk) => {
      this.out += chunk;
      this.#wake();
    });
    child.stderr?.on("data", (chunk) => {
      this.err += chunk;
      this.#wake();
    });
    child.on("close", () => this.#wake());
  }

  /** Waits until `test` holds of what was printed. */
  async until(test: (job: Job) => boolean, what: string, ms = 20_000): Promise<void> {
    const end = Date.now() + ms;
    while (!test(this)) {
      const left = end - Date.now();
      if (left <= 0 || this.child.exitCode !== null) {
        throw new Error(`${what} did not happen; it printed:\n${this.out}${this.err}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  ended(ms: number): Promise<Result> {
    const { child } = this;
    return new Promise((resolve, reject) => {
      const done = (): void => resolve({ code: child.exitCode, out: this.out, err: this.err });
      if (child.exitCode !== null || child.signalCode !== null) return done();
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        reject(new Error(`it did not end within ${ms} ms; it printed:\n${this.out}${this.err}`));
      }, ms);
      child.once("close", () => {
        clearTimeout(timer);
        done();
      });
    });
  }
}
