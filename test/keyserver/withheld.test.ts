// A broker that withholds payloads, delivers them later or again: devices are served for ever after.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as twin from "../twin/control.ts";
import { onStage, type Peer, type Stage } from "./stage.ts";

const HOUR_MS = 3_600_000;

test(
  "withheld: the grant of an earlier boot, shown first to a booting device, does not lock it out [V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    const [earlier, running] = await twoBoots(stage, a);
    for (const hello of [running, earlier]) await heard(stage, a, hello);
    const [grant, other] = downs(stage, a).slice(-2);
    for (const payload of [other, grant]) a.try(() => a.device.control(payload as Uint8Array));
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "withheld: the grant of an earlier boot, shown to a running session, does not lock it out [V-3]",
  onStage(async (stage) => {
    const a = member(stage);
    const [earlier] = await twoBoots(stage, a);
    a.connect();
    await stage.run(10_000);
    assert.deepEqual(stage.behind(), []);
    a.disconnect();
    stage.server.rotate("a");
    await stage.run(1000);
    await heard(stage, a, earlier);
    a.try(() => a.device.control(downs(stage, a).at(-1) as Uint8Array));
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), []);
    assert.equal(a.channel("a")?.generation, 2);
  }),
);

test(
  "withheld: a boot that holds the revision of its grant or a higher one gets a new grant above it [V-8]",
  onStage(async (stage) => {
    const hand = new HandDevice(stage);
    await hand.says(hand.hello(0n));
    const first = hand.grant();
    await hand.says(hand.hello(first.revision - 1n));
    assert.deepEqual(hand.grant(), first, "the same grant while it can be taken");
    await hand.says(hand.hello(first.revision));
    const second = hand.grant();
    assert.ok(second.revision > first.revision);
    assert.notDeepEqual(second.random, first.random);
  }),
);

for (const kind of ["hello", "ack"] as const) {
  test(
    `withheld: an outstanding revision below the one that a device reports in its ${kind} is replaced [V-3]`,
    onStage(async (stage) => {
      const hand = new HandDevice(stage);
      await hand.says(hand.hello(0n));
      const session = hand.session(hand.grant());
      await hand.says(hand.hello(hand.grant().revision, session));
      const waiting = hand.revision(session);
      stage.hub.publish(hand.up, hand.hello(0n, undefined, new Uint8Array(8).fill(9)), false);
      await stage.run(2000);
      const above = hand.grant().revision;
      assert.ok(above > waiting);
      await hand.says(kind === "hello" ? hand.hello(above, session) : hand.ack(above, session));
      assert.ok(hand.revision(session) > above, "it can be applied");
    }),
  );
}

test(
  "withheld: hellos of many earlier boots do not void the grant of the running one for ever [V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    await stage.run(100);
    const earlier: Uint8Array[] = [];
    for (let i = 0; i < 20; i++) {
      earlier.push(a.device.hello());
      a.reboot();
    }
    for (const hello of [a.device.hello(), ...earlier]) await heard(stage, a, hello);
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), []);
    for (const hello of earlier) await heard(stage, a, hello);
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), [], "and they take nothing from the running session");
  }),
);

test(
  "withheld: a grant that comes after 16 older hellos took its place does not strand the boot that takes it [C-18, V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    await stage.run(100);
    const earlier: Uint8Array[] = [];
    for (let i = 0; i < 16; i++) {
      earlier.push(a.device.hello());
      a.reboot();
    }
    await heard(stage, a, a.device.hello());
    const grant = downs(stage, a).at(-1) as Uint8Array;
    for (const hello of earlier) await heard(stage, a, hello);
    assert.equal(
      a.try(() => a.device.control(grant)),
      "OK",
    );
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "withheld: a hello from between grant and first answer, sent again later, costs the running boot nothing [C-18, V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    await stage.run(100);
    await heard(stage, a, a.device.hello());
    const { reply } = a.device.control(downs(stage, a).at(-1) as Uint8Array);
    const between = a.device.hello();
    await heard(stage, a, reply as Uint8Array);
    await heard(stage, a, between);
    a.connect();
    await stage.run(5000);
    assert.deepEqual(stage.behind(), []);
    const sender = a.channel("a")?.sender;
    a.disconnect();
    const grants = (): number =>
      downs(stage, a).filter((payload) => ((payload[1] as number) & 15) === 0).length;
    const before = grants();
    for (let i = 0; i < 20; i++) await heard(stage, a, between);
    assert.equal(grants(), before, "no grant takes the place of a session that was heard");
    stage.server.rotate("a");
    await reconnected(stage, a);
    assert.deepEqual(stage.behind(), []);
    assert.equal(a.channel("a")?.generation, 2, "its session is still served");
    assert.equal(a.channel("a")?.sender, sender);
  }),
);

