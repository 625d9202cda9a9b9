// The key server's database: rows in, rows out, keys sealed on the way. The only file that runs SQL on the rows of a realm.
//
// What erasing means here: secure_delete overwrites a row's bytes in the page, and checkpoint() brings
// the page into the file and cuts the write-ahead log to nothing. Until then the log holds the older
// page, and a file system or flash that copies on write may keep it for longer. All of it is sealed:
// without the passphrase or key file an old page is worth nothing.

import type { Database, SqlValue, World } from "../world.ts";
import type { Revision } from "./bytes.ts";
import { createRealm, type Opened, openRealm } from "./database.ts";
import { ServerError } from "./errors.ts";
import {
  type BootRow,
  blob,
  type ChannelRow,
  type ControlKeys,
  type CounterRow,
  channelRow,
  type DeviceRow,
  deviceRow,
  flag,
  type HeldRow,
  heldRow,
  int,
  type MemberRow,
  memberRow,
  type RealmRow,
  type RevisionRow,
  type Row,
  text,
} from "./rows.ts";
import type { TreeNode } from "./tree.ts";
import type { Unlock, Vault } from "./vault.ts";

export class Records {
  readonly #database: Database;
  readonly #vault: Vault;
  readonly #statements = new Map<string, ReturnType<Database["prepare"]>>();
  #open = true;

  private constructor({ database, vault }: Opened) {
    this.#database = database;
    this.#vault = vault;
  }

  /** Makes the tables of a new realm. Throws EXISTS or NOT_OURS and changes nothing if the file has content. */
  static create(world: World, path: string, unlock: Unlock, realm: RealmRow): Records {
    return new Records(createRealm(world, path, unlock, realm));
  }

  /** Migrates an older schema. Throws NO_REALM, NOT_OURS, TOO_NEW or WRONG_KEY; nothing is written then. */
  static open(world: World, path: string, unlock: Unlock): Records {
    return new Records(openRealm(world, path, unlock));
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

// Places: table | row | column, with the generation or revision where one row lives through several.
const devicePlace = (id: string, column: string) => `device|${id}|${column}`;
const seedPlace = (row: ChannelRow) => `channel|${row.id}.${row.generation}|seed`;
const nodePlace = (row: ChannelRow, h: number) => `node|${row.id}.${row.generation}.${h}|key`;
const heldPlace = (row: HeldRow) => `held|${row.device}.${row.channel}.${row.generation}|lock`;
const revisionPlace = (device: string, revision: Revision) => `revision|${device}.${revision}|commands`;
const bootPlace = (device: string, nonce: string) => `boot|${device}.${nonce}|random`;
