import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Shell } from "./support.ts";

const COMMANDS = [
  "init",
  "provision",
  "image",
  "channel create",
  "channel list",
  "channel show",
  "channel grant",
  "channel revoke",
  "channel rotate",
  "channel step",
  "channel delete",
  "device list",
  "device remove",
  "device clear-alarm",
  "serve",
  "bridge",
  "pub",
  "sub",
  "status",
  "doctor",
  "demo",
];

test("cli: every command has help with an example", { concurrency: 2 }, async (t) => {
  await using shell = new Shell();
  await Promise.all(
    COMMANDS.map((command) =>
      t.test(command, async () => {
        const { code, out, err } = await shell.run([...command.split(" "), "--help"]);
        assert.equal(code, 0);
        assert.equal(err, "");
        assert.match(out, new RegExp(`Usage: ampoule ${command}`));
        assert.match(out, new RegExp(`\\$ .*ampoule ${command}`));
      }),
    ),
  );
});

test("cli: says its version, and shows help without a command", async () => {
  await using shell = new Shell();
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  assert.equal(await shell.ok("--version"), `${manifest.version}\n`);
  const { code, err } = await shell.run([]);
  assert.equal(code, 1);
  assert.match(err, /Usage: ampoule/);
});

/** What is typed, and what must be said; nothing may change. */
const BAD: [args: string, says: RegExp, exit?: number][] = [
  ["frobnicate", /unknown command 'frobnicate'/],
  ["init --frobnicate", /unknown option '--frobnicate'/],
  ["init taken", /taken\/realm\.db exists already/],
  ["init other --prefix a/#", /prefix.*no wildcards/s],
  ["init other --prefix $SYS", /prefix/],
  ["init other --passphrase", /no passphrase/],
  ["init other --passphrase-file short", /shorter than 8/],
  ["init other --passphrase-file open", /can be read by other users/, 3],
  ["init other --passphrase-file absent", /absent/, 2],
  ["provision", /missing required argument 'name'/],
  ["provision boiler --realm nowhere", /no realm in nowhere/],
  ["provision ../boiler --realm taken", /not a device name/],
  ["provision known --realm taken", /known/],
  ["provision fresh --realm taken -o file", /file exists already/],
  ["provision fresh --realm taken -o absent/x.json", /error: absent\/x\.json: no such file/, 2],
  ["provision fresh --realm taken -o file/x.json", /error: file\/x\.json: a part of the path is not/, 2],
  ["provision fresh --realm taken --format both -o -", /--format both needs files/],
  ["provision fresh --realm taken --format xml", /Allowed choices are json, c, both/],
  ["channel create a/b# --realm taken", /wildcard is a whole level/],
  ["channel create a/#/b --realm taken", /wildcard is a whole level/],
  ["channel create plant/+ --realm taken", /plant/],
  ["channel create ampoule/# --realm taken", /ampoule/],
  ["channel create x --realm taken --suite aes", /Allowed choices/],
  ["channel create x --realm taken --frame-size 65", /multiple of 8/],
  ["channel create x --realm taken --frame-size 2048", /from 24 to 1024/],
  ["channel create x --realm taken --late 8", /from 0 to 7/],
  ["channel create x --realm taken --mark-block 2", /Allowed choices/],
  ["channel create x --realm taken --late 1 --ahead 1", /late/],
  ["channel grant plant/one nobody --realm taken", /nobody/],
  ["channel grant absent known --realm taken", /absent/],
  ["channel grant plant/one known --steps 0 --realm taken", /from 1 to 128/],
  ["channel revoke plant/one known --realm taken", /not a member of "plant\/one"/],
  ["channel rotate absent --realm taken", /absent/],
  ["channel show absent --realm taken", /absent/],
  ["device remove nobody --realm taken", /nobody/],
  ["serve --realm nowhere", /no realm in nowhere/],
  ["serve --realm taken --url ftp://x", /address is not one/],
  ["serve --realm taken --url mqtt://a:b@x", /carries a name or a password/],
  ["serve --realm taken -P hunter2", /a password is not an argument/],
  ["serve --realm taken -u mqtt://x", /-u is the name/],
  ["serve --realm taken --password-file secret", /password without a name/],
  ["serve --realm taken --cert file", /--cert and --key go together/],
  ["bridge", /required option '--serial/],
  ["bridge --serial tcp:localhost", /tcp:localhost is no address/],
  ["bridge --serial tcp:127.0.0.1:1", /cannot open tcp:127\.0\.0\.1:1.*nobody listens there/s, 2],
  ["bridge --serial unix:absent", /cannot open unix:absent/, 2],
  ["bridge --serial absent", /cannot open absent.*No such file.*plugged in/s, 2],
  ["bridge --serial absent --baud 110", /from 300 to 4000000/],
  ["pub -t a -m x", /no identity/],
  ["pub -I known.json -t a/+ -m x", /no wildcards/],
  ["pub -I known.json -t a", /nothing to publish/],
  ["pub -I known.json -t a -m x -l", /more than one thing/],
  ["pub -I known.json -t a -m x -q 3", /from 0 to 2/],
  ["pub -I known.json -t a -m x -V 6", /no MQTT version/],
  ["pub -I absent.json -t a -m x", /absent\.json/, 2],
  ["pub -I file -t a -m x", /not an identity file/, 2],
  ["pub -I public.json -t a -m x", /can be read by other users/, 3],
  [
    "pub -I used.json -t a -m x",
    /its state used\.json\.state is not there.*hint: bring that directory back/s,
    3,
  ],
  ["pub -I used.json -t a -m x --state gone", /its state gone is not there/, 3],
  [
    "pub -I linux.json -t a -m x -L mqtt://127.0.0.1:1",
    /linux\.json is in use by a device in C.*hint: an identity is for one device/s,
    3,
  ],
  ["pub -I known.json -t a -m x -L mqtt://127.0.0.1:1", /no connection/, 2],
  ["sub -I known.json", /required option '-t/],
  ["sub -I known.json -t a -F %z", /There is no "%z"/],
  ["sub -I known.json -t a -c", /needs --id/],
  ["sub -I known.json -t a -L mqtt://127.0.0.1:1", /no connection/, 2],
  ["status --realm nowhere", /no realm in nowhere/],
  ["demo --engine abacus", /Allowed choices are v8, wasm3/],
  ["demo --fast --slow", /cannot be used with/],
  ["demo --password-file secret", /--password-file without --broker/],
  ["demo --broker mqtt://x -P hunter2", /a password is not an argument/],
  ["completion tcsh", /Allowed choices/],
];

test("cli: bad input is refused by name, with a hint, and nothing changes", { concurrency: 2 }, async (t) => {
  await using shell = new Shell();
  await prepare(shell);
  const before = [withoutState(shell.image()), await content(shell)];
  await Promise.all(
    BAD.map(([line, says, exit = 1]) =>
      t.test(line, async () => {
        const { code, out, err } = await shell.run(line.split(" "));
        assert.match(err, says);
        assert.match(err, /^ampoule: error: /m);
        assert.equal(out, "");
        assert.equal(code, exit, err);
      }),
    ),
  );
  assert.deepEqual([withoutState(shell.image()), await content(shell)], before);
  assert.ok(!shell.printed.includes("hunter2"), "a secret was printed");
});

async function prepare(shell: Shell): Promise<void> {
  await shell.ok("init", "taken");
  await shell.ok("provision", "known", "--realm", "taken");
  await shell.ok("channel", "create", "plant/one", "--realm", "taken");
  const known = readFileSync(shell.path("known.json"));
  writeFileSync(shell.path("public.json"), known);
  chmodSync(shell.path("public.json"), 0o644);
  const { key, ...rest } = JSON.parse(`${known}`);
  const used = JSON.stringify({ ...rest, storageKey: `${key}${key}` });
  writeFileSync(shell.path("used.json"), used, { mode: 0o600 });
  mkdirSync(shell.path("linux.json.device"));
  writeFileSync(shell.path("linux.json.device/lock"), "");
  writeFileSync(shell.path("linux.json"), readFileSync(shell.path("known.json")), { mode: 0o600 });
  writeFileSync(shell.path("file"), "{}", { mode: 0o600 });
  writeFileSync(shell.path("short"), "1234567\n", { mode: 0o600 });
  writeFileSync(shell.path("open"), "correct horse\n");
  chmodSync(shell.path("open"), 0o644);
  writeFileSync(shell.path("secret"), "hunter2\n", { mode: 0o600 });
}

/** What a realm's database says. */
async function content(shell: Shell): Promise<string[]> {
  const lists = ["device", "channel"].map((what) => shell.ok(what, "list", "--json", "--realm", "taken"));
  return Promise.all(lists);
}

/** A member that found no broker has made its state directory all the same. */
function withoutState(image: Map<string, string>): Map<string, string> {
  return new Map([...image].filter(([name]) => !name.startsWith("known.json.state/")));
}

test("cli: completion scripts for four shells, and what they ask for", async () => {
  await using shell = new Shell();
  for (const name of ["bash", "zsh", "fish", "powershell"]) {
    assert.match(await shell.ok("completion", name), /ampoule/);
  }
  assert.match(await shell.ok("complete", "--", "channel", ""), /^create\t/m);
  assert.match(await shell.ok("complete", "--", "sub", "--for"), /^--format\t/m);
});
