// A device in C against the real key server and members on Node: the same life with every back end.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Client, Received } from "../../host/index.ts";
import { RefusedError } from "../../host/status.ts";
import { need } from "../support/need.ts";
import { type CDevice, compile, compileTrapping, ENGINES, type EngineName, SANITIZE } from "./program.ts";
import { Realm } from "./realm.ts";

const TEXT = 1;
const IGNORED = 3;
/** Longest wait for keys and counters of a device that has lost them: settled() sees the server alone. */
const GRANT_MS = 10_000;

const dir = mkdtempSync(join(tmpdir(), "ampoule-firmware-"));
after(() => rmSync(dir, { recursive: true }));

function read(client: Client, topic: string, payloads: Uint8Array[]): string {
  let received: Received | undefined;
  for (const payload of payloads) received = client.receive(topic, payload);
  assert.equal(received?.kind, "text");
  return received?.kind === "text" ? Buffer.from(received.text).toString() : "";
}

/** Seals in C, opens on Node. */
async function publish(device: CDevice, client: Client, topic: string, text: string): Promise<Buffer[]> {
  const { status, payloads } = await device.protect(topic, text);
  assert.equal(status, "OK");
  assert.equal(read(client, topic, payloads), text);
  return payloads;
}

/** Seals on Node, opens in C. */
async function deliver(client: Client, device: CDevice, topic: string, text: string): Promise<Uint8Array> {
  const [payload = new Uint8Array()] = client.protect(topic, text);
  const received = await device.receive(topic, payload);
  assert.deepEqual([received.status, received.kind, received.text], ["OK", TEXT, text]);
  assert.deepEqual([received.part, received.isLast], [0, true], "a whole text");
  return payload;
}

