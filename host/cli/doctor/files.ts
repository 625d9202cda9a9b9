// Things on this machine: the realm's files, an identity, their modes.

import { existsSync, statSync } from "node:fs";
import { explain } from "../errors.ts";
import { readIdentityFile } from "../identity-file.ts";
import type { Io } from "../io.ts";
import { databasePath, keyPath, openRealm, type RealmOptions } from "../realm.ts";
import { type Finding, fail, ok, reason, warn } from "./finding.ts";

/** A realm that is absent is no fault: a machine may have devices only. */
export function checkRealm(options: RealmOptions, io: Io): Finding[] {
  const database = databasePath(options.realm);
  if (!existsSync(database)) {
    return [warn(`no realm in ${options.realm}`, "make one with `ampoule init`, or name it with --realm")];
  }
  const files = [database, keyPath(options.realm)].filter((path) => existsSync(path));
  return [...files.map(checkMode), openDatabase(options, io)];
}

function checkMode(path: string): Finding {
  if (process.platform === "win32") return ok(`${path} is there`);
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) === 0) return ok(`${path} is private (mode ${mode.toString(8)})`);
  return fail(`${path} can be touched by other users (mode ${mode.toString(8)})`, `chmod 600 ${path}`);
}

function openDatabase(options: RealmOptions, io: Io): Finding {
  try {
    const server = openRealm(options, io);
    const [devices, channels] = [server.devices().length, server.channels().length];
    server.close();
    return ok(`the realm opens: ${devices} devices, ${channels} channels`);
  } catch (error) {
    return fail(
      `the realm does not open: ${reason(error)}`,
      explain(error).hint ?? "restore it from a backup",
    );
  }
}

export function checkIdentity(path: string): Finding {
  try {
    const { name, device } = readIdentityFile(path);
    const id = Buffer.from(device).toString("hex");
    return ok(`${path} is the identity of device ${name === undefined ? id : `${name}, ${id}`}`);
  } catch (error) {
    return fail(reason(error), explain(error).hint ?? "make one with `ampoule provision <name>`");
  }
}
