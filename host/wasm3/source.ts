// Brings wasm3's C sources: from the Python registry, through pip, by exact version and SHA-256. They are
// in no registry of Node's, and they are nowhere in this repository.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGE = "pywasm3";
const VERSION = "0.5.0";
const SHA256 = "5a47c8a39f7f6ae71b3316b2e5d86c9d0db6e771a65f09a86e4d4aa3a19aefcc";

/** Names and orders of asking for pip; the first that answers is used. */
const PIPS = [["python3", "-m", "pip"], ["python", "-m", "pip"], ["pip3"], ["pip"]];
const DOWNLOAD_LIMIT_MS = 120_000;

/** wasm3 cannot be had or built on this machine: `code` names the reason, `hint` says what would help. */
export class Wasm3Error extends Error {
  readonly code: string;
  readonly hint: string;

  constructor(code: string, message: string, hint: string) {
    super(message);
    this.name = "Wasm3Error";
    this.code = code;
    this.hint = hint;
  }
}

/** Where the sources lie once wasm3Source() has returned. */
export const WASM3_SOURCE: string = join(import.meta.dirname, "build", "wasm3-src");

/**
 * Returns the folder with wasm3's own .c and .h files and its LICENSE; brings them first if they are not there.
 *
 * @param say called once, with a line, before anything is brought
 *
 * Throws Wasm3Error: NO_PIP, NO_SOURCE, BAD_SOURCE, NO_TAR. After failure the folder is as before.
 */
export function wasm3Source(say: (line: string) => void = () => {}): string {
  if (isThere()) return WASM3_SOURCE;
  say(`wasm3: bringing the C sources of wasm3 ${VERSION} with pip`);
  const part = `${WASM3_SOURCE}.${process.pid}.part`;
  try {
    mkdirSync(join(part, "wasm3"), { recursive: true });
    unpack(download(part), join(part, "wasm3"));
    writeFileSync(join(part, "wasm3", "SHA256"), SHA256);
    // Another process may have been faster: then its folder stays, for it is in use.
    if (isThere()) return WASM3_SOURCE;
    rmSync(WASM3_SOURCE, { recursive: true, force: true });
    renameSync(join(part, "wasm3"), WASM3_SOURCE);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return WASM3_SOURCE;
}

function isThere(): boolean {
  const digest = join(WASM3_SOURCE, "SHA256");
  return existsSync(digest) && readFileSync(digest, "utf8") === SHA256;
}

/** Returns the path of the archive, whose digest is right. pip compares it too, before it runs anything of it. */
function download(folder: string): string {
  const wanted = join(folder, "wanted.txt");
  writeFileSync(wanted, `${PACKAGE}==${VERSION} --hash=sha256:${SHA256}\n`);
  const [command, ...args] = findPip();
  const options = ["--no-deps", "--no-binary", ":all:", "--disable-pip-version-check", "--quiet"];
  const done = spawnSync(
    command as string,
    [...args, "download", ...options, "--require-hashes", "-r", wanted, "-d", folder],
    { encoding: "utf8", timeout: DOWNLOAD_LIMIT_MS },
  );
  const name = readdirSync(folder).find((one) => one.startsWith(PACKAGE) && one.endsWith(".tar.gz"));
  if (name === undefined && !done.stderr?.includes("DO NOT MATCH THE HASHES")) {
    const reason = done.error?.message ?? lastLine(done.stderr);
    throw new Wasm3Error(
      "NO_SOURCE",
      `pip cannot bring ${PACKAGE} ${VERSION}: ${reason}`,
      "give pip a registry that it reaches, or try again",
    );
  }
  if (name === undefined || digestOf(join(folder, name)) !== SHA256) {
    throw new Wasm3Error(
      "BAD_SOURCE",
      `the archive of ${PACKAGE} ${VERSION} does not have the SHA-256 ${SHA256}`,
      "the registry gave another file than the one this binding was made for",
    );
  }
  return join(folder, name);
}

const digestOf = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

function findPip(): string[] {
  const found = PIPS.find(([command, ...args]) => {
    return spawnSync(command as string, [...args, "--version"], { stdio: "ignore" }).status === 0;
  });
  if (found !== undefined) return found;
  throw new Wasm3Error("NO_PIP", "there is no pip to bring wasm3's sources with", "install python3-pip");
}

function unpack(archive: string, folder: string): void {
  const root = `${PACKAGE}-${VERSION}`;
  for (const [path, strip] of [
    [`${root}/wasm3`, 2],
    [`${root}/LICENSE`, 1],
  ]) {
    const done = spawnSync("tar", ["-xzf", archive, "-C", folder, `--strip-components=${strip}`, `${path}`], {
      encoding: "utf8",
    });
    if (done.status === 0) continue;
    const reason = done.error?.message ?? lastLine(done.stderr);
    throw new Wasm3Error("NO_TAR", `tar cannot unpack ${PACKAGE}: ${reason}`, "install tar with gzip");
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}
