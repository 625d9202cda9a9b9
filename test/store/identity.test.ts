import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreError } from "../../host/store/errors.ts";
import { formatIdentity, type NamedIdentity, parseIdentity } from "../../host/store/identity.ts";

const IDENTITY: NamedIdentity = {
  name: "pump-1",
  realm: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]),
  device: new Uint8Array([9, 10, 11, 12, 13, 14, 15, 255]),
  prefix: "ampoule",
  key: new Uint8Array(16).fill(0xab),
};
const FIELDS = JSON.parse(formatIdentity(IDENTITY)) as Record<string, unknown>;

function refused(text: string): StoreError {
  try {
    parseIdentity(text, "pump.json");
  } catch (error) {
    assert.ok(error instanceof StoreError);
    assert.equal(error.code, "BAD_IDENTITY");
    assert.match(error.message, /pump\.json/);
    return error;
  }
  throw new assert.AssertionError({ message: `accepted ${text}` });
}

test("identity: what is written is read back, byte for byte [I-1]", () => {
  const text = formatIdentity(IDENTITY);
  assert.deepEqual(parseIdentity(text, "x"), IDENTITY);
  assert.equal(formatIdentity(parseIdentity(text, "x")), text);
});

test("identity: ids are 16 lower-case hex digits in byte order [N-2]", () => {
  assert.equal(FIELDS.realm, "0102030405060708");
  assert.equal(FIELDS.device, "090a0b0c0d0e0fff");
});

test("identity: the storage key may stand beside K(0), or alone once K(0) is overwritten [I-1]", () => {
  const storageKey = "cd".repeat(32);
  const both = parseIdentity(JSON.stringify({ ...FIELDS, storageKey }), "x");
  assert.equal(both.key?.length, 16);
  assert.equal(both.storageKey?.length, 32);
  const { key: _, ...rest } = FIELDS;
  const alone = parseIdentity(JSON.stringify({ ...rest, storageKey }), "x");
  assert.equal(alone.key, undefined);
  assert.deepEqual(alone.storageKey, new Uint8Array(32).fill(0xcd));
});

test("identity: what is not exactly an identity is refused by name", () => {
  const { key: _, ...keyless } = FIELDS;
  const cases: [string, unknown][] = [
    ["no key", keyless],
    ["another format", { ...FIELDS, ampoule: 2 }],
    ["a format that is text", { ...FIELDS, ampoule: "1" }],
    ["a foreign field", { ...FIELDS, extra: 1 }],
    ["a short realm", { ...FIELDS, realm: "01020304050607" }],
    ["upper-case digits", { ...FIELDS, device: "090A0B0C0D0E0FFF" }],
    ["digits that are none", { ...FIELDS, device: "090a0b0c0d0e0fgg" }],
    ["a key one byte short", { ...FIELDS, key: "ab".repeat(15) }],
    ["a key that is a number", { ...FIELDS, key: 1 }],
    ["a storage key of the wrong size", { ...FIELDS, storageKey: "ab".repeat(16) }],
    ["no prefix", { ...FIELDS, prefix: undefined }],
    ["an empty name", { ...FIELDS, name: "" }],
    ["an array", []],
    ["null", null],
    ["text", "identity"],
  ];
  for (const [what, value] of cases) assert.ok(refused(JSON.stringify(value)), what);
  refused("{");
  refused("");
});

test("identity: a prefix that is no plain topic is refused", () => {
  for (const prefix of ["", "/a", "a/", "a//b", "a/+", "#", "$SYS", "a\0b", "a\nb", "x".repeat(300)]) {
    refused(JSON.stringify({ ...FIELDS, prefix }));
  }
  for (const prefix of ["a", "a/b/c", "plant ä"]) parseIdentity(JSON.stringify({ ...FIELDS, prefix }), "x");
});

test("identity: an error never shows key digits", () => {
  const error = refused(JSON.stringify({ ...FIELDS, key: "abcdef".repeat(5) }));
  assert.doesNotMatch(error.message, /abcdef/);
});
