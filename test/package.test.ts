// The package as others get it: packed, unpacked below a node_modules, and used there by this Node and
// by the machine's own, when that one is older.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { extract } from "tar";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, "node_modules");
const PROJECT = mkdtempSync(join(tmpdir(), "ampoule-package-"));
const PACKAGE = join(PROJECT, "node_modules", "ampoule");
const BIN = join(PROJECT, "node_modules", ".bin", "ampoule");

const LIMIT_MS = 60_000;
const PACKED_MAX = 300_000;
const UNPACKED_MAX = 1_000_000;
const SHIPPED =
  /^(package\.json|README\.md|LICENSE|host\/cli\/ampoule\.js|build\/dist\/(package\.json|core-wasm\.(js|d\.ts)|build\/ampoule-(device|device-ascon|device-ascon-volatile|device-ascon-hosted|host)\.wasm|host\/[\w/-]+\.(js|d\.ts)))$/;

/** Each way in, and a few names that must be there. */
const ENTRIES: Record<string, string[]> = {
  ampoule: ["Client", "DirectoryStore", "MemoryStore", "RefusedError", "STATUS", "connect", "nodeWorld"],
  "ampoule/mqtt": ["connect", "protect"],
  "ampoule/core": ["CoreTrapError", "Device", "Kit", "MemoryStore", "RefusedError", "v8Engine"],
  "ampoule/keyserver": ["KeyServer", "ServerError"],
  "ampoule/core-wasm": ["device", "deviceAscon", "host"],
};

interface Done {
  code: number | null;
  out: string;
  err: string;
}

/** Runs a program in the project; `path` goes before everything else in PATH. */
function run(command: string, args: string[], cwd = PROJECT, path = dirname(command)): Done {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { PATH: `${path}${delimiter}${process.env.PATH}`, HOME: PROJECT, NO_COLOR: "1", TMPDIR: tmpdir() },
    timeout: LIMIT_MS,
  });
  if (done.error !== undefined) throw done.error;
  return { code: done.status, out: done.stdout, err: done.stderr };
}

function ok(command: string, args: string[], cwd?: string): string {
  const { code, out, err } = run(command, args, cwd);
  assert.equal(code, 0, `${command} ${args.join(" ")}\n${out}${err}`);
  return out;
}

/** Runs a program text and returns what it prints as JSON; a warning is a failure. */
function evaluate(node: string, type: "module" | "commonjs", code: string): unknown {
  const done = run(node, [`--input-type=${type}`, "-e", code]);
  assert.equal(done.err, "");
  return JSON.parse(done.out);
}

interface Subject {
  name: string;
  path: string;
}

/** The first node in PATH that the library supports and the command does not: 20.19 to 23. */
function olderNode(): Subject | undefined {
  for (const folder of [...(process.env.PATH ?? "").split(delimiter), "/usr/local/bin", "/usr/bin"]) {
    const path = join(folder, process.platform === "win32" ? "node.exe" : "node");
    if (!existsSync(path)) continue;
    const name = run(path, ["--version"]).out.trim();
    const [major = 0, minor = 0] = name.slice(1).split(".").map(Number);
    if (major < 24 && (major > 20 || (major === 20 && minor >= 19))) return { name, path };
  }
  return undefined;
}

const OLDER = olderNode();
const SUBJECTS: Subject[] = [
  { name: process.version, path: process.execPath },
  ...(OLDER === undefined ? [] : [OLDER]),
];
const needsOlder = { skip: OLDER === undefined && "needs a Node from 20.19 to 23 in PATH" };

const filesOf = (pattern: string): string[] => globSync(pattern, { cwd: PACKAGE }).sort();
const packaged = (path: string): string => readFileSync(join(PACKAGE, path), "utf8");

/** As npm would: the package unpacked, its dependencies beside it, its command in .bin. */
before(() => {
  const settings = ["--offline", "--no-update-notifier", "--cache", join(PROJECT, "cache")];
  const packed = run(
    "npm",
    ["pack", "--pack-destination", PROJECT, ...settings],
    ROOT,
    join(MODULES, ".bin"),
  );
  assert.equal(packed.code, 0, packed.err);
  const [archive = ""] = readdirSync(PROJECT).filter((name) => name.endsWith(".tgz"));
  assert.ok(statSync(join(PROJECT, archive)).size < PACKED_MAX, "the archive has grown");
  mkdirSync(dirname(BIN), { recursive: true });
  mkdirSync(PACKAGE);
  extract({ file: join(PROJECT, archive), cwd: PACKAGE, strip: 1, sync: true });
  const { dependencies, bin } = JSON.parse(packaged("package.json"));
  for (const name of [...Object.keys(dependencies), "@types/node"]) {
    const link = join(PROJECT, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(MODULES, name), link);
  }
  chmodSync(join(PACKAGE, bin.ampoule), 0o755);
  symlinkSync(join("..", "ampoule", bin.ampoule), BIN);
});

