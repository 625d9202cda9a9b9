// The key server's database: rows in, rows out, keys sealed on the way. The only file that runs SQL.
//
// What erasing means here: secure_delete overwrites a row's bytes in the page, and checkpoint() brings
// the page into the file and cuts the write-ahead log to nothing. Until then the log holds the older
// page, and a file system or flash that copies on write may keep it for longer. All of it is sealed:
// without the passphrase or key file an old page is worth nothing.

import type { Database, SqlValue, World } from "../world.ts";
import type { Revision } from "./bytes.ts";
import type { Setting } from "./commands.ts";
import { ServerError } from "./errors.ts";
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import type { TreeNode } from "./tree.ts";
import { type Unlock, type UnlockParams, Vault } from "./vault.ts";

export interface RealmRow {
  realm: string;
  prefix: string;
  incarnation: number;
  /** No channel begins a generation below it. */
  floor: number;
  /** Ratchets use zeros instead of fresh bytes, so that a restored database can follow them. */
  recoverable: boolean;
}

export interface DeviceRow {
  id: string;
  name: string;
  /** Null before the first hello. */
  class: number | null;
  version: number;
  /** The last revision given. */
  revision: Revision;
  /** A query is due even if nothing differs. */
  ask: boolean;
  /**
   * The next revision is a query alone: the control key has just moved, and the device erases K(v) at it, or
   * its stored state seems to have gone back, and nothing else may be stored before the ack that tells.
   */
  moved: boolean;
  /** The control key version may be above the stored one (after a restore). */
  far: boolean;
  /** What is being done about a digest that did not agree; 0 if nothing. */
  doubt: number;
  synced: boolean;
  lastSeen: number | null;
  blobSequence: number | null;
  /** Sequence that its boot loaded, as it said last. */
  bootSequence: number | null;
  alarm: string | null;
}

export interface ControlKeys {
  key: Uint8Array;
  /** K(v+1) while it is not settled, with the fresh bytes that made it. */
  next: { key: Uint8Array; fresh: Uint8Array } | null;
}

export interface ChannelRow {
  id: string;
  filter: string;
  suite: number;
  frameSize: number;
  shortTag: boolean;
  topicMode: number;
  late: number;
  ahead: number;
  stored: boolean;
  narrow: boolean;
  markBlock: number;
  leaseSteps: number;
  /** Seconds between steps that the server moves by itself; 0: none. */
  stepEvery: number;
  generation: number;
  step: number;
  /** The step that the server moves to, for members that wait for it. */
  target: number;
  keep: boolean;
  nextSender: number;
  /** When the step last moved or the generation began, in milliseconds since 1970; 0: not known. */
  steppedAt: number;
}

export interface MemberRow {
  channel: string;
  device: string;
  sender: number;
  will: number;
  from: number;
  open: number;
  to: number;
  /** Length of its leases. */
  steps: number;
  renew: boolean;
  writes: boolean;
  /** Its sender number went out in some revision: counters under it may be used. */
  sent: boolean;
  /** Up to when the generations that it cost are spread over time (SPEC V-12), in milliseconds since 1970. */
  paidTo: number;
  /** When a generation may begin for it again: until then it holds nothing. 0: it is not suspended. */
  suspendedTo: number;
}

/** What a device acknowledged of a channel. Generation 0: it may hold the channel, nothing is known. */
export type HeldRow = Setting & {
  device: string;
  step: number;
  /** Last step covered by acknowledged nodes; -1 if none. */
  granted: number;
  lock: Uint8Array | null;
  /** Revision of the last counter block of this session. */
  counters: Revision | null;
  /** Status by which the device refused the last change. */
  refused: string | null;
};

export interface RevisionRow {
  device: string;
  revision: Revision;
  /** Sealed under the session secret. */
  session: boolean;
  commands: Uint8Array;
}

export interface BootRow {
  device: string;
  nonce: string;
  /** Of its grant; the higher the newer. */
  revision: Revision;
  /** The device spoke in this session. */
  confirmed: boolean;
  /** Null once the session is over. */
  random: Uint8Array | null;
}

export interface CounterRow {
  channel: string;
  sender: number;
  generation: number;
  step: number;
  next: number;
}

type Row = Record<string, SqlValue>;

const PROOF_PLACE = "realm|1|proof";
const PROOF = new TextEncoder().encode("ampoule key server");
const BUSY_MS = 10_000;

export class Records {
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #statements = new Map<string, ReturnType<Database["prepare"]>>();
  #open = true;

