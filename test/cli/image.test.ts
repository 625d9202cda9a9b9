// What `ampoule image` writes, read back by other means: the partition entry by entry, the headers by a compiler.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DEFAULT_TABLE, parsePartitions } from "../../host/cli/image/partitions.ts";
import { nodeWorld } from "../../host/node-world.ts";
import { need } from "../support/need.ts";
import { pip } from "../support/pip.ts";
import { Shell } from "./support.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const MODULE = readFileSync(join(ROOT, "build", "ampoule-device-ascon.wasm"));
const generator = pip("esp-idf-nvs-partition-gen", "0.3.0");
/** A Python that has the generator, and one that has not, whatever the machine has installed. */
const WITH = { PYTHONPATH: generator.path };
const WITHOUT = { AMPOULE_PYTHON: "no-such-python" };

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const mode = (path: string): number => statSync(path).mode & 0o777;

/** A realm with one device, whose identity it returns. */
async function provision(shell: Shell, ...more: string[]): Promise<Record<string, string>> {
  await shell.ok("init", ...more);
  await shell.ok("provision", "boiler");
  return JSON.parse(readFileSync(shell.path("boiler.json"), "utf8"));
}

const PAGE = 4096;
const ENTRY = 32;
const TYPE = { u8: 0x01, u32: 0x04, blobData: 0x42 };

/** Numbers and byte strings of an NVS partition, as Espressif's documentation of the format has them. */
function readNvs(flash: Buffer): Map<string, string | number> {
  const names = new Map<number, string>();
  const found = new Map<string, string | number>();
  for (let page = 0; page < flash.length; page += PAGE) {
    const state = flash.subarray(page + ENTRY, page + 2 * ENTRY);
    for (let i = 0; i < 126; i++) {
      if ((((state[i >> 2] ?? 0) >> (2 * (i & 3))) & 3) !== 2) continue;
      const entry = flash.subarray(page + (2 + i) * ENTRY);
      const [space = 0, type = 0, span = 1] = entry;
      const key = entry.toString("latin1", 8, 24).replace(/\0.*$/s, "");
      if (space === 0 && type === TYPE.u8) names.set(entry[24] ?? 0, key);
      const name = `${names.get(space)}/${key}`;
      if (space !== 0 && type === TYPE.u32) found.set(name, entry.readUInt32LE(24));
      if (type === TYPE.blobData)
        found.set(name, entry.toString("hex", ENTRY, ENTRY + entry.readUInt16LE(24)));
      i += span - 1;
    }
  }
  return found;
}

test(
  "image: the partition of Espressif's generator holds the identity and the digest of the module",
  generator.options,
  async () => {
    await using shell = new Shell();
    const identity = await provision(shell, "--prefix", 'werk,"süd"/keys');
    const { code, out, err } = await shell.run(["image", "-I", "boiler.json", "--chip", "esp32c3"], {
      env: WITH,
    });
    assert.equal(code, 0, err);
    assert.equal(err, "");
    const wasm = readFileSync(shell.path("boiler-image/wasm.bin"));
    assert.deepEqual(wasm, MODULE);
    const nvs = readFileSync(shell.path("boiler-image/nvs.bin"));
    assert.equal(nvs.length, 0x8000);
    assert.deepEqual(Object.fromEntries(readNvs(nvs)), {
      "ampoule/realm": identity.realm,
      "ampoule/device": identity.device,
      "ampoule/prefix": Buffer.from('werk,"süd"/keys').toString("hex"),
      "ampoule/key": identity.key,
      "ampoule/module_size": MODULE.length,
      "ampoule/module_sha256": sha256(wasm),
    });
    const line =
      "esptool --chip esp32c3 write-flash 0x190000 boiler-image/wasm.bin 0x1a0000 boiler-image/nvs.bin";
    assert.ok(out.includes(`next: ${line}\n`), out);
    assert.equal(
      readFileSync(shell.path("boiler-image/flash_args"), "utf8"),
      "0x190000 wasm.bin\n0x1a0000 nvs.bin\n",
    );
  },
);

