// A trap on the emulated machines, and what their compilers keep in registers across every call of the library.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { compile, execute, keep, link, MACHINES, NEEDS, STRICT } from "../../bench/mcu/machine.ts";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { need } from "../support/need.ts";

const LEVELS = ["-Os", "-Os -flto", "-Os -DAMP_NO_REGISTER", "-O2"];

/** The core with a trap in its permutation. */
function trapping(library: string): Promise<string> {
  const text = readFileSync(join(library, "src/amp_core_device_ascon.c"), "utf8");
  const begin = /^static void f\d+\(AMP_SELF_ u32 var_p0\) \{\n(?: {2}u(?:32|64) .*;\n)+(?=[^}]*I64_ROTR)/m;
  assert.match(text, begin);
  const planted = "  extern volatile unsigned trap_now;\n  if (trap_now) amp_trap(instance);\n";
  return keep(
    "module.c",
    text.replace(begin, (head) => `${head}${planted}`),
  );
}

for (const machine of MACHINES) {
  test(
    `${machine.name}: a trap is a status, and every call keeps its caller's registers`,
    need("cc", ...NEEDS),
    async () => {
      const library = assembleFirmware();
      const [include, src] = [join(library, "include"), join(library, "src")];
      const headers = ["amp_wasm.h", "amp_core.h", "amp_core_device_ascon.h"].map((name) => join(src, name));
      headers.push(join(include, "ampoule.h"));
      const includes = ["-I", include, "-I", src];
      const module = await trapping(library);
      for (const level of LEVELS) {
        const flags = ["-std=c99", ...level.split(" "), ...includes];
        const objects = await Promise.all([
          compile(machine, { file: module, object: "module.o", flags, headers }),
          compile(machine, { file: join(src, "ampoule.c"), object: "ampoule.o", flags, headers }),
          compile(machine, {
            file: join(import.meta.dirname, "trap.c"),
            object: "bench.o",
            flags: ["-O2", ...STRICT, ...includes, ...(level.includes("-flto") ? ["-flto"] : [])],
            headers,
          }),
        ]);
        const { lines } = await execute(machine, await link(machine, objects));
        assert.deepEqual(lines, [], level);
      }
    },
  );
}
