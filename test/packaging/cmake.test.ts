// The build files of ESP-IDF and Zephyr are read by CMake itself, with the few commands that those would give them.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { need } from "../support/need.ts";
import { DOUBLES, espConfig, FIRMWARE, kconfiglib, SCRATCH, zephyrConfig } from "./support.ts";

const needed = need("cmake", "make", "gcc", "nm", "python3");
const options = needed.skip === false ? kconfiglib.options : needed;

/** Builds for this machine and returns the names of the functions that were built. */
function build(platform: string, library: string, config: string, ...flags: string[]): string[] {
  const out = mkdtempSync(join(SCRATCH, "cmake-"));
  const run = (...args: string[]): string =>
    execFileSync("cmake", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const places = { FIRMWARE, CONFIG: config, DOUBLES: join(DOUBLES, platform) };
  const define = Object.entries(places).map(([name, value]) => `-DAMP_${name}=${value}`);
  run("-S", join(DOUBLES, "cmake", platform), "-B", out, ...define, ...flags);
  run("--build", out);
  const [folder = ""] = [platform === "zephyr" ? "module" : "component"];
  const names = execFileSync("nm", ["-A", "--defined-only", join(out, folder, library)], {
    encoding: "utf8",
  });
  return [...names.matchAll(/ T (\w+)$/gm)].map(([, name]) => name ?? "");
}

test("packaging: CMake builds the component of ESP-IDF, each engine from its own sources", options, () => {
  const aot = build("esp-idf", "lib__idf_ampoule.a", espConfig());
  for (const name of ["amp_open", "amp_esp_open", "amp_esp_mqtt_attach", "amp_core_protect"]) {
    assert.equal(aot.filter((built) => built === name).length, 1, name);
  }
  const both = build("esp-idf", "lib__idf_ampoule.a", espConfig("AMP_XOODYAK=y"), "-DCONFIG_AMP_XOODYAK=y");
  assert.equal(both.filter((built) => built === "amp_core_protect").length, 1);
  const wasm3 = ["-DCONFIG_AMP_ENGINE_WASM3=y", "-DCONFIG_AMP_WASM3_SOURCE=nowhere"];
  assert.throws(
    () => build("esp-idf", "lib__idf_ampoule.a", espConfig("AMP_ENGINE_WASM3=y"), ...wasm3),
    /nowhere\s+does\s+not\s+hold\s+wasm3's\s+sources/,
  );
});

test("packaging: CMake builds the module of Zephyr, with and without settings", options, () => {
  const flags = ["-DCONFIG_AMPOULE=y", "-DCONFIG_AMPOULE_SETTINGS=y"];
  const whole = build("zephyr", "libampoule.a", zephyrConfig(), ...flags);
  for (const name of ["amp_open", "amp_zephyr_open", "amp_core_protect"]) {
    assert.equal(whole.filter((built) => built === name).length, 1, name);
  }
  const bare = build("zephyr", "libampoule.a", zephyrConfig(), "-DCONFIG_AMPOULE=y");
  assert.ok(bare.includes("amp_open") && !bare.includes("amp_zephyr_open"));
});
