// Everything the demo starts, and the one place that takes it all away again.

import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Io } from "../cli/io.ts";
import { run } from "../cli/program.ts";
import type { DeviceStatus } from "../keyserver/server.ts";
import type { LinkOptions } from "../world.ts";
import { DeviceProcess, kill } from "./fleet.ts";
import type { MetricName } from "./metrics.ts";
import { Tap } from "./tap.ts";
import { Thief } from "./thief.ts";

/** A broker that runs already, and how to be let in: for a client, and as words of a command line. */
export interface OwnBroker {
  url: string;
  /** May hold a password: not for printing. */
  link: LinkOptions;
  words: string[];
}

export interface StageOptions {
  /** Undefined starts the embedded one. */
  broker: OwnBroker | undefined;
  engine: string;
  /** File for what the broker saw; undefined keeps it in the temporary directory. */
  log: string | undefined;
}

export interface ServerEventLine {
  kind: string;
  device?: string;
  channel?: string;
  detail?: string;
}

export interface CommandResult {
  exit: number;
  out: string;
  err: string;
}

export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), "ampoule-demo-"));
  readonly log: string;
  readonly filter: string;
  readonly prefix: string;
  readonly devices = new Map<string, DeviceProcess>();
  readonly events: ServerEventLine[] = [];
  readonly #options: StageOptions;
  readonly #io: Io;
  readonly #site: string;
  #broker: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  #tap: Tap | undefined;
  #url = "";

  constructor(options: StageOptions, io: Io) {
    this.#options = options;
    this.#io = io;
    // A broker of one's own has other traffic; names there must not meet it.
    const tail = options.broker === undefined ? "" : `-${randomBytes(3).toString("hex")}`;
    this.#site = `plant${tail}`;
    this.prefix = `ampoule${tail}`;
    this.filter = `${this.#site}/+/live`;
    this.log = options.log ?? join(this.directory, "broker.log");
  }

  get realm(): string {
    return join(this.directory, "realm");
  }

  get url(): string {
    return this.#url;
  }

  get engine(): string {
    return this.#options.engine;
  }

  get tap(): Tap {
    if (this.#tap === undefined) throw new Error("the broker is not up");
    return this.#tap;
  }

  topic(name: string): string {
    return `${this.#site}/${name}/live`;
  }

  /** True for topics of the plant, false for control topics. */
  readonly isLive = (topic: string): boolean => topic.startsWith(`${this.#site}/`);

  async openBroker(): Promise<void> {
    const { broker } = this.#options;
    this.#url = broker?.url ?? (await this.#startBroker());
    this.#tap = await Tap.open(this.#url, broker?.link ?? {}, [`${this.#site}/#`, `${this.prefix}/#`]);
    if (broker !== undefined) this.#tap.writeLog(this.log);
  }

  async #startBroker(): Promise<string> {
    this.#broker = startScript("broker.ts", [this.log]);
    const [{ port }] = (await once(this.#broker, "message")) as [{ port: number }];
    return `mqtt://127.0.0.1:${port}`;
  }

  /** Runs an `ampoule` command on the demo's realm. */
  async ampoule(...args: string[]): Promise<CommandResult> {
    const result: CommandResult = { exit: 0, out: "", err: "" };
    result.exit = await run(args, {
      ...this.#io,
      interactive: false,
      out: (text) => {
        result.out += text;
      },
      err: (text) => {
        result.err += text;
      },
    });
    return result;
  }

  async status(): Promise<DeviceStatus[]> {
    const { out } = await this.ampoule("status", "--realm", this.realm, "--json");
    return JSON.parse(out) as DeviceStatus[];
  }

  /** Resolves with true once the server finds all of them in sync. */
  async inSync(names: string[], ms: number): Promise<boolean> {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      const states = new Map((await this.status()).map(({ name, state }) => [name, state]));
      if (names.every((name) => states.get(name) === "in sync")) return true;
      await sleep(100, undefined, { ref: false });
    }
    return false;
  }

  /** Resolves once the server is at the broker. */
  async startServer(): Promise<void> {
    const server = startScript("server.ts", [this.realm, this.#url, ...(this.#options.broker?.words ?? [])]);
    this.#server = server;
    const serving = new Promise<void>((resolve, reject) => {
      server.on("message", ({ event }: { event: ServerEventLine }) => {
        this.events.push(event);
        if (event.kind === "serving") resolve();
      });
      server.once("exit", () => reject(new Error("the key server ended")));
    });
    await serving;
  }

  get serverPid(): number | undefined {
    return this.#server?.pid;
  }

  async killServer(): Promise<void> {
    if (this.#server !== undefined) await kill(this.#server);
  }

  addDevice(name: string, metric: MetricName | null, intervalMs: number, holdMs: number): DeviceProcess {
    const device = new DeviceProcess({
      name,
      identity: this.identity(name),
      url: this.#url,
      link: this.#options.broker?.link ?? {},
      filter: this.filter,
      topic: this.topic(name),
      metric,
      intervalMs,
      holdMs,
      engine: this.#options.engine,
    });
    this.devices.set(name, device);
    return device;
  }

  /** Copies the keys a device holds at this moment. */
  steal(name: string): Thief {
    const path = join(this.directory, "loot", `${name}.json`);
    return new Thief(this.identity(name), path, this.#options.engine, this.filter);
  }

  identity(name: string): string {
    return join(this.directory, `${name}.json`);
  }

  /** What the broker wrote down, as text of lines `time topic hex`. */
  readLog(): string {
    return readFileSync(this.log, "latin1");
  }

  /** Ends every process and removes every file, at once; may be called at any moment, and twice. */
  clear(): void {
    for (const device of this.devices.values()) device.killNow();
    this.#server?.kill("SIGKILL");
    this.#broker?.kill("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  /** The same, and waits for the processes: nothing of theirs is written any more when it resolves. */
  async close(): Promise<void> {
    await this.#tap?.close();
    const children = [this.#server, this.#broker].filter((child) => child !== undefined);
    await Promise.all([...[...this.devices.values()].map((device) => device.kill()), ...children.map(kill)]);
    this.clear();
  }
}

function startScript(name: string, args: string[]): ChildProcess {
  const path = fileURLToPath(new URL(name, import.meta.url));
  return fork(path, args, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
}
