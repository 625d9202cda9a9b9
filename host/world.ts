// The only way out of client, key server and stores: clock, timers, randomness, network, disk and
// database. `node-world.ts` is the real one; a simulator brings another and runs the same code.

/** Opaque handle of a timer. */
export type Timer = unknown;

export interface World {
  /** Milliseconds since 1970. For ages, logs and plans only: no acceptance depends on it. */
  now(): number;
  /** Calls `run` once after `ms` milliseconds; never keeps a process alive by itself. */
  setTimer(ms: number, run: () => void): Timer;
  clearTimer(timer: Timer): void;
  /** `size` bytes of cryptographically secure randomness. */
  random(size: number): Uint8Array;
  readonly disk: Disk;
  /** Opens (creates) an SQLite database file; ":memory:" keeps it in memory. */
  database(path: string): Database;
  /** An MQTT link; handlers must be attached before `connect()`. */
  link(url: string, options: LinkOptions): Link;
}

/** Every write is durable (fsync of file and directory) and atomic when the call returns. */
export interface Disk {
  /** Whole content, or null if there is no such file. Other failures throw. */
  read(path: string): Uint8Array | null;
  /** Replaces the file by temporary name, fsync and rename. mode 0600, directories 0700. */
  write(path: string, bytes: Uint8Array): void;
  /** Appends and syncs; creates the file if absent. */
  append(path: string, bytes: Uint8Array): void;
  remove(path: string): void;
  /** What a symbolic link leads to, if it is there; any other path as it is. */
  real(path: string): string;
  /** File names in a directory, sorted; empty if there is none. */
  list(path: string): string[];
  /** Takes an exclusive lock for this process; throws LockedError if another process holds it. */
  lock(path: string): { release(): void };
}

export type SqlValue = null | number | bigint | string | Uint8Array;

/** The shape of node:sqlite, synchronous. */
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): {
    run(...values: SqlValue[]): { changes: number | bigint };
    get(...values: SqlValue[]): Record<string, SqlValue> | undefined;
    all(...values: SqlValue[]): Record<string, SqlValue>[];
  };
  close(): void;
}

export interface LinkOptions {
  clientId?: string;
  clean?: boolean;
  username?: string;
  password?: string;
  protocolVersion?: 4 | 5;
  ca?: Uint8Array | string;
  cert?: Uint8Array | string;
  key?: Uint8Array | string;
  rejectUnauthorized?: boolean;
}

/** A plain MQTT client, QoS 0 and 1, as the key server needs it. */
export interface Link {
  onConnect: (sessionPresent: boolean) => void;
  onMessage: (topic: string, payload: Uint8Array, retained: boolean) => void;
  onError: (error: Error) => void;
  onClose: () => void;
  connect(): void;
  /** Resolves when the broker has taken it (PUBACK for QoS 1). */
  publish(topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }): Promise<void>;
  subscribe(filter: string, qos: 0 | 1): Promise<void>;
  end(): Promise<void>;
}
