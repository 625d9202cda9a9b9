// `ampoule init`: a new realm.

import { existsSync, rmSync } from "node:fs";
import { type Command, InvalidArgumentError } from "commander";
import { KeyServer } from "../../keyserver/server.ts";
import { makeDirectory, nodeWorld } from "../../node-world.ts";
import { usage } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { topic } from "../options.ts";
import { databasePath, keyPath } from "../realm.ts";
import { type PassphraseOptions, passphraseFileOption, readNewPassphrase } from "../secret.ts";

interface InitOptions extends PassphraseOptions {
  prefix: string;
  passphrase?: boolean;
  recoverable?: boolean;
  json?: boolean;
}

export function addInit(program: Command, io: Io): void {
  const command = program
    .command("init")
    .description("make a realm: a database, and the key that unlocks it")
    .argument("[dir]", "directory of the realm, made if absent", ".")
    .option("--prefix <topic>", "first topic level of control and epoch topics", checkPrefix, "ampoule")
    .option("--passphrase", "protect the realm with a passphrase instead of a key file")
    .addOption(passphraseFileOption())
    .option("--recoverable", "devices can be followed after a restore, and by whoever has a backup")
    .option("--json", "print the result as JSON")
    .action((directory: string, options: InitOptions) => init(directory, options, io));
  examples(command, [
    ["ampoule init", "realm.db and realm.key in this directory"],
    ["ampoule init /var/lib/ampoule --passphrase", "asks for a passphrase; no key file is kept"],
  ]);
}

const PREFIX_MAX = 128;

/** The prefix stands before every control topic; a topic beginning with $ is the broker's own. */
function checkPrefix(value: string): string {
  const checked = topic(value);
  if (Buffer.byteLength(checked) > PREFIX_MAX)
    throw new InvalidArgumentError(`It has at most ${PREFIX_MAX} bytes.`);
  if (/^[$/]|\/$|\/\//.test(checked)) {
    throw new InvalidArgumentError("It neither begins with $ or / nor has an empty level.");
  }
  return checked;
}

function init(directory: string, options: InitOptions, io: Io): void {
  const path = databasePath(directory);
  const keyFile = keyPath(directory);
  const taken = [path, keyFile].find((file) => existsSync(file));
  if (taken !== undefined) {
    throw usage(`${taken} exists already`, "a realm is made once; name another directory for a second one");
  }
  const withPassphrase = options.passphrase === true || options.passphraseFile !== undefined;
  const passphrase = withPassphrase ? readNewPassphrase(options, io) : undefined;
  makeDirectory(directory);
  try {
    const { prefix, recoverable = false } = options;
    const unlock = passphrase === undefined ? { keyFile } : { passphrase };
    const server = KeyServer.create({ world: nodeWorld(), path, unlock, prefix, recoverable });
    const realm = Buffer.from(server.realm).toString("hex");
    server.close();
    report(realm, passphrase === undefined ? [path, keyFile] : [path], options, io);
  } catch (error) {
    for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file, { force: true });
    if (passphrase === undefined) rmSync(keyFile, { force: true });
    throw error;
  }
}

function report(realm: string, files: string[], options: InitOptions, io: Io): void {
  if (options.json === true) {
    io.out(`${JSON.stringify({ realm, prefix: options.prefix, files })}\n`);
    return;
  }
  io.out(`realm ${realm}, topics below ${options.prefix}/\n`);
  for (const file of files) io.out(`wrote ${file}\n`);
  io.out("next: ampoule provision <name>, ampoule channel create <filter>, ampoule serve\n");
}
