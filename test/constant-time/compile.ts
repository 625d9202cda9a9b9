// Compiles a source of the tests with the core's compiler and the options of a target.

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");
/** Named in a variable: the compiler's own types would redeclare our globals. */
const COMPILER: string = "assemblyscript/asc";

interface Compiler {
  createMemoryStream(): { toString(): string };
  main(
    args: string[],
    options: {
      stderr: { toString(): string };
      readFile(name: string, base: string): string | null;
      writeFile(name: string, contents: Uint8Array | string): void;
    },
  ): Promise<{ error: Error | null }>;
}

/**
 * @param target of asconfig.json
 * @param entries files of the repository to compile before the source, which thereby keep their addresses
 * @param source AssemblyScript, as if it lay in assembly/
 */
export async function compile(
  target: string,
  entries: string[],
  source: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const asc = (await import(COMPILER)) as Compiler;
  const name = "assembly/of-test.ts";
  const stderr = asc.createMemoryStream();
  let wasm: Uint8Array | string = "";
  const { error } = await asc.main(
    [
      ...entries,
      name,
      "--config",
      "asconfig.json",
      "--target",
      target,
      "--outFile",
      "of-test.wasm",
      "--noColors",
    ],
    {
      stderr,
      readFile: (path, base) => (path === name ? source : read(resolve(base, path))),
      writeFile: (path, contents) => {
        if (path === "of-test.wasm") wasm = contents;
      },
    },
  );
  if (error !== null || typeof wasm === "string") throw new Error(`${error?.message}\n${stderr}`);
  return new Uint8Array(wasm);
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

export function shippedModule(build: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(ROOT, "build", `ampoule-${build}.wasm`)));
}