  private constructor(database: Database, vault: Vault) {
    this.#database = database;
    this.#vault = vault;
  }

  /** Makes the tables of a new realm. Throws EXISTS or NOT_OURS and changes nothing if the file has content. */
  static create(world: World, path: string, unlock: Unlock, realm: RealmRow): Records {
    const database = connect(world, path);
    try {
      if (inspect(database, path) !== "empty") {
        throw new ServerError("EXISTS", `${path} already holds a realm`);
      }
      const params = Vault.plan(unlock, world);
      const vault = Vault.unlock(unlock, params, world);
      database.exec("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE");
      database.exec(SCHEMA);
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
      insertRealm(database, realm, params, vault.seal(PROOF_PLACE, PROOF));
      database.exec("COMMIT");
      return new Records(database, vault);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Migrates an older schema. Throws NO_REALM, NOT_OURS, TOO_NEW or WRONG_KEY; nothing is written then. */
  static open(world: World, path: string, unlock: Unlock): Records {
    const database = connect(world, path);
    try {
      if (inspect(database, path) === "empty") throw new ServerError("NO_REALM", `${path} holds no realm`);
      const row = one(database.prepare("SELECT * FROM realm").get(), path);
      const vault = Vault.unlock(unlock, unlockParams(row), world);
      prove(vault, row);
      migrate(database);
      return new Records(database, vault);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#vault.close();
    this.#database.close();
  }

  /** Runs `run`, which changes nothing, on one state of the database: other processes write meanwhile. */
  look<T>(run: () => T): T {
    return this.#within("BEGIN", run);
  }

  /** Runs `run` in one transaction: durable when it returns, undone when it throws. */
  transact<T>(run: () => T): T {
    return this.#within("BEGIN IMMEDIATE", run);
  }

  #within<T>(begin: string, run: () => T): T {
    this.#exec(begin);
    try {
      const result = run();
      this.#exec("COMMIT");
      return result;
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  /** SQLite may have undone a failed transaction by itself; the first error is the one to tell. */
  #rollBack(): void {
    try {
      this.#exec("ROLLBACK");
    } catch {}
  }

  /** Brings erasures into the file and empties the write-ahead log; false if a reader was in the way. */
  checkpoint(): boolean {
    return this.#get("PRAGMA wal_checkpoint(TRUNCATE)")?.busy === 0;
  }

  /** Changes whenever another connection has committed. */
  dataVersion(): number {
    return int(this.#get("PRAGMA data_version"), "data_version");
  }

  realm(): RealmRow {
    const row = this.#get("SELECT * FROM realm") as Row;
    return {
      realm: text(row, "realm"),
      prefix: text(row, "prefix"),
      incarnation: int(row, "incarnation"),
      floor: int(row, "floor"),
      recoverable: flag(row, "recoverable"),
    };
  }

  saveRealm(row: RealmRow): void {
    this.#run("UPDATE realm SET incarnation = ?, floor = ?", row.incarnation, row.floor);
  }

  addDevice(row: DeviceRow, key: Uint8Array): void {
    this.#run(
      `INSERT INTO device (id, name, class, version, key, revision, ask, moved, far, doubt, synced)
       VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0)`,
      row.id,
      row.name,
      row.class,
      row.version,
      this.#vault.seal(devicePlace(row.id, "key"), key),
      row.revision,
    );
  }

  removeDevice(id: string): void {
    this.#run("DELETE FROM device WHERE id = ?", id);
  }

  device(id: string): DeviceRow | undefined {
    const row = this.#get("SELECT * FROM device WHERE id = ?", id);
    return row && deviceRow(row);
  }

  deviceNamed(name: string): DeviceRow | undefined {
    const row = this.#get("SELECT * FROM device WHERE name = ? OR id = ?", name, name);
    return row && deviceRow(row);
  }

  devices(): DeviceRow[] {
    return this.#all("SELECT * FROM device ORDER BY name").map(deviceRow);
  }

  saveDevice(row: DeviceRow): void {
    this.#run(
      `UPDATE device SET class = ?, revision = ?, ask = ?, moved = ?, far = ?, doubt = ?, synced = ?,
       last_seen = ?, blob_sequence = ?, boot_sequence = ?, alarm = ? WHERE id = ?`,
      row.class,
      row.revision,
      Number(row.ask),
      Number(row.moved),
      Number(row.far),
      row.doubt,
      Number(row.synced),
      row.lastSeen,
      row.blobSequence,
      row.bootSequence,
      row.alarm,
      row.id,
    );
  }

  controlKeys(id: string): ControlKeys {
    const row = this.#get("SELECT key, next_key, fresh FROM device WHERE id = ?", id) as Row;
    const key = this.#vault.open(devicePlace(id, "key"), blob(row, "key"));
    if (row.next_key === null) return { key, next: null };
    return {
      key,
      next: {
        key: this.#vault.open(devicePlace(id, "next_key"), blob(row, "next_key")),
        fresh: this.#vault.open(devicePlace(id, "fresh"), blob(row, "fresh")),
      },
    };
  }

  /** Overwrites the control keys of a device; `version` is that of keys.key. */
  saveControlKeys(id: string, version: number, keys: ControlKeys): void {
    this.#run(
      "UPDATE device SET version = ?, key = ?, next_key = ?, fresh = ? WHERE id = ?",
      version,
      this.#vault.seal(devicePlace(id, "key"), keys.key),
      keys.next && this.#vault.seal(devicePlace(id, "next_key"), keys.next.key),
      keys.next && this.#vault.seal(devicePlace(id, "fresh"), keys.next.fresh),
      id,
    );
  }

  addChannel(row: ChannelRow): void {
    this.#run(
      `INSERT INTO channel (id, filter, suite, frame_size, short_tag, topic_mode, late, ahead, stored, narrow,
       mark_block, lease_steps, generation, step, target, keep, next_sender, seed, step_every, stepped_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?, x'', ?, ?)`,
      row.id,
      row.filter,
      row.suite,
      row.frameSize,
      Number(row.shortTag),
      row.topicMode,
      row.late,
      row.ahead,
      Number(row.stored),
      Number(row.narrow),
      row.markBlock,
      row.leaseSteps,
      row.nextSender,
      row.stepEvery,
      row.steppedAt,
    );
  }