test("image: esptool takes the line it prints", generator.options, async (t) => {
  const { path, options } = pip("esptool", "5.6.0");
  if (options.skip !== false) return t.skip(options.skip);
  await using shell = new Shell();
  await provision(shell);
  await shell.run(["image", "-I", "boiler.json", "-o", "it's here"], { env: WITH });
  const json = await shell.run(["image", "-I", "boiler.json", "-o", "it's here", "--force", "--json"], {
    env: WITH,
  });
  const { esptool } = JSON.parse(json.out);
  // merge-bin writes to a file what write-flash writes to a chip, and reads the same arguments.
  const line = esptool.replace(
    "esptool write-flash",
    "python3 -m esptool --chip esp32 merge-bin -o flash.bin",
  );
  const merged = spawnSync("sh", ["-c", line], {
    cwd: shell.directory,
    env: { ...process.env, PYTHONPATH: path },
  });
  assert.equal(merged.status, 0, `${merged.stderr}`);
  const flash = readFileSync(shell.path("flash.bin"));
  assert.deepEqual(flash.subarray(0x190000, 0x190000 + MODULE.length), MODULE);
  assert.deepEqual(flash.subarray(0x1a0000), readFileSync(shell.path("it's here/nvs.bin")));
});

test(
  "image: files are private, no key is printed, and nothing is left in the temporary directory",
  generator.options,
  async () => {
    await using shell = new Shell();
    const identity = await provision(shell);
    mkdirSync(shell.path("tmp"));
    const env = { ...WITH, TMPDIR: shell.path("tmp") };
    const { out, err } = await shell.run(
      ["image", "-I", "boiler.json", "--format", "both", "-o", "out/put"],
      { env },
    );
    assert.equal(err, "");
    const names = ["flash_args", "identity.h", "module.h", "nvs.bin", "nvs.csv", "wasm.bin"];
    assert.deepEqual(readdirSync(shell.path("out/put")).sort(), names);
    for (const name of names) assert.equal(mode(shell.path(`out/put/${name}`)), 0o600, name);
    assert.equal(mode(shell.path("out/put")), 0o700);
    const key = identity.key as string;
    assert.ok(
      !`${out}${err}`.includes(key) && !`${out}${err}`.includes(Buffer.from(key, "hex").toString("base64")),
    );
    const left = readdirSync(shell.path("tmp")).filter((name) => name.startsWith("ampoule"));
    assert.deepEqual(left, []);
  },
);

test("image: without the generator it writes the CSV, says so, and leaves no older binary to be flashed", async () => {
  await using shell = new Shell();
  await provision(shell);
  mkdirSync(shell.path("boiler-image"));
  writeFileSync(shell.path("boiler-image/nvs.bin"), "of another device");
  const refused = await shell.run(["image", "-I", "boiler.json"], { env: WITHOUT });
  assert.equal(refused.code, 1);
  assert.match(refused.err, /nvs\.bin exists already/);
  const { code, out, err } = await shell.run(["image", "-I", "boiler.json", "--force"], { env: WITHOUT });
  assert.equal(code, 0);
  assert.match(err, /^ampoule: no nvs\.bin: no-such-python has no Espressif NVS generator$/m);
  assert.match(err, /^ampoule: hint: .*esp-idf-nvs-partition-gen$/m);
  assert.match(out, /^next: no-such-python -m esp_idf_nvs_partition_gen generate boiler-image\/nvs\.csv /m);
  assert.deepEqual(readdirSync(shell.path("boiler-image")).sort(), ["flash_args", "nvs.csv", "wasm.bin"]);
});

test("image: a generator that fails leaves nothing behind, and what it said of the key stays unsaid", async () => {
  await using shell = new Shell();
  await provision(shell);
  const fake = '#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$@" >&2\ncat "$4" >&2\nexit 1\n';
  writeFileSync(shell.path("python"), fake, { mode: 0o755 });
  const { code, err } = await shell.run(["image", "-I", "boiler.json", "--python", "./python"]);
  assert.equal(code, 2);
  assert.match(err, /esp_idf_nvs_partition_gen failed/);
  assert.doesNotMatch(err, /hex2bin/);
  assert.ok(!existsSync(shell.path("boiler-image")));
});

