// What the README shows is run: its commands against a broker, its programs through the compiler.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startAedes } from "./support/brokers.ts";

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

test("readme: its commands bring a sealed message from one member to another", async () => {
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
  for (const build of ["device-ascon", "device", "host"]) {
    const row = README.split("\n").find((line) => line.includes(`ampoule-${build}\``)) ?? "";
    const shown = row.split("|")[2]?.replaceAll(/[^0-9]/g, "");
    assert.equal(Number(shown), sizes[build].wasmBytes, build);
  }
});
