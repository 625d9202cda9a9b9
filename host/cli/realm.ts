// Which realm a command works on: a directory with the database and, unless a passphrase
// protects it, the key file beside it.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { KeyServer, type Unlock } from "../keyserver/server.ts";
import { nodeWorld } from "../node-world.ts";
import { usage } from "./errors.ts";
import { privateSize } from "./files.ts";
import type { Io } from "./io.ts";
import { type PassphraseOptions, passphraseFileOption, readPassphrase } from "./secret.ts";

export interface RealmOptions extends PassphraseOptions {
  realm: string;
}

export const databasePath = (directory: string): string => join(directory, "realm.db");
export const keyPath = (directory: string): string => join(directory, "realm.key");

export function addRealmOptions(command: Command): Command {
  return command
    .optionsGroup("Realm:")
    .addOption(new Option("--realm <dir>", "directory of the realm").env("AMPOULE_REALM").default("."))
    .addOption(passphraseFileOption());
}

/** Opens the realm, works on it and closes it whatever happens. */
export async function withRealm<T>(
  options: RealmOptions,
  io: Io,
  work: (server: KeyServer) => T | Promise<T>,
): Promise<T> {
  const server = openRealm(options, io);
  try {
    return await work(server);
  } finally {
    server.close();
  }
}

/** `restored`: the database is an older copy (SPEC V-7). */
export function openRealm(options: RealmOptions, io: Io, { restored = false } = {}): KeyServer {
  const path = databasePath(options.realm);
  if (!existsSync(path)) {
    throw usage(`no realm in ${options.realm}`, "make one with `ampoule init`, or name it with --realm");
  }
  return KeyServer.open({ world: nodeWorld(), path, unlock: unlock(options, io), restored });
}

function unlock(options: RealmOptions, io: Io): Unlock {
  const keyFile = keyPath(options.realm);
  if (!existsSync(keyFile)) return { passphrase: readPassphrase(options, io) };
  privateSize(keyFile);
  return { keyFile };
}
