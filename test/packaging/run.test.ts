// The glue of ESP-IDF, Zephyr and Arduino runs here, on stores in memory that lose power at every operation, and
// under events as esp-mqtt gives them. A real key server leads the device through its life.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { before, test } from "node:test";
import { wasm3Source } from "../../host/wasm3/source.ts";
import { Shell } from "../cli/support.ts";
import { need } from "../support/need.ts";
import { type Life, recordLife } from "./record.ts";
import {
  compile,
  DOUBLES,
  espConfig,
  FIRMWARE,
  find,
  kconfiglib,
  RUN,
  SCRATCH,
  zephyrConfig,
} from "./support.ts";

const SEEDS = [1, 2, 3];
const SANITIZE = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-D_GNU_SOURCE"];
const path = (name: string): string => join(FIRMWARE, name);
const run = (name: string): string => join(RUN, name);
const include = (...folders: string[]): string[] =>
  [path("include"), RUN, ...folders].flatMap((folder) => ["-I", folder]);

/** Each platform's glue with its double. */
const PLATFORMS: Record<string, (...config: string[]) => { flags: string[]; sources: string[] }> = {
  esp: (...config) => ({
    flags: include(espConfig(...config), path("esp-idf"), join(DOUBLES, "esp-idf")),
    sources: [path("esp-idf/amp_esp.c"), run("esp.c")],
  }),
  zephyr: () => ({
    flags: [
      ...["-include", join(zephyrConfig(), "autoconf.h")],
      ...include(path("zephyr"), join(DOUBLES, "zephyr")),
    ],
    sources: [path("zephyr/amp_zephyr.c"), run("zephyr.c")],
  }),
  arduino: () => ({
    flags: ["-DESP32", ...include(path("src"), join(DOUBLES, "arduino"))],
    sources: [run("arduino.cpp")],
  }),
};

const needed = need("gcc", "g++", "python3");
const options = needed.skip === false ? kconfiglib.options : needed;
const library: string[] = [];
const script = join(SCRATCH, "life.txt");
let life: Life;

before(async () => {
  if (options.skip !== false) return;
  life = await recordLife();
  writeFileSync(script, life.script);
  for (const file of [...find("src/*.c").map(path), run("kv.c"), run("script.c")]) {
    library.push(await objectOf(file, include(path("src"))));
  }
});

async function objectOf(file: string, flags: string[]): Promise<string> {
  const object = join(SCRATCH, `${basename(file)}.o`);
  await compile(file.endsWith(".cpp") ? "g++" : "gcc", ...SANITIZE, ...flags, "-c", file, "-o", object);
  return object;
}

/** Links a program of test/packaging/run with the library and a platform. */
async function build(platform: string, main: string, ...more: string[]): Promise<string> {
  const { flags = [], sources = [] } = PLATFORMS[platform]?.() ?? {};
  const linked = [...library];
  for (const file of [...sources, ...more, run(`${main}.c`)]) linked.push(await objectOf(file, flags));
  const program = join(SCRATCH, `${main}-${platform}`);
  await compile("g++", ...SANITIZE, ...linked, "-o", program);
  return program;
}

for (const platform of Object.keys(PLATFORMS)) {
  test(
    `packaging: ${platform} loses power at every operation, and no position is sealed twice, no text taken twice`,
    options,
    async (t) => {
      const program = await build(platform, "power");
      for (const seed of SEEDS) {
        const out = execFileSync(program, [script, String(seed)], { encoding: "utf8" });
        const [, operations, texts] = /^(\d+) operations, (\d+) texts/.exec(out) ?? [];
        assert.ok(Number(operations) > 50, out);
        assert.equal(Number(texts), life.texts.length);
        if (seed === SEEDS[0]) t.diagnostic(out.trim());
      }
    },
  );
}

test(
  "packaging: a build for esp with a lower limit of marks reads and clears all that are stored, and asks for a blob in time",
  options,
  async () => {
    const { flags = [] } = PLATFORMS.esp?.("AMP_MARKS=24") ?? {};
    // marks.c has the glue in it, as slots.c has.
    const doubles = await objectOf(run("esp.c"), flags);
    const marks = await objectOf(run("marks.c"), flags);
    const program = join(SCRATCH, "marks");
    await compile("g++", ...SANITIZE, ...library, doubles, marks, "-o", program);
    assert.equal(execFileSync(program, { encoding: "utf8" }), "all read, all cleared\n");
  },
);

