import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { need } from "../support/need.ts";
import { Shell } from "./support.ts";

const mode = (path: string): number => statSync(path).mode & 0o777;

test("init: makes a realm that only its owner can read", async () => {
  await using shell = new Shell();
  const out = await shell.ok("init", "realm", "--prefix", "site/keys");
  assert.match(out, /^realm [0-9a-f]{16}, topics below site\/keys\/$/m);
  assert.match(out, /^next: /m);
  assert.equal(mode(shell.path("realm/realm.db")), 0o600);
  assert.equal(mode(shell.path("realm/realm.key")), 0o600);
  const identity = JSON.parse(await shell.ok("provision", "a", "--realm", "realm", "-o", "-"));
  assert.equal(identity.prefix, "site/keys");
});

test("realm: a key file that other users can read is refused, whatever is asked", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  chmodSync(shell.path("realm.key"), 0o640);
  for (const command of [["status"], ["provision", "a"], ["serve", "--url", "mqtt://localhost"]]) {
    const { code, err } = await shell.run(command);
    assert.equal(code, 3);
    assert.match(err, /realm\.key can be read by other users\n.*hint: chmod 600/);
  }
  chmodSync(shell.path("realm.key"), 0o600);
  await shell.ok("status");
});

test("init: a directory that cannot be made is an error at once, not a search without end", {
  skip: process.platform !== "linux",
}, async () => {
  await using shell = new Shell();
  const init = shell.start("init", "/proc/realm/of/mine");
  const { code, err } = await init.ended(5000);
  assert.equal(code, 2);
  assert.match(err, /^ampoule: error: \/proc\/realm: no such file or directory$/m);
});

test("init: a realm under a passphrase keeps no key file and opens with that passphrase only", async () => {
  await using shell = new Shell();
  writeFileSync(shell.path("right"), "correct horse battery\n", { mode: 0o600 });
  writeFileSync(shell.path("wrong"), "incorrect horse battery\n", { mode: 0o600 });
  await shell.ok("init", "--passphrase-file", "right");
  assert.ok(!existsSync(shell.path("realm.key")));
  await shell.ok("provision", "a", "--passphrase-file", "right");
  const env = { AMPOULE_PASSPHRASE_FILE: "right" };
  const listed = await shell.run(["device", "list", "--json"], { env });
  assert.equal(listed.code, 0);
  const refused = await shell.run(["device", "list", "--passphrase-file", "wrong"]);
  assert.equal(refused.code, 3);
  assert.match(refused.err, /ampoule: error: .*passphrase/);
  const silent = await shell.run(["device", "list"]);
  assert.equal(silent.code, 1);
  assert.match(silent.err, /no passphrase, and no terminal to ask at/);
  assert.ok(!shell.printed.includes("horse"), "the passphrase was printed");
});

test("provision: writes an identity and a C header, both private, and prints no key", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  const out = await shell.ok("provision", "meter-1", "--format", "both", "-o", "meter.json");
  const identity = JSON.parse(readFileSync(shell.path("meter.json"), "utf8"));
  assert.equal(identity.name, "meter-1");
  assert.match(identity.key, /^[0-9a-f]{32}$/);
  assert.ok(!out.includes(identity.key));
  assert.match(out, new RegExp(`device meter-1 is ${identity.device}`));
  const header = readFileSync(shell.path("meter.h"), "utf8");
  const bytes = [...(identity.key as string).matchAll(/../g)].map(([pair]) => `0x${pair}`);
  assert.ok(header.replace(/\s+/g, " ").includes(bytes.join(", ")));
  assert.equal(mode(shell.path("meter.json")), 0o600);
  assert.equal(mode(shell.path("meter.h")), 0o600);
});

test("provision: the C header compiles without a warning", need("gcc"), async () => {
  await using shell = new Shell();
  await shell.ok("init", "--prefix", 'quo"te\\back??/é');
  await shell.ok("provision", "pump", "--format", "c", "-o", "identity.h");
  const source = `#include <stdio.h>\n#include "identity.h"\nint main(void) { printf("%s %d", amp_prefix,
    (int)(sizeof amp_realm + sizeof amp_device + sizeof amp_key + amp_realm[0] * 0 + amp_device[0] * 0 + amp_key[0] * 0)); }\n`;
  writeFileSync(shell.path("main.c"), source);
  const options = { cwd: shell.directory, encoding: "utf8" } as const;
  execFileSync(
    "gcc",
    ["-std=c99", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-o", "main", "main.c"],
    options,
  );
  assert.equal(execFileSync("./main", options), 'quo"te\\back??/é 32');
});

test("provision: overwrites only with --force, and leaves no device without an identity", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  writeFileSync(shell.path("a.json"), "precious", { mode: 0o600 });
  assert.equal((await shell.run(["provision", "a"])).code, 1);
  assert.equal(readFileSync(shell.path("a.json"), "utf8"), "precious");
  assert.deepEqual(JSON.parse(await shell.ok("device", "list", "--json")), []);
  await shell.ok("provision", "a", "--force");
  assert.equal(JSON.parse(readFileSync(shell.path("a.json"), "utf8")).name, "a");
  mkdirSync(shell.path("b.json"));
  assert.equal((await shell.run(["provision", "b", "--force"])).code, 2);
  const names = JSON.parse(await shell.ok("device", "list", "--json")).map(
    ({ name }: { name: string }) => name,
  );
  assert.deepEqual(names, ["a"]);
});

