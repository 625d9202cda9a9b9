// Compiles the host for a package: Node runs TypeScript in a clone, but not below
// node_modules. build/dist is a small copy of this tree, so that what a source finds
// beside or above itself lies in the same place there:
//
//   build/dist/host/          the host as JavaScript, with declarations
//   build/dist/build/         the modules the host loads
//   build/dist/core-wasm.js   the same modules as base64, for bundlers and browsers
//   build/dist/package.json   the version, and how Node reads the files
//
//   node scripts/dist.ts

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, "build", "dist");
/** Modules the host loads, with their names in core-wasm.js. */
const MODULES = {
  device: "device",
  deviceAscon: "device-ascon",
  deviceAsconVolatile: "device-ascon-volatile",
  host: "host",
};
/** What `ampoule image` writes for firmware beside them. */
const FOR_FIRMWARE = ["device-ascon-hosted"];
/** Names of built-in modules that the oldest Node of the library does not export. */
const LATE_NAMES = /\bargon2Sync\b/;

const fileOf = (build: string): string => `ampoule-${build}.wasm`;

class DistError extends Error {}

function run(...args: string[]): void {
  const done = spawnSync(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
  if (done.error !== undefined) throw done.error;
  if (done.status !== 0) throw new DistError(`${args[0]} failed`);
}

/**
 * A name that a built-in module lacks stops every program that imports the file, whether or not it
 * uses the name; a property of the default export stops only the caller.
 */
function relaxBuiltins(code: string): string {
  return code.replace(/^import \{([^}]*)\} from "node:(\w+)";$/gm, (line, names: string, module: string) =>
    LATE_NAMES.test(names)
      ? `import ${module} from "node:${module}";\nconst {${names.replaceAll(" as ", ": ")}} = ${module};`
      : line,
  );
}

/** The compiler renames what is imported; a script started as a process is a string with its file's name. */
function renameScripts(code: string, folder: string): string {
  return code.replace(/"([\w-]+)\.ts"/g, (text, name: string) =>
    existsSync(join(folder, `${name}.js`)) ? `"${name}.js"` : text,
  );
}

/** Declarations keep the names of the sources, which a package does not have. */
function renameDeclarations(code: string): string {
  return code.replace(/\b(from |import\()"(\.[^"]*)\.ts"/g, '$1"$2.js"');
}

function mend(folder: string): void {
  for (const name of globSync("host/**/*.{js,d.ts}", { cwd: folder })) {
    const path = join(folder, name);
    const code = readFileSync(path, "utf8");
    const mended = name.endsWith(".d.ts")
      ? renameDeclarations(code)
      : renameScripts(relaxBuiltins(code), dirname(path));
    const stray = /["'][^"'\n]*\.ts["']/.exec(mended);
    if (stray !== null) throw new DistError(`${name} names a source: ${stray[0]}`);
    if (mended !== code) writeFileSync(path, mended);
  }
}

function addModules(folder: string): void {
  mkdirSync(join(folder, "build"));
  const js = [
    "// The core's modules in base64; v8Engine() takes them.",
    "const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));",
  ];
  const types: string[] = [];
  for (const build of [...Object.values(MODULES), ...FOR_FIRMWARE])
    copyFileSync(join(ROOT, "build", fileOf(build)), join(folder, "build", fileOf(build)));
  for (const [name, build] of Object.entries(MODULES)) {
    const base64 = readFileSync(join(ROOT, "build", fileOf(build)), "base64");
    js.push(`export const ${name} = /* @__PURE__ */ bytes("${base64}");`);
    types.push(`export declare const ${name}: Uint8Array<ArrayBuffer>;`);
  }
  writeFileSync(join(folder, "core-wasm.js"), `${js.join("\n")}\n`);
  writeFileSync(join(folder, "core-wasm.d.ts"), `${types.join("\n")}\n`);
}

function addManifest(folder: string): void {
  const { version, type, sideEffects } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ version, type, sideEffects }, null, 2)}\n`);
}

/** Made aside and moved into place whole: a file of an earlier run does not stay. */
function dist(): void {
  const part = `${DIST}.${process.pid}.part`;
  run("scripts/build.ts", "--quiet");
  try {
    run("node_modules/typescript/bin/tsc", "-p", "tsconfig.dist.json", "--outDir", part);
    mend(part);
    addModules(part);
    addManifest(part);
    rmSync(DIST, { recursive: true, force: true });
    renameSync(part, DIST);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

try {
  dist();
} catch (error) {
  console.error(`dist: error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
