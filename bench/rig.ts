// Two devices of one channel, without a broker: what the bench seals with and opens with.

import { Device } from "../host/core/device.ts";
import type { Build, Engine } from "../host/core/engine.ts";
import { v8Engine } from "../host/core/wasm.ts";
import { MemoryStore } from "../host/store/memory.ts";
import type { World } from "../host/world.ts";
import { run } from "../test/twin/bytes.ts";
import { Client, Generation, nodeCommands, parametersOf, revisionOf } from "../test/twin/server.ts";
import { channelId, makeForm } from "../test/twin/suites.ts";

export const TOPIC = "plant/7/line/2/temp/raw1";
const REALM = run(0x10, 8);
const MARK_BLOCK_64 = 2 << 3;
const world = { random: (n: number) => new Uint8Array(n) } as World;
const engine = v8Engine();

/** A channel, and the devices and beacons it is given. */
export interface Stage {
  readonly channel: Uint8Array;
  join(sender: number): Device;
  beacon(step: number): Uint8Array;
}

export function stage(suite: number, size: number, on: Engine = engine, build: Build = "host"): Stage {
  const channel = channelId(REALM, TOPIC);
  const generation = new Generation({ suite, realm: REALM, id: channel, generation: 1 }, run(0x21, 16));
  const form = makeForm(suite, 16);
  return {
    channel,
    join(sender) {
      const [key, device] = [run(sender, 16), run(0xd0 + sender, 8)];
      const member = new Device({
        engine: on,
        build,
        store: new MemoryStore({ realm: REALM, device, prefix: "p", key }),
        world,
      });
      const parameters = parametersOf(generation, { sender, form, size, flags: MARK_BLOCK_64 });
      const commands = [
        { code: 1 as const, parameters },
        ...nodeCommands(channel, 1, generation.lease(0, 127, 0)),
      ];
      const server = new Client(REALM, device, key);
      member.control(server.seal(server.base(), revisionOf(1, 1), commands, member.downTopic));
      return member;
    },
    beacon: (step) => generation.beacon(form, step),
  };
}

export interface Pair {
  readonly channel: Uint8Array;
  readonly writer: Device;
  readonly reader: Device;
  /** Moves both to the next step: 65,536 more counters. */
  step(): void;
}

export function pair(suite: number, size: number): Pair {
  const { channel, join, beacon } = stage(suite, size);
  const [writer, reader] = [join(1), join(2)];
  let current = 0;
  return {
    channel,
    writer,
    reader,
    step() {
      const payload = beacon(++current);
      for (const device of [writer, reader]) device.beacon(channel, payload);
    },
  };
}
