// The real world: Node's clock, timers, randomness, files and SQLite, and MQTT over the network.

import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import type { SQLInputValue } from "node:sqlite";
import { MqttLink } from "./mqtt/link.ts";
import { LockedError } from "./store/errors.ts";
import type { Database, Disk, Link, LinkOptions, SqlValue, Timer, World } from "./world.ts";

const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const SQLITE_BUSY = 5;

/** This Node has no SQLite, which databases and the locks of state directories need. */
export class NoSqliteError extends Error {
  readonly code = "NO_SQLITE";

  constructor(cause: unknown) {
    super("this Node has no node:sqlite; a key server or a state directory needs Node 24", { cause });
    this.name = "NoSqliteError";
  }
}

/** A new view of the real world; instances share nothing but the machine. */
export function nodeWorld(): World {
  return {
    now: () => Date.now(),
    setTimer: (ms, run): Timer => setTimeout(run, ms).unref(),
    clearTimer: (timer) => clearTimeout(timer as NodeJS.Timeout),
    random: (size) => new Uint8Array(randomBytes(size)),
    disk: new NodeDisk(),
    database: (path) => openDatabase(path),
    link: (url: string, options: LinkOptions): Link => new MqttLink(url, options),
  };
}

class NodeDisk implements Disk {
  read(path: string): Uint8Array | null {
    try {
      return new Uint8Array(fs.readFileSync(path));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return null;
      throw error;
    }
  }

  write(path: string, bytes: Uint8Array): void {
    const temporary = `${path}.tmp`;
    makeDirectory(dirname(path));
    try {
      fs.rmSync(temporary, { force: true });
      writeSynced(temporary, "wx", bytes);
      fs.renameSync(temporary, path);
    } catch (error) {
      fs.rmSync(temporary, { force: true });
      throw error;
    }
    syncDirectory(dirname(path));
  }

  append(path: string, bytes: Uint8Array): void {
    makeDirectory(dirname(path));
    const isNew = !fs.existsSync(path);
    writeSynced(path, "a", bytes);
    if (isNew) syncDirectory(dirname(path));
  }

  remove(path: string): void {
    if (!fs.existsSync(path)) return;
    fs.rmSync(path);
    syncDirectory(dirname(path));
  }

  real(path: string): string {
    const stat = fs.lstatSync(path, { throwIfNoEntry: false });
    return stat?.isSymbolicLink() && fs.existsSync(path) ? fs.realpathSync(path) : path;
  }

  list(path: string): string[] {
    try {
      return fs.readdirSync(path).sort();
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  }

  /**
   * The lock is SQLite's, on an empty file: the system gives it back when its process dies, however
   * it dies. A process id in a file would be judged wrong after its number is used again, and from
   * another container.
   */
  lock(path: string): { release(): void } {
    const { DatabaseSync } = loadSqlite();
    makeFile(path);
    const database = new DatabaseSync(path);
    try {
      database.exec("PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      throw isBusy(error) ? new LockedError(path) : error;
    }
    return {
      release: () => {
        if (database.isOpen) database.close();
      },
    };
  }
}

/** Not an import: a client that keeps its state elsewhere runs on Nodes without SQLite too. */
function loadSqlite(): typeof import("node:sqlite") {
  try {
    return createRequire(import.meta.url)("node:sqlite");
  } catch (error) {
    throw new NoSqliteError(error);
  }
}

function openDatabase(path: string): Database {
  const { DatabaseSync } = loadSqlite();
  if (path !== ":memory:") makeFile(path);
  const database = new DatabaseSync(path);
  return {
    exec: (sql) => database.exec(sql),
    prepare: (sql) => {
      const statement = database.prepare(sql);
      return {
        run: (...values) => statement.run(...values.map(toSql)),
        get: (...values) => statement.get(...values.map(toSql)) as Record<string, SqlValue> | undefined,
        all: (...values) => statement.all(...values.map(toSql)) as Record<string, SqlValue>[],
      };
    },
    close: () => database.close(),
  };
}

function toSql(value: SqlValue): SQLInputValue {
  return value;
}

/** Writes all bytes and syncs; after a failure an appended file has its former size again. */
function writeSynced(path: string, flags: "wx" | "a", bytes: Uint8Array): void {
  const file = fs.openSync(path, flags, FILE_MODE);
  try {
    const size = fs.fstatSync(file).size;
    try {
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(file, bytes, at, bytes.length - at);
      fs.fsyncSync(file);
    } catch (error) {
      fs.ftruncateSync(file, size);
      throw error;
    }
  } finally {
    fs.closeSync(file);
  }
}

/**
 * Creates an empty file with mode 0600 unless it exists: SQLite alone would let others read it.
 *
 * An existing file must not be opened here: closing it would drop the locks SQLite holds on it.
 */
function makeFile(path: string): void {
  makeDirectory(dirname(path));
  try {
    fs.closeSync(fs.openSync(path, "wx", FILE_MODE));
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

/**
 * Creates what is missing of a directory's path, durably. Returns the first that was missing, if any.
 *
 * One by one: mkdir's own recursion never ends where a directory is there and takes no entries, as /proc.
 */
export function makeDirectory(path: string): string | undefined {
  if (fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const parent = dirname(resolve(path));
  const first = makeDirectory(parent);
  try {
    fs.mkdirSync(path, { mode: DIRECTORY_MODE });
  } catch (error) {
    // Another process may have been faster.
    if (codeOf(error) !== "EEXIST" || !fs.statSync(path).isDirectory()) throw error;
  }
  syncDirectory(parent);
  return first ?? path;
}

function syncDirectory(path: string): void {
  const directory = fs.openSync(path, "r");
  try {
    fs.fsyncSync(directory);
  } finally {
    fs.closeSync(directory);
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && (error as { errcode?: number }).errcode === SQLITE_BUSY;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
