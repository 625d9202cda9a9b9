// A host with more senders than one chunk of a blob has rows for.

import assert from "node:assert/strict";
import { STATUS } from "../../host/status.ts";
import { test, testEngine } from "../support/engines.ts";
import { hex, run, utf8 } from "../twin/bytes.ts";
import { topicAd } from "../twin/frame.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf, sealMessage } from "../twin/server.ts";
import { channelId } from "../twin/suites.ts";
import { CoreModel } from "./adapter.ts";

const REALM = run(0x10, 8);
const DEVICE = run(0xd0, 8);
const KEY = run(0x80, 16);
const DOWN = "p/d0d1d2d3d4d5d6d7/down";
const HOST = { class: 0, channels: 1024, senders: 65536, suites: 15, layout: 2, frameMax: 1024 } as const;
const HEADER = 16;
const CHUNK = 504;
const ROWS_IN_CHUNK = 20;

const engine = testEngine();

for (const senders of [19, 20, 21, 45]) {
  test(`core: a host with ${senders} senders in each of three channels keeps all rows, and no blob grows [T-3]`, () => {
    const device = new CoreModel(engine, HOST);
    device.provision({ realm: REALM, device: DEVICE, key: KEY }, new Uint8Array(8));
    const server = new Client(REALM, DEVICE, KEY);
    const plots = ["a", "b", "c"].map((topic) => {
      const id = channelId(REALM, topic);
      return {
        topic,
        id,
        generation: new Generation({ suite: 0, realm: REALM, id, generation: 3 }, run(0x55, 16)),
      };
    });
    for (const [i, { id, generation }] of plots.entries()) {
      const nodes = nodeCommands(id, 3, generation.lease(0, 127, 0));
      const set = { code: 1, parameters: parametersOf(generation, {}) } as const;
      device.control(server.seal(server.base(), revisionOf(1, i + 1), [set, ...nodes], DOWN), DOWN);
      device.saveBlob(i + 1);
      device.confirm(true);
    }
    const frames = Array.from({ length: senders }, (_, i) => i + 9).flatMap((sender) =>
      plots.map(({ topic, id, generation }) => {
        const shape = { form: 0, size: 64 };
        const [frame] = sealMessage(
          generation,
          shape,
          { sender, step: 0, counter: 0 },
          topicAd(topic),
          utf8("x"),
        );
        return () => device.unprotect(hex(id), frame as Uint8Array, topic, false).status;
      }),
    );
    // Junk may cost 16 derivations until time has passed.
    for (const open of frames) {
      for (let i = 0; i < 4; ++i) device.tick();
      assert.equal(open(), STATUS.STORE_MARK);
      device.confirm(true);
    }
    // One of rows more than are full: it ends the blob.
    const chunks = 1 + plots.length + Math.floor((senders * plots.length) / ROWS_IN_CHUNK) + 1;
    for (let sequence = 10; sequence < 13; ++sequence) {
      const blob = device.saveBlob(sequence).record as Uint8Array;
      device.confirm(true);
      assert.equal(blob.length, HEADER + CHUNK * chunks);
      assert.equal(device.restart([blob, blob], [], new Uint8Array(8)).status, STATUS.OK);
      for (const open of frames) assert.equal(open(), STATUS.REPLAYED);
    }
  });
}
