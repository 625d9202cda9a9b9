// What every board may use, on this machine: storage in NOR flash, and the serial line.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { crc16, Decoder, encode } from "../../host/bridge/slip.ts";
import { formatIdentity } from "../../host/store/identity.ts";
import { norImage } from "../../scripts/nor-image.ts";
import { need } from "../support/need.ts";

const ROOT = join(import.meta.dirname, "../..");
const PORTS = join(ROOT, "firmware", "ports");
const INCLUDE = `-I${join(ROOT, "firmware", "include")}`;
const STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2", INCLUDE];
const SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const DIR = mkdtempSync(join(tmpdir(), "ampoule-portable-"));
after(() => rmSync(DIR, { recursive: true, force: true }));

/** Compiles a program of this folder with sources of firmware/ports; returns its path. */
function compile(program: string, sources: string[], ...flags: string[]): string {
  const out = join(DIR, program);
  const files = [join(import.meta.dirname, `${program}.c`), ...sources.map((name) => join(PORTS, name))];
  execFileSync("cc", ["-std=c99", ...STRICT, ...flags, "-o", out, ...files]);
  return out;
}

test("ports: what is portable is C99 and C++11 without a warning", need("cc", "c++"), () => {
  for (const name of ["nor.c", "serial.c"]) {
    const out = join(DIR, `${name}.o`);
    execFileSync("cc", ["-std=c99", ...STRICT, "-c", join(PORTS, name), "-o", out]);
    execFileSync("c++", ["-x", "c++", "-std=c++11", ...STRICT, "-c", join(PORTS, name), "-o", out]);
  }
});

test(
  "nor: a power cut in any program or erase, torn in any way, loses nothing that was stored",
  need("cc"),
  (t) => {
    const flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    const said = execFileSync(compile("nor-cuts", ["nor.c"], ...flags), { encoding: "utf8" });
    t.diagnostic(said.trim());
    assert.match(said, /^nor: 3\d{4} cuts in 2\d{3} operations, nothing lost\n$/);
  },
);

test("nor: no key stays on the stack, however it is optimized", need("cc"), () => {
  for (const level of ["-O1", "-O2", "-Os", "-O3"]) {
    // Bound at once: what binds a function at its first call saves registers on the stack. Reading what was left there is the test.
    const flags = [level, "-Wl,-z,now", "-Wno-maybe-uninitialized"];
    const program = compile("nor-residue", ["nor.c"], ...flags);
    const { stdout } = spawnSync(program, { encoding: "utf8" });
    assert.equal(stdout, "clean\n", level);
  }
});

test("nor: scripts/nor-image.ts writes a new device once, for its owner alone", () => {
  const identity = { realm: bytes(8, 1), device: bytes(8, 2), key: bytes(16, 3), prefix: "ampoule" };
  const [file, image] = [join(DIR, "board.json"), join(DIR, "board.flash")];
  writeFileSync(file, formatIdentity(identity), { mode: 0o600 });
  const script = join(ROOT, "scripts", "nor-image.ts");
  const run = () =>
    spawnSync(process.execPath, [script, file, image, "--sector", "2048", "--size", "65536"], {
      encoding: "utf8",
    });
  assert.equal(run().status, 0);
  const flash = readFileSync(image);
  assert.deepEqual([flash.length, statSync(image).mode & 0o777], [65_536, 0o600]);
  assert.deepEqual([...flash.subarray(24, 40)], [...identity.key]);
  assert.ok(flash.subarray(112, 5 * 2048).every((byte) => byte === 0xff));
  const again = run();
  assert.equal(again.status, 1);
  assert.match(again.stderr, /nor-image: error: EEXIST/);
  const used = { realm: identity.realm, device: identity.device, prefix: "a", storageKey: bytes(32, 4) };
  assert.throws(() => norImage(used, 4096), /has been used/);
  assert.throws(() => norImage({ ...identity, prefix: "a".repeat(65) }, 4096), /longer than 64/);
  assert.throws(() => norImage(identity, 1024), /at least 2048/);
});

function bytes(size: number, value: number): Uint8Array {
  return new Uint8Array(size).fill(value);
}

test("serial: both sides find the same packets in a line with noise", need("cc"), () => {
  const echo = compile("serial-echo", ["serial.c"], ...SANITIZE);
  const packets = Array.from({ length: 300 }, (_, i) =>
    Uint8Array.from({ length: 1 + i }, (_, at) => [0xc0, 0xdb, 0xdc, 0xdd, i, at][(i + at) % 6] as number),
  );
  const line = packets.flatMap((packet, i) => {
    const sent = encode(packet);
    const noise = Uint8Array.from({ length: i % 7 }, (_, at) => (i * 31 + at * 7) & 0xff);
    const cut = encode(packet).subarray(0, packet.length >> 1);
    const flipped = encode(packet).map((byte, at) => (at === 2 ? byte ^ 1 : byte));
    return [noise, sent, cut, sent, flipped, Uint8Array.of(0xc0)];
  });
  const twice = packets.flatMap((packet) => [packet, packet]);
  const bytes = Buffer.concat(line);
  assert.deepEqual([...new Decoder(600).decode(bytes)], twice);
  const echoed = execFileSync(echo, { input: bytes });
  assert.deepEqual([...new Decoder(600).decode(echoed)], twice);
});

test("serial: nothing on the line makes a device read or write where it must not", need("cc"), () => {
  const said = execFileSync(compile("serial-fuzz", ["serial.c"], ...SANITIZE), { encoding: "utf8" });
  assert.match(said, /^serial: \d{4,} opened, \d{4,} messages/);
});

test("serial: what is too long, wrongly escaped or of another sum is no packet", () => {
  const body = Uint8Array.of(0x41, 1, 2);
  assert.equal(crc16(new TextEncoder().encode("123456789")), 0x906e);
  assert.deepEqual([...new Decoder(5).decode(encode(body))], [body]);
  assert.deepEqual([...new Decoder(4).decode(encode(body))], []);
  for (let bit = 8; bit < (encode(body).length - 1) * 8; ++bit) {
    const line = encode(body);
    line[bit >> 3] = (line[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.deepEqual([...new Decoder(64).decode(line)], [], `bit ${bit}`);
  }
  for (const line of [
    [0xc0, 0xdb, 0xc0],
    [0xc0, 0x41, 0xdb, 0x41, 0xc0],
    [0xc0, 0xc0, 0xc0],
  ]) {
    assert.deepEqual([...new Decoder(64).decode(Uint8Array.from(line))], []);
  }
});

test("serial: SERIAL.md names every packet of both sides", () => {
  const manual = readFileSync(join(PORTS, "SERIAL.md"), "utf8");
  const types = [...manual.matchAll(/^\| `(\w)` \|/gm)].map((found) => found[1]).sort();
  const host = readFileSync(join(ROOT, "host/bridge/packet.ts"), "utf8");
  const named = [...host.matchAll(/case "(\w)":|bytes\("(\w)"/g)].map((found) => found[1] ?? found[2]).sort();
  assert.deepEqual(types, named);
});
