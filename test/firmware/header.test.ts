// The header and the library as a C and a C++ compiler sees them, its numbers, and what CMake installs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as abi from "../../host/core/abi.ts";
import { STATUS } from "../../host/status.ts";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { findCommand, need } from "../support/need.ts";

const ROOT = join(import.meta.dirname, "../..");
const WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"];
const library = assembleFirmware();
const INCLUDES = ["-I", join(library, "include"), "-I", join(library, "src")];

const dir = mkdtempSync(join(tmpdir(), "ampoule-header-"));
after(() => rmSync(dir, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

test(
  "firmware: the header is clean C99, C11 and C++11 for every compiler there is",
  need("gcc", "g++"),
  () => {
    const text =
      '#include "ampoule.h"\nint main(void) { return sizeof(amp_context) == AMP_CONTEXT_SIZE ? 0 : 1; }\n';
    const c = write("header.c", text);
    const cpp = write("header.cpp", text);
    for (const compiler of ["gcc", "clang-16", "clang"].filter((name) => findCommand(name))) {
      for (const std of ["c99", "c11"])
        execFileSync(compiler, [`-std=${std}`, ...WARNINGS, ...INCLUDES, c, "-o", join(dir, "out")]);
    }
    execFileSync("g++", ["-std=c++11", ...WARNINGS, ...INCLUDES, cpp, "-o", join(dir, "out")]);
    execFileSync(join(dir, "out"));
  },
);

test("firmware: the library's own sources have no warning, as C99", need("gcc"), () => {
  const own = readdirSync(join(ROOT, "firmware/src")).filter(
    (name) => name.endsWith(".c") && name !== "core_wasm3.c",
  );
  assert.ok(own.length >= 4);
  for (const name of own) {
    for (const define of [[], ["-DAMP_WASM3"], ["-DAMP_WASM3", "-DAMP_ASCON_HOSTED"]]) {
      const flags = ["-std=c99", "-Os", ...define, ...WARNINGS, "-Wshadow", ...INCLUDES];
      execFileSync("gcc", [...flags, "-c", join(library, "src", name), "-o", join(dir, "out.o")]);
    }
  }
});

/** Runs a C program that prints `name number` lines. */
function numbers(names: string[]): Record<string, number> {
  const lines = names.map((name) => `  printf("${name} %lu\\n", (unsigned long)(${name}));`).join("\n");
  const path = write(
    "numbers.c",
    `#include <stdio.h>\n#include "ampoule.h"\nint main(void)\n{\n${lines}\n  return 0;\n}\n`,
  );
  execFileSync("cc", ["-std=c99", ...INCLUDES, path, "-o", join(dir, "numbers")]);
  const output = execFileSync(join(dir, "numbers"), { encoding: "utf8" }).trim().split("\n");
  return Object.fromEntries(
    output.map((line) => line.split(" ")).map(([name, value]) => [name, Number(value)]),
  );
}

test("firmware: every size in the header is the core's", need("cc"), () => {
  const manual = readFileSync(join(ROOT, "assembly/index.ts"), "utf8");
  const layout = readFileSync(join(ROOT, "assembly/layout.ts"), "utf8");
  const constant = (name: string): number =>
    Number(new RegExp(`const ${name}: i32 = (\\d+);`).exec(layout)?.[1]);
  const { use } = JSON.parse(readFileSync(join(ROOT, "asconfig.json"), "utf8")).targets["device-ascon"] as {
    use: string[];
  };
  const option = (name: string): number =>
    Number(use.find((one) => one.startsWith(`${name}=`))?.split("=")[1]);
  const blob = Number(/A device blob has at[\s*]+most ([\d,]+) bytes/.exec(manual)?.[1]?.replace(",", ""));
  const expected = {
    AMP_CHANNELS: option("AMP_CHANNELS"),
    AMP_SENDERS: option("AMP_SENDERS"),
    AMP_FRAME_MAX: abi.FRAME_MAX,
    AMP_TOPIC_MAX: Number(/TOPIC_MAX: i32 = AMP_HOST \? \d+ : (\d+)/.exec(layout)?.[1]),
    AMP_REPLY_SIZE: abi.CONTROL_FRAME,
    AMP_CONTROL_MAX: abi.CONTROL_FRAME * constant("CONTROL_FRAMES"),
    AMP_MARK_SIZE: abi.MARK_SIZE,
    AMP_BLOB_HEADER: abi.BLOB_HEADER,
    AMP_BLOB_MAX: blob,
    AMP_KEY_SIZE: constant("KEY_SIZE"),
    AMP_STORAGE_KEY_SIZE: constant("PAIR_SIZE"),
  };
  assert.deepEqual(numbers(Object.keys(expected)), expected);
});

test("firmware: statuses have the numbers and names of SPEC 14", need("cc"), () => {
  const names = Object.keys(STATUS).filter((name) => !["STORE_MARK", "STORE_BLOB"].includes(name));
  const found = numbers(names.map((name) => `AMP_${name}`));
  for (const name of names) assert.equal(found[`AMP_${name}`], STATUS[name as keyof typeof STATUS], name);
  const lines = names.map((name) => `  puts(amp_status_name(AMP_${name}));`).join("\n");
  const path = write(
    "names.c",
    `#include <stdio.h>\n#include "ampoule.h"\nint main(void)\n{\n${lines}\n  puts(amp_status_name((amp_status)99));\n  return 0;\n}\n`,
  );
  execFileSync("cc", [
    "-std=c99",
    ...INCLUDES,
    path,
    join(library, "src/amp_status.c"),
    "-o",
    join(dir, "names"),
  ]);
  assert.deepEqual(execFileSync(join(dir, "names"), { encoding: "utf8" }).trim().split("\n"), [
    ...names,
    "UNKNOWN",
  ]);
});

test(
  "firmware: what CMake installs serves find_package and pkg-config, and the README's lines",
  need("cmake", "pkg-config", "cc"),
  () => {
    const prefix = join(dir, "prefix");
    const out = join(dir, "out-library");
    execFileSync(
      "cmake",
      ["-S", library, "-B", out, `-DCMAKE_INSTALL_PREFIX=${prefix}`, "-DCMAKE_INSTALL_LIBDIR=lib"],
      { stdio: "pipe" },
    );
    execFileSync("cmake", ["--build", out], { stdio: "pipe" });
    execFileSync("cmake", ["--install", out], { stdio: "pipe" });
    const [, lines = ""] =
      /```c\n([^`]*)```/.exec(readFileSync(join(ROOT, "firmware/README.md"), "utf8")) ?? [];
    const identity =
      'static const uint8_t amp_realm[8], amp_device[8], amp_key[16];\nstatic const char amp_prefix[] = "ampoule";\n';
    mkdirSync(join(dir, "user"));
    writeFileSync(join(dir, "user/identity.h"), `#include <stdint.h>\n${identity}`);
    const publish =
      "#include <stddef.h>\n#include <stdint.h>\nstatic void publish(const char *topic, const uint8_t *bytes, size_t len) { (void)topic, (void)bytes, (void)len; }\n";
    const rest =
      "int main(void)\n{\n  static amp_port port;\n  port.kind = AMP_NEITHER;\n  send_temperature(&port);\n  return amp_tick(&device);\n}\n";
    writeFileSync(join(dir, "user/main.c"), `${publish}${lines}\n${rest}`);
    const cmake =
      "cmake_minimum_required(VERSION 3.13)\nproject(user C)\nfind_package(ampoule REQUIRED)\nadd_executable(user main.c)\ntarget_link_libraries(user ampoule::ampoule)\n";
    writeFileSync(join(dir, "user/CMakeLists.txt"), cmake);
    const user = join(dir, "out-user");
    execFileSync("cmake", ["-S", join(dir, "user"), "-B", user, `-DCMAKE_PREFIX_PATH=${prefix}`], {
      stdio: "pipe",
    });
    execFileSync("cmake", ["--build", user], { stdio: "pipe" });
    execFileSync(join(user, "user"));
    const env = { ...process.env, PKG_CONFIG_PATH: join(prefix, "lib/pkgconfig") };
    const flags = execFileSync("pkg-config", ["--cflags", "--libs", "ampoule"], { env, encoding: "utf8" })
      .trim()
      .split(/\s+/);
    execFileSync("cc", [
      "-std=c99",
      ...WARNINGS,
      join(dir, "user/main.c"),
      "-o",
      join(dir, "user-pc"),
      ...flags,
    ]);
    execFileSync(join(dir, "user-pc"));
  },
);
