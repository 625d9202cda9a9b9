// Things on this machine: the realm's files, an identity, their modes.

import { existsSync, statSync } from "node:fs";
import { explain } from "../errors.ts";
import { readIdentityFile } from "../identity-file.ts";
import type { Io } from "../io.ts";
import { databasePath, keyPath, openRealm, type RealmOptions } from "../realm.ts";
import { type Finding, fail, ok, reason, warn } from "./finding.ts";

/** Findings, and the prefix of control topics if it became known. */
export interface Examined {
  findings: Finding[];
  prefix?: string;
}

/** A realm that is absent is no fault: a machine may have devices only. */
export function checkRealm(options: RealmOptions, io: Io): Examined {
  const database = databasePath(options.realm);
  if (!existsSync(database)) {
    const hint = "make one with `ampoule init`, or name it with --realm";
    return { findings: [warn(`no realm in ${options.realm}`, hint)] };
  }
  const modes = [database, keyPath(options.realm)].filter((path) => existsSync(path)).map(checkMode);
  const { findings, ...rest } = openDatabase(options, io);
  return { findings: [...modes, ...findings], ...rest };
}

function checkMode(path: string): Finding {
  if (process.platform === "win32") return ok(`${path} is there`);
  const mode = statSync(path).mode & 0o777;
  if ((mode & 0o077) === 0) return ok(`${path} is private (mode ${mode.toString(8)})`);
  return fail(`${path} can be touched by other users (mode ${mode.toString(8)})`, `chmod 600 ${path}`);
}

function openDatabase(options: RealmOptions, io: Io): Examined {
  try {
    const server = openRealm(options, io);
    const { prefix } = server;
    const [devices, channels] = [server.devices().length, server.channels().length];
    server.close();
    return { findings: [ok(`the realm opens: ${devices} devices, ${channels} channels`)], prefix };
  } catch (error) {
    const hint = explain(error).hint ?? "restore it from a backup";
    return { findings: [fail(`the realm does not open: ${reason(error)}`, hint)] };
  }
}

export function checkIdentity(path: string): Examined {
  try {
    const { name, device, prefix } = readIdentityFile(path);
    const id = Buffer.from(device).toString("hex");
    const who = name === undefined ? id : `${name}, ${id}`;
    return { findings: [ok(`${path} is the identity of device ${who}`)], prefix };
  } catch (error) {
    const { message, hint = "make one with `ampoule provision <name>`" } = explain(error);
    return { findings: [fail(message, hint)] };
  }
}
