// Keys at rest. Every key column is sealed for its place under one key-encryption key; the only file
// of the key server that knows a cipher of its own, because the database is nobody's wire format.

import { argon2Sync, createCipheriv, createDecipheriv } from "node:crypto";
import { concat } from "../bytes.ts";
import type { World } from "../world.ts";
import { ServerError } from "./errors.ts";

/** What opens a database: a passphrase, or a file of 32 random bytes (mode 0600). */
export type Unlock = { passphrase: string } | { keyFile: string };

/** How the key-encryption key is made; stored in clear beside the data. */
export interface UnlockParams {
  method: "passphrase" | "file";
  salt: Uint8Array;
  memoryKib: number;
  passes: number;
  lanes: number;
}

const KEY_SIZE = 32;
const SALT_SIZE = 16;
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const MEMORY_MAX_KIB = 4 * 1024 * 1024;
const CIPHER = "chacha20-poly1305";
const encoder = new TextEncoder();

export class Vault {
  readonly #key: Uint8Array;
  readonly #random: World["random"];

  private constructor(key: Uint8Array, random: World["random"]) {
    this.#key = key;
    this.#random = random;
  }

  /** Parameters for a new database; writes the key file if there is none yet. */
  static plan(unlock: Unlock, world: World): UnlockParams {
    if ("keyFile" in unlock) {
      if (world.disk.read(unlock.keyFile) === null) world.disk.write(unlock.keyFile, world.random(KEY_SIZE));
      return { method: "file", salt: new Uint8Array(0), memoryKib: 0, passes: 0, lanes: 0 };
    }
    return { method: "passphrase", salt: world.random(SALT_SIZE), memoryKib: 64 * 1024, passes: 3, lanes: 1 };
  }

  /** Makes the key-encryption key. Whether it is the right one, only open() of a sealed value tells. */
  static unlock(unlock: Unlock, params: UnlockParams, world: World): Vault {
    const random = (size: number) => world.random(size);
    if ("keyFile" in unlock) {
      if (params.method !== "file") throw wrongKind("passphrase");
      return new Vault(readKeyFile(unlock.keyFile, world), random);
    }
    if (params.method !== "passphrase") throw wrongKind("key file");
    return new Vault(stretch(unlock.passphrase, params), random);
  }

  /**
   * Seals a value for one place: nonce(12) || ciphertext || tag(16).
   * Nonces are random: below 2^32 writes a repetition is less likely than 2^-32.
   */
  seal(place: string, value: Uint8Array): Uint8Array {
    const nonce = this.#random(NONCE_SIZE);
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_SIZE });
    cipher.setAAD(encoder.encode(place), { plaintextLength: value.length });
    const sealed = cipher.update(value);
    cipher.final();
    return concat(nonce, sealed, cipher.getAuthTag());
  }

  /** Throws DAMAGED unless `sealed` was made by seal() under this key for this place. */
  open(place: string, sealed: Uint8Array): Uint8Array {
    if (sealed.length < NONCE_SIZE + TAG_SIZE) throw damaged(place);
    const end = sealed.length - TAG_SIZE;
    const nonce = sealed.subarray(0, NONCE_SIZE);
    const cipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_SIZE });
    cipher.setAAD(encoder.encode(place), { plaintextLength: end - NONCE_SIZE });
    cipher.setAuthTag(sealed.subarray(end));
    const value = new Uint8Array(cipher.update(sealed.subarray(NONCE_SIZE, end)));
    try {
      cipher.final();
    } catch {
      value.fill(0);
      throw damaged(place);
    }
    return value;
  }

  /** Wipes the key; the vault must not be used again. */
  close(): void {
    this.#key.fill(0);
  }
}

function stretch(passphrase: string, params: UnlockParams): Uint8Array {
  if (typeof passphrase !== "string" || passphrase === "") {
    throw new ServerError("BAD_PASSPHRASE", "the passphrase is empty");
  }
  if (params.memoryKib > MEMORY_MAX_KIB) {
    throw new ServerError("DAMAGED", "the database asks for an absurd amount of memory");
  }
  const key = argon2Sync("argon2id", {
    message: encoder.encode(passphrase.normalize("NFC")),
    nonce: params.salt,
    parallelism: params.lanes,
    tagLength: KEY_SIZE,
    memory: params.memoryKib,
    passes: params.passes,
  });
  return new Uint8Array(key);
}

function readKeyFile(path: string, world: World): Uint8Array {
  const key = world.disk.read(path);
  if (key === null) throw new ServerError("BAD_KEY_FILE", `there is no key file ${path}`);
  if (key.length !== KEY_SIZE) throw new ServerError("BAD_KEY_FILE", `${path} is not a key file of 32 bytes`);
  return new Uint8Array(key);
}

function wrongKind(needed: string): ServerError {
  return new ServerError("WRONG_KEY", `this database is opened by a ${needed}`);
}

function damaged(place: string): ServerError {
  return new ServerError("DAMAGED", `a stored value does not verify (${place})`);
}
