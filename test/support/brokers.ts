// Real brokers for tests: each on a port of its own, in a directory of its own,
// with processes that can be stopped, killed and started again.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { IClientOptions } from "mqtt";
import { findCommand } from "./need.ts";

export interface Features {
  qos2: boolean;
  retained: boolean;
  persistentSession: boolean;
  mqtt5: boolean;
  /** Any UTF-8 topic; NATS refuses those with a dot or a space. */
  anyTopic: boolean;
  /** Sessions, queues and retained messages outlive the process: after stop() always, after kill() up to the last save(). */
  durable: boolean;
}

export interface Broker {
  readonly name: string;
  readonly url: string;
  /** For mqtt.connect(url, options). */
  readonly options: IClientOptions;
  readonly features: Features;
  /** Ends the process in order; the state stays on disk. */
  stop(): Promise<void>;
  /** Ends the process as a power cut would. */
  kill(): Promise<void>;
  /** Starts the process again, on the same port and state. */
  start(): Promise<void>;
  /** Returns when everything acknowledged so far is where kill() cannot reach it, if the broker has such a place. */
  save(): Promise<void>;
  /** Kills the process and removes its directory. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface BrokerKind {
  readonly name: string;
  /** For need(...): what must be installed. */
  readonly need: string[];
  start(): Promise<Broker>;
}

interface Plan {
  name: string;
  scheme: "mqtt" | "mqtts";
  features: Features;
  options?: IClientOptions;
  /** Writes what the process reads, and returns what to run. */
  prepare(dir: string, port: number): Promise<{ path: string; args: string[] }>;
  save?(child: ChildProcess, dir: string): Promise<void>;
}

const START_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
/** Unacknowledged messages per subscription. A session may add up to 65,535, and a filter ending in # counts twice. */
const NATS_PENDING = 1024;
const run = promisify(execFile);

/** The first needs nothing installed, so every machine has at least that one. */
export const BROKERS: readonly BrokerKind[] = [
  { name: "aedes", need: [], start: startAedes },
  { name: "mosquitto", need: ["mosquitto"], start: () => startMosquitto() },
  {
    name: "mosquitto with passwords",
    need: ["mosquitto", "mosquitto_passwd"],
    start: () => startMosquitto({ users: { ampoule: "correct horse" } }),
  },
  { name: "mosquitto with TLS", need: ["mosquitto", "openssl"], start: () => startMosquitto({ tls: true }) },
  { name: "nats", need: ["nats-server"], start: startNats },
];

/** The broker of `npm start`, in memory and in a process of its own. MQTT 3.1.1 only. */
export function startAedes(): Promise<Broker> {
  const script = fileURLToPath(new URL("aedes-process.ts", import.meta.url));
  return launch({
    name: "aedes",
    scheme: "mqtt",
    features: {
      qos2: true,
      retained: true,
      persistentSession: true,
      mqtt5: false,
      anyTopic: true,
      durable: false,
    },
    prepare: async (_dir, port) => ({ path: process.execPath, args: [script, String(port)] }),
  });
}

export interface MosquittoOptions {
  /** Passwords by user name; without it anybody may connect. The first user's are in `options`. */
  users?: Record<string, string>;
  /** TLS with an authority made for this one broker; its certificate is in `options.ca`. */
  tls?: boolean;
  /** Further lines of mosquitto.conf. */
  config?: string[];
}

/** It saves once a second: a kill() may lose the last second, save() makes sure. */
export function startMosquitto(mosquitto: MosquittoOptions = {}): Promise<Broker> {
  const options: IClientOptions = {};
  const [user] = Object.entries(mosquitto.users ?? {});
  if (user !== undefined) {
    options.username = user[0];
    options.password = user[1];
  }
  const variant = [user && "passwords", mosquitto.tls && "TLS"].filter(Boolean).join(" and ");
  return launch({
    name: variant === "" ? "mosquitto" : `mosquitto with ${variant}`,
    scheme: mosquitto.tls ? "mqtts" : "mqtt",
    features: {
      qos2: true,
      retained: true,
      persistentSession: true,
      mqtt5: true,
      anyTopic: true,
      durable: true,
    },
    options,
    prepare: async (dir, port) => {
      const lines = [
        `listener ${port} 127.0.0.1`,
        "persistence true",
        `persistence_location ${dir}/`,
        "autosave_interval 1",
        "max_queued_messages 0",
        `allow_anonymous ${user === undefined}`,
      ];
      // Started by root it would become another user, who may not write here.
      if (process.getuid?.() === 0) lines.push("user root");
      if (mosquitto.users !== undefined) {
        lines.push(`password_file ${await writePasswords(dir, mosquitto.users)}`);
      }
      if (mosquitto.tls) {
        options.ca = await makeCertificates(dir);
        lines.push(`certfile ${dir}/server.pem`, `keyfile ${dir}/server.key`);
      }
      const file = join(dir, "mosquitto.conf");
      writeFileSync(file, `${[...lines, ...(mosquitto.config ?? [])].join("\n")}\n`);
      return { path: command("mosquitto"), args: ["-c", file] };
    },
    save: async (child, dir) => {
      const file = join(dir, "mosquitto.db");
      const before = version(file);
      child.kill("SIGUSR1");
      await until(() => version(file) !== before, "mosquitto to save its state");
    },
  });
}

