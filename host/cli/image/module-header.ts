// A module of the core as a C header, for firmware that carries it in itself.

const ROW = 16;

/** The array is `static const`: it goes into one file only. */
export function formatModule(build: string, module: Uint8Array): string {
  const rows: string[] = [];
  for (let at = 0; at < module.length; at += ROW) {
    const bytes = [...module.subarray(at, at + ROW)].map((byte) => `0x${byte.toString(16).padStart(2, "0")}`);
    rows.push(`  ${bytes.join(", ")}`);
  }
  return `/* ampoule-${build}.wasm, for an engine that interprets it. */
#ifndef AMP_MODULE_H
#define AMP_MODULE_H

#include <stdint.h>

static const uint8_t amp_module[${module.length}] = {
${rows.join(",\n")}};

#endif
`;
}
