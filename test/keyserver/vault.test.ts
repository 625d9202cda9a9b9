import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ServerCode, ServerError } from "../../host/keyserver/errors.ts";
import { Records } from "../../host/keyserver/records.ts";
import { SCHEMA_VERSION } from "../../host/keyserver/schema.ts";
import { KeyServer } from "../../host/keyserver/server.ts";
import { Vault } from "../../host/keyserver/vault.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { ENGINE } from "./stage.ts";

const world = nodeWorld();

test("vault: opens what it sealed, and every seal is another one", (t) => {
  const vault = fileVault(t);
  for (const size of [0, 1, 16, 32, 1000]) {
    const value = world.random(size);
    const sealed = vault.seal("device|a|key", value);
    assert.equal(sealed.length, size + 28);
    assert.deepEqual(vault.open("device|a|key", sealed), value);
    assert.notDeepEqual(vault.seal("device|a|key", value), sealed);
  }
});

test("vault: refuses a value moved to another row or column, and every changed bit", (t) => {
  const vault = fileVault(t);
  const sealed = vault.seal("device|a|key", world.random(16));
  for (const place of ["device|b|key", "device|a|next_key", "node|a|key", ""]) {
    assert.throws(() => vault.open(place, sealed), isRefused("DAMAGED"), place);
  }
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = sealed.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.throws(() => vault.open("device|a|key", changed), isRefused("DAMAGED"));
  }
  for (const length of [0, 11, 27]) {
    assert.throws(() => vault.open("device|a|key", sealed.subarray(0, length)), isRefused("DAMAGED"));
  }
});

test("vault: a closed vault has forgotten its key", (t) => {
  const vault = fileVault(t);
  const sealed = vault.seal("p", world.random(16));
  vault.close();
  assert.throws(() => vault.open("p", sealed), isRefused("DAMAGED"));
});

test("vault: a key file is made once, for its owner alone, and read again", (t) => {
  const path = join(directory(t), "realm.key");
  const params = Vault.plan({ keyFile: path }, world);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(readFileSync(path).length, 32);
  const sealed = Vault.unlock({ keyFile: path }, params, world).seal("p", Uint8Array.of(1, 2, 3));
  assert.deepEqual(Vault.plan({ keyFile: path }, world), params);
  assert.deepEqual(Vault.unlock({ keyFile: path }, params, world).open("p", sealed), Uint8Array.of(1, 2, 3));
});

test("vault: a passphrase goes through Argon2id with 64 MiB and three passes, salted", () => {
  const params = Vault.plan({ passphrase: "pass" }, world);
  assert.deepEqual([params.memoryKib, params.passes, params.salt.length], [65536, 3, 16]);
  assert.notDeepEqual(Vault.plan({ passphrase: "pass" }, world).salt, params.salt);
  const sealed = Vault.unlock({ passphrase: "e\u0301" }, params, world).seal("p", Uint8Array.of(7));
  assert.deepEqual(Vault.unlock({ passphrase: "\u00e9" }, params, world).open("p", sealed), Uint8Array.of(7));
  assert.throws(() => Vault.unlock({ passphrase: "" }, params, world), isRefused("BAD_PASSPHRASE"));
});

