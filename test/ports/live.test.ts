import { test } from "node:test";
import { until } from "../mqtt/plant.ts";
import { MACHINES, needMachine } from "./machine.ts";
import { LIVE, ORDERS, Rig } from "./rig.ts";

for (const machine of MACHINES) {
  test(
    `${machine}: lives at a broker through its serial line`,
    needMachine(machine, "mosquitto"),
    async () => {
      await using rig = await Rig.open();
      const { plant, desk } = rig;
      const board = await rig.add(machine);
      const start = Date.now();
      await until("a text of the board", () => rig.texts(board).length > 0);
      await until("the board to be in sync", () => rig.inSync(board));
      console.error(machine, "live", Date.now() - start);

      await rig.order(board, "open the valve");
      await rig.took(board, "open the valve");
      console.error(machine, "took", Date.now() - start);

      plant.server.rotate(LIVE);
      plant.server.rotate(ORDERS);
      await until("a new generation", () => plant.server.channel(LIVE).generation === 2 && rig.inSync(board));
      await rig.order(board, "under new keys");
      await rig.took(board, "under new keys");
      console.error(machine, "rotated", Date.now() - start);
      await plant.step(LIVE, 1, desk);
      await until("a text of the new step", () =>
        desk.packets.some(
          ({ topic, ampoule }) => topic === board.live && ampoule?.generation === 2 && ampoule.step >= 1,
        ),
      );
      console.error(machine, "stepped", Date.now() - start);
      console.error(board.bridge.out, board.bridge.err, rig.texts(board).slice(-3));
    },
  );
}
