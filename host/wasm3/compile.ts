// Compiles the addon, when it is first asked for and whenever its sources are newer than it.
//
// Not a script of npm's that runs at install: most who install never need wasm3, an install should not fail or
// wait for want of a compiler, and many install with scripts turned off. The compiler is called directly, with
// the headers of the package node-api-headers: no build system, no headers of one version of Node. binding.gyp
// describes the same two libraries for `node-gyp rebuild`, which is also the way on Windows.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Wasm3Error, wasm3Source } from "./source.ts";

/** Where node-gyp puts what it makes. */
const OUT = join(import.meta.dirname, "build", "Release");
const SOURCES = ["addon.c", "interpreter.c"];
const INPUTS = [...SOURCES, "interpreter.h", "binding.gyp"];
/** wasm3 lets signed numbers wrap and reads a slot as several types: with these two that is defined. */
const SOUND = ["-fwrapv", "-fno-strict-aliasing"];
const FLAGS = ["-O3", "-w", "-fPIC", "-fvisibility=hidden", ...SOUND, "-DNAPI_VERSION=8"];
const LINK = process.platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared"];
const COMPILERS = [process.env.CC ?? "cc", "gcc", "clang"];
const COMPILE_LIMIT_MS = 300_000;

/**
 * Returns the path of the addon; compiles it first if need be.
 *
 * @param say called with a line before anything is brought or compiled
 *
 * Throws Wasm3Error: those of wasm3Source(), NO_BINDING, NO_HEADERS, NO_COMPILER, COMPILE_FAILED.
 */
export function compiledAddon(counting: boolean, say: (line: string) => void = () => {}): string {
  const path = join(OUT, counting ? "wasm3_counting.node" : "wasm3.node");
  if (!isStale(path)) return path;
  const source = wasm3Source(say);
  const compiler = findCompiler();
  say(`wasm3: compiling ${counting ? "the counting interpreter" : "the interpreter"} with ${compiler}`);
  mkdirSync(OUT, { recursive: true });
  const part = `${path}.${process.pid}.part`;
  const includes = ["-isystem", headers(), "-isystem", source];
  const done = spawnSync(
    compiler,
    [
      ...FLAGS,
      ...LINK,
      ...(counting ? ["-DWASM3_COUNTING"] : []),
      ...includes,
      ...SOURCES,
      "-o",
      part,
      "-lm",
    ],
    { cwd: import.meta.dirname, encoding: "utf8", timeout: COMPILE_LIMIT_MS },
  );
  if (done.status !== 0) {
    rmSync(part, { force: true });
    const reason =
      done.error?.message ?? /error: .*/.exec(done.stderr)?.[0] ?? done.stderr.trim().split("\n")[0];
    throw new Wasm3Error(
      "COMPILE_FAILED",
      `${compiler} cannot compile wasm3: ${reason}`,
      "name another compiler in CC, or run node-gyp rebuild in the folder of the binding",
    );
  }
  renameSync(part, path);
  return path;
}

function isStale(path: string): boolean {
  const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  const inputs = INPUTS.map((name) => join(import.meta.dirname, name));
  if (!inputs.every(existsSync)) {
    if (made !== undefined) return false;
    throw new Wasm3Error(
      "NO_BINDING",
      "the C sources of the binding are not in this installation",
      "use a clone of the repository",
    );
  }
  inputs.push(import.meta.filename);
  return made === undefined || inputs.some((name) => statSync(name).mtimeMs > made);
}

function headers(): string {
  const { resolve } = createRequire(import.meta.url);
  try {
    return join(dirname(resolve("node-api-headers/package.json")), "include");
  } catch {
    throw new Wasm3Error("NO_HEADERS", "node-api-headers is not installed", "npm install node-api-headers");
  }
}

function findCompiler(): string {
  const found = COMPILERS.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
  if (found !== undefined) return found;
  throw new Wasm3Error("NO_COMPILER", "there is no C compiler", "install gcc or clang, or name one in CC");
}
