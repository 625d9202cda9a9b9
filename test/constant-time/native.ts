// A module as C, with what a harness in C needs beside it.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileToC, memorySizeOf } from "../../scripts/aot.ts";
import { signaturesOf } from "./transcript.ts";
import { decode } from "./wasm.ts";

const ROOT = join(import.meta.dirname, "..", "..");
export const RUNTIME = join(ROOT, "firmware", "src");

/** Of the planted leaks, which build/sizes.json does not know. */
export const SMALL_MEMORY = 4096;

/**
 * Writes module.c, module.h, and watch.h with ct_call(), which makes a call by its number.
 *
 * @param watched addresses after stores to which ct_stored() is called
 * @param memorySize bytes of linear memory
 */
export function writeModule(
  dir: string,
  wasm: Uint8Array<ArrayBuffer>,
  watched: readonly number[],
  memorySize = memorySizeOf(wasm),
): void {
  const { c, h } = compileToC({ wasm, prefix: "amp_core", memorySize, header: "module.h" });
  writeFileSync(join(dir, "module.c"), c);
  writeFileSync(join(dir, "module.h"), h);
  const cases = signaturesOf(decode(wasm)).map(({ name, parameters, hasResult }, i) => {
    const args = ["core", ...Array.from({ length: parameters }, (_, k) => `args[${k}]`)].join(", ");
    return `    case ${i}: ${hasResult ? "return " : ""}amp_core_${name}(${args});${hasResult ? "" : " return 0;"}`;
  });
  writeFileSync(
    join(dir, "watch.h"),
    `#include "module.h"
void ct_stored(void);
static uint32_t ct_call(amp_core *core, unsigned call, const unsigned *args)
{
  switch (call) {
${cases.join("\n")}
  }
  return ~0u;
}
`,
  );
  // Stands before the run-time's own header, and watches the stores that the module makes.
  const is = watched.map((at) => `at + offset == ${at}u`).join(" || ") || "0";
  writeFileSync(
    join(dir, "amp_wasm.h"),
    `#include "${join(RUNTIME, "amp_wasm.h")}"
void ct_stored(void);
static inline void ct_i32_store(AMP_SELF_ u32 at, const u32 offset, u32 value)
{
  i32_store(AMP_ME_ at, offset, value);
  if (${is}) ct_stored();
}
#define i32_store ct_i32_store
#define i32_store_at ct_i32_store
`,
  );
}

export function cc(command: string, args: string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "inherit", "pipe"] });
}
