// The manifests say what is there, in the words their readers know: Arduino's library specification, PlatformIO's
// library.json, the component manifest of ESP-IDF, zephyr/module.yml and sample.yaml.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { DEFAULT_TABLE, parsePartitions } from "../../host/cli/image/partitions.ts";
import { espConfig, FIRMWARE, find, kconfiglib, ROOT, read, zephyrConfig } from "./support.ts";

const { version, license } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const inFolder = (name: string): boolean => existsSync(join(FIRMWARE, name));

/** Only these keys, all of `must` among them. */
function checkKeys(value: object, must: string[], may: string[], what: string): void {
  const keys = Object.keys(value);
  for (const key of must) assert.ok(keys.includes(key), `${what} has no ${key}`);
  for (const key of keys) assert.ok([...must, ...may].includes(key), `${what} has ${key}`);
}

test("packaging: version and licence are those of package.json everywhere, and no placeholder is left", () => {
  for (const name of find("**/*")) {
    assert.doesNotMatch(read(name), /@[A-Z]+@/, name);
  }
  const properties = new Map(
    read("library.properties")
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]),
  );
  const json = JSON.parse(read("library.json"));
  const component = parse(read("idf_component.yml"));
  assert.deepEqual([properties.get("version"), json.version, component.version], [version, version, version]);
  assert.deepEqual([properties.get("license"), json.license, component.license], [license, license, license]);
  assert.equal(read("LICENSE"), readFileSync(join(ROOT, "LICENSE"), "utf8"));
});

test("packaging: what its READMEs link to is in the folder", () => {
  const pages = find("**/*.md");
  assert.ok(pages.length >= 4);
  for (const page of pages) {
    for (const [, link = ""] of read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      assert.ok(inFolder(join(dirname(page), link)), `${page}: ${link}`);
    }
  }
});

test("packaging: library.properties has what Arduino's specification demands", () => {
  const lines = read("library.properties").trimEnd().split("\n");
  const fields = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
  const must = [
    "name",
    "version",
    "author",
    "maintainer",
    "sentence",
    "paragraph",
    "category",
    "url",
    "architectures",
  ];
  checkKeys(fields, must, ["includes", "depends", "license"], "library.properties");
  assert.match(fields.name, /^(?!arduino)[a-z][a-z0-9_ .-]{0,62}$/i);
  assert.match(fields.version, /^\d+\.\d+\.\d+$/);
  assert.match(fields.url, /^https:\/\/\S+$/);
  assert.equal(fields.category, "Communication");
  assert.match(fields.architectures, /^[a-z0-9_]+(,[a-z0-9_]+)*$/);
  for (const header of fields.includes.split(",")) assert.ok(inFolder(`src/${header}`), header);
  // The IDE takes folder and sketch by one name.
  for (const sketch of find("examples/**/*.ino")) assert.match(sketch, /^examples\/(\w+)\/\1\.ino$/);
});

test("packaging: keywords are separated by one tab, and are words of the library", () => {
  const sources = read("src/AmpouleArduino.h") + read("include/ampoule.h") + read("examples/Seal/Seal.ino");
  for (const line of read("keywords.txt").trimEnd().split("\n")) {
    const [, word = ""] = /^(\w+)\t(KEYWORD1|KEYWORD2|LITERAL1)$/.exec(line) ?? [];
    assert.notEqual(word, "", JSON.stringify(line));
    assert.match(sources, new RegExp(`\\b${word}\\b`));
  }
});

