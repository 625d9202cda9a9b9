// The binding as a package of its own, and where something that it is built with is missing: always a name and a
// hint, and everything else works. In a copy of its folder, as a clone has it before the first build.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { wasm3Source } from "../../host/wasm3/index.ts";
import { need } from "../support/need.ts";
import { needWasm3 } from "../support/wasm3.ts";

const { options } = needWasm3();
const ROOT = join(import.meta.dirname, "..", "..");
const MODULES = join(ROOT, "node_modules");
const PROJECT = mkdtempSync(join(tmpdir(), "ampoule-wasm3-"));
/** Below the root, so that what is installed there is found. */
const CLONE = join(ROOT, "build", `wasm3-clone.${process.pid}`);
const LIMIT_MS = 120_000;

interface Done {
  code: number | null;
  out: string;
  err: string;
}

function run(command: string, args: string[], cwd: string, env: Record<string, string> = {}): Done {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ...env },
    timeout: LIMIT_MS,
  });
  if (done.error !== undefined) throw done.error;
  return { code: done.status, out: done.stdout, err: done.stderr };
}

function ok(command: string, args: string[], cwd: string, env?: Record<string, string>): string {
  const { code, out, err } = run(command, args, cwd, env);
  assert.equal(code, 0, `${command} ${args.join(" ")}\n${out}${err}`);
  return out;
}

/** A folder to have as PATH, with these of the machine's commands in it and no others. */
function pathWith(...names: string[]): string {
  const folder = mkdtempSync(join(PROJECT, "path-"));
  for (const name of names) {
    const found = (process.env.PATH ?? "").split(delimiter).find((dir) => existsSync(join(dir, name)));
    if (found !== undefined) symlinkSync(join(found, name), join(folder, name));
  }
  return folder;
}

/** A copy of the folder without anything built; `sources` brings wasm3's along. */
function clone(sources: boolean): string {
  rmSync(CLONE, { recursive: true, force: true });
  const built = join(ROOT, "host", "wasm3", "build");
  cpSync(join(ROOT, "host", "wasm3"), CLONE, { recursive: true, filter: (path) => path !== built });
  if (sources) cpSync(wasm3Source(), join(CLONE, "build", "wasm3-src"), { recursive: true });
  return CLONE;
}

before(() => mkdirSync(join(ROOT, "build"), { recursive: true }));
after(() => {
  rmSync(PROJECT, { recursive: true, force: true });
  rmSync(CLONE, { recursive: true, force: true });
});

const LOAD = `
  import { loadWasm3 } from "./index.ts";
  const { reason } = loadWasm3({ say: console.error });
  console.log(reason === null ? "loaded" : reason.code + ": " + reason.message + " (" + reason.hint + ")");`;

const load = (folder: string, env: Record<string, string>): Done =>
  run(process.execPath, ["--input-type=module", "-e", LOAD], folder, env);

/** An archive that calls itself what is wanted, and is not. */
function wrongArchive(): string {
  const folder = mkdtempSync(join(PROJECT, "registry-"));
  const name = "pywasm3-0.5.0";
  mkdirSync(join(folder, name, "wasm3"), { recursive: true });
  writeFileSync(join(folder, name, "setup.py"), `open(${JSON.stringify(join(folder, "ran"))}, "w")`);
  ok("tar", ["-czf", `${name}.tar.gz`, name], folder);
  return folder;
}

/** A program that answers --version, and fails or does as the lines say at anything else. */
function script(folder: string, name: string, ...lines: string[]): string {
  const path = join(folder, name);
  const text = ["#!/bin/sh", 'case "$*" in *--version) exit 0 ;; esac', ...lines];
  writeFileSync(path, `${text.join("\n")}\n`);
  chmodSync(path, 0o755);
  return path;
}

interface Lack {
  what: string;
  says: RegExp;
  sources: boolean;
  env: () => Record<string, string>;
}