  removeChannel(id: string): void {
    this.#run("DELETE FROM channel WHERE id = ?", id);
  }

  channel(id: string): ChannelRow | undefined {
    const row = this.#get("SELECT * FROM channel WHERE id = ?", id);
    return row && channelRow(row);
  }

  channels(): ChannelRow[] {
    return this.#all("SELECT * FROM channel ORDER BY filter").map(channelRow);
  }

  /** Channels with a schedule whose time has come, or was set by a clock that has gone back since. */
  channelsDue(now: number): ChannelRow[] {
    return this.#all(
      `SELECT * FROM channel WHERE step_every > 0 AND (stepped_at > ? OR stepped_at + 1000 * step_every <= ?)`,
      now,
      now,
    ).map(channelRow);
  }

  saveChannel(row: ChannelRow): void {
    this.#run(
      `UPDATE channel SET generation = ?, step = ?, target = ?, keep = ?, next_sender = ?, stepped_at = ?
       WHERE id = ?`,
      row.generation,
      row.step,
      row.target,
      Number(row.keep),
      row.nextSender,
      row.steppedAt,
      row.id,
    );
  }

  seed(row: ChannelRow): Uint8Array {
    const found = this.#get("SELECT seed FROM channel WHERE id = ?", row.id) as Row;
    return this.#vault.open(seedPlace(row), blob(found, "seed"));
  }

  saveSeed(row: ChannelRow, seed: Uint8Array): void {
    this.#run("UPDATE channel SET seed = ? WHERE id = ?", this.#vault.seal(seedPlace(row), seed), row.id);
  }

  nodes(row: ChannelRow): TreeNode[] {
    return this.#all("SELECT h, key FROM node WHERE channel = ? ORDER BY h", row.id).map((found) => {
      const h = int(found, "h");
      return { h, key: this.#vault.open(nodePlace(row, h), blob(found, "key")) };
    });
  }

  /** Replaces the nodes kept of a channel. */
  saveNodes(row: ChannelRow, nodes: TreeNode[]): void {
    this.#run("DELETE FROM node WHERE channel = ?", row.id);
    for (const { h, key } of nodes) {
      const sealed = this.#vault.seal(nodePlace(row, h), key);
      this.#run("INSERT INTO node (channel, h, key) VALUES (?, ?, ?)", row.id, h, sealed);
    }
  }

  /** Remembers the generation of a deleted channel; its retained beacon is to be cleared. */
  savePast(channel: string, generation: number, clear: boolean): void {
    this.#run("INSERT OR REPLACE INTO past VALUES (?, ?, ?)", channel, generation, Number(clear));
  }

  pastGeneration(channel: string): number {
    const row = this.#get("SELECT generation FROM past WHERE channel = ?", channel);
    return row ? int(row, "generation") : 0;
  }

  /** Deleted channels whose retained beacon is still to be cleared. */
  beaconsToClear(): string[] {
    return this.#all("SELECT channel FROM past WHERE clear = 1").map((row) => text(row, "channel"));
  }

  beaconCleared(channel: string): void {
    this.#run("UPDATE past SET clear = 0 WHERE channel = ?", channel);
  }

  member(channel: string, device: string): MemberRow | undefined {
    const row = this.#get("SELECT * FROM member WHERE channel = ? AND device = ?", channel, device);
    return row && memberRow(row);
  }

  members(channel: string): MemberRow[] {
    return this.#all("SELECT * FROM member WHERE channel = ? ORDER BY sender", channel).map(memberRow);
  }

  memberships(device: string): MemberRow[] {
    return this.#all("SELECT * FROM member WHERE device = ? ORDER BY channel", device).map(memberRow);
  }

  /** Members that wait for a generation (SPEC V-12). */
  suspended(): MemberRow[] {
    return this.#all("SELECT * FROM member WHERE suspended_to > 0").map(memberRow);
  }

  saveMember(row: MemberRow): void {
    this.#run(
      "INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      row.channel,
      row.device,
      row.sender,
      row.will,
      row.from,
      row.open,
      row.to,
      row.steps,
      Number(row.renew),
      Number(row.writes),
      Number(row.sent),
      row.paidTo,
      row.suspendedTo,
    );
  }

  removeMember(channel: string, device: string): void {
    this.#run("DELETE FROM member WHERE channel = ? AND device = ?", channel, device);
  }

  counter(channel: string, sender: number): CounterRow | undefined {
    const row = this.#get("SELECT * FROM counter WHERE channel = ? AND sender = ?", channel, sender);
    if (!row) return undefined;
    const [generation, step, next] = [int(row, "generation"), int(row, "step"), int(row, "next")];
    return { channel, sender, generation, step, next };
  }

  saveCounter(row: CounterRow): void {
    this.#run(
      "INSERT OR REPLACE INTO counter VALUES (?, ?, ?, ?, ?)",
      row.channel,
      row.sender,
      row.generation,
      row.step,
      row.next,
    );
  }

  held(device: string): HeldRow[] {
    return this.#all("SELECT * FROM held WHERE device = ? ORDER BY channel", device).map((row) =>
      this.#heldRow(row),
    );
  }

  saveHeld(row: HeldRow): void {
    this.#run(
      "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      row.device,
      row.channel,
      row.generation,
      row.step,
      row.from,
      row.open,
      row.to,
      row.form,
      row.frame,
      row.la,
      row.flags,
      row.sender,
      row.will,
      row.granted,
      row.lock && this.#vault.seal(heldPlace(row), row.lock),
      row.counters,
      row.refused,
    );
  }

  removeHeld(device: string, channel: string): void {
    this.#run("DELETE FROM held WHERE device = ? AND channel = ?", device, channel);
  }

  clearHeld(device: string): void {
    this.#run("DELETE FROM held WHERE device = ?", device);
  }

  /** The revision that waits for its ack. */
  outstanding(device: string): RevisionRow | undefined {
    const row = this.#get("SELECT * FROM revision WHERE device = ?", device);
    if (!row) return undefined;
    const revision = text(row, "revision");
    const commands = this.#vault.open(revisionPlace(device, revision), blob(row, "commands"));
    return { device, revision, session: flag(row, "session"), commands };
  }

  /** Devices that have a revision outstanding. */
  waiting(): string[] {
    return this.#all("SELECT device FROM revision").map((row) => text(row, "device"));
  }

  saveOutstanding(row: RevisionRow): void {
    const sealed = this.#vault.seal(revisionPlace(row.device, row.revision), row.commands);
    this.#run(
      "INSERT OR REPLACE INTO revision VALUES (?, ?, ?, ?)",
      row.device,
      row.revision,
      Number(row.session),
      sealed,
    );
  }

  removeOutstanding(device: string): void {
    this.#run("DELETE FROM revision WHERE device = ?", device);
  }

  boot(device: string, nonce: string): BootRow | undefined {
    const row = this.#get("SELECT * FROM boot WHERE device = ? AND nonce = ?", device, nonce);
    return row && this.#bootRow(row);
  }

  /** Sessions that can still speak: the confirmed one first, then the newest grants. */
  sessions(device: string): BootRow[] {
    return this.#all(
      "SELECT * FROM boot WHERE device = ? AND random IS NOT NULL ORDER BY confirmed DESC, revision DESC",
      device,
    ).map((row) => this.#bootRow(row));
  }

  saveBoot(row: BootRow): void {
    this.#run(
      "INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?)",
      row.device,
      row.nonce,
      row.revision,
      Number(row.confirmed),
      row.random && this.#vault.seal(bootPlace(row.device, row.nonce), row.random),
    );
  }

  removeBoot(device: string, nonce: string): void {
    this.#run("DELETE FROM boot WHERE device = ? AND nonce = ?", device, nonce);
  }

  /** Forgets all but the newest `keep` sessions that are over. */
  forgetBoots(device: string, keep: number): void {
    this.#run(
      `DELETE FROM boot WHERE device = ?1 AND random IS NULL AND nonce NOT IN
       (SELECT nonce FROM boot WHERE device = ?1 AND random IS NULL ORDER BY revision DESC LIMIT ?2)`,
      device,
      keep,
    );
  }

  #heldRow(row: Row): HeldRow {
    const held = heldRow(row);
    if (row.lock !== null) held.lock = this.#vault.open(heldPlace(held), blob(row, "lock"));
    return held;
  }

  #bootRow(row: Row): BootRow {
    const [device, nonce] = [text(row, "device"), text(row, "nonce")];
    return {
      device,
      nonce,
      revision: text(row, "revision"),
      confirmed: flag(row, "confirmed"),
      random: row.random === null ? null : this.#vault.open(bootPlace(device, nonce), blob(row, "random")),
    };
  }

  #statement(sql: string): ReturnType<Database["prepare"]> {
    if (!this.#open) throw new ServerError("CLOSED", "the key server is closed");
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #exec(sql: string): void {
    if (!this.#open) throw new ServerError("CLOSED", "the key server is closed");
    this.#database.exec(sql);
  }

  #run(sql: string, ...values: SqlValue[]): void {
    this.#statement(sql).run(...values);
  }

  #get(sql: string, ...values: SqlValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, ...values: SqlValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }
}

