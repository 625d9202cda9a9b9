// Assembles build/firmware/, the C library as a folder of its own: headers, sources, the module as C and as an array, and
// what package managers of microcontrollers want to see beside them (scripts/packages.ts).
//
//   node scripts/firmware.ts
//
// A build system compiles src/ and adds include/ to its paths; firmware/README.md says which files for which back end.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileToC, memorySizeOf } from "./aot.ts";
import { packageFiles } from "./packages.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FIRMWARE = join(ROOT, "firmware");
/** The builds that can be compiled in, and when. */
const GUARDS = {
  "device-ascon": "!defined(AMP_WASM3) && !defined(AMP_XOODYAK) && !defined(AMP_VOLATILE)",
  "device-ascon-volatile": "!defined(AMP_WASM3) && defined(AMP_VOLATILE)",
  device: "!defined(AMP_WASM3) && defined(AMP_XOODYAK)",
};

/** The module that a compiler with such flags takes. */
export function moduleFor(flags: readonly string[]): keyof typeof GUARDS {
  if (flags.includes("-DAMP_VOLATILE")) return "device-ascon-volatile";
  return flags.includes("-DAMP_XOODYAK") ? "device" : "device-ascon";
}

/** The folder with include/ and src/. A file that is the same as before is not touched. */
export function assembleFirmware(out = join(ROOT, "build", "firmware")): string {
  const files = new Map<string, Uint8Array | string>(packageFiles());
  for (const folder of ["include", "src"]) {
    for (const name of readdirSync(join(FIRMWARE, folder))) {
      files.set(join(folder, name), readFileSync(join(FIRMWARE, folder, name)));
    }
  }
  for (const [build, guard] of Object.entries(GUARDS)) {
    const wasm = new Uint8Array(readFileSync(join(ROOT, "build", `ampoule-${build}.wasm`)));
    const name = `amp_core_${build.replaceAll("-", "_")}`;
    const memorySize = memorySizeOf(wasm);
    const { c, h } = compileToC({ wasm, prefix: "amp_core", memorySize, header: `${name}.h`, guard });
    files.set(join("src", `${name}.c`), c);
    files.set(join("src", `${name}.h`), h);
  }
  files.set(join("src", "amp_module_digest.h"), formatDigests());
  for (const [name, content] of files) replace(join(out, name), content);
  for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    // A part is another process's, which assembles the same.
    if (files.has(name) || name.endsWith(".part")) continue;
    if (statSync(join(out, name), { throwIfNoEntry: false })?.isFile())
      rmSync(join(out, name), { force: true });
  }
  return out;
}

/** What the back end wasm3 expects of its module. */
function formatDigests(): string {
  const known = (build: string): string => {
    const wasm = new Uint8Array(readFileSync(join(ROOT, "build", `ampoule-${build}.wasm`)));
    const digest = [...createHash("sha256").update(wasm).digest()].map(
      (byte) => `0x${byte.toString(16).padStart(2, "0")}`,
    );
    const rows = [0, 8, 16, 24].map((at) => `  ${digest.slice(at, at + 8).join(", ")}`);
    return `#define AMP_MODULE_MEMORY ${memorySizeOf(wasm)}u\n#define AMP_MODULE_SHA256 { \\\n${rows.join(", \\\n")}}`;
  };
  return `/* Written by scripts/firmware.ts; do not edit. Bytes of linear memory in use, and digest of the module. */
#ifndef AMP_MODULE_DIGEST_H
#define AMP_MODULE_DIGEST_H

#if defined(AMP_XOODYAK)
${known("device")}
#elif defined(AMP_ASCON_HOSTED)
${known("device-ascon-hosted")}
#elif defined(AMP_VOLATILE)
${known("device-ascon-volatile")}
#else
${known("device-ascon")}
#endif

#endif
`;
}

function replace(path: string, content: Uint8Array | string): void {
  const bytes = Buffer.from(content);
  try {
    if (readFileSync(path).equals(bytes)) return;
  } catch {
    mkdirSync(dirname(path), { recursive: true });
  }
  const part = `${path}.${process.pid}.part`;
  writeFileSync(part, bytes);
  renameSync(part, path);
}

if (import.meta.main) console.log(`firmware: ${assembleFirmware()}`);
