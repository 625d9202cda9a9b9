// The file of a key server's database: told from other files, made, migrated, and its key proven, before any row is read.

import type { Database, World } from "../world.ts";
import { ServerError } from "./errors.ts";
import { blob, int, type RealmRow, type Row, text } from "./rows.ts";
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from "./schema.ts";
import { type Unlock, type UnlockParams, Vault } from "./vault.ts";

const PROOF_PLACE = "realm|1|proof";
const PROOF = new TextEncoder().encode("ampoule key server");
const BUSY_MS = 10_000;

/** An open database and what seals its keys. */
export interface Opened {
  database: Database;
  vault: Vault;
}

/** Makes the tables of a new realm. Throws EXISTS or NOT_OURS and changes nothing if the file has content. */
export function createRealm(world: World, path: string, unlock: Unlock, realm: RealmRow): Opened {
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
    return { database, vault };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Migrates an older schema. Throws NO_REALM, NOT_OURS, TOO_NEW or WRONG_KEY; nothing is written then. */
export function openRealm(world: World, path: string, unlock: Unlock): Opened {
  const database = connect(world, path);
  try {
    if (inspect(database, path) === "empty") throw new ServerError("NO_REALM", `${path} holds no realm`);
    const row = one(database.prepare("SELECT * FROM realm").get(), path);
    const vault = Vault.unlock(unlock, unlockParams(row), world);
    prove(vault, row);
    migrate(database);
    return { database, vault };
  } catch (error) {
    database.close();
    throw error;
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

function one(row: Row | undefined, path: string): Row {
  if (row === undefined) throw notOurs(path);
  return row;
}