test("channel: --step-every takes times, seconds and never, and show tells it", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  const times: [string, number, RegExp][] = [
    ["30m", 1800, /steps every 30m, last at 20/],
    ["24h", 86_400, /steps every 1d/],
    ["90", 90, /steps every 90s/],
    ["7200s", 7200, /steps every 2h/],
    ["never", 0, /steps by hand only/],
  ];
  for (const [time, seconds, shown] of times) {
    await shell.ok("channel", "create", time, "--step-every", time);
    const channel = JSON.parse(await shell.ok("channel", "show", time, "--json"));
    assert.equal(channel.stepEvery, seconds);
    assert.match(await shell.ok("channel", "show", time), shown);
  }
  await shell.ok("channel", "create", "default");
  assert.match(await shell.ok("channel", "show", "default"), /steps every 1d/);
  for (const time of ["59", "0", "1w", "-1h", "1.5h", "", "366d"]) {
    const refused = await shell.run(["channel", "create", "bad", `--step-every=${time}`]);
    assert.equal(refused.code, 1, time);
    assert.match(refused.err, /from a minute to a year, or never/);
  }
});

test("channel: create, grant, list, show, rotate, step, revoke, delete", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  for (const name of ["a", "b"]) await shell.ok("provision", name);
  const flags = [
    "--suite",
    "xoodyak-siv",
    "--frame-size",
    "64",
    "--short-tag",
    "--late",
    "3",
    "--ahead",
    "2",
  ];
  await shell.ok(
    "channel",
    "create",
    "plant/+/live",
    ...flags,
    "--mark-block",
    "1",
    "--lease",
    "32",
    "--no-stored",
  );
  await shell.ok("channel", "grant", "plant/+/live", "a", "--will");
  await shell.ok("channel", "grant", "plant/+/live", "b", "--steps", "8", "--no-renew");
  const [channel] = JSON.parse(await shell.ok("channel", "list", "--json"));
  assert.equal(channel.filter, "plant/+/live");
  assert.equal(channel.suite, "xoodyak-siv");
  assert.equal(channel.frameSize, 64);
  assert.equal(channel.stored, false);
  assert.deepEqual(
    channel.members.map(({ device }: { device: string }) => device),
    ["a", "b"],
  );
  assert.match(await shell.ok("channel", "show", "plant/+/live"), /plant\/\+\/live/);
  await shell.ok("channel", "rotate", "plant/+/live");
  const rotated = JSON.parse(await shell.ok("channel", "show", "plant/+/live", "--json"));
  assert.ok(rotated.generation > channel.generation);
  await shell.ok("channel", "step", "plant/+/live");
  await shell.ok("channel", "revoke", "plant/+/live", "b");
  const revoked = JSON.parse(await shell.ok("channel", "show", "plant/+/live", "--json"));
  assert.equal(revoked.members.length, 1);
  assert.ok(revoked.generation > rotated.generation);
  await shell.ok("channel", "delete", "plant/+/live");
  assert.deepEqual(JSON.parse(await shell.ok("channel", "list", "--json")), []);
});

test("status and device: name who is there, and who was never seen", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  assert.match(await shell.ok("status"), /no devices/);
  await shell.ok("provision", "a");
  assert.match(await shell.ok("status"), /^a +new +never/m);
  const [status] = JSON.parse(await shell.ok("status", "--json"));
  assert.equal(status.state, "new");
  assert.match(await shell.ok("device", "list"), /^a +[0-9a-f]{16}$/m);
  await shell.ok("device", "remove", "a");
  assert.match(await shell.ok("device", "list"), /no devices/);
});

test("status: exits with 3 while a device has an alarm, until somebody has seen to it", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  await shell.ok("provision", "a");
  const database = new DatabaseSync(shell.path("realm.db"));
  database.exec("UPDATE device SET alarm = 'state went back'");
  database.close();
  const { code, out } = await shell.run(["status"]);
  assert.equal(code, 3);
  assert.match(out, /^a +new .*state went back$/m);
  await shell.ok("device", "clear-alarm", "a");
  await shell.ok("status");
});

test("channel: show tells until when a member is suspended, and status that it is [V-12]", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  await shell.ok("provision", "a");
  await shell.ok("channel", "create", "plant/x");
  await shell.ok("channel", "grant", "plant/x", "a");
  const database = new DatabaseSync(shell.path("realm.db"));
  database.exec(`UPDATE member SET suspended_to = ${Date.UTC(2030, 0, 1)}; UPDATE device SET class = 0`);
  database.close();
  assert.match(await shell.ok("channel", "show", "plant/x"), /^a +.*suspended to 2030-01-01T00:00:00\.000Z/m);
  assert.match(await shell.ok("status"), /^a +suspended/m);
});

test("doctor: names a database that others can read, and an identity that is none", async () => {
  await using shell = new Shell();
  await shell.ok("init");
  await shell.ok("provision", "a");
  assert.match(
    await shell.ok("doctor", "--local", "-I", "a.json"),
    /^ok +a\.json is the identity of device a/m,
  );
  writeFileSync(shell.path("bad.json"), "{}", { mode: 0o600 });
  const { code, out } = await shell.run(["doctor", "--local", "-I", "bad.json", "--json"]);
  assert.equal(code, 2);
  const failed = JSON.parse(out).filter(({ level }: { level: string }) => level === "fail");
  assert.equal(failed.length, 1);
  execFileSync("chmod", ["644", shell.path("realm.db")]);
  assert.match(
    (await shell.run(["doctor", "--local"])).out,
    /^fail +realm\.db can be touched by other users/m,
  );
});
