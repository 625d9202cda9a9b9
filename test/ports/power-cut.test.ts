// Power cuts of whole machines: the emulator is killed at random moments, in the middle of traffic and of flash.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { IPublishPacket } from "mqtt";
import { until } from "../mqtt/plant.ts";
import { MACHINES, needMachine } from "./machine.ts";
import { LIVE, type LiveBoard, ORDERS, Rig } from "./rig.ts";

const CUTS = 20;
const FRAME = 64;
const SEED = 20251122;

/** xorshift32: the same moments in every run, as far as a machine's speed lets them be the same. */
function random(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

const need = MACHINES.map((machine) => needMachine(machine, "mosquitto")).find(({ skip }) => skip !== false);

test(
  "power cuts: no machine uses a counter twice or takes an order twice, and each comes back",
  need ?? {},
  async (t) => {
    await using rig = await Rig.open();
    const boards = await Promise.all(MACHINES.map((machine) => rig.add(machine)));
    for (const board of boards) await until("the board to be in sync", () => rig.inSync(board));

    let isOver = false;
    const given = new Map(boards.map((board) => [board, 0]));
    const orders = (async () => {
      while (!isOver) {
        for (const board of boards) {
          const count = (given.get(board) ?? 0) + 1;
          given.set(board, count);
          await rig.order(board, `order ${count}`);
        }
        await sleep(80);
      }
    })();
    const torn = await Promise.all(
      boards.map((board, index) => cutPower(rig, board, random(SEED + index))),
    ).finally(() => {
      isOver = true;
      // Over a link that ends under them they would fail, and hide why.
      return orders;
    });
    for (const [index, board] of boards.entries()) {
      await until(`${board.name} to be in sync`, () => rig.inSync(board));
      const last = `last order of ${board.name}`;
      await rig.order(board, last);
      await rig.took(board, last);
      const frames = framesOf(rig.spy.seen, board.live);
      checkPositions(frames);
      const took = rig.texts(board).filter((text) => text.startsWith("took "));
      assert.equal(new Set(took).size, took.length, "an order was taken twice");
      t.diagnostic(
        `${board.name}: ${CUTS} cuts, ${torn[index]} of them inside a write; ${frames.length} frames, ` +
          `${took.length} of ${given.get(board)} orders answered`,
      );
    }
  },
);

/** Cuts the power, and waits each time for a text that is new. Returns how often flash was left torn. */
async function cutPower(rig: Rig, board: LiveBoard, next: () => number): Promise<number> {
  let torn = 0;
  for (let cut = 0; cut < CUTS; ++cut) {
    // Half of the cuts come soon after a step or a new generation, which both slots are written for.
    const filter = next() < 0.5 ? LIVE : ORDERS;
    if (cut % 7 === 6) rig.plant.server.rotate(filter);
    else if (cut % 2 === 0) rig.plant.server.step(filter);
    await sleep(20 + next() * (cut % 2 === 0 ? 150 : 500));
    await board.board.cutPower();
    if (isTorn(board)) torn += 1;
    const before = rig.texts(board).length;
    await board.board.on();
    await until(`${board.name} to come back after cut ${cut + 1}`, () => rig.texts(board).length > before);
  }
  return torn;
}

/** True if a slot is not whole, or the last mark is not (firmware/ports/nor.h). */
function isTorn({ board }: LiveBoard): boolean {
  const sector = board.machine === "m3" ? 4096 : 256 * 1024;
  const image = readFileSync(board.flash);
  const isOnes = (from: number, to: number): boolean =>
    image.subarray(from, to).every((byte) => byte === 0xff);
  const hasHead = (at: number): boolean => image.readUInt32LE(at) === ~image.readUInt32LE(at + 4) >>> 0;
  if ([1, 2].some((slot) => !hasHead(slot * sector))) return true;
  return [3, 4].some((log) => {
    for (let at = log * sector + 8; at + 56 < (log + 1) * sector; at += 56) {
      if (isOnes(at, at + 56)) return false;
      if (isOnes(at + 48, at + 56)) return true;
    }
    return false;
  });
}

function framesOf(seen: IPublishPacket[], topic: string): Buffer[] {
  return seen
    .filter((packet) => packet.topic === topic)
    .flatMap(({ payload }) => {
      const bytes = Buffer.from(payload);
      assert.equal(bytes.length % FRAME, 0);
      return Array.from({ length: bytes.length / FRAME }, (_, i) =>
        bytes.subarray(i * FRAME, (i + 1) * FRAME),
      );
    });
}

/** Generation and step are on the wire modulo 16, which this test does not go round. */
function checkPositions(frames: Buffer[]): void {
  const seen = new Map<string, Buffer>();
  for (const frame of frames) {
    const position = frame.subarray(1, 6).toString("hex");
    const before = seen.get(position);
    assert.ok(before === undefined || before.equals(frame), `position ${position} was used twice`);
    seen.set(position, frame);
  }
  assert.ok(seen.size > CUTS, "too few frames to tell");
}