test(
  "withheld: a boot whose session was superseded gets no grant, one that never had a session does [V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    const [never, first] = await twoBoots(stage, a);
    await heard(stage, a, never);
    for (let i = 0; i < 2; i++) {
      a.connect();
      await stage.run(5000);
      a.reboot();
    }
    const before = downs(stage, a).length;
    await heard(stage, a, first);
    assert.equal(downs(stage, a).length, before);
    await heard(stage, a, never);
    assert.equal(downs(stage, a).length, before + 1);
  }),
);

test(
  "withheld: resets whose acks are withheld never bring a generation back at counter 0 [V-2]",
  onStage(async (stage) => {
    // Leases short enough for a reset and two channels in one revision.
    for (const filter of ["x", "y", "z"]) stage.server.createChannel(filter, { leaseSteps: 16 });
    const [p, q] = [stage.peer("p"), stage.peer("q")];
    for (const filter of ["x", "y"]) stage.server.grant(filter, "p");
    for (const filter of ["x", "y", "z"]) stage.server.grant(filter, "q");
    stage.start();
    for (const peer of [p, q]) peer.connect();
    await stage.run(10_000);
    forgetOf(stage, p, "x");
    p.hello();
    while (!stage.heard("sent", "p").at(-1)?.detail?.includes("reset")) await stage.run(1);
    p.disconnect();
    stage.server.grant("z", "p");
    let last = 0;
    for (let i = 0; i < 3; i++) {
      stage.server.rotate("y");
      await stage.run(10_000);
      p.device.control(downs(stage, p).at(-1) as Uint8Array);
      const beacon = stage.hub.retained.get(p.device.epochTopic(p.device.channelId("z")));
      p.try(() => p.device.beacon(p.device.channelId("z"), beacon as Uint8Array));
      const { generation } = p.channel("z") ?? assert.fail("z is not held");
      assert.ok(generation > last, `generation ${generation} again`);
      last = generation;
      assert.equal(q.open("z", p.seal("z")), "text");
    }
    p.connect();
    await stage.run(20_000);
    assert.deepEqual(stage.behind(), []);
  }),
);

test(
  "withheld: a command that was held back while its channel went on opens nothing twice [V-2, T-8]",
  onStage(async (stage) => {
    const [a, b] = [stage.peer("a"), stage.peer("b")];
    stage.server.createChannel("x", { markBlock: 1 });
    for (const name of ["a", "b"]) stage.server.grant("x", name);
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (const broken of [false, true]) {
      const before = b.seal("x");
      a.disconnect();
      stage.server.grant("x", "a", { will: !broken });
      await stage.run(5000);
      const id = a.device.channelId("x");
      for (const { topic, payload } of stage.hub.log) {
        if (topic === a.device.epochTopic(id)) a.try(() => a.device.beacon(id, payload));
      }
      const payloads = [before, b.seal("x")];
      const taken = payloads.map((payload) => a.try(() => a.open("x", payload)));
      assert.ok(taken.includes("OK"));
      if (broken) a.breakMark();
      a.connect();
      await stage.run(20_000);
      for (const [i, payload] of payloads.entries()) {
        if (taken[i] === "OK")
          assert.notEqual(
            a.try(() => a.open("x", payload)),
            "OK",
          );
      }
      assert.equal(b.open("x", a.seal("x")), "text");
      assert.deepEqual(stage.behind(), []);
    }
  }),
);

