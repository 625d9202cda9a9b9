// What the README shows is run: its commands against a broker, its programs through the compiler.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startAedes } from "./support/brokers.ts";
import { need } from "./support/need.ts";

const ROOT = join(import.meta.dirname, "..");
const README = readFileSync(join(ROOT, "README.md"), "utf8");
const run = promisify(execFile);

function blocks(language: string): string[] {
  return [...README.matchAll(/^```(\w+)\n(.*?)^```/gms)]
    .filter((found) => found[1] === language)
    .map((found) => found[2] ?? "");
}

test("readme: is under 200 lines, and its first command stands by line 12", () => {
  const lines = README.split("\n");
  assert.ok(lines.length < 200);
  assert.ok(lines.findIndex((line) => line.startsWith("$ ")) < 12);
});

test("readme: its programs compile as they stand", async () => {
  const folder = join(ROOT, "build", "readme");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const programs = blocks("ts");
  assert.ok(programs.length >= 2);
  programs.forEach((program, i) => {
    writeFileSync(join(folder, `program-${i}.ts`), program.replace('"ampoule"', '"../../host/index.ts"'));
  });
  writeFileSync(
    join(folder, "your-link.ts"),
    `export declare function send(payloads: Uint8Array[]): void;
export declare function onPayload(take: (topic: string, payload: Uint8Array) => void): void;
`,
  );
  const config = {
    extends: "../../tsconfig.json",
    include: ["./*.ts"],
    compilerOptions: { rootDir: "../.." },
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "--noEmit", "-p", folder]);
});

test("readme: its C compiles as it stands, where its names are declared", need("cc"), async () => {
  const [calls = ""] = blocks("c");
  assert.match(calls, /amp_protect\(/);
  const results = calls.replaceAll(/^(?=amp_)/gm, "result |= ");
  const program = `#include "ampoule.h"
int use(const amp_identity *given, const amp_port *board, const char *topic, int retained);
int use(const amp_identity *given, const amp_port *board, const char *topic, int retained)
{
  static amp_context device;
  amp_identity identity = *given;
  amp_port port = *board;
  uint8_t text[64] = "21.5", payload[512];
  size_t text_len = 4, payload_len = sizeof payload;
  amp_sealed sealed;
  amp_received received;
  int result = 0;
  ${results}
  return result;
}
`;
  const folder = mkdtempSync(join(tmpdir(), "ampoule-readme-"));
  writeFileSync(join(folder, "program.c"), program);
  const flags = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsyntax-only",
    "-I",
    join(ROOT, "firmware/include"),
  ];
  await run("cc", [...flags, join(folder, "program.c")]);
  rmSync(folder, { recursive: true });
});

test("readme: the instructions it gives for the Cortex-M3 and RV32IMAC are those that tests hold", () => {
  const budgets = JSON.parse(readFileSync(join(ROOT, "test/mcu/budgets.json"), "utf8"));
  const counts = Object.assign({}, ...Object.values(budgets)) as Record<string, number>;
  const cell = (row: string, column: number) =>
    Number(
      README.split("\n")
        .find((line) => line.startsWith(`| ${row}`))
        ?.split("|")[column],
    );
  const holds = (shown: number, what: string, digits: number) =>
    assert.equal(shown, Number(((counts[`${what}: seal1024`] ?? 0) / 1024).toFixed(digits)), what);
  holds(cell("module as C, `-O2`", 2), "Cortex-M3, AOT -O2, bare-ascon", 1);
  holds(cell("module as C, `-O2`", 3), "RV32IMAC, AOT -O2, bare-ascon", 1);
  holds(cell("module as C, profiles", 2), "Cortex-M3, AOT -O2, bare-ascon-compiled", 1);
  holds(cell("module in wasm3, profile", 2), "Cortex-M3, wasm3, bare-ascon-interpreted", 0);
  holds(cell("module in wasm3, profile", 3), "RV32IMAC, wasm3, bare-ascon-interpreted", 0);
  holds(cell("module in wasm3, the permutation", 2), "Cortex-M3, wasm3, bare-ascon-hosted", 0);
  holds(cell("module in wasm3, the permutation", 3), "RV32IMAC, wasm3, bare-ascon-hosted", 0);
});

const shell = need("bash", "uptime");

test("readme: its commands bring a sealed message from one member to another", shell, async () => {
  const shown = blocks("console").find((block) => block.includes("ampoule init")) ?? "";
  await using broker = await startAedes();
  const commands = shown
    .split("\n")
    .filter((line) => line.startsWith("$ "))
    .map((line) => line.slice(2).replace("mqtt://localhost", broker.url));
  const [pub = "", ...rest] = commands.toReversed();
  assert.match(pub, /ampoule pub/);
  const directory = mkdtempSync(join(tmpdir(), "ampoule-readme-"));
  const script = `
    ampoule() { ${process.execPath} ${join(ROOT, "host/cli/ampoule.js")} "$@"; }
    export AMPOULE_URL=${broker.url}
    ${rest.toReversed().join("\n")}
    sleep 4
    ${pub}
    sleep 2
  `;
  const child = spawn("bash", ["-c", script], {
    cwd: directory,
    env: { ...process.env, NO_COLOR: "1" },
    detached: true,
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      printed += chunk;
    });
  }
  await new Promise((resolve) => child.once("exit", resolve));
  // The server and the reader it left behind.
  process.kill(-(child.pid as number), "SIGKILL");
  rmSync(directory, { recursive: true, force: true });
  assert.match(printed, /plant\/boiler\/live .*load average/, printed);
});

test("readme: every file it names is there", () => {
  const names = [
    ...README.matchAll(/\]\(([^)#:]+)\)|`((?:test|host|bench|build|assembly|examples)\/[\w./-]+)`/g),
  ];
  for (const [, link, path] of names) {
    const name = link ?? path ?? "";
    if (dirname(name).startsWith("build")) continue;
    readOrList(name);
  }
});

function readOrList(name: string): void {
  try {
    readFileSync(join(ROOT, name));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "EISDIR", `${name} is not there`);
  }
}

test("readme: the sizes it gives are those of this build", () => {
  const sizes = JSON.parse(readFileSync(join(ROOT, "build", "sizes.json"), "utf8"));
  for (const build of ["device-ascon", "device-ascon-volatile", "device", "host"]) {
    const row = README.split("\n").find((line) => line.includes(`ampoule-${build}\``)) ?? "";
    const shown = row.split("|")[2]?.replaceAll(/[^0-9]/g, "");
    assert.equal(Number(shown), sizes[build].wasmBytes, build);
  }
});
