// npm run bench [-- --seconds 1]: frames a second in this process, sealed and opened, beside what Node and
// @noble/ciphers do with the same plaintexts in the same run. Read the ratios: seconds drift, ratios hold.

import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { aessiv, gcmsiv } from "@noble/ciphers/aes.js";
import { pair, TOPIC } from "./rig.ts";

const SUITES = ["ASCON-SIV", "ASCON-AEAD", "XOODYAK-SIV", "XOODYAK-AEAD"];
const SIZES = [32, 64, 256, 1024];
const OVERHEAD = 24;
const BATCH = 20_000;

const { values } = parseArgs({ options: { seconds: { type: "string", default: "0.4" } } });
const seconds = Number(values.seconds);

/** Calls a second of `act`, the best of several rounds after a warm-up. `before` is not timed. */
function rate(act: (i: number) => void, before: () => void = () => {}, batch = 2000): number {
  let best = 0;
  const until = performance.now() + seconds * 1000 + 100;
  for (let round = 0; round < 3 || performance.now() < until; ++round) {
    before();
    const start = performance.now();
    for (let i = 0; i < batch; ++i) act(i);
    best = Math.max(best, (batch * 1000) / (performance.now() - start));
  }
  return best;
}

type Row = { name: string; seal: number; open: number };

function ours(suite: number, size: number): Row {
  const { channel, writer, reader, step } = pair(suite, size);
  const text = randomBytes(size - OVERHEAD);
  let left = 65_536;
  const room = (): void => {
    if (left < BATCH) {
      step();
      left = 65_536;
    }
    left -= BATCH;
  };
  let steps = 0;
  const guard = (): void => {
    if (++steps > 300) throw new Error("the lease of the bench is used up: ask for fewer seconds");
    room();
  };
  const seal = rate(() => writer.protect(channel, TOPIC, text), guard, BATCH);
  let frames: Uint8Array[] = [];
  const fill = (): void => {
    guard();
    frames = Array.from({ length: BATCH }, () => writer.protect(channel, TOPIC, text)[0] as Uint8Array);
  };
  const open = rate((i) => reader.unprotect(channel, TOPIC, frames[i] as Uint8Array), fill, BATCH);
  return { name: SUITES[suite] ?? "", seal, open };
}

function node(name: "aes-128-gcm" | "chacha20-poly1305", size: number): Row {
  const key = randomBytes(name === "aes-128-gcm" ? 16 : 32);
  const nonce = randomBytes(12);
  const text = randomBytes(size - OVERHEAD);
  const ad = Buffer.from(TOPIC);
  const options = { authTagLength: 16 };
  const sealed = (): Buffer => {
    const cipher = createCipheriv(name as "aes-128-gcm", key, nonce, options);
    cipher.setAAD(ad);
    const first = cipher.update(text);
    cipher.final();
    return Buffer.concat([first, cipher.getAuthTag()]);
  };
  const frame = sealed();
  const open = (): void => {
    const cipher = createDecipheriv(name as "aes-128-gcm", key, nonce, options);
    cipher.setAAD(ad);
    cipher.setAuthTag(frame.subarray(-16));
    cipher.update(frame.subarray(0, -16));
    cipher.final();
  };
  return { name: `node:crypto ${name}`, seal: rate(() => sealed()), open: rate(open) };
}

function noble(name: "AES-SIV" | "AES-GCM-SIV", size: number): Row {
  const text = randomBytes(size - OVERHEAD);
  const ad = Buffer.from(TOPIC);
  const key = randomBytes(32);
  const nonce = randomBytes(12);
  const make = () => (name === "AES-SIV" ? aessiv(key, ad, nonce) : gcmsiv(key, nonce, ad));
  const frame = make().encrypt(text);
  return {
    name: `@noble/ciphers ${name}`,
    seal: rate(() => make().encrypt(text), undefined, 200),
    open: rate(() => make().decrypt(frame), undefined, 200),
  };
}

const report: Record<string, Row[]> = {};
for (const size of SIZES) {
  const rows = [
    ...SUITES.map((_, suite) => ours(suite, size)),
    node("aes-128-gcm", size),
    node("chacha20-poly1305", size),
    noble("AES-SIV", size),
    noble("AES-GCM-SIV", size),
  ];
  report[`F${size}`] = rows;
  const gcm = rows[4] as Row;
  console.log(`\nF = ${size}: ${size - OVERHEAD} bytes of text, topic of ${TOPIC.length} bytes`);
  console.log("                                   seal/s    open/s   seal: times node AES-GCM   open: times");
  for (const row of rows) {
    const [s, o] = [row.seal / gcm.seal, row.open / gcm.open];
    console.log(
      `${row.name.padEnd(32)} ${Math.round(row.seal).toString().padStart(8)}  ${Math.round(row.open)
        .toString()
        .padStart(8)}   ${s.toFixed(2).padStart(10)} ${o.toFixed(2).padStart(25)}`,
    );
  }
}

const folder = join(import.meta.dirname, "..", "build");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "bench.json"), `${JSON.stringify(report, null, 2)}\n`);
console.log("\nwritten to build/bench.json; ratios above 1 are faster than node:crypto AES-128-GCM");