test("image: offsets come from the table, empty ones as ESP-IDF fills them; without wasm no module", async () => {
  await using shell = new Shell();
  await provision(shell);
  const table =
    "# own\nnvs, data, nvs, , 24K\nampoule,data,nvs,,0x3000\nfactory,app,factory,,1M\nstore,data,fat,,64k\n";
  writeFileSync(shell.path("own.csv"), table);
  const args = ["image", "-I", "boiler.json", "--partitions", "own.csv", "--json", "--port", "/dev/ttyUSB0"];
  const { code, out } = await shell.run(args, { env: WITHOUT });
  assert.equal(code, 0);
  const { files, parts, esptool } = JSON.parse(out);
  assert.deepEqual(files, ["boiler-image/nvs.csv", "boiler-image/flash_args"]);
  assert.deepEqual(parts, [{ file: "boiler-image/nvs.bin", offset: 0xf000 }]);
  assert.equal(esptool, "esptool --port /dev/ttyUSB0 write-flash 0xf000 boiler-image/nvs.bin");
  assert.doesNotMatch(readFileSync(shell.path("boiler-image/nvs.csv"), "utf8"), /module/);
  const offsets = parsePartitions(table, "own.csv").map(({ offset }) => offset);
  assert.deepEqual(offsets, [0x9000, 0xf000, 0x20000, 0x120000]);
});

test("image: its table is that of the ESP-IDF example", () => {
  const path = join(ROOT, "firmware/esp-idf/examples/seal/partitions.csv");
  assert.equal(readFileSync(path, "utf8"), DEFAULT_TABLE);
});

test("image: an identity with which no broker was reached is not in use, but while a program has it", async () => {
  await using shell = new Shell();
  await provision(shell);
  const pub = ["pub", "-I", "boiler.json", "-L", "mqtt://127.0.0.1:1", "-t", "a", "-m", "x"];
  const failed = await shell.run(pub);
  assert.equal(failed.code, 2);
  assert.match(failed.err, /no connection to mqtt:/);
  const lock = nodeWorld().disk.lock(shell.path("boiler.json.state/lock"));
  const held = await shell.run(["image", "-I", "boiler.json", "--format", "c"]);
  assert.equal(held.code, 1);
  assert.match(held.err, /boiler\.json is in use on this machine, boiler\.json\.state says/);
  lock.release();
  await shell.ok("image", "-I", "boiler.json", "--format", "c");
});

