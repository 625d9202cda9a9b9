// What the library takes of a small microcontroller: no more than it did, and how far from what was aimed at.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { need } from "../support/need.ts";

/** Cortex-M3, GCC 12, -Os, Ascon, the core as C. The limit is what was reached, rounded up. */
const FLASH = [
  { core: "amp_core_device_ascon.c", flags: [], limit: 15_072, target: 10_240 },
  { core: "amp_core_device_ascon_volatile.c", flags: ["-DAMP_VOLATILE"], limit: 11_936, target: 10_240 },
];
/** A context without its frame buffer. */
const RAM = { limit: 3_584, target: 3_072 };
const FRAME = 1024;

const dir = mkdtempSync(join(tmpdir(), "ampoule-size-"));
after(() => rmSync(dir, { recursive: true }));

for (const { core, flags: defines, ...flashOf } of FLASH) {
  test(
    `firmware: the library with ${core} on a Cortex-M3 is not larger than it was`,
    need("arm-none-eabi-gcc"),
    (context) => {
      const library = assembleFirmware();
      const src = join(library, "src");
      const compile = (source: string, out: string): void => {
        const flags = [
          "-mcpu=cortex-m3",
          "-mthumb",
          "-std=c99",
          "-Os",
          ...defines,
          "-I",
          join(library, "include"),
          "-I",
          src,
        ];
        execFileSync("arm-none-eabi-gcc", [...flags, "-c", source, "-o", out]);
      };
      let flash = 0;
      for (const name of ["ampoule.c", core]) {
        const out = join(dir, `${name}.o`);
        compile(join(src, name), out);
        const [text, data] = (
          execFileSync("arm-none-eabi-size", [out], { encoding: "utf8" }).split("\n")[1] ?? ""
        )
          .trim()
          .split(/\s+/);
        flash += Number(text);
        assert.equal(Number(data), 0, `${name} has no variables`);
      }
      const sizes = join(dir, "sizes.c");
      writeFileSync(sizes, '#include "ampoule.c"\nchar size_of_device[sizeof(device)];\n');
      compile(sizes, join(dir, "sizes.o"));
      const symbols = execFileSync("arm-none-eabi-nm", ["-S", "-t", "d", join(dir, "sizes.o")], {
        encoding: "utf8",
      });
      const ram = Number(/ 0*(\d+) B size_of_device/.exec(symbols)?.[1]) - FRAME;
      context.diagnostic(
        `flash ${flash} bytes, ${flash - flashOf.target} over the target; RAM beside the frame buffer ${ram} bytes, ${ram - RAM.target} over the target`,
      );
      assert.ok(flash <= flashOf.limit, `${flash} bytes, limit ${flashOf.limit}`);
      assert.ok(ram <= RAM.limit, `${ram} bytes, limit ${RAM.limit}`);
    },
  );
}