test("packaging: headers are reachable from src/ alone, as Arduino has it", () => {
  for (const name of find("src/*.h")) {
    for (const [, header = ""] of read(name).matchAll(/^#include "([^"]+)"/gm)) {
      assert.ok(
        existsSync(join(FIRMWARE, dirname(name), header)) || header === "core_wasm3.h",
        `${name}: ${header}`,
      );
    }
  }
});

test("packaging: library.json names what is there", () => {
  const json = JSON.parse(read("library.json"));
  const may = [
    "$schema",
    "keywords",
    "authors",
    "headers",
    "frameworks",
    "platforms",
    "examples",
    "export",
    "build",
  ];
  checkKeys(json, ["name", "version", "description", "license"], may, "library.json");
  assert.ok(json.description.length <= 255);
  for (const keyword of json.keywords) assert.match(keyword, /^[a-z0-9-]{1,50}$/);
  for (const header of json.headers) assert.ok(inFolder(`src/${header}`), header);
  for (const { base, files } of json.examples) {
    for (const file of files) assert.ok(inFolder(`${base}/${file}`), file);
  }
  for (const name of json.export.include) assert.ok(inFolder(name), name);
});

test("packaging: the component manifest of ESP-IDF names what is there, and esp-mqtt where ESP-IDF has it no more", () => {
  const component = parse(read("idf_component.yml"));
  checkKeys(
    component,
    ["version", "description", "license", "dependencies"],
    ["tags", "examples", "files", "url"],
    "idf_component.yml",
  );
  assert.match(component.version, /^\d+\.\d+\.\d+$/);
  assert.equal(component.dependencies.idf, ">=5.1");
  assert.deepEqual(component.dependencies["espressif/mqtt"].rules, [{ if: "idf_version >=6.0" }]);
  for (const { path } of component.examples) {
    for (const name of ["CMakeLists.txt", "partitions.csv", "sdkconfig.defaults", "main/CMakeLists.txt"]) {
      assert.ok(inFolder(`${path}/${name}`), name);
    }
    const main = join(path, "main");
    const { dependencies } = parse(read(`${main}/idf_component.yml`));
    const component = join(main, dependencies.ampoule.override_path);
    assert.ok(inFolder(join(component, "idf_component.yml")), component);
  }
  for (const glob of component.files.exclude) assert.ok(find(glob).length > 0, glob);
  const cmake = read("esp-idf/component.cmake");
  for (const [name] of cmake.matchAll(/esp-idf\/\w+\.c/g)) assert.ok(inFolder(name), name);
  assert.match(
    read("CMakeLists.txt"),
    /^if\(ESP_PLATFORM\)\n {2}include\(.*\/esp-idf\/component\.cmake"\)\n {2}return\(\)/,
  );
});

test("packaging: the partition table is what `ampoule image` knows, and fits a flash of 2 MB", () => {
  const text = read("esp-idf/examples/seal/partitions.csv");
  assert.equal(text, DEFAULT_TABLE);
  const table = parsePartitions(text, "partitions.csv");
  assert.deepEqual(
    table.map(({ label }) => label),
    ["nvs", "phy_init", "factory", "wasm", "ampoule"],
  );
  const last = table.at(-1);
  assert.ok((last?.offset ?? 0) + (last?.size ?? 0) <= 2 << 20);
  const kconfig = read("Kconfig");
  for (const label of ["ampoule", "wasm"]) assert.match(kconfig, new RegExp(`default "${label}"`));
});

test("packaging: zephyr/module.yml and sample.yaml name what is there", () => {
  const module = parse(read("zephyr/module.yml"));
  checkKeys(module, ["name", "build"], ["samples", "tests"], "module.yml");
  checkKeys(module.build, ["cmake", "kconfig"], ["depends", "settings"], "module.yml: build");
  assert.ok(inFolder(`${module.build.cmake}/CMakeLists.txt`));
  assert.ok(inFolder(module.build.kconfig));
  const samples = find(`${module.samples[0]}/**/sample.yaml`);
  assert.equal(samples.length, 1);
  for (const name of samples) {
    const sample = parse(read(name));
    checkKeys(sample, ["sample", "tests"], ["common"], name);
    checkKeys(sample.sample, ["name", "description"], [], name);
    for (const test of Object.keys(sample.tests)) assert.match(test, /^sample(\.\w+)+$/);
    for (const file of ["CMakeLists.txt", "prj.conf", "README.rst", "src/main.c"]) {
      assert.ok(inFolder(join(dirname(name), file)), file);
    }
  }
});

/** Options that sources, build files and configurations use. */
function used(prefix: string, pattern: string): Set<string> {
  const words = new RegExp(`\\bCONFIG_(${prefix}\\w+)`, "g");
  return new Set(
    find(pattern).flatMap((name) => [...read(name).matchAll(words)].map(([, word]) => word ?? "")),
  );
}

test(
  "packaging: options have the defaults they should, and every one that is used exists",
  kconfiglib.options,
  () => {
    const esp = readFileSync(join(espConfig(), "sdkconfig.h"), "utf8");
    assert.match(esp, /^#define CONFIG_AMP_ENGINE_AOT 1$/m);
    assert.match(esp, /^#define CONFIG_AMP_NVS_PARTITION "ampoule"$/m);
    assert.doesNotMatch(esp, /CONFIG_AMP_(ENGINE_WASM3|XOODYAK|WASM_PARTITION)/);
    const wasm3 = readFileSync(join(espConfig("AMP_ENGINE_WASM3=y"), "sdkconfig.h"), "utf8");
    assert.match(wasm3, /^#define CONFIG_AMP_WASM_PARTITION "wasm"$/m);
    assert.doesNotMatch(wasm3, /CONFIG_AMP_ENGINE_AOT/);
    const xoodyak = readFileSync(join(espConfig("AMP_XOODYAK=y"), "sdkconfig.h"), "utf8");
    assert.throws(() => espConfig("AMP_PAYLOAD_MAX=100"), /AMP_PAYLOAD_MAX/);
    for (const others of [[], ["AMP_ENGINE_WASM3=y", "AMP_XOODYAK=y"]]) {
      const config = readFileSync(join(espConfig("AMP_ASCON_HOSTED=y", ...others), "sdkconfig.h"), "utf8");
      assert.doesNotMatch(config, /AMP_ASCON_HOSTED/);
    }
    const hosted = readFileSync(
      join(espConfig("AMP_ENGINE_WASM3=y", "AMP_ASCON_HOSTED=y", "AMP_WASM3_FRUGAL=y"), "sdkconfig.h"),
      "utf8",
    );
    const known = esp + wasm3 + xoodyak + hosted;
    for (const option of [...used("AMP_", "esp-idf/**/*"), ...used("SEAL_", "esp-idf/**/*")]) {
      assert.ok(known.includes(`CONFIG_${option} `), option);
    }
    const zephyr = readFileSync(join(zephyrConfig(), "autoconf.h"), "utf8");
    assert.match(zephyr, /^#define CONFIG_AMPOULE_SETTINGS 1$/m);
    assert.match(zephyr, /^#define CONFIG_AMPOULE_ENGINE_AOT 1$/m);
    const others = [
      ["AMPOULE_ENGINE_WASM3=y", "AMPOULE_ASCON_HOSTED=y", "AMPOULE_WASM3_FRUGAL=y"],
      ["AMPOULE_ENGINE_WASM3=y"],
      ["AMPOULE_XOODYAK=y"],
    ].map((values) => readFileSync(join(zephyrConfig(...values), "autoconf.h"), "utf8"));
    for (const option of [...used("AMPOULE", "zephyr/**/*"), ...used("SEAL_", "zephyr/**/*")]) {
      assert.ok((zephyr + others.join("")).includes(`CONFIG_${option} `), option);
    }
  },
);
