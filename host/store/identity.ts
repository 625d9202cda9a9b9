// The identity file: one JSON object, hex digits in lower case, nothing in it that is not named here.

import { toHex } from "../bytes.ts";
import { StoreError } from "./errors.ts";
import type { Identity } from "./store.ts";

const FORMAT = 1;
const FIELDS = new Set(["ampoule", "name", "realm", "device", "prefix", "key", "storageKey"]);
const NAME_MAX = 64;
const PREFIX_MAX = 256;

/** Longest identity file in bytes. */
export const IDENTITY_MAX = 4096;

/** An identity as a file holds it; `name` is for people only. */
export interface NamedIdentity extends Identity {
  name?: string;
}

/**
 * Reads the text of an identity file: `{ampoule: 1, name?, realm, device, prefix, key?, storageKey?}`,
 * with at least one of the two keys.
 *
 * Throws StoreError BAD_IDENTITY; `path` is for its message only.
 */
export function parseIdentity(text: string, path: string): NamedIdentity {
  const fields = parseObject(text, path);
  for (const field of Object.keys(fields)) {
    if (!FIELDS.has(field)) throw bad(path, `it has a field ${JSON.stringify(field.slice(0, 32))}`);
  }
  if (fields.ampoule !== FORMAT) throw bad(path, `it has no "ampoule": ${FORMAT}`);
  if (typeof fields.prefix !== "string") throw bad(path, '"prefix" is not a topic');
  const identity: NamedIdentity = {
    realm: hexField(fields, "realm", 8, path),
    device: hexField(fields, "device", 8, path),
    prefix: fields.prefix,
  };
  if (fields.name !== undefined) identity.name = nameField(fields.name, path);
  if (fields.key !== undefined) identity.key = hexField(fields, "key", 16, path);
  if (fields.storageKey !== undefined) identity.storageKey = hexField(fields, "storageKey", 32, path);
  checkIdentity(identity, path);
  return identity;
}

/** The text parseIdentity reads. Throws StoreError BAD_IDENTITY for what it would refuse. */
export function formatIdentity(identity: NamedIdentity, path = "identity"): string {
  checkIdentity(identity, path);
  const { name, realm, device, prefix, key, storageKey } = identity;
  const fields = {
    ampoule: FORMAT,
    ...(name === undefined ? {} : { name: nameField(name, path) }),
    realm: toHex(realm),
    device: toHex(device),
    prefix,
    ...(key === undefined ? {} : { key: toHex(key) }),
    ...(storageKey === undefined ? {} : { storageKey: toHex(storageKey) }),
  };
  return `${JSON.stringify(fields, null, 2)}\n`;
}

/** Sizes, prefix and the presence of a key. Throws StoreError BAD_IDENTITY. */
export function checkIdentity(identity: Identity, path: string): void {
  if (identity.realm.length !== 8) throw bad(path, '"realm" has not 8 bytes');
  if (identity.device.length !== 8) throw bad(path, '"device" has not 8 bytes');
  if (!isPrefix(identity.prefix)) throw bad(path, '"prefix" is not a topic');
  if (identity.key === undefined && identity.storageKey === undefined) throw bad(path, "it has no key");
  if (identity.key !== undefined && identity.key.length !== 16) throw bad(path, '"key" has not 16 bytes');
  if (identity.storageKey !== undefined && identity.storageKey.length !== 32) {
    throw bad(path, '"storageKey" has not 32 bytes');
  }
}

/** A copy that shares no memory with the original. */
export function copyIdentity(identity: Identity): Identity {
  const copy: Identity = {
    realm: identity.realm.slice(),
    device: identity.device.slice(),
    prefix: identity.prefix,
  };
  if (identity.key !== undefined) copy.key = identity.key.slice();
  if (identity.storageKey !== undefined) copy.storageKey = identity.storageKey.slice();
  return copy;
}

/** No wildcard, no leading `$`, no empty level: control topics must be ordinary topics. */
function isPrefix(prefix: string): boolean {
  if (prefix === "" || prefix.length > PREFIX_MAX || prefix.startsWith("$")) return false;
  return prefix.split("/").every((level) => level !== "" && !hasForbidden(level));
}

function hasForbidden(level: string): boolean {
  for (const character of level) {
    const code = character.codePointAt(0) ?? 0;
    if (character === "+" || character === "#" || code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  }
  return false;
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad(path, "it is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw bad(path, "it is not a JSON object");
  }
  return value as Record<string, unknown>;
}

function nameField(name: unknown, path: string): string {
  if (typeof name !== "string" || name === "" || name.length > NAME_MAX || hasForbidden(name)) {
    throw bad(path, '"name" is not a name');
  }
  return name;
}

function hexField(fields: Record<string, unknown>, field: string, size: number, path: string): Uint8Array {
  const digits = fields[field];
  if (typeof digits !== "string" || digits.length !== 2 * size || !/^[0-9a-f]*$/.test(digits)) {
    throw bad(path, `"${field}" is not ${2 * size} lower-case hex digits`);
  }
  return new Uint8Array(Buffer.from(digits, "hex"));
}

function bad(path: string, why: string): StoreError {
  return new StoreError("BAD_IDENTITY", `${path} is not an identity file: ${why}`);
}
