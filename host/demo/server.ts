// The key server of the demo as a process: `ampoule serve --json`, which ends with whoever started it.
// server.ts REALM URL [login options], started with an IPC channel; events go over it.

import { processIo } from "../cli/io.ts";
import { run } from "../cli/program.ts";

const [realm = ".", url = "", ...login] = process.argv.slice(2);
const io = processIo();
process.on("SIGINT", () => {});
process.exitCode = await run(["serve", "--realm", realm, "--url", url, ...login, "--json"], {
  ...io,
  out: (line) => {
    if (process.connected) process.send?.({ event: JSON.parse(String(line)) });
  },
  untilStopped: () => new Promise((resolve) => process.once("disconnect", resolve)),
});
