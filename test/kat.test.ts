// Regenerates the official known-answer files from the module and compares
// their SHA-256, so that none of them need be stored. Sources: ascon-c 446347f
// (Ascon) and lwc-finalists 77b23e6 (Xoodyak, final round).

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe } from "node:test";
import { test } from "./support/engines.ts";
import { ASCON_AEAD, BAD_TAG, KAT_BUILDS, Kat, OK, type Sealed, XOODYAK_AEAD } from "./support/kat.ts";
import { Random } from "./twin/random.ts";
import * as twin from "./twin/suites.ts";

for (const build of KAT_BUILDS) describe(build, () => known(build));

function known(build: (typeof KAT_BUILDS)[number]): void {
  const kat = new Kat(build);

  /** size bytes that count up from first. */
  const run = (size: number, first = 0): Uint8Array => Uint8Array.from({ length: size }, (_, i) => first + i);

  const hex = (...parts: Uint8Array[]): string => Buffer.concat(parts).toString("hex").toUpperCase();

  const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

  function record(count: number, fields: Record<string, string>): string {
    const lines = Object.entries({ Count: String(count), ...fields }).map(
      ([name, value]) => `${name} = ${value}\n`,
    );
    return `${lines.join("")}\n`;
  }

  interface AeadFile {
    name: string;
    suite: number;
    /** First byte of nonce, text and associated data. */
    first: { nonce: number; text: number; ad: number };
    digest: string;
  }

  const AEAD_FILES: AeadFile[] = [
    {
      name: "Ascon-AEAD128",
      suite: ASCON_AEAD,
      first: { nonce: 0x10, text: 0x20, ad: 0x30 },
      digest: "bbbc34692fe05e5fda0a3b025585622ab3e3747495e5e3655b29aae8c2a4bd33",
    },
    {
      name: "Xoodyak",
      suite: XOODYAK_AEAD,
      first: { nonce: 0, text: 0, ad: 0 },
      digest: "6064e17e8ecba23bea6419d2e1da5004241c8cf1436be82be6fef4847e838666",
    },
  ];

  interface AeadCase {
    count: number;
    key: Uint8Array;
    nonce: Uint8Array;
    ad: Uint8Array;
    text: Uint8Array;
  }

  function* aeadCases({ first }: AeadFile): Generator<AeadCase> {
    let count = 0;
    for (let textSize = 0; textSize <= 32; textSize++) {
      for (let adSize = 0; adSize <= 32; adSize++) {
        count++;
        yield {
          count,
          key: run(16),
          nonce: run(16, first.nonce),
          ad: run(adSize, first.ad),
          text: run(textSize, first.text),
        };
      }
    }
  }

  for (const file of AEAD_FILES) {
    test(`aead: ${file.name} writes the official file of 1089 cases`, () => {
      let text = "";
      for (const { count, ...c } of aeadCases(file)) {
        const { ciphertext, tag } = kat.seal(file.suite, c.key, c.nonce, c.ad, c.text, 16);
        text += record(count, {
          Key: hex(c.key),
          Nonce: hex(c.nonce),
          PT: hex(c.text),
          AD: hex(c.ad),
          CT: hex(ciphertext, tag),
        });
      }
      assert.equal(sha256(text), file.digest);
    });

    test(`aead: ${file.name} opens all 1089 cases and refuses them after one flipped bit`, () => {
      let refused = 0;
      for (const { count, ...c } of aeadCases(file)) {
        const sealed = kat.seal(file.suite, c.key, c.nonce, c.ad, c.text, 16);
        const opened = kat.open(file.suite, c.key, c.nonce, c.ad, sealed);
        assert.deepEqual(opened, { status: OK, text: c.text }, `case ${count}`);
        for (const forgery of forgeries(c, sealed, count)) {
          const { status, text } = kat.open(
            file.suite,
            forgery.key,
            forgery.nonce,
            forgery.ad,
            forgery.sealed,
          );
          assert.equal(status, BAD_TAG, `case ${count}, ${forgery.name}`);
          assert.deepEqual(text, new Uint8Array(c.text.length), `case ${count}, ${forgery.name}`);
          refused++;
        }
      }
      // Tag, nonce and key always, associated data and ciphertext in 32 of 33 cases.
      assert.equal(refused, 3 * 1089 + 2 * 33 * 32);
    });
  }

  interface Forgery extends Omit<AeadCase, "count" | "text"> {
    name: string;
    sealed: Sealed;
  }

  /** One bit flipped in each input in turn; which bit depends on the case. */
  function* forgeries(c: Omit<AeadCase, "count">, sealed: Sealed, count: number): Generator<Forgery> {
    const { text: _, ...rest } = c;
    const { ciphertext, tag } = sealed;
    yield { ...rest, name: "tag", sealed: { ciphertext, tag: flip(tag, count) } };
    yield { ...rest, name: "nonce", sealed, nonce: flip(c.nonce, count) };
    yield { ...rest, name: "key", sealed, key: flip(c.key, count) };
    if (c.ad.length > 0) yield { ...rest, name: "associated data", sealed, ad: flip(c.ad, count) };
    if (ciphertext.length > 0) {
      yield { ...rest, name: "ciphertext", sealed: { ciphertext: flip(ciphertext, count), tag } };
    }
  }

  function flip(bytes: Uint8Array, count: number): Uint8Array {
    const flipped = Uint8Array.from(bytes);
    const bit = (count * 37) % (8 * bytes.length);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    return flipped;
  }

  const HASH_FILES = [
    {
      name: "Ascon-Hash256",
      hash: (message: Uint8Array) => kat.hash256(message),
      digest: "b7d6fbc51362f0d62bc7e57b21f3e83242983434a7c92320a4956d915749df17",
    },
    {
      name: "Ascon-XOF128",
      hash: (message: Uint8Array) => kat.xof128(message, 64),
      digest: "d7f5a23f37fc969896e48246700bc859fa324f2d309164043361376068e30852",
    },
    {
      name: "Xoodyak hash",
      hash: (message: Uint8Array) => kat.xoodyakHash(message, 32),
      digest: "dc12875027d8d2145a6b58c2ffe78a9ff395e8953d6259328d6e66da8ccd44fb",
    },
  ];

  for (const { name, hash, digest } of HASH_FILES) {
    test(`hash: ${name} writes the official file of 1025 cases`, () => {
      let text = "";
      for (let size = 0; size <= 1024; size++) {
        const message = run(size);
        text += record(size + 1, { Msg: hex(message), MD: hex(hash(message)) });
      }
      assert.equal(sha256(text), digest);
    });
  }

  test("hash: Ascon-CXOF128 writes the official file of 1089 cases", () => {
    let text = "";
    let count = 0;
    for (let size = 0; size <= 32; size++) {
      for (let zSize = 0; zSize <= 32; zSize++) {
        const [message, z] = [run(size), run(zSize, 0x10)];
        const output = kat.cxof128(z, message, 64);
        text += record(++count, { Msg: hex(message), Z: hex(z), MD: hex(output) });
      }
    }
    assert.equal(sha256(text), "abcbb0cc851a7f9cfc5ea2bcaf3eba5b2056e37fcb8ce541ceda1d1b960fc9dc");
  });

  const SUITES = [twin.ASCON_SIV, twin.ASCON_AEAD, twin.XOODYAK_SIV, twin.XOODYAK_AEAD];
  const TAG_SIZES = [8, 16];
  /** Twice the largest rate, 44 bytes, and one. */
  const TEXT_MOST = 89;

  /** One call with everything drawn from a seed. */
  interface Call {
    suite: number;
    key: Uint8Array;
    nonce: Uint8Array;
    topic: Uint8Array;
    text: Uint8Array;
    tagSize: number;
    shift: number;
  }

  function draw(random: Random): Call {
    const suite = random.below(4);
    return {
      suite,
      key: random.bytes(twin.keySize(suite)),
      nonce: random.bytes(16),
      topic: random.bytes(random.below(80)),
      text: random.bytes(random.below(130)),
      tagSize: random.below(2) === 0 ? 8 : 16,
      shift: random.below(16),
    };
  }

  const seal = (module: Kat, c: Call): Sealed =>
    module.seal(c.suite, c.key, c.nonce, c.topic, c.text, c.tagSize, c.shift);

  for (const suite of SUITES) {
    test(`aead: suite ${suite} agrees with the twin at every text length and both tag sizes [S-1 to S-4]`, () => {
      const [key, nonce] = [run(twin.keySize(suite), 0x80), run(16, 0x40)];
      for (const tagSize of TAG_SIZES) {
        for (let size = 0; size <= TEXT_MOST; size++) {
          const [topic, text] = [run((size * 7) % 48, 0x60), run(size, 0x20)];
          const expected = twin.seal(suite, key, nonce, topic, text, tagSize);
          const sealed = kat.seal(suite, key, nonce, topic, text, tagSize);
          assert.equal(hex(sealed.ciphertext), hex(expected.cipher), `text of ${size} bytes`);
          assert.equal(hex(sealed.tag), hex(expected.tag), `text of ${size} bytes`);
          assert.deepEqual(kat.open(suite, key, nonce, topic, sealed), { status: OK, text });
        }
      }
    });

    test(`kdf: suite ${suite} agrees with the twin at every context and output length [S-6]`, () => {
      const key = run(16, 0x80);
      for (let size = 1; size <= 64; size++) {
        const context = run(size, 0x20);
        const expected = twin.derive(suite, key, "A1-test", context, size);
        assert.equal(hex(kat.derive(suite, key, "A1-test", context, size)), hex(expected), `${size} bytes`);
      }
    });
  }

  test("kdf: a digest is Ascon-CXOF128 with the label as customization [S-8]", () => {
    for (let size = 0; size <= 33; size++) {
      const [a, b] = [run(size), run(33 - size, size)];
      const output = kat.hashLabel("A1-test", a, b, 32);
      assert.equal(hex(output), hex(twin.digest("A1-test", run(33), 32)));
      assert.equal(hex(output), hex(kat.cxof128(Buffer.from("A1-test"), run(33), 32)));
    }
  });

  test("aead: 10,000 drawn calls give the same in any order, and open again", () => {
    const calls = Array.from(
      { length: 10_000 },
      (
        (random) => () =>
          draw(random)
      )(new Random(1)),
    );
    const forwards = calls.map((call) => seal(kat, call));
    const other = new Kat(build);
    const backwards = calls.toReversed().map((call) => seal(other, call));
    assert.deepEqual(backwards.toReversed(), forwards);
    calls.forEach((c, i) => {
      const opened = other.open(c.suite, c.key, c.nonce, c.topic, forwards[i] as Sealed, c.shift);
      assert.deepEqual(opened, { status: OK, text: c.text }, `call ${i}`);
    });
  });

  test("aead, kdf: leave nothing in linear memory beside the caller's bytes", () => {
    const module = new Kat(build);
    const before = module.residue();
    const random = new Random(2);
    for (let i = 0; i < 200; i++) {
      const c = draw(random);
      const sealed = seal(module, c);
      assert.deepEqual(module.residue(), before, "after seal");
      module.open(c.suite, c.key, c.nonce, c.topic, sealed);
      assert.deepEqual(module.residue(), before, "after open");
      module.open(c.suite, c.key, c.nonce, c.topic, { ...sealed, tag: flip(sealed.tag, i) });
      // One word outlives a refusal: the verdict itself.
      assert.ok(module.residue().length <= before.length + 4, "after a refusal");
      module.open(c.suite, c.key, c.nonce, c.topic, sealed);
      module.derive(c.suite, c.key.subarray(0, 16), "A1-test", c.topic, 32);
      assert.deepEqual(module.residue(), before, "after derive");
    }
  });
}
