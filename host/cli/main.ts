// Entry of the `ampoule` command; needs a Node that runs TypeScript (see ampoule.js).

import { processIo } from "./io.ts";
import { run } from "./program.ts";

process.exitCode = await run(process.argv.slice(2), processIo());
