#!/usr/bin/env node
// Plain JavaScript that any Node since 18 can read: it finds a Node that can run
// the program itself, which needs Node 24. A clone has it as TypeScript; a package
// has it compiled, as Node does not run TypeScript below node_modules.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const NODE_MIN = 24;
const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "main.ts");
const main = existsSync(source) ? source : join(here, "../../build/dist/host/cli/main.js");

if (Number.parseInt(process.versions.node, 10) >= NODE_MIN) {
  await import(pathToFileURL(main).href);
} else {
  const node = findNode(here);
  if (node === undefined) {
    console.error(`ampoule: error: needs Node ${NODE_MIN} or later, this is ${process.version}`);
    console.error("ampoule: hint: install it, or put one beside the package: npm install node@24");
    process.exitCode = 1;
  } else {
    relaunch(node);
  }
}

function findNode(from) {
  const name = process.platform === "win32" ? "node.exe" : "node";
  for (let dir = from; ; dir = dirname(dir)) {
    const path = join(dir, "node_modules", "node", "bin", name);
    if (existsSync(path)) return path;
    if (dir === dirname(dir)) return undefined;
  }
}

function relaunch(node) {
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to both processes; anyone else signals only this one.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGHUP", () => child.kill("SIGHUP"));
  child.on("error", (error) => {
    console.error(`ampoule: error: cannot start ${node}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
}