after(() => rmSync(PROJECT, { recursive: true, force: true }));

test("package: holds what runs and nothing else", () => {
  const files = filesOf("**").filter((path) => statSync(join(PACKAGE, path)).isFile());
  assert.ok(files.length > 50);
  for (const path of files) assert.match(path, SHIPPED);
  const size = files.reduce((sum, path) => sum + statSync(join(PACKAGE, path)).size, 0);
  assert.ok(size < UNPACKED_MAX, `${size} bytes unpacked`);
  const sources = globSync("host/**/*.ts", { cwd: ROOT });
  const compiled = new Set(filesOf("build/dist/host/**/*.js"));
  for (const path of sources) assert.ok(compiled.has(join("build/dist", path.replace(/ts$/, "js"))), path);
  assert.equal(compiled.size, sources.length);
});

test("package: imports what it declares, and nothing at once that only Node 24 has", () => {
  const { dependencies, optionalDependencies } = JSON.parse(packaged("package.json"));
  const declared = Object.keys(dependencies);
  // What may be absent is imported when it is needed.
  const later = Object.keys(optionalDependencies);
  for (const path of filesOf("build/dist/**/*.js")) {
    const code = packaged(path);
    assert.doesNotMatch(code, /\bimport\b[^;]*\bargon2Sync\b[^;]*;|from "node:sqlite"/, path);
    for (const [how, name = ""] of code.matchAll(
      /(?:^(?:import|export) [^;]*?from |\bimport\()"([^".][^"]*)"/gm,
    )) {
      const names = how.startsWith("import(") ? [...declared, ...later] : declared;
      const known = name.startsWith("node:") || names.some((one) => `${name}/`.startsWith(`${one}/`));
      assert.ok(known, `${path} imports ${name}`);
    }
  }
});

for (const { name, path } of SUBJECTS) {
  test(`package: every entry can be imported and required on ${name}`, () => {
    const names = JSON.stringify(Object.keys(ENTRIES));
    const imported = evaluate(
      path,
      "module",
      `const found = {};
       for (const name of ${names}) found[name] = Object.keys(await import(name));
       console.log(JSON.stringify(found));`,
    ) as Record<string, string[]>;
    for (const [entry, some] of Object.entries(ENTRIES)) {
      for (const one of some) assert.ok(imported[entry]?.includes(one), `${entry} has no ${one}`);
    }
    const required = evaluate(
      path,
      "commonjs",
      `const found = {};
       for (const name of ${names}) found[name] = Object.keys(require(name));
       console.log(JSON.stringify(found));`,
    ) as Record<string, string[]>;
    for (const entry of Object.keys(ENTRIES)) {
      const names = required[entry]?.filter((one) => one !== "__esModule" && one !== "default");
      assert.deepEqual(
        names,
        imported[entry]?.filter((one) => one !== "default"),
      );
    }
  });

  test(`package: a device refuses NO_CHANNEL on ${name}, its module read from a file or given as bytes`, () => {
    const refused = evaluate(
      path,
      "module",
      `import { nodeWorld } from "ampoule";
       import { Device, MemoryStore, RefusedError, v8Engine } from "ampoule/core";
       import * as bytes from "ampoule/core-wasm";
       const fill = (size) => new Uint8Array(size).fill(7);
       const given = { device: bytes.device, "device-ascon": bytes.deviceAscon, host: bytes.host };
       const found = [];
       for (const engine of [v8Engine(), v8Engine(given)]) {
         for (const build of Object.keys(given)) {
           const store = new MemoryStore({ realm: fill(8), device: fill(8), prefix: "p", key: fill(16) });
           const device = new Device({ engine, store, world: nodeWorld(), build });
           try {
             device.protect(fill(8), "a/b", fill(3));
           } catch (error) {
             found.push(error instanceof RefusedError ? error.status : String(error));
           }
         }
       }
       console.log(JSON.stringify(found));`,
    );
    assert.deepEqual(refused, Array(6).fill("NO_CHANNEL"));
  });

  test(`package: the raw modules are the builds of the device on ${name}`, () => {
    const digests = evaluate(
      path,
      "commonjs",
      `const { createHash } = require("node:crypto");
       const digest = (name) =>
         createHash("sha256").update(require("node:fs").readFileSync(require.resolve(name))).digest("hex");
       console.log(JSON.stringify(["ampoule/core.wasm", "ampoule/core-ascon.wasm", "ampoule/core-ascon-volatile.wasm"].map(digest)));`,
    );
    const sizes = JSON.parse(readFileSync(join(ROOT, "build", "sizes.json"), "utf8"));
    assert.deepEqual(
      digests,
      ["device", "device-ascon", "device-ascon-volatile"].map((build) => sizes[build].sha256),
    );
  });
}

const KEY_SERVER = `
  import { nodeWorld } from "ampoule";
  import { KeyServer } from "ampoule/keyserver";
  let said;
  try {
    const server = KeyServer.create({ world: nodeWorld(), path: "realm.db", unlock: { passphrase: "a phrase" } });
    said = [Object.keys(server.provision("meter")).length];
    server.close();
  } catch (error) {
    said = [error.name, error.code];
  }
  console.log(JSON.stringify(said));`;

const realmFiles = (): string[] => readdirSync(PROJECT).filter((name) => name.startsWith("realm."));

test(
  "package: a key server on a Node without SQLite is refused by name and leaves no file",
  needsOlder,
  (t) => {
    const { path } = OLDER as Subject;
    if (run(path, ["-p", "require('node:sqlite')"]).code === 0) return t.skip("this older Node has SQLite");
    assert.deepEqual(evaluate(path, "module", KEY_SERVER), ["NoSqliteError", "NO_SQLITE"]);
    assert.deepEqual(realmFiles(), []);
  },
);

test("package: a key server works", () => {
  assert.deepEqual(evaluate(process.execPath, "module", KEY_SERVER), [4]);
  assert.ok(realmFiles().includes("realm.db"));
});

test("package: the command prints its version and its help", () => {
  const { version } = JSON.parse(packaged("package.json"));
  assert.equal(ok(process.execPath, [BIN, "--version"]), `${version}\n`);
  assert.match(ok(process.execPath, [BIN, "--help"]), /^Usage: ampoule /);
});

test("package: the demo on wasm3 says that the binding is not in the package", () => {
  const { code, out, err } = run(process.execPath, [BIN, "demo", "--engine", "wasm3"]);
  assert.deepEqual([code, out], [2, ""]);
  assert.match(err, /^ampoule: error: no wasm3 \(NO_BINDING\): .*\nampoule: hint: use a clone/);
});

test(
  "package: the command on an older Node says what it needs, or runs in the Node beside it",
  needsOlder,
  () => {
    const { path, name } = OLDER as Subject;
    const alone = run(path, [BIN, "--version"]);
    assert.equal(alone.code, 1);
    assert.match(
      alone.err,
      new RegExp(`^ampoule: error: needs Node 24 or later, this is ${name}\nampoule: hint: `),
    );
    const beside = join(PROJECT, "node_modules", "node", "bin");
    mkdirSync(beside, { recursive: true });
    symlinkSync(process.execPath, join(beside, "node"));
    const { version } = JSON.parse(packaged("package.json"));
    assert.equal(ok(path, [BIN, "--version"]), `${version}\n`);
  },
);

test("package: declarations carry types, for import and for require", () => {
  const text = `
    import { connect, Client, MemoryStore, RefusedError, type StatusName } from "ampoule";
    import { protect } from "ampoule/mqtt";
    import { type Build, Device, Kit, v8Engine } from "ampoule/core";
    import { KeyServer, type DeviceStatus } from "ampoule/keyserver";
    import { host } from "ampoule/core-wasm";
    export const status: StatusName = new RefusedError("NO_CHANNEL").status;
    export const build: Build = "device-ascon";
    export const kit = new Kit(v8Engine({ host }));
    export const length: (server: KeyServer) => DeviceStatus[] = (server) => server.status();
    export const parts = [connect, Client, MemoryStore, protect, Device];
    // @ts-expect-error no status has this name
    export const wrong = new RefusedError("NO_SUCH_STATUS");
    // @ts-expect-error an identity is needed
    export const empty = new MemoryStore();
    connect("mqtt://localhost", { ampoule: { identity: "meter.json" } }).on("refused", (refusal) => {
      const where: string = refusal.topic;
      return where;
    });`;
  for (const extension of ["mts", "cts"]) writeFileSync(join(PROJECT, `use.${extension}`), text);
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--types", "node"];
  ok(process.execPath, [join(MODULES, "typescript/bin/tsc"), ...options, "use.mts", "use.cts"]);
});
