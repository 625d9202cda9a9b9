// Where secrets come from: a prompt without echo, a file, the environment's file name. Never an argument.

import { readFileSync } from "node:fs";
import { Option } from "commander";
import { io, usage } from "./errors.ts";
import { privateSize } from "./files.ts";
import type { Io } from "./io.ts";

export interface PassphraseOptions {
  passphraseFile?: string;
}

export const PASSPHRASE_MIN = 8;

export function passphraseFileOption(): Option {
  return new Option("--passphrase-file <file>", "read the passphrase from a file").env(
    "AMPOULE_PASSPHRASE_FILE",
  );
}

/** The passphrase of an existing realm: file, else prompt. */
export function readPassphrase(options: PassphraseOptions, io: Io): string {
  if (options.passphraseFile !== undefined) return readSecretFile(options.passphraseFile);
  const typed = io.askSecret("Passphrase of the realm: ");
  if (typed === undefined) throw noSource();
  return typed;
}

/** A new passphrase: asked for twice, at least PASSPHRASE_MIN characters. */
export function readNewPassphrase(options: PassphraseOptions, io: Io): string {
  if (options.passphraseFile !== undefined) return checkLength(readSecretFile(options.passphraseFile));
  const typed = io.askSecret(`New passphrase, at least ${PASSPHRASE_MIN} characters: `);
  if (typed === undefined) throw noSource();
  if (io.askSecret("The same again: ") !== typed) throw usage("the two passphrases differ");
  return checkLength(typed);
}

function checkLength(passphrase: string): string {
  if (passphrase.length < PASSPHRASE_MIN) {
    throw usage(`the passphrase is shorter than ${PASSPHRASE_MIN} characters`);
  }
  return passphrase;
}

function noSource(): Error {
  return usage(
    "no passphrase, and no terminal to ask at",
    "name a file: --passphrase-file <file>, or AMPOULE_PASSPHRASE_FILE",
  );
}

const SECRET_FILE_MAX = 4096;

/** First line of a file without its line end. A file others can read is refused. */
export function readSecretFile(path: string): string {
  if (privateSize(path) > SECRET_FILE_MAX) throw io(`${path} is too long for a secret`);
  const line = readFileSync(path, "utf8").split(/\r?\n/, 1)[0] ?? "";
  if (line === "") throw io(`${path} has no secret in its first line`);
  return line;
}
