// Storage that is full or fails, under a device in C: what is lost by it, and for how long.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Client } from "../../host/index.ts";
import { need } from "../support/need.ts";
import { type CDevice, compile, SANITIZE } from "./program.ts";
import { Realm } from "./realm.ts";

const MARK_SIZE = 48;

describe("firmware, storage that is full or fails", need("cc"), () => {
  const dir = mkdtempSync(join(tmpdir(), "ampoule-storage-"));
  let program = "";
  before(() => {
    program = compile("device", dir, "aot", ...SANITIZE);
  });
  after(() => rmSync(dir, { recursive: true }));

  const inRealm =
    (work: (realm: Realm, desk: Client, pump: CDevice) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const realm = new Realm();
      try {
        realm.channel("a/+", { markBlock: 1 });
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        await work(realm, desk, pump);
      } finally {
        await realm.close();
      }
    };
  const marks = (device: CDevice): number => statSync(join(device.dir, "marks")).size / MARK_SIZE;
  const take = async (desk: Client, device: CDevice): Promise<string> => {
    const [payload = new Uint8Array()] = desk.protect("a/2", "text");
    return (await device.receive("a/2", payload)).status;
  };

  test(
    "a device that wakes, seals one message and sleeps never runs out of room for marks",
    inRealm(async (_realm, _desk, pump) => {
      for (let boot = 0; boot < 30; ++boot) {
        assert.equal(await pump.boot(), "OK");
        await pump.ask("room", 20, 24);
        assert.equal((await pump.protect("a/1", "x")).status, "OK", `boot ${boot}`);
        assert.ok(marks(pump) <= 17);
      }
    }),
  );

  test(
    "a log that is full refuses one message, and the blob before the next one empties it",
    inRealm(async (_realm, desk, pump) => {
      await pump.ask("room", 40, marks(pump) + 3);
      const statuses: string[] = [];
      for (let i = 0; i < 5; ++i) statuses.push(await take(desk, pump));
      assert.deepEqual(statuses, ["OK", "OK", "OK", "NOT_STORED", "OK"]);
      assert.equal(marks(pump), 1);
    }),
  );

  test(
    "marks that cannot be cleared are cleared before the next message",
    inRealm(async (realm, desk, pump) => {
      for (let i = 0; i < 5; ++i) assert.equal(await take(desk, pump), "OK");
      realm.disconnect(pump);
      const control = await realm.commands(pump, () => realm.server.rotate("a/+"));
      await pump.ask("stay", 1);
      assert.equal((await pump.receive(control.topic, control.payload)).status, "OK");
      assert.ok(marks(pump) >= 5, `${marks(pump)} marks`);
      assert.equal((await pump.protect("a/1", "x")).status, "OK");
      assert.ok(marks(pump) <= 1, `${marks(pump)} marks`);
    }),
  );

  test(
    "a change of channels that could not be stored is told with what is received next",
    inRealm(async (realm, _desk, pump) => {
      realm.disconnect(pump);
      const control = await realm.commands(pump, () => realm.server.rotate("a/+"));
      await pump.ask("fail", 1);
      assert.equal((await pump.receive(control.topic, control.payload)).status, "NOT_STORED");
      const again = await pump.receive(control.topic, new Uint8Array());
      assert.deepEqual([again.status, again.changed], ["OK", true]);
      assert.equal((await pump.receive(control.topic, new Uint8Array())).changed, false);
    }),
  );
});