/** Settings of the connection only: nothing here writes to the file. */
function connect(world: World, path: string): Database {
  const database = world.database(path);
  try {
    database.exec(
      `PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;
       PRAGMA secure_delete = ON`,
    );
    return database;
  } catch (error) {
    database.close();
    throw notOurs(path, error);
  }
}

/** Tells an empty database from a realm; throws NOT_OURS or TOO_NEW. */
function inspect(database: Database, path: string): "empty" | "realm" {
  let [id, version, tables] = [0, 0, 0];
  try {
    id = int(database.prepare("PRAGMA application_id").get(), "application_id");
    version = int(database.prepare("PRAGMA user_version").get(), "user_version");
    tables = int(database.prepare("SELECT count(*) AS n FROM sqlite_schema").get(), "n");
  } catch (error) {
    throw notOurs(path, error);
  }
  if (tables === 0 && id === 0) return "empty";
  if (id !== APPLICATION_ID) throw notOurs(path);
  if (version > SCHEMA_VERSION) {
    throw new ServerError(
      "TOO_NEW",
      `${path} was written by a newer version (schema ${version}, known ${SCHEMA_VERSION})`,
    );
  }
  return "realm";
}

/** One transaction; another process may have done it meanwhile. */
function migrate(database: Database): void {
  const version = (): number => int(database.prepare("PRAGMA user_version").get(), "user_version");
  if (version() === SCHEMA_VERSION) return;
  database.exec("BEGIN IMMEDIATE");
  for (const sql of MIGRATIONS.slice(version() - 1)) database.exec(sql);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  database.exec("COMMIT");
}