test("image: refuses by name what cannot be flashed, and writes nothing", { concurrency: 2 }, async (t) => {
  await using shell = new Shell();
  const identity = await provision(shell);
  const { key, ...rest } = identity;
  writeFileSync(shell.path("used.json"), JSON.stringify({ ...rest, storageKey: `${key}${key}` }), {
    mode: 0o600,
  });
  writeFileSync(shell.path("busy.json"), JSON.stringify(identity), { mode: 0o600 });
  mkdirSync(shell.path("busy.json.state"));
  writeFileSync(shell.path("busy.json.state/slot-0"), "");
  writeFileSync(shell.path("linux.json"), JSON.stringify(identity), { mode: 0o600 });
  mkdirSync(shell.path("linux.json.device"));
  writeFileSync(shell.path("linux.json.device/slot-0"), "");
  writeFileSync(shell.path("public.json"), JSON.stringify(identity));
  chmodSync(shell.path("public.json"), 0o644);
  mkdirSync(shell.path("full"));
  writeFileSync(shell.path("full/wasm.bin"), "precious");
  writeFileSync(shell.path("file"), "precious");
  const tables: Record<string, string> = {
    none: "nvs,data,nvs,0x9000,0x6000",
    small: "ampoule,data,nvs,0x9000,0x2000",
    odd: "ampoule,data,nvs,0x9000,0x3800",
    app: "ampoule,app,factory,0x10000,0x8000",
    tight: "ampoule,data,nvs,,0x8000\nwasm,data,0x40,,4K",
    overlap: "nvs,data,nvs,0x9000,0x6000\nampoule,data,nvs,0xe000,0x8000",
    askew: "ampoule,data,nvs,0x9100,0x8000",
    text: "ampoule,data,nvs,here,0x8000",
  };
  for (const [name, text] of Object.entries(tables)) writeFileSync(shell.path(`${name}.csv`), text);
  const bad: [args: string, says: RegExp, exit: number][] = [
    ["", /no identity/, 1],
    ["-I absent.json", /absent\.json/, 2],
    ["-I used.json", /used\.json has been used/, 1],
    ["-I busy.json", /busy\.json is in use on this machine/, 1],
    [
      "-I linux.json",
      /linux\.json is in use on this machine, linux\.json\.device says.*hint: a device has/s,
      1,
    ],
    ["-I public.json", /can be read by other users/, 3],
    ["-I boiler.json -o full", /full\/wasm\.bin exists already/, 1],
    ["-I boiler.json -o file", /file/, 2],
    ["-I boiler.json --format elf", /Allowed choices are esp, c, both/, 1],
    ["-I boiler.json --chip esp8266", /Allowed choices are esp32,/, 1],
    [
      "-I boiler.json --module host",
      /Allowed choices are device-ascon, device-ascon-volatile, device-ascon-hosted, device/,
      1,
    ],
    ["-I boiler.json --partitions absent.csv", /absent\.csv/, 2],
    ["-I boiler.json --partitions none.csv", /none\.csv has no partition ampoule/, 2],
    ["-I boiler.json --partitions small.csv", /small\.csv: ampoule is not/, 2],
    ["-I boiler.json --partitions odd.csv", /odd\.csv: ampoule is not/, 2],
    ["-I boiler.json --partitions app.csv", /app\.csv: ampoule is not/, 2],
    ["-I boiler.json --partitions tight.csv", /wasm has 4096 bytes/, 2],
    ["-I boiler.json --partitions overlap.csv", /line 2: it begins at 0xe000/, 2],
    ["-I boiler.json --partitions askew.csv", /not a multiple of 0x1000/, 2],
    ["-I boiler.json --partitions text.csv", /no number/, 2],
  ];
  const before = shell.image();
  await Promise.all(
    bad.map(([line, says, exit]) =>
      t.test(`image ${line}`, async () => {
        const args = ["image", ...line.split(" ").filter((word) => word !== "")];
        const { code, out, err } = await shell.run(args, { env: WITHOUT });
        assert.match(err, says);
        assert.equal(out, "");
        assert.equal(code, exit, err);
      }),
    ),
  );
  assert.deepEqual(shell.image(), before);
});

test(
  "image: its headers compile for a microcontroller, and hold the module",
  need("arm-none-eabi-gcc", "gcc"),
  async () => {
    await using shell = new Shell();
    const identity = await provision(shell);
    await shell.ok("image", "-I", "boiler.json", "--format", "c", "-o", ".", "--module", "device");
    const source = `#include "identity.h"
#include "module.h"
#include <stdio.h>
int main(void) {
  fwrite(amp_key, 1, sizeof amp_key + 0 * (sizeof amp_realm + sizeof amp_device + sizeof amp_prefix), stdout);
  return fwrite(amp_module, 1, sizeof amp_module, stdout) != sizeof amp_module || amp_realm[0] + amp_device[0] + amp_prefix[0] < 0;
}
`;
    writeFileSync(shell.path("main.c"), source);
    const flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    const options = { cwd: shell.directory, maxBuffer: 1 << 20 };
    const cross = spawnSync("arm-none-eabi-gcc", [...flags, "-mcpu=cortex-m3", "-c", "main.c"], options);
    assert.equal(cross.status, 0, `${cross.stderr}`);
    assert.equal(spawnSync("gcc", [...flags, "-o", "main", "main.c"], options).status, 0);
    const { stdout } = spawnSync("./main", options);
    const module = readFileSync(join(ROOT, "build", "ampoule-device.wasm"));
    assert.equal(stdout.toString("hex"), identity.key + module.toString("hex"));
  },
);