function changed(payload: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(payload);
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** The realm goes, and its processes, whatever happens. */
function inRealm(work: (realm: Realm) => Promise<void>): () => Promise<void> {
  return async () => {
    const realm = new Realm();
    try {
      await work(realm);
    } finally {
      await realm.close();
    }
  };
}

const position = (payload: Uint8Array): string => Buffer.from(payload.subarray(0, 6)).toString("hex");

/** -1 for a slot that is erased, as before a write that was cut. */
function sequenceOf(device: CDevice, slot: string): number {
  const blob = readFileSync(join(device.dir, slot));
  return blob.length < 16 ? -1 : blob.readUInt32LE(8);
}

for (const engine of Object.keys(ENGINES) as EngineName[]) {
  describe(`firmware, ${engine}`, need("cc"), () => {
    let program = "";
    let volatile = "";
    /** The module that imports Ascon-p is one for devices with storage too. */
    const hasVolatile = engine !== "wasm3-hosted";
    before(() => {
      program = compile("device", dir, engine, ...SANITIZE);
      const own = join(dir, `volatile-${engine}`);
      mkdirSync(own);
      if (hasVolatile) volatile = compile("device", own, engine, ...SANITIZE, "-DAMP_VOLATILE");
    });

    test(
      "is granted keys, seals for a member on Node and opens what that one seals",
      inRealm(async (realm) => {
        realm.channel("plant/+/live");
        realm.channel("cmd/#", { frameSize: 64, shortTag: true, markBlock: 1 });
        const desk = realm.member("desk", "plant/+/live", "cmd/#");
        const pump = await realm.device("pump", program, ["plant/+/live", "cmd/#"]);
        await realm.settled();
        assert.equal((await pump.subscriptions()).length, 3);
        for (const text of ["21.5", "", "x".repeat(104), "y".repeat(105), "long ".repeat(1000)]) {
          await publish(pump, desk, "plant/pump/live", text);
          await deliver(desk, pump, "plant/desk/live", text);
          if (text.length < 2000) await deliver(desk, pump, "cmd/pump/valve/3", text);
        }
        await publish(pump, desk, "cmd", "the filter cmd/# has it too");
        assert.match(await pump.ask("channel", "plant/x/live"), /^OK [0-9a-f]{16} 1 2 2 \d+ 128 104 \d+ 0$/);
      }),
    );

    test(
      "follows steps and generations, and is shut out when it is removed",
      inRealm(async (realm) => {
        realm.channel("a/+");
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        for (let round = 0; round < 3; ++round) {
          realm.server.step("a/+");
          await realm.settled();
          await publish(pump, desk, "a/1", `step ${round}`);
          realm.server.rotate("a/+");
          await realm.settled();
          await publish(pump, desk, "a/1", `generation ${round}`);
          await deliver(desk, pump, "a/2", `generation ${round}`);
        }
        realm.server.revoke("a/+", "pump");
        await realm.settled();
        assert.equal((await pump.protect("a/1", "gone")).status, "NO_CHANNEL");
        const [payload = new Uint8Array()] = desk.protect("a/2", "not for it");
        assert.equal((await pump.receive("a/2", payload)).status, "NO_CHANNEL");
      }),
    );

    test(
      "refuses by name what is changed, repeated, moved or its own, and gives no text",
      inRealm(async (realm) => {
        realm.channel("a/+", { frameSize: 48 });
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        const [payload = new Uint8Array()] = desk.protect("a/2", "close the valve, and then some more text");
        const refused = async (topic: string, bytes: Uint8Array): Promise<string> => {
          const { status, text } = await pump.receive(topic, bytes);
          assert.equal(text, "");
          return status;
        };
        for (let bit = 0; bit < 8 * payload.length; bit += 7) {
          const status = await refused("a/2", changed(payload, bit));
          assert.ok(
            [
              "BAD_TAG",
              "BAD_FORM",
              "UNKNOWN_EPOCH",
              "NO_LEASE",
              "CLOSED",
              "BAD_PART",
              "BUSY",
              "REFLECTED",
            ].includes(status),
            `bit ${bit}: ${status}`,
          );
          await pump.ask("tick");
        }
        for (let i = 0; i < 20; ++i) await pump.ask("tick");
        assert.equal(await refused("a/3", payload), "BAD_TAG");
        assert.equal(await refused("b/2", payload), "NO_CHANNEL");
        assert.equal(await refused("a/+", payload), "BAD_ARGUMENT");
        assert.equal(await refused("a/2", payload.subarray(1)), "BAD_LENGTH");
        assert.equal((await pump.receive("a/2", payload)).status, "OK");
        assert.equal(await refused("a/2", payload), "REPLAYED");
        const own = await pump.protect("a/2", "mine");
        assert.equal(await refused("a/2", own.payloads[0] as Buffer), "REFLECTED");
        assert.equal((await pump.receive("a/2", new Uint8Array())).kind, IGNORED);
        assert.equal((await pump.receive("ampoule/0011223344556677/down", payload)).kind, IGNORED);
        assert.equal((await pump.receive("ampoule/epoch/0011223344556677", payload)).kind, IGNORED);
        assert.equal((await pump.protect("ampoule/epoch/0011223344556677", "x")).status, "NO_CHANNEL");
      }),
    );

    test(
      "goes on after a power cut where it was, with the storage key in place of the provisioned one [I-1]",
      inRealm(async (realm) => {
        realm.channel("a/+", { markBlock: 1 });
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        assert.equal(readFileSync(join(pump.dir, "key")).length, 32);
        const sealed: Buffer[] = [];
        const old = await deliver(desk, pump, "a/2", "before");
        for (let boot = 0; boot < 5; ++boot) {
          for (let i = 0; i < 20; ++i) sealed.push(...(await publish(pump, desk, "a/1", `${boot} ${i}`)));
          assert.equal(await pump.boot(), "OK");
          assert.equal((await pump.receive("a/2", old)).status, "REPLAYED");
          await deliver(desk, pump, "a/2", `after boot ${boot}`);
        }
        assert.equal(new Set(sealed.map(position)).size, sealed.length);
        await realm.connect(pump);
        realm.server.rotate("a/+");
        await realm.settled();
        await publish(pump, desk, "a/1", "a new generation");
      }),
    );

    test(
      "a write that is cut anywhere repeats no position and no text, and loses no key [P-3] [T-6] [T-7] [T-8]",
      inRealm(async (realm) => {
        realm.channel("a/+", { markBlock: 1 });
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        const positions = new Set<string>();
        const released = new Set<string>();
        let cuts = 0;
        let sent = 0;
        /** Seals, opens and obeys until the power fails. */
        const live = async (cut: number, bytes: number): Promise<void> => {
          await pump.ask("cut", cut, bytes);
          const texts = [1, 2, 3].map(() => `text ${++sent}`);
          const payloads = texts.flatMap((text) => desk.protect("a/2", text));
          for (const payload of [...payloads, ...payloads]) {
            const received = await pump.receive("a/2", payload);
            if (received.status === "OK") {
              assert.ok(!released.has(received.text), `${received.text} came twice`);
              released.add(received.text);
            }
            const { payloads: own } = await pump.protect("a/1", "own");
            // The hint of a frame has 4 bits of the step: who opens it knows all of it.
            for (const one of own) {
              const opened = desk.receive("a/1", one);
              assert.equal(opened.kind, "text");
              if (opened.kind !== "text") continue;
              const at = `${opened.generation} ${opened.step} ${opened.counter}`;
              assert.ok(!positions.has(at), `${at} came twice`);
              positions.add(at);
            }
          }
        };
        for (const bytes of [0, 47, 5000]) {
          for (let cut = 0; cut < 24; cut += 1 + (cut >> 2)) {
            realm.server.step("a/+");
            await live(cut, bytes);
            await realm.settled().catch(() => {});
            if ((await pump.ask("tick")) === "DEAD") ++cuts;
            // And again while the boot makes up for it.
            for (const at of [cut % 3, cut % 7]) {
              assert.match(await pump.boot({ at, bytes }), /^(OK|DEAD)$/);
            }
            assert.equal(await pump.boot(), "OK");
            assert.ok(sequenceOf(pump, "slot1") > sequenceOf(pump, "slot0"), "slot 1 is written last");
            await live(-1, 0);
            await realm.connect(pump);
            await realm.settled();
          }
        }
        assert.ok(cuts > 12, `${cuts} cuts`);
        await publish(pump, desk, "a/1", "still there");
      }),
    );

    test(
      "a port that fails is told of as NOT_STORED, nothing is released, and the next call tries again",
      inRealm(async (realm) => {
        realm.channel("a/+", { markBlock: 1 });
        const desk = realm.member("desk", "a/+");
        const pump = await realm.device("pump", program, ["a/+"]);
        await realm.settled();
        const [payload = new Uint8Array()] = desk.protect("a/2", "once");
        await pump.ask("fail", 1);
        const failed = await pump.receive("a/2", payload);
        assert.deepEqual([failed.status, failed.text], ["NOT_STORED", ""]);
        assert.equal((await pump.receive("a/2", payload)).text, "once");
        await pump.ask("fail", 1);
        assert.equal((await pump.protect("a/1", "x")).status, "NOT_STORED");
        await publish(pump, desk, "a/1", "x");
        await pump.ask("fail", 3);
        realm.server.rotate("a/+");
        await realm.settled().catch(() => {});
        await realm.connect(pump);
        await realm.settled();
        await publish(pump, desk, "a/1", "y");
      }),
    );

    const withoutStorage = (take: () => string): (() => Promise<void>) =>
      inRealm(async (realm) => {
        const program = take();
        realm.channel("a/+", { frameSize: 64 });
        const desk = realm.member("desk", "a/+");
        const nonce = await realm.device("nonce", program, ["a/+"], 1);
        const neither = await realm.device("neither", program, ["a/+"], 2);
        await realm.settled();
        for (const device of [nonce, neither]) {
          for (let boot = 0; boot < 3; ++boot) {
            const deadline = Date.now() + GRANT_MS;
            while ((await device.protect("a/1", "")).status !== "OK" && Date.now() < deadline) {
              await device.ask("tick");
              await realm.speak(device);
              await realm.settled();
            }
            await publish(device, desk, "a/1", `boot ${boot}`);
            await deliver(desk, device, "a/2", `to boot ${boot}`);
            if (device === neither)
              assert.equal((await device.protect("a/1", "x".repeat(100))).status, "SINGLE_ONLY");
            if (device === neither) break;
            assert.equal(await device.boot(), "OK");
            await realm.connect(device);
            await realm.settled();
          }
        }
      });

    test(
      "without storage: a boot nonce or nothing at all gives counters at each boot [C-20] [C-21]",
      withoutStorage(() => program),
    );

    if (hasVolatile) {
      test(
        "without storage, in the build that knows of none: so it does there",
        withoutStorage(() => volatile),
      );

      test(
        "without storage, in the build that knows of none: a device with storage is refused",
        inRealm(async (realm) => {
          await assert.rejects(realm.device("pump", volatile, [], 0), /does not begin: BAD_ARGUMENT/);
        }),
      );
    }

    test(
      "narrow channels: a payload for each frame, both ways; wills under a number of their own; retained values",
      inRealm(async (realm) => {
        realm.channel("n/+", { narrow: true, frameSize: 32, shortTag: true });
        const desk = realm.member("desk", "n/+");
        const pump = await realm.device("pump", program, ["n/+"], 0, { will: true });
        await realm.settled();
        const { payloads } = await pump.protect("n/1", "a text of several frames in a row");
        assert.deepEqual(
          payloads.map(({ length }) => length),
          [32, 32, 32],
        );
        assert.equal(read(desk, "n/1", payloads), "a text of several frames in a row");
        const parts: string[] = [];
        const sealed = desk.protect("n/2", "and one that goes the other way");
        for (const [index, payload] of sealed.entries()) {
          const received = await pump.receive("n/2", payload);
          assert.deepEqual(
            [received.status, received.part, received.isLast],
            ["OK", index, index === sealed.length - 1],
          );
          parts.push(received.text);
        }
        assert.equal(parts.join(""), "and one that goes the other way");
        const will = await pump.protect("n/1", "gone", true);
        const own = await pump.protect("n/1", "here");
        assert.notEqual(will.payloads[0]?.readUInt16LE(2), own.payloads[0]?.readUInt16LE(2));
        assert.equal(read(desk, "n/1", will.payloads), "gone");
        const [value = new Uint8Array()] = desk.protect("n/3", "state");
        for (let i = 0; i < 2; ++i) assert.equal((await pump.receive("n/3", value, true)).text, "state");
      }),
    );

    test(
      "a topic finds its channel under every kind of filter, and no other",
      inRealm(async (realm) => {
        const filters = ["one/two/three", "home/+/mid/+", "deep/#", "//x"];
        for (const filter of filters) realm.channel(filter);
        const desk = realm.member("desk", ...filters);
        const pump = await realm.device("pump", program, filters);
        await realm.settled();
        const topics = [
          "one/two/three",
          "home/a/mid/b",
          "home//mid/",
          "deep",
          "deep/",
          "deep/1/2/3/4/5/6/7/8/9/10/11/12",
          "//x",
          "deep/er/$",
        ];
        for (const topic of [...topics, ...topics.reverse()]) await publish(pump, desk, topic, topic);
        for (const topic of [
          "one/two",
          "one/two/three/four",
          "home/a/mid",
          "home/a/mid/b/c",
          "deeper",
          "$x/a/mid/b",
          "/x",
          "///x",
          "x".repeat(256),
        ]) {
          assert.equal((await pump.protect(topic, "x")).status, "NO_CHANNEL", topic);
          assert.throws(() => desk.protect(topic, "x"), RefusedError);
        }
        assert.equal((await pump.protect("x".repeat(257), "x")).status, "BAD_ARGUMENT");
        for (const topic of ["/".repeat(255), `deep/${"x".repeat(251)}`]) {
          assert.equal(
            (await pump.protect(topic, "x")).status,
            topic.startsWith("deep") ? "OK" : "NO_CHANNEL",
          );
        }
      }),
    );

    test(
      "a trap in the core is the status TRAPPED, the context is wiped, and amp_open() begins again",
      inRealm(async (realm) => {
        realm.channel("a");
        const trapping = compileTrapping(dir, engine);
        const pump = await realm.device("pump", trapping, ["a"]);
        realm.ignore("pump");
        while ((await pump.ask("tick")) === "OK") await realm.speak(pump);
        assert.equal(await pump.ask("tick"), "TRAPPED");
        assert.equal((await pump.protect("a", "x")).status, "TRAPPED");
        assert.equal(await pump.ask("outgoing"), "TRAPPED");
        // The two bytes that say so.
        assert.equal(await pump.ask("zeros"), "2 OK");
        assert.equal(await pump.boot(), "OK");
        assert.equal(await pump.ask("tick"), "OK");
      }),
    );

    test(
      "before amp_open(), after a refusal of it and after amp_close() every call is NO_IDENTITY",
      inRealm(async (realm) => {
        realm.channel("a");
        const pump = await realm.device("pump", program, ["a"]);
        await realm.settled();
        await pump.ask("close");
        assert.equal((await pump.protect("a", "x")).status, "NO_IDENTITY");
        const stored = pump.snapshot();
        await pump.kill();
        pump.restore(
          new Map(
            [...stored].map(([name, bytes]) => [name, name.startsWith("slot") ? changed(bytes, 900) : bytes]),
          ),
        );
        assert.equal(await pump.boot(), "BAD_RECORD");
        assert.equal((await pump.protect("a", "x")).status, "NO_IDENTITY");
        assert.equal(await pump.ask("tick"), "NO_IDENTITY");
        await pump.kill();
        pump.restore(stored);
        assert.equal(await pump.boot(), "OK");
        assert.equal((await pump.protect("a", "x")).status, "OK");
      }),
    );
  });
}
