// Random changes under loss, repetition, delay, reboots and server crashes: when they stop, everybody agrees.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Peer, Stage } from "./stage.ts";

const FILTERS = ["plant/+/temp", "plant/+/valve", "house/door"];
const TOPICS = ["plant/1/temp", "plant/1/valve", "house/door"];
const ROUNDS = 150;
/** In seconds, and so how long a member is suspended (SPEC V-12). */
const STEP_EVERY = 240;
let suspensions = 0;

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`keyserver: every device converges when faults stop, seed ${seed} [V-3] [V-4] [V-5] [V-8] [V-12]`, async () => {
    const stage = new Stage(seed);
    try {
      await play(stage);
    } finally {
      await stage.end();
    }
  });
}

test("keyserver: some of that was with a member suspended [V-12]", () => {
  assert.ok(suspensions > 0);
});

async function play(stage: Stage): Promise<void> {
  for (const filter of FILTERS) stage.server.createChannel(filter, { leaseSteps: 8, stepEvery: STEP_EVERY });
  const classes = [0, 0, 0, 0, 1, 1, 2] as const;
  for (const [i, kind] of classes.entries()) stage.peer(`d${i}`, { class: kind });
  stage.start();
  for (const peer of stage.peers) peer.connect();
  Object.assign(stage.hub, { loss: 0.25, repeat: 0.2, jitter: 1500 });
  for (let round = 0; round < ROUNDS; round++) {
    disturb(stage);
    if (stage.status("d0").state === "suspended") suspensions++;
    await stage.run(stage.world.draw() % 4000);
  }
  Object.assign(stage.hub, { loss: 0, repeat: 0, jitter: 0 });
  await stage.run(2000);
  for (const peer of stage.peers) {
    peer.store.powerOn();
    peer.disconnect();
    peer.connect();
  }
  await stage.run(600_000);
  assert.deepEqual(stage.behind(), []);
  for (const [i, filter] of FILTERS.entries()) await everyoneHears(stage, filter, TOPICS[i] as string);
}

function disturb(stage: Stage): void {
  const { world, server } = stage;
  const filter = FILTERS[world.draw() % FILTERS.length] as string;
  const peer = stage.peers[world.draw() % stage.peers.length] as Peer;
  const member = server.channel(filter).members.find(({ name }) => name === peer.name);
  switch (world.draw() % 15) {
    case 0:
    case 1:
    case 2:
      server.grant(filter, peer.name, { will: world.chance(0.3) });
      break;
    case 3:
      if (member !== undefined) server.revoke(filter, peer.name);
      break;
    case 4:
      server.rotate(filter);
      break;
    case 5:
    case 6:
      server.step(filter);
      break;
    case 7:
      peer.reboot();
      break;
    case 8:
      peer.disconnect();
      break;
    case 9:
    case 10:
      if (!peer.online) peer.connect();
      break;
    case 11:
      stage.crash();
      break;
    case 12:
      peer.endanger(world.draw() % 3, world.draw() % 600);
      break;
    case 13:
    case 14:
      breakRecord(stage.peers[0] as Peer, world.draw() % FILTERS.length);
      break;
  }
}

/** A device whose flash is not good: what it has just stored breaks, and its channels are shut. */
function breakRecord(peer: Peer, channel: number): void {
  peer.store.powerOn();
  if (peer.try(() => peer.seal(FILTERS[channel] as string, TOPICS[channel])) !== "OK") return;
  if (peer.store.snapshot().marks.length < 48) return;
  peer.breakMark();
  peer.connect();
}

/** Every writing member is heard by every other member, and by nobody else. */
async function everyoneHears(stage: Stage, filter: string, topic: string): Promise<void> {
  const members = stage.server.channel(filter).members.map(({ name }) => name);
  for (const sender of stage.peers.filter((peer) => members.includes(peer.name))) {
    const payload = await seal(stage, sender, filter, topic);
    for (const peer of stage.peers.filter((other) => other !== sender)) {
      const status = peer.try(() => peer.open(filter, payload, topic));
      const expected = members.includes(peer.name) ? "OK" : "NO_CHANNEL";
      assert.equal(status, expected, `${sender.name} to ${peer.name} on ${topic}`);
    }
  }
}

/** A device without storage asks for counters first when its block is used up. */
async function seal(stage: Stage, peer: Peer, filter: string, topic: string): Promise<Uint8Array> {
  if (peer.try(() => peer.seal(filter, topic)) === "NO_GRANT") {
    peer.hello(peer.device.channelId(filter));
    await stage.run(10_000);
  }
  return peer.seal(filter, topic);
}
