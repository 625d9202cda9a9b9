// The Linux example, made by its Makefile, between a real Mosquitto and members in this process.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { formatIdentity } from "../../host/store/identity.ts";
import { assembleFirmware } from "../../scripts/firmware.ts";
import { Plant, until } from "../mqtt/plant.ts";
import { startMosquitto } from "../support/brokers.ts";
import { need } from "../support/need.ts";
import { lacking } from "./machine.ts";
import { type Program, start } from "./program.ts";

const EXAMPLE = join(import.meta.dirname, "../../firmware/examples/linux");
const DIR = mkdtempSync(join(tmpdir(), "ampoule-linux-"));
after(() => rmSync(DIR, { recursive: true, force: true }));

/** Make, a compiler and libmosquitto. */
function needMosquitto(...more: string[]): { skip: string | false } {
  const needed = need("make", "cc", "pkg-config", ...more);
  if (needed.skip !== false) return needed;
  const { status } = spawnSync("pkg-config", ["--exists", "libmosquitto"]);
  return status === 0 ? needed : lacking("needs libmosquitto (Debian package libmosquitto-dev)");
}

function make(): string {
  const program = join(DIR, "ampoule-device");
  const variables = [`AMPOULE=${assembleFirmware()}`, `PROGRAM=${program}`];
  execFileSync("make", [
    "-C",
    EXAMPLE,
    ...variables,
    "CFLAGS=-O1 -g -Wall -Wextra -Werror -fsanitize=address,undefined",
  ]);
  return program;
}

test(
  "linux: the example talks both ways, keeps its state, and is let in once",
  needMosquitto("mosquitto"),
  async () => {
    const path = make();
    const plant = new Plant(await startMosquitto());
    const programs: Program[] = [];
    try {
      plant.channel("plant/+/live");
      // With larger blocks what came after a restart could be refused as a replay (SPEC W-6).
      plant.channel("plant/+/orders", { markBlock: 1 });
      const desk = await plant.member("desk", ["plant/+/live", "plant/+/orders"]);
      await desk.mqtt.subscribeAsync("plant/+/live", { qos: 1 });
      const file = join(DIR, "boiler.json");
      // A name that is also a word of the file.
      writeFileSync(file, formatIdentity({ ...plant.server.provision("key"), name: "key" }), { mode: 0o600 });
      for (const filter of ["plant/+/live", "plant/+/orders"]) plant.server.grant(filter, "key");
      const spy = await plant.spy("plant/#");
      const { hostname, port } = new URL(plant.broker.url);
      const run = (): Program => {
        const where = ["-h", hostname, "-p", port];
        const program = start(path, [
          "-I",
          file,
          ...where,
          "-t",
          "plant/boiler/live",
          "-s",
          "plant/+/orders",
        ]);
        programs.push(program);
        return program;
      };

      const first = run();
      const inSync = (): boolean =>
        plant.server.status().find(({ name }) => name === "key")?.state === "in sync";
      await until("the program to be in sync", inSync);
      first.type("it is warm\n");
      await until("a line at the desk", () => desk.texts.includes("plant/boiler/live=it is warm"));
      await desk.mqtt.publishAsync("plant/boiler/orders", "cool down", { qos: 1 });
      await until("an order at the program", () => first.out.includes("plant/boiler/orders cool down\n"));
      const stored = JSON.parse(readFileSync(file, "utf8"));
      assert.deepEqual([stored.key, stored.storageKey?.length], [undefined, 64], "K(0) is still in the file");
      assert.equal(statSync(file).mode & 0o777, 0o600);

      const second = run();
      assert.equal(await second.ended(), 2);
      assert.match(second.err, /in use by another process/);

      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        const program = programs.find((one) => one.isRunning) as Program;
        program.kill(signal);
        await program.ended();
        await desk.mqtt.publishAsync("plant/boiler/orders", `while away, ${signal}`, { qos: 1 });
        const again = run();
        await until("what the broker kept", () =>
          again.out.includes(`plant/boiler/orders while away, ${signal}\n`),
        );
        again.type(`back after ${signal}\n`);
        await until("a line after", () => desk.texts.includes(`plant/boiler/live=back after ${signal}`));
      }
      plant.server.rotate("plant/+/live");
      const last = programs.at(-1) as Program;
      await until("new keys", () => plant.server.channel("plant/+/live").generation === 2 && inSync());
      last.type(`${"a long line ".repeat(100)}\n`);
      await until("a long line", () =>
        desk.texts.includes(`plant/boiler/live=${"a long line ".repeat(100)}`),
      );
      last.kill("SIGTERM");
      assert.equal(await last.ended(), 0, last.err);
      assert.doesNotMatch(programs.map(({ err }) => err).join(""), /ERROR|runtime error|warm|cool/);

      const frames = spy.seen.filter(({ topic }) => topic === "plant/boiler/live");
      const positions = frames.map(({ payload }) => Buffer.from(payload).subarray(1, 6).toString("hex"));
      assert.equal(new Set(positions).size, positions.length, "a position was used twice");
      assert.ok(!Buffer.concat(frames.map(({ payload }) => Buffer.from(payload))).includes("warm"));
    } finally {
      for (const program of programs) program.kill("SIGKILL");
      await plant.close();
    }
  },
);

test("linux: says what is wrong with an identity", needMosquitto(), async () => {
  const path = make();
  const open = join(DIR, "open.json");
  writeFileSync(open, "{}");
  chmodSync(open, 0o644);
  const other = join(DIR, "other.json");
  writeFileSync(other, '{"realm": "00"}', { mode: 0o600 });
  const shared = join(DIR, "shared.json");
  const [realm, device, key] = [new Uint8Array(8), new Uint8Array(8), new Uint8Array(16)];
  writeFileSync(shared, formatIdentity({ realm, device, key, prefix: "ampoule" }), { mode: 0o600 });
  mkdirSync(`${shared}.state`);
  const linked = join(DIR, "linked.json");
  symlinkSync(shared, linked);
  for (const [args, code, says] of [
    [[], 1, /^usage: /],
    [["-I", join(DIR, "absent.json")], 2, /absent\.json: the identity file cannot be read/],
    [["-I", open], 2, /can be read by other users/],
    [["-I", other], 2, /that is not an identity file/],
    [["-I", linked], 2, /linked\.json: the identity is a symbolic link/],
    [["-I", shared], 2, /shared\.json: the identity is in use by a host.*provision another device/],
  ] as const) {
    const program = start(path, [...args]);
    assert.equal(await program.ended(), code);
    assert.match(program.err, says);
  }
  // Nothing that would keep a host from using it.
  assert.deepEqual(
    readdirSync(DIR).filter((name) => /(absent|open|other|shared|linked)\.json\.device/.test(name)),
    [],
  );
});