function notOurs(path: string, cause?: unknown): ServerError {
  return new ServerError("NOT_OURS", `${path} is not a key server's database`, { cause });
}

function insertRealm(database: Database, realm: RealmRow, params: UnlockParams, proof: Uint8Array): void {
  const sql = "INSERT INTO realm VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  database
    .prepare(sql)
    .run(
      realm.realm,
      realm.prefix,
      realm.incarnation,
      realm.floor,
      Number(realm.recoverable),
      params.method,
      params.salt,
      params.memoryKib,
      params.passes,
      params.lanes,
      proof,
    );
}

function unlockParams(row: Row): UnlockParams {
  return {
    method: text(row, "method") === "file" ? "file" : "passphrase",
    salt: blob(row, "salt"),
    memoryKib: int(row, "memory_kib"),
    passes: int(row, "passes"),
    lanes: int(row, "lanes"),
  };
}

function prove(vault: Vault, row: Row): void {
  try {
    vault.open(PROOF_PLACE, blob(row, "proof"));
  } catch (error) {
    throw new ServerError("WRONG_KEY", "the passphrase or key file does not open this database", {
      cause: error,
    });
  }
}

// Places: table | row | column, with the generation or revision where one row lives through several.
const devicePlace = (id: string, column: string) => `device|${id}|${column}`;
const seedPlace = (row: ChannelRow) => `channel|${row.id}.${row.generation}|seed`;
const nodePlace = (row: ChannelRow, h: number) => `node|${row.id}.${row.generation}.${h}|key`;
const heldPlace = (row: HeldRow) => `held|${row.device}.${row.channel}.${row.generation}|lock`;
const revisionPlace = (device: string, revision: Revision) => `revision|${device}.${revision}|commands`;
const bootPlace = (device: string, nonce: string) => `boot|${device}.${nonce}|random`;