/** The independent one: another language, another design (a stream store behind an MQTT gateway). MQTT 3.1.1, QoS 0 and 1. */
export function startNats(): Promise<Broker> {
  return launch({
    name: "nats",
    scheme: "mqtt",
    features: {
      qos2: false,
      retained: true,
      persistentSession: true,
      mqtt5: false,
      anyTopic: false,
      durable: true,
    },
    prepare: async (dir, port) => {
      const file = join(dir, "nats.conf");
      writeFileSync(
        file,
        `server_name: ampoule
host: 127.0.0.1
port: -1
jetstream { store_dir: ${JSON.stringify(join(dir, "store"))} }
mqtt { host: 127.0.0.1, port: ${port}, ack_wait: "5s", max_ack_pending: ${NATS_PENDING} }
`,
      );
      return { path: command("nats-server"), args: ["-c", file] };
    },
  });
}

async function launch(plan: Plan): Promise<Broker> {
  const dir = mkdtempSync(join(tmpdir(), "ampoule-broker-"));
  const port = await freePort();
  const logFile = join(dir, "log");
  const { path, args } = await plan.prepare(dir, port);
  let child: ChildProcess | undefined;

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined) return;
    await endProcess(child, signal);
    child = undefined;
  };
  const start = async (): Promise<void> => {
    if (child !== undefined) return;
    child = spawnLogged(path, args, dir, logFile);
    try {
      await listening(child, port);
    } catch (error) {
      await end("SIGKILL");
      const log = readFileSync(logFile, "utf8").slice(-2000);
      throw new Error(`${plan.name} does not start: ${(error as Error).message}\n${log}`);
    }
  };
  const removeAll = (): void => {
    child?.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  };
  const dispose = async (): Promise<void> => {
    await end("SIGKILL");
    process.off("exit", removeAll);
    removeAll();
  };

  // For the test that forgets to dispose, or throws before it can.
  process.on("exit", removeAll);
  await start();
  return {
    name: plan.name,
    url: `${plan.scheme}://127.0.0.1:${port}`,
    options: plan.options ?? {},
    features: plan.features,
    start,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    save: async () => {
      if (child !== undefined) await plan.save?.(child, dir);
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

function spawnLogged(path: string, args: string[], cwd: string, logFile: string): ChildProcess {
  const log = openSync(logFile, "a");
  // The channel closes with this process; the embedded broker takes it as its sign to leave.
  const child = spawn(path, args, { cwd, stdio: ["ignore", log, log, "ipc"] });
  closeSync(log);
  child.unref();
  child.channel?.unref();
  child.on("error", () => {});
  return child;
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = (): boolean => child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  child.kill(signal);
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (!gone()) {
    if (Date.now() > deadline) child.kill("SIGKILL");
    await sleep(10);
  }
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await accepts(port))) {
    if (child.pid === undefined) throw new Error("the program cannot be run");
    if (child.exitCode !== null) throw new Error(`it ended with code ${child.exitCode}`);
    if (Date.now() > deadline) throw new Error(`nothing listens on port ${port}`);
    await sleep(25);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/**
 * Returns a port nobody listens on, below the range the kernel gives to outgoing
 * connections: a broker that is down for a moment must find its port again.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

function command(name: string): string {
  const path = findCommand(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}

function version(file: string): string {
  const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino} ${stat.mtimeNs}`;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(10);
  }
}

async function writePasswords(dir: string, users: Record<string, string>): Promise<string> {
  const file = join(dir, "passwords");
  const lines = Object.entries(users).map(([name, password]) => `${name}:${password}\n`);
  writeFileSync(file, lines.join(""), { mode: 0o600 });
  await run(command("mosquitto_passwd"), ["-U", file]);
  return file;
}

/** Makes an authority and a server certificate for 127.0.0.1; returns the authority's certificate. */
async function makeCertificates(dir: string): Promise<string> {
  const openssl = (...args: string[]) => run(command("openssl"), args, { cwd: dir });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  writeFileSync(join(dir, "san"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  await openssl(
    ..."req -x509 -days 2 -subj /CN=Test-authority -keyout ca.key -out ca.pem".split(" "),
    ...key,
  );
  await openssl(..."req -subj /CN=localhost -keyout server.key -out server.csr".split(" "), ...key);
  await openssl(
    ..."x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san -out server.pem".split(
      " ",
    ),
  );
  return readFileSync(join(dir, "ca.pem"), "utf8");
}
