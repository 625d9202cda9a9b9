import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { startMosquitto } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { needWasm3 } from "../support/wasm3.ts";

const MAIN = fileURLToPath(new URL("../../host/cli/main.ts", import.meta.url));
const ACTS = 11;

interface Run {
  code: number | null;
  out: string;
}

/** Temporary files go to `directory`, so that leftovers can be seen. */
function demo(
  directory: string,
  args: string[],
  onOutput: (out: string, kill: () => void) => void = () => {},
): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, "demo", ...args], {
    env: { ...process.env, NO_COLOR: "1", TMPDIR: directory },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  const take = (chunk: Buffer): void => {
    out += chunk;
    onOutput(out, () => child.kill("SIGINT"));
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  return new Promise((resolve) => {
    child.on("close", (code) => resolve({ code, out }));
  });
}

function temporary(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), "ampoule-demo-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test("demo: every expectation comes true, and the broker saw no text", async () => {
  using directory = temporary();
  const log = join(directory.path, "broker.log");
  const { code, out } = await demo(directory.path, ["--log", log]);
  assert.equal(code, 0, out);
  assert.ok(!out.includes("✗"), out);
  assert.equal([...out.matchAll(/^ ?\d+ [A-Z]/gm)].length, ACTS, out);
  const [, passed, all] = /✓ (\d+) of (\d+) expectations came true/.exec(out) ?? [];
  assert.ok(passed === all && Number(all) > ACTS, out);
  assert.equal([...out.matchAll(/^ {3}✓ /gm)].length, Number(all) + 1);
  for (const line of out.split("\n")) assert.ok(line.length <= 100, line);

  const wire = readFileSync(log, "utf8");
  const texts = [...out.matchAll(/^ {3}(?:cpu|memory|disk|network) +(.+?) +\|/gm)].map(
    (match) => match[1] ?? "",
  );
  assert.ok(texts.length >= 8, out);
  for (const text of texts.filter((text) => text.includes(" of ") || text.includes("%"))) {
    assert.ok(!wire.includes(Buffer.from(text).toString("hex")), `the broker saw ${text}`);
  }
  assert.deepEqual(readdirSync(directory.path), ["broker.log"], "something was left behind");
});

const { options: needsWasm3 } = needWasm3();

test(
  "demo: every expectation comes true on wasm3, which the devices have in their memory",
  needsWasm3,
  async () => {
    using directory = temporary();
    let mapped = 0;
    const { code, out } = await demo(directory.path, ["--fast", "--engine", "wasm3"], (text) => {
      if (process.platform !== "linux" || mapped > 0 || !text.includes("Live telemetry")) return;
      mapped = processesOf(directory.path).filter((pid) =>
        readFileSync(`/proc/${pid}/maps`, "utf8").includes("/wasm3.node"),
      ).length;
    });
    assert.equal(code, 0, out);
    assert.match(out, /✓ (\d+) of \1 expectations came true/);
    assert.ok(!out.includes("✗"), out);
    assert.match(out, /core in wasm3/);
    if (process.platform === "linux") assert.ok(mapped > 4, `${mapped} processes with wasm3`);
    assert.deepEqual(readdirSync(directory.path), []);
  },
);

test("demo: Ctrl-C in the middle leaves neither files nor processes", async () => {
  using directory = temporary();
  const { code, out } = await demo(directory.path, ["--fast"], (text, kill) => {
    if (text.includes("Live telemetry")) kill();
  });
  assert.notEqual(code, 0);
  assert.match(out, /stopped/);
  assert.deepEqual(readdirSync(directory.path), []);
  if (process.platform === "linux") assert.deepEqual(processesOf(directory.path), []);
});

test(
  "demo: logs in to a broker that asks who it is, over TLS",
  need("mosquitto", "mosquitto_passwd", "openssl"),
  async () => {
    using directory = temporary();
    await using broker = await startMosquitto({ users: { demo: "correct horse" }, tls: true });
    const [password, ca] = ["password", "ca.pem"].map((name) => join(directory.path, name));
    writeFileSync(password as string, "correct horse\n", { mode: 0o600 });
    writeFileSync(ca as string, broker.options.ca as string);
    const login = [
      "--broker",
      broker.url,
      "-u",
      "demo",
      "--password-file",
      `${password}`,
      "--cafile",
      `${ca}`,
    ];
    // Keys have come and texts are read: server, devices and the listener are all let in.
    const { out } = await demo(directory.path, ["--fast", ...login], (text, kill) => {
      if (text.includes("replay") || text.includes("✗")) kill();
    });
    assert.match(out, /cpu +[\d.]+ % busy/);
    assert.ok(!out.includes("✗") && !out.includes("correct horse"), out);
  },
);

/** Processes that inherited the temporary directory. */
function processesOf(directory: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, "utf8").includes(`TMPDIR=${directory}\0`)
      );
    } catch {
      return false;
    }
  });
}
