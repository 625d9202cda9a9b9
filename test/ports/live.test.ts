// A bare-metal device at a real broker, with a real key server, through its serial line.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { generationOf, until } from "../mqtt/plant.ts";
import { needEngine } from "./machine.ts";
import { LIVE, ORDERS, Rig } from "./rig.ts";

/** By a socket and by a serial port; the core as C, and interpreted. */
const LIVES = [
  { machine: "m3", engine: "aot", isPort: true },
  { machine: "rv32", engine: "aot", isPort: false },
  { machine: "m3", engine: "wasm3", isPort: false },
  { machine: "rv32", engine: "wasm3", isPort: false },
] as const;

for (const { machine, engine, isPort } of LIVES) {
  test(
    `${machine}, ${engine}: is granted, publishes, obeys, is rotated and stepped over its serial ${isPort ? "port" : "line"}`,
    needEngine(machine, engine, "mosquitto"),
    async () => {
      await using rig = await Rig.open();
      const { plant, desk, spy } = rig;
      const board = await rig.add(machine, { isPort, engine });
      await until("a text of the board", () => rig.texts(board).length > 0);
      await until("the board to be in sync", () => rig.inSync(board));
      const long = `open the valve ${"and wait ".repeat(20)}`;
      await rig.order(board, long);
      await rig.took(board, long);

      for (const filter of [LIVE, ORDERS]) plant.server.rotate(filter);
      await until("a new generation", () => generationOf(desk, LIVE) === 2 && rig.inSync(board));
      await rig.order(board, "under new keys");
      await rig.took(board, "under new keys");
      for (const filter of [LIVE, ORDERS]) await plant.step(filter, 1, desk);
      await until("a text of the new step", () =>
        desk.packets.some(({ topic, ampoule }) => {
          return (
            topic === board.live &&
            ampoule?.generation === 2 &&
            ampoule.step === plant.server.channel(LIVE).step
          );
        }),
      );
      await rig.order(board, "a step further");
      await rig.took(board, "a step further");

      const wire = Buffer.concat(spy.seen.map(({ payload }) => Buffer.from(payload))).toString("latin1");
      for (const text of ["open the valve", "under new keys", "live 1"])
        assert.ok(!wire.includes(text), text);
      assert.deepEqual(
        desk.refused.filter(({ status }) => status !== "REFLECTED"),
        [],
      );
      const { key } = board.identity;
      assert.ok(
        key !== undefined && !readFileSync(board.board.flash).includes(Buffer.from(key)),
        "K(0) is still in flash",
      );
      assert.doesNotMatch(board.bridge.out, /refused|valve|live \d/);
    },
  );
}