test("keyserver: a wrong passphrase or key file is refused by name, and writes nothing", (t) => {
  const dir = directory(t);
  const path = join(dir, "realm.db");
  const unlock = { passphrase: "right" };
  KeyServer.create({ world, path, unlock, engine: ENGINE }).close();
  const before = fingerprint(path);
  writeFileSync(join(dir, "other.key"), new Uint8Array(32));
  writeFileSync(join(dir, "short.key"), new Uint8Array(31));
  const open = (other: { passphrase: string } | { keyFile: string }) => () =>
    KeyServer.open({ world, path, unlock: other, engine: ENGINE });
  assert.throws(open({ passphrase: "wrong" }), isRefused("WRONG_KEY"));
  assert.throws(open({ passphrase: "" }), isRefused("BAD_PASSPHRASE"));
  assert.throws(open({ keyFile: join(dir, "other.key") }), isRefused("BAD_KEY_FILE", "WRONG_KEY"));
  assert.equal(fingerprint(path), before);
  KeyServer.open({ world, path, unlock, engine: ENGINE }).close();

  const filed = join(dir, "filed.db");
  KeyServer.create({
    world,
    path: filed,
    unlock: { keyFile: join(dir, "realm.key") },
    engine: ENGINE,
  }).close();
  const openFiled = (keyFile: string) => () =>
    KeyServer.open({ world, path: filed, unlock: { keyFile: join(dir, keyFile) }, engine: ENGINE });
  assert.throws(openFiled("other.key"), isRefused("WRONG_KEY"));
  assert.throws(openFiled("short.key"), isRefused("BAD_KEY_FILE"));
  assert.throws(openFiled("absent.key"), isRefused("BAD_KEY_FILE"));
  assert.ok(!existsSync(join(dir, "absent.key")));
});

test("keyserver: a file that is no realm, or a newer one, is refused by name and left alone", (t) => {
  const dir = directory(t);
  const unlock = { keyFile: join(dir, "realm.key") };
  const open = (path: string) => () => KeyServer.open({ world, path, unlock, engine: ENGINE });
  const create = (path: string) => () => KeyServer.create({ world, path, unlock, engine: ENGINE });

  const text = join(dir, "text");
  writeFileSync(text, "not a database, but long enough to be looked at as one ".repeat(40));
  const foreign = join(dir, "foreign.db");
  const other = world.database(foreign);
  other.exec("CREATE TABLE t (x)");
  other.close();
  for (const path of [text, foreign]) {
    const before = fingerprint(path);
    assert.throws(open(path), isRefused("NOT_OURS"), path);
    assert.throws(create(path), isRefused("NOT_OURS"), path);
    assert.equal(fingerprint(path), before);
  }

  const newer = join(dir, "newer.db");
  create(newer)().close();
  const database = world.database(newer);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  database.close();
  assert.throws(open(newer), isRefused("TOO_NEW"));
  assert.throws(open(join(dir, "absent.db")), isRefused("NO_REALM"));
});

test("keyserver: create refuses an existing realm and changes nothing", (t) => {
  const dir = directory(t);
  const path = join(dir, "realm.db");
  const unlock = { keyFile: join(dir, "realm.key") };
  KeyServer.create({ world, path, unlock, engine: ENGINE }).close();
  const before = fingerprint(path);
  assert.throws(() => KeyServer.create({ world, path, unlock, engine: ENGINE }), isRefused("EXISTS"));
  assert.equal(fingerprint(path), before);
});

test("records: a key put into another row of the database does not open", (t) => {
  const dir = directory(t);
  const path = join(dir, "realm.db");
  const unlock = { keyFile: join(dir, "realm.key") };
  const server = KeyServer.create({ world, path, unlock, engine: ENGINE });
  const ids = ["a", "b"].map((name) => Buffer.from(server.provision(name).device).toString("hex"));
  server.close();
  const database = world.database(path);
  database
    .prepare("UPDATE device SET key = (SELECT key FROM device WHERE name = 'a') WHERE name = 'b'")
    .run();
  database.close();
  const records = Records.open(world, path, unlock);
  assert.equal(records.controlKeys(ids[0] as string).key.length, 16);
  assert.throws(() => records.controlKeys(ids[1] as string), isRefused("DAMAGED"));
  records.close();
});

function fileVault(t: TestContext): Vault {
  const unlock = { keyFile: join(directory(t), "realm.key") };
  return Vault.unlock(unlock, Vault.plan(unlock, world), world);
}

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "ampoule-vault-"));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

function isRefused(...codes: ServerCode[]): (error: unknown) => boolean {
  return (error) => error instanceof ServerError && codes.includes(error.code);
}

/** Hash of a database file and of its log. */
function fingerprint(path: string): string {
  const hash = createHash("sha256").update(readFileSync(path));
  if (existsSync(`${path}-wal`)) hash.update(readFileSync(`${path}-wal`));
  return hash.digest("hex");
}
