// Leases in parts that no key server makes, but that SPEC.md judges all the same.

import assert from "node:assert/strict";
import { STATUS } from "../../host/status.ts";
import { test, testEngine } from "../support/engines.ts";
import { run } from "../twin/bytes.ts";
import { Device } from "../twin/device.ts";
import { lockstep } from "../twin/lockstep.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf } from "../twin/server.ts";
import { channelId } from "../twin/suites.ts";
import { CoreModel } from "./adapter.ts";

const REALM = run(0x10, 8);
const DEVICE = run(0xd0, 8);
const KEY = run(0x80, 16);
const DOWN = "p/d0d1d2d3d4d5d6d7/down";
const UP = "p/d0d1d2d3d4d5d6d7/up";
const BUILD = { class: 0, channels: 4, senders: 8, suites: 3, layout: 1, frameMax: 1024 } as const;

test("core: eight nodes are judged by what is held afterwards, not by what is in between [K-6]", () => {
  const twin = new Device(BUILD);
  const device = lockstep(twin, new CoreModel(testEngine(), BUILD));
  device.provision({ realm: REALM, device: DEVICE, key: KEY }, new Uint8Array(8));
  const server = new Client(REALM, DEVICE, KEY);
  const id = channelId(REALM, "a/b");
  const generation = new Generation({ suite: 0, realm: REALM, id, generation: 3 }, run(0x55, 16));
  const parameters = parametersOf(generation, { step: 4, la: 0x01, to: 4095 });
  const leaf = (step: number): number => 4096 + step;
  // Steps 3, 4, 6, 16-31, 32-63, 64-127, 128-255, 256-383: eight nodes. 0-15 replaces two of them by 4-7 and 8-15.
  const held = [leaf(3), leaf(4), leaf(6), 257, 129, 65, 33, 34];
  let sequence = 0;
  const bring = (h: number[], commands: Parameters<Client["seal"]>[2] = []): void => {
    const nodes = nodeCommands(
      id,
      3,
      h.map((number) => generation.node(number)),
    );
    const payload = server.seal(server.base(), revisionOf(1, ++sequence), [...commands, ...nodes], DOWN);
    assert.equal(device.control(payload, DOWN).status, STATUS.STORE_BLOB);
    device.saveBlob(sequence);
    device.confirm(true);
    assert.equal(device.ack(UP).status, STATUS.OK);
  };
  bring(held, [{ code: 1, parameters }]);
  assert.equal(twin.snapshot().match(/"h":/g)?.length, 8);
  bring([256]);
  assert.match(twin.snapshot(), /"h":1025\b/);
});