function deviceRow(row: Row): DeviceRow {
  return {
    id: text(row, "id"),
    name: text(row, "name"),
    class: intOrNull(row, "class"),
    version: int(row, "version"),
    revision: text(row, "revision"),
    ask: flag(row, "ask"),
    moved: flag(row, "moved"),
    far: flag(row, "far"),
    doubt: int(row, "doubt"),
    synced: flag(row, "synced"),
    lastSeen: intOrNull(row, "last_seen"),
    blobSequence: intOrNull(row, "blob_sequence"),
    bootSequence: intOrNull(row, "boot_sequence"),
    alarm: row.alarm === null ? null : text(row, "alarm"),
  };
}

function channelRow(row: Row): ChannelRow {
  return {
    id: text(row, "id"),
    filter: text(row, "filter"),
    suite: int(row, "suite"),
    frameSize: int(row, "frame_size"),
    shortTag: flag(row, "short_tag"),
    topicMode: int(row, "topic_mode"),
    late: int(row, "late"),
    ahead: int(row, "ahead"),
    stored: flag(row, "stored"),
    narrow: flag(row, "narrow"),
    markBlock: int(row, "mark_block"),
    leaseSteps: int(row, "lease_steps"),
    generation: int(row, "generation"),
    step: int(row, "step"),
    target: int(row, "target"),
    keep: flag(row, "keep"),
    nextSender: int(row, "next_sender"),
    stepEvery: int(row, "step_every"),
    steppedAt: int(row, "stepped_at"),
  };
}

function memberRow(row: Row): MemberRow {
  return {
    channel: text(row, "channel"),
    device: text(row, "device"),
    sender: int(row, "sender"),
    will: int(row, "will"),
    from: int(row, "from_step"),
    open: int(row, "open_step"),
    to: int(row, "to_step"),
    steps: int(row, "steps"),
    renew: flag(row, "renew"),
    writes: flag(row, "writes"),
    sent: flag(row, "sent"),
    paidTo: int(row, "paid_to"),
    suspendedTo: int(row, "suspended_to"),
  };
}

function heldRow(row: Row): HeldRow {
  return {
    device: text(row, "device"),
    channel: text(row, "channel"),
    generation: int(row, "generation"),
    step: int(row, "step"),
    from: int(row, "from_step"),
    open: int(row, "open_step"),
    to: int(row, "to_step"),
    form: int(row, "form"),
    frame: int(row, "frame"),
    la: int(row, "la"),
    flags: int(row, "flags"),
    sender: int(row, "sender"),
    will: int(row, "will"),
    granted: int(row, "granted"),
    lock: null,
    counters: row.counters === null ? null : text(row, "counters"),
    refused: row.refused === null ? null : text(row, "refused"),
  };
}

function one(row: Row | undefined, path: string): Row {
  if (row === undefined) throw notOurs(path);
  return row;
}

function int(row: Row | undefined, column: string): number {
  return Number(row?.[column]);
}

function intOrNull(row: Row, column: string): number | null {
  return row[column] === null ? null : int(row, column);
}

function flag(row: Row, column: string): boolean {
  return int(row, column) === 1;
}

function text(row: Row, column: string): string {
  return String(row[column]);
}

function blob(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new ServerError("DAMAGED", `column ${column} holds no bytes`);
  return value;
}