test(
  "packaging: zephyr's slots are whole or empty after a cut, no failed read is an absent identity, no mark is dropped",
  options,
  async () => {
    const { flags = [] } = PLATFORMS.zephyr?.() ?? {};
    // slots.c has the glue in it: its doubles are linked, the glue itself is not.
    const settings = await objectOf(run("zephyr.c"), flags);
    const slots = await objectOf(run("slots.c"), flags);
    const program = join(SCRATCH, "slots");
    await compile("g++", ...SANITIZE, ...library, settings, slots, "-o", program);
    const out = execFileSync(program, [script], { encoding: "utf8" });
    const [, cuts, reads] = /^(\d+) cuts\n(\d+) reads\n$/.exec(out) ?? [];
    assert.ok(Number(cuts) > 20 && Number(reads) > 7, out);
  },
);

test(
  "packaging: esp-mqtt's parts of every size become whole payloads, and what does not fit is refused",
  options,
  async () => {
    const program = await build("esp", "mqtt", path("esp-idf/amp_esp_mqtt.c"));
    const outputs = [1, 5, 63, 64, 1000, 5000].map((part) =>
      execFileSync(program, [script, String(part)], { encoding: "utf8" }),
    );
    const lines = (outputs[0] ?? "").trimEnd().split("\n");
    assert.deepEqual(
      lines.filter((line) => line.startsWith("text ")),
      life.texts.map((text) => `text plant/desk/live ${text}`),
    );
    assert.deepEqual(lines.slice(0, 3), [
      `subscribe ${life.downTopic}`,
      "subscribe plant/+/live",
      `answer ${life.upTopic}`,
    ]);
    assert.ok(lines.some((line) => /^subscribe ampoule\/epoch\/[0-9a-f]{16}$/.test(line)));
    assert.equal(lines.at(-1), `published ${life.texts.length}`);
    for (const output of outputs) assert.equal(output, outputs[0]);
  },
);

test(
  "packaging: a device boots from what `ampoule image` writes, and without an identity says so",
  options,
  async () => {
    await using shell = new Shell();
    await shell.ok("init", "--prefix", "werk/süd");
    await shell.ok("provision", "boiler");
    await shell.ok("image", "-I", "boiler.json", "--python", "no-such-python");
    const { device } = JSON.parse(readFileSync(shell.path("boiler.json"), "utf8"));
    const program = await build("esp", "boot");
    const csv = shell.path("boiler-image/nvs.csv");
    assert.equal(execFileSync(program, [csv], { encoding: "utf8" }), `werk/süd/${device}/down\n`);
    const text = readFileSync(csv, "utf8");
    for (const name of ["realm", "device", "prefix", "key"]) {
      writeFileSync(csv, text.replace(new RegExp(`^${name},data,.*\n`, "m"), ""));
      assert.equal(execFileSync(program, [csv], { encoding: "utf8" }), "NO_IDENTITY\n", name);
    }
  },
);

test(
  "packaging: with wasm3 the module comes from flash, and one that differs in a bit is refused",
  options,
  async () => {
    await using shell = new Shell();
    await shell.ok("init");
    await shell.ok("provision", "boiler");
    await shell.ok("image", "-I", "boiler.json", "--python", "no-such-python");
    const program = join(SCRATCH, "boot-wasm3");
    const { flags = [], sources = [] } = PLATFORMS.esp?.("AMP_ENGINE_WASM3=y") ?? {};
    const files = [...find("src/*.c").map(path), ...sources, run("kv.c"), run("boot.c")];
    // As ESP-IDF is told to compile it.
    const how = ["-O2", "-foptimize-sibling-calls", "-fwrapv", "-fno-strict-aliasing"];
    const wasm3 = ["-DAMP_WASM3", "-D_GNU_SOURCE", "-isystem", wasm3Source()];
    await compile("gcc", ...how, ...wasm3, ...flags, "-I", path("src"), ...files, "-o", program);
    const boot = (...args: string[]): string => execFileSync(program, args, { encoding: "utf8" }).trim();
    const [csv, wasm] = ["nvs.csv", "wasm.bin"].map((name) => shell.path(`boiler-image/${name}`)) as [
      string,
      string,
    ];
    assert.match(boot(csv, wasm), /^ampoule\/[0-9a-f]{16}\/down$/);
    assert.equal(boot(csv), "BAD_MODULE");
    const module = readFileSync(wasm);
    for (const at of [0, module.length >> 1, module.length - 1]) {
      const changed = Buffer.from(module);
      changed[at] = (changed[at] ?? 0) ^ 1;
      writeFileSync(wasm, changed);
      assert.equal(boot(csv, wasm), "BAD_MODULE", `byte ${at}`);
    }
  },
);
