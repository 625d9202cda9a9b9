// How a device in C finds the channel of a topic, which it must for strangers too.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { need } from "../support/need.ts";
import { type CDevice, compile, SANITIZE } from "./program.ts";
import { Realm } from "./realm.ts";

describe("firmware, topics", need("cc"), () => {
  const dir = mkdtempSync(join(tmpdir(), "ampoule-topics-"));
  let program = "";
  before(() => {
    program = compile("device", dir, "aot", ...SANITIZE);
  });
  after(() => rmSync(dir, { recursive: true }));

  const inRealm =
    (filters: string[], work: (pump: CDevice) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const realm = new Realm();
      try {
        for (const filter of filters) realm.channel(filter);
        const pump = await realm.device("pump", program, filters);
        await realm.settled();
        await work(pump);
      } finally {
        await realm.close();
      }
    };

  test(
    "what a topic finds does not depend on those before it",
    inRealm(["+/x", "b/+/c/#", "1/2/3/4/5/6/7/+", "1/2/3/4/5/6/7/8/9"], async (pump) => {
      const verdicts = {
        "a/x": "OK",
        "$y/x": "NO_CHANNEL",
        "b/b/c/d/e/f/g/h/i": "OK",
        "1/2/3/4/5/6/7/8": "NO_CHANNEL",
        "1/2/3/4/5/6/7/8/9": "OK",
      };
      const all = Object.entries(verdicts);
      for (const [topic, verdict] of [...all, ...all.toReversed(), ...all]) {
        // Every one is met by a device that has found nothing, and by one that has found all.
        assert.equal((await pump.ask("channel", topic)).split(" ")[0], verdict, topic);
      }
      for (const [topic, verdict] of all) {
        assert.equal(await pump.boot(), "OK");
        assert.equal((await pump.ask("channel", topic)).split(" ")[0], verdict, topic);
      }
    }),
  );

  test(
    "a topic without a channel costs little when it comes again",
    inRealm(["b"], async (pump) => {
      const time = async (...topics: string[]): Promise<number> => {
        // Of the processor, in the device: the machine may be busy with other things.
        const clock = async (): Promise<number> => Number((await pump.ask("clock")).split(" ")[0]);
        const begin = await clock();
        for (let i = 0; i < 100; ++i) {
          const answer = pump.ask("channel", topics[i % topics.length] ?? "");
          assert.equal(await answer, "NO_CHANNEL");
        }
        return (await clock()) - begin;
      };
      const both = await time("1/2/3/4/5/6/7", "7/6/5/4/3/2/1");
      const same = await time("1/2/3/4/5/6/7");
      assert.ok(both > 3 * same, `${both} us for two topics by turns, ${same} for one`);
    }),
  );

  test("a topic without a channel is found once there is one", async () => {
    const realm = new Realm();
    try {
      realm.channel("a");
      realm.channel("b");
      const pump = await realm.device("pump", program, ["a"]);
      await realm.settled();
      assert.equal((await pump.protect("b", "x")).status, "NO_CHANNEL");
      realm.server.grant("b", "pump");
      await realm.settled();
      assert.equal((await pump.protect("b", "x")).status, "OK");
    } finally {
      await realm.close();
    }
  });
});