test(
  "withheld: a device is shut no longer than the server hears of it, an ended lease or not [T-8, V-11]",
  onStage(async (stage) => {
    const [a, b] = [stage.peer("a"), stage.peer("b")];
    for (const filter of ["x", "ended"]) stage.server.createChannel(filter, { markBlock: 1 });
    for (const name of ["a", "b"]) stage.server.grant("x", name);
    stage.server.grant("ended", "a", { steps: 1, renew: false });
    stage.start();
    for (const peer of [a, b]) peer.connect();
    await stage.run(5000);
    for (let i = 0; i < 6; i++) {
      stage.server.step("ended");
      await stage.run(1000);
    }
    for (let round = 1; round <= 3; round++) {
      a.seal("x");
      a.breakMark();
      a.connect();
      await stage.run(60_000);
      assert.equal(b.open("x", a.seal("x")), "text");
      assert.equal(stage.heard("alarm").length, round, "one alarm each");
      assert.deepEqual(stage.behind(), []);
    }
  }),
);

/** The server loses sight of a channel that the device holds: the digests disagree until a reset. */
function forgetOf(stage: Stage, peer: Peer, filter: string): void {
  const database = stage.world.database(stage.path);
  const { id } = stage.server.channel(filter);
  for (const table of ["member", "held"]) {
    database.exec(`DELETE FROM ${table} WHERE device = '${peer.id}' AND channel = '${id}'`);
  }
  database.close();
}

test(
  "withheld: a revision is sent again eight times in a row at most, then after a second, and then it is [V-3]",
  onStage(async (stage) => {
    const hand = new HandDevice(stage);
    await hand.says(hand.hello(0n));
    const session = hand.session(hand.grant());
    await hand.says(hand.hello(hand.grant().revision, session));
    const waiting = hand.revision(session);
    const said = [hand.ack(waiting, session), hand.hello(waiting - 1n, session)];
    for (const payload of said) {
      await stage.run(5000);
      const before = hand.sent(session);
      for (let i = 0; i < 100; i++) {
        stage.hub.publish(hand.up, payload, false);
        await stage.run(30);
      }
      const sent = hand.sent(session) - before;
      assert.ok(sent >= 3 && sent <= 32, `${sent} times in three seconds`);
    }
    assert.equal(hand.revision(session), waiting, "still the same revision");
    await stage.run(5000);
    for (let i = 0; i < 8; i++) {
      stage.hub.publish(hand.up, said[1] as Uint8Array, false);
      await stage.run(10);
    }
    const before = hand.sent(session);
    stage.hub.publish(hand.up, said[1] as Uint8Array, false);
    await stage.run(500);
    assert.equal(hand.sent(session), before);
    await stage.run(600);
    assert.equal(hand.sent(session), before + 1, "what was asked for too soon is not forgotten");
  }),
);

test(
  "withheld: no grant is sent again without bound, and none makes another wait [V-8]",
  onStage(async (stage) => {
    const a = member(stage);
    const hellos = await twoBoots(stage, a);
    for (const hello of hellos) await heard(stage, a, hello);
    await stage.run(5000);
    const before = downs(stage, a).length;
    for (let i = 0; i < 100; i++) {
      stage.hub.publish(a.device.upTopic, hellos[i % 2] as Uint8Array, false);
      await stage.run(30);
    }
    const sent = downs(stage, a).length - before;
    assert.ok(sent >= 2 && sent <= 36, `${sent} in 3 seconds`);
  }),
);

function member(stage: Stage): Peer {
  stage.server.createChannel("a");
  const peer = stage.peer("a", { class: 1 });
  stage.server.grant("a", "a");
  stage.start();
  return peer;
}