const NO_REGISTRY = { PIP_NO_INDEX: "1", PIP_CONFIG_FILE: "/dev/null" };
const LACKS: Lack[] = [
  {
    what: "no pip",
    says: /^NO_PIP: .* \(install python3-pip\)$/,
    sources: false,
    env: () => ({ PATH: pathWith("cc", "tar", "gzip") }),
  },
  {
    what: "no registry",
    says: /^NO_SOURCE: pip cannot bring pywasm3 0\.5\.0: /,
    sources: false,
    env: () => NO_REGISTRY,
  },
  {
    what: "another archive in the registry",
    says: /^BAD_SOURCE: .* does not have the SHA-256 5a47c8a3/,
    sources: false,
    env: () => ({ ...NO_REGISTRY, PIP_FIND_LINKS: wrongArchive() }),
  },
  {
    what: "a pip that compares no digests",
    says: /^BAD_SOURCE: /,
    sources: false,
    env: () => {
      const path = pathWith("cc", "tar", "gzip", "cp", "sh");
      const archive = join(wrongArchive(), "pywasm3-0.5.0.tar.gz");
      // The folder to download to is the last argument.
      script(path, "pip3", `for to in "$@"; do :; done`, `cp ${archive} "$to"`);
      return { PATH: path };
    },
  },
  {
    what: "no compiler",
    says: /^NO_COMPILER: .* \(install gcc or clang, or name one in CC\)$/,
    sources: true,
    env: () => ({ PATH: pathWith("sh"), CC: "absent" }),
  },
  {
    what: "a compiler that fails",
    says: /^COMPILE_FAILED: .*: error: no space left/,
    sources: true,
    env: () => ({
      CC: script(mkdtempSync(join(PROJECT, "cc-")), "cc", "echo 'x.c: error: no space left' >&2", "exit 1"),
    }),
  },
];

for (const { what, says, sources, env } of LACKS) {
  test(
    `wasm3: with ${what} it is refused by name, with a hint, and leaves nothing half made`,
    options,
    () => {
      const folder = clone(sources);
      const before = globSync("build/**", { cwd: folder }).sort();
      const surroundings = env();
      const { code, out, err } = load(folder, surroundings);
      assert.equal(code, 0, err);
      assert.match(out.trim(), says);
      const after = globSync("build/**", { cwd: folder }).filter((path) => !/^build(\/Release)?$/.test(path));
      assert.deepEqual(
        after.sort(),
        before.filter((path) => path !== "build"),
      );
      const links = surroundings.PIP_FIND_LINKS;
      assert.ok(links === undefined || !existsSync(join(links, "ran")), "the archive's code was run");
    },
  );
}

test(
  "wasm3: where it cannot be had, the demo says so and what would help, and other commands work",
  options,
  () => {
    const host = join(ROOT, "build", `wasm3-host.${process.pid}`);
    try {
      const built = join(ROOT, "host", "wasm3", "build");
      cpSync(join(ROOT, "host"), join(host, "host"), { recursive: true, filter: (path) => path !== built });
      cpSync(join(ROOT, "package.json"), join(host, "package.json"));
      const main = join(host, "host", "cli", "main.ts");
      const env = { PATH: pathWith("sh") };
      const { code, out, err } = run(process.execPath, [main, "demo", "--engine", "wasm3"], ROOT, env);
      assert.equal(code, 2, err);
      assert.equal(out, "");
      assert.match(
        err,
        /^wasm3: bringing .*\nampoule: error: no wasm3 \(NO_PIP\): .*\nampoule: hint: install python3-pip\n$/,
      );
      assert.match(ok(process.execPath, [main, "--version"], ROOT, env), /^\d/);
    } finally {
      rmSync(host, { recursive: true, force: true });
    }
  },
);

const USE = `
  const { wasm3, reason } = loadWasm3();
  if (reason) throw reason;
  const bytes = require("node:fs").readFileSync(process.argv[1]);
  const { exports, memory } = wasm3.instantiate(bytes, { memoryLimit: 8192 });
  console.log(exports.buffers(), memory.length);`;

