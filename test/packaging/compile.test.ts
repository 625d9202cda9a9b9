// Every C and C++ source of every package goes through the cross compilers at hand, against declarations of the
// platforms: RISC-V as the ESP32-C3, ARM as most boards of Zephyr, and the lx106 as the nearest Xtensa.

import { join } from "node:path";
import { test } from "node:test";
import { need } from "../support/need.ts";
import {
  compile,
  DOUBLES,
  espConfig,
  FIRMWARE,
  find,
  identityFolder,
  kconfiglib,
  zephyrConfig,
} from "./support.ts";

const LIBC = join(DOUBLES, "libc");
const TARGETS: Record<string, string[]> = {
  "arm-none-eabi": ["-mcpu=cortex-m4", "-mthumb"],
  "riscv64-unknown-elf": ["-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"],
  // Debian has no C library for it.
  "xtensa-lx106-elf": ["-mlongcalls", "-ffreestanding", "-isystem", LIBC],
};
const STRICT = ["-Os", "-Wpedantic", "-Wconversion", "-c", "-o", "/dev/null"];
const include = (...folders: string[]): string[] => folders.flatMap((folder) => ["-I", folder]);
const path = (name: string): string => join(FIRMWARE, name);

interface Unit {
  compiler: "gcc" | "g++";
  files: string[];
  flags: string[];
}

/** What is built of one package, one unit after the other. */
const PACKAGES: Record<string, () => Unit[]> = {
  "the library": () =>
    [[], ["-DAMP_XOODYAK"], ["-DAMP_VOLATILE"], ["-DAMP_WASM3", "-DAMP_ASCON_HOSTED"]].map((flags) => ({
      compiler: "gcc",
      // What includes wasm3's sources is compiled where those are: test/packaging/run.test.ts.
      files: find("src/*.c")
        .filter((name) => flags[0] !== "-DAMP_WASM3" || !name.endsWith("core_wasm3.c"))
        .map(path),
      flags: ["-std=c99", ...flags, ...include(path("include"), path("src"))],
    })),
  "ESP-IDF": () =>
    [
      [],
      ["AMP_ENGINE_WASM3=y", "AMP_PAYLOAD_MAX=4096"],
      ["AMP_ENGINE_WASM3=y", "AMP_WASM3_FRUGAL=y"],
      ["AMP_XOODYAK=y", "AMP_MARKS=256"],
    ].map((values) => ({
      compiler: "gcc",
      files: find("esp-idf/**/*.c").map(path),
      // What ESP-IDF compiles with: esp-mqtt's subscribe is a _Generic.
      flags: [
        "-std=gnu17",
        ...include(espConfig(...values), path("include"), path("esp-idf"), join(DOUBLES, "esp-idf")),
      ],
    })),
  Arduino: () =>
    ["-std=gnu++11", "-std=gnu++17"].map((standard) => ({
      compiler: "g++",
      files: find("examples/**/*.ino").map(path),
      flags: [
        standard,
        "-DESP32",
        // As the Arduino IDE does it: only src/ is on the path.
        ...include(identityFolder(), path("src"), join(DOUBLES, "arduino")),
        ...["-include", "Arduino.h", "-x", "c++"],
      ],
    })),
  Zephyr: () =>
    [[], ["AMPOULE_XOODYAK=y", "AMPOULE_MARKS=24"]].map((values) => ({
      compiler: "gcc",
      files: find("zephyr/**/*.c").map(path),
      flags: [
        "-std=c17",
        ...["-include", join(zephyrConfig(...values), "autoconf.h")],
        ...include(identityFolder(), path("include"), path("zephyr"), join(DOUBLES, "zephyr")),
      ],
    })),
};

for (const [target, machine] of Object.entries(TARGETS)) {
  for (const [name, units] of Object.entries(PACKAGES)) {
    const needed = need(`${target}-gcc`, "python3");
    const options = needed.skip === false ? kconfiglib.options : needed;
    test(`packaging: ${name} compiles without a warning for ${target}`, options, async () => {
      for (const { compiler, files, flags } of units()) {
        if (files.length === 0) throw new Error("nothing to compile");
        for (const file of files)
          await compile(`${target}-${compiler}`, ...machine, ...STRICT, ...flags, file);
      }
    });
  }
}