/** A hello of a boot that is over, and one of the running boot. */
async function twoBoots(stage: Stage, peer: Peer): Promise<[Uint8Array, Uint8Array]> {
  await stage.run(100);
  const earlier = peer.device.hello();
  peer.reboot();
  return [earlier, peer.device.hello()];
}

/** The server hears a payload; the device hears nothing. */
async function heard(stage: Stage, peer: Peer, payload: Uint8Array): Promise<void> {
  stage.hub.publish(peer.device.upTopic, payload, false);
  await stage.run(100);
}

/** A network without faults, and a connection anew now and then. */
async function reconnected(stage: Stage, peer: Peer): Promise<void> {
  for (let i = 0; i < 3; i++) {
    peer.disconnect();
    peer.connect();
    await stage.run(HOUR_MS / 6);
  }
}

function downs(stage: Stage, peer: Peer): Uint8Array[] {
  return stage.hub.log.filter(({ topic }) => topic === peer.device.downTopic).map(({ payload }) => payload);
}

interface Grant {
  revision: bigint;
  random: Uint8Array;
}

/** A device of class 1 made by hand on the slow twin: it says whatever the test wants. */
class HandDevice {
  readonly up: string;
  readonly #down: string;
  readonly #stage: Stage;
  readonly #key: twin.ControlKey;
  readonly #boot = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);

  constructor(stage: Stage) {
    this.#stage = stage;
    stage.server.createChannel("a");
    const identity = stage.server.provision("hand");
    stage.server.grant("a", "hand");
    stage.start();
    const id = Buffer.from(identity.device).toString("hex");
    [this.up, this.#down] = [`ampoule/${id}/up`, `ampoule/${id}/down`];
    const secret = identity.key as Uint8Array;
    this.#key = { realm: identity.realm, device: identity.device, version: 0, step: 0, secret };
  }

  async says(payload: Uint8Array): Promise<void> {
    await this.#stage.run(2000);
    this.#stage.hub.publish(this.up, payload, false);
    await this.#stage.run(100);
  }

  hello(revision: bigint, session?: twin.ControlKey, bootNonce = this.#boot): Uint8Array {
    return twin.sealUp(session ?? this.#key, twin.HELLO, this.#answer(revision, bootNonce, []), this.up);
  }

  ack(revision: bigint, session: twin.ControlKey): Uint8Array {
    return twin.sealUp(session, twin.ACK, this.#answer(revision, this.#boot, [0x30]), this.up);
  }

  #answer(revision: bigint, bootNonce: Uint8Array, statuses: number[]): Uint8Array {
    const none = { echo: new Uint8Array(8), digest: new Uint8Array(16), want: new Uint8Array(8) };
    const zero = { sequence: 0, bootSequence: 0, version: 0 };
    const abilities = { class: 1, suites: 15, channels: 64, senders: 65535, frameMax: 1024, span: 14 };
    return twin.packAnswer({ revision, bootNonce, ...none, ...zero, ...abilities, statuses });
  }

  /** The last grant that the server sent. */
  grant(): Grant {
    const found = this.#downs(this.#key).at(-1);
    assert.ok(found);
    return { revision: found.revision, random: (found.contents[0] as Uint8Array).slice(9) };
  }

  session({ random }: Grant): twin.ControlKey {
    const { realm, device, secret } = this.#key;
    const session = twin.sessionSecret(realm, device, 0, secret, this.#boot, random);
    return { ...this.#key, step: 1, secret: session };
  }

  /** The last revision that the server sent in a session. */
  revision(session: twin.ControlKey): bigint {
    return this.#downs(session).at(-1)?.revision ?? 0n;
  }

  /** How many payloads the server sent in a session. */
  sent(session: twin.ControlKey): number {
    return this.#downs(session).length;
  }

  #downs(key: twin.ControlKey): twin.Down[] {
    return this.#stage.hub.log
      .filter(({ topic, payload }) => topic === this.#down && ((payload[1] ?? 0) & 15) === key.step)
      .map(({ payload }) => twin.openDown(payload, this.#down, () => key))
      .filter(({ status }) => status === 0);
  }
}