test("wasm3: packed and unpacked below a node_modules, it compiles itself and runs", options, () => {
  const folder = clone(false);
  const settings = ["--offline", "--no-update-notifier", "--cache", join(PROJECT, "cache")];
  const path = `${join(MODULES, ".bin")}${delimiter}${process.env.PATH}`;
  ok("npm", ["pack", "--pack-destination", PROJECT, ...settings], folder, { PATH: path });
  const home = join(PROJECT, "node_modules", "@ampoule", "wasm3");
  mkdirSync(home, { recursive: true });
  ok("tar", ["-xzf", join(PROJECT, "ampoule-wasm3-0.1.0.tgz"), "-C", home, "--strip-components=1"], PROJECT);
  const packed = globSync("**", { cwd: home, exclude: (name) => name === "" }).sort();
  assert.deepEqual(
    packed.filter((name) => /\.(c|h|gyp)$/.test(name)),
    ["addon.c", "binding.gyp", "interpreter.c", "interpreter.h"],
  );
  assert.deepEqual(
    packed.filter((name) => /(?<!\.d)\.ts$/.test(name)),
    [],
  );
  assert.ok(packed.includes("LICENSE") && packed.includes("README.md"));
  for (const [name, from] of [
    ["node-api-headers", "node-api-headers"],
    ["@types", "@types"],
  ] as const) {
    symlinkSync(join(MODULES, from), join(PROJECT, "node_modules", name));
  }
  cpSync(wasm3Source(), join(home, "build", "wasm3-src"), { recursive: true });
  const device = join(ROOT, "build", "ampoule-device.wasm");
  const code = `const { loadWasm3 } = require("@ampoule/wasm3");${USE}`;
  assert.equal(ok(process.execPath, ["-e", code, device], PROJECT), "16 8192\n");

  writeFileSync(
    join(PROJECT, "use.mts"),
    `import { loadWasm3, type Wasm3, Wasm3Error } from "@ampoule/wasm3";
     const { wasm3, reason } = loadWasm3({ counting: true, say: (line) => console.log(line.length) });
     if (wasm3 === null) throw reason satisfies Wasm3Error;
     export const kept: Wasm3 = wasm3;
     const { exports, memory, operations } = wasm3.instantiate(new Uint8Array(8), { memoryLimit: 8192 });
     export const sums: number = memory.length + operations();
     // @ts-expect-error a call may return several values
     export const wrong: number = exports.run?.(3n);`,
  );
  const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--types", "node"];
  ok(process.execPath, [join(MODULES, "typescript/bin/tsc"), ...flags, "use.mts"], PROJECT);
});

/** Node-API's own headers and no other of Node's: the binding needs nothing of one version. */
function headersAlone(): string {
  const folder = join(PROJECT, "headers");
  const include = join(folder, "include", "node");
  cpSync(join(MODULES, "node-api-headers", "include"), include, { recursive: true });
  const settings = { default_configuration: "Release", configurations: { Release: {}, Debug: {} } };
  writeFileSync(join(include, "common.gypi"), JSON.stringify({ target_defaults: settings }));
  writeFileSync(join(include, "config.gypi"), "{}");
  return folder;
}

const gyp = need("make", "g++", "python3");

test("wasm3: node-gyp makes both libraries of binding.gyp, and they are taken as they are", {
  skip: options.skip || gyp.skip,
}, () => {
  const folder = clone(true);
  const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
  const script = join(MODULES, "node-gyp", "bin", "node-gyp.js");
  ok(process.execPath, [script, "configure", "build", `--nodedir=${headersAlone()}`, "-j", "2"], folder, {
    PATH: path,
  });
  const device = join(ROOT, "build", "ampoule-device.wasm");
  for (const counting of [false, true]) {
    const code = `
      const { wasm3, reason } = require("./index.ts").loadWasm3({ counting: ${counting} });
      if (reason) throw reason;
      const { exports, operations } = wasm3.instantiate(require("node:fs").readFileSync(${JSON.stringify(device)}));
      console.log(exports.buffers(), ${counting} && operations() > 0);`;
    // Without a compiler: nothing is made again.
    assert.equal(ok(process.execPath, ["-e", code], folder, { PATH: pathWith("sh") }), `16 ${counting}\n`);
  }
});

test("wasm3: the addon compiles without a warning, as C99, with gcc and with clang", options, () => {
  const flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"];
  const headers = join(MODULES, "node-api-headers", "include");
  const includes = ["-isystem", headers, "-isystem", wasm3Source()];
  for (const compiler of ["gcc", "clang-16"]) {
    if (need(compiler).skip !== false) continue;
    ok(compiler, [...flags, ...includes, "addon.c"], join(ROOT, "host", "wasm3"));
  }
});
