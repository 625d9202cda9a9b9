import assert from "node:assert/strict";
import { test } from "node:test";
import { type ServerCode, ServerError } from "../../host/keyserver/errors.ts";
import type { ChannelParams, MemberState } from "../../host/keyserver/server.ts";
import { onStage, type Stage } from "./stage.ts";

test(
  "keyserver: never gives a sender number twice in a generation [V-1]",
  onStage((stage) => {
    const { server } = stage;
    server.createChannel("a");
    const owners = new Map<string, string>();
    for (let i = 0; i < 30; i++) {
      const name = `d${i % 7}`;
      if (i < 7) stage.server.provision(name);
      const member = server.channel("a").members.find((known) => known.name === name);
      if (member === undefined) server.grant("a", name, { will: i % 2 === 0 });
      else if (i % 3 === 0) server.revoke("a", name);
      else server.grant("a", name, { will: member.will === 0 });
      const { generation, members } = server.channel("a");
      for (const { name, sender, will } of members) {
        for (const [what, number] of [
          ["own", sender],
          ["will", will],
        ] as const) {
          if (number === 0) continue;
          const place = `${generation}.${number}`;
          assert.equal(owners.get(place) ?? `${name} ${what}`, `${name} ${what}`, place);
          owners.set(place, `${name} ${what}`);
        }
      }
    }
  }),
);

test(
  "keyserver: a number once given in a generation is not given to the next member [V-1]",
  onStage(async (stage) => {
    const { server } = stage;
    server.createChannel("a");
    for (const name of ["x", "y"]) {
      stage.peer(name);
      server.grant("a", name, { will: true });
    }
    const before = numbersOf(stage, "a");
    server.grant("a", "x", { will: false });
    server.grant("a", "x", { will: true });
    const after = member(stage, "a", "x");
    assert.ok(!before.includes(after.will));
    assert.equal(after.sender, before[0]);
  }),
);

for (const next of [65533, 65534, 65535, 65536]) {
  test(
    `keyserver: numbers all members anew when ${next} is the next sender, and gives none twice [V-1]`,
    onStage(async (stage) => {
      const { server } = stage;
      server.createChannel("a");
      const names = ["u", "v", "w", "x"];
      for (const name of names) stage.peer(name);
      for (const name of ["u", "v", "w"]) server.grant("a", name);
      server.revoke("a", "u");
      for (const change of [
        () => server.grant("a", "w", { will: true }),
        () => server.grant("a", "x", { will: true }),
      ]) {
        const database = stage.world.database(stage.path);
        database.exec(`UPDATE channel SET next_sender = max(next_sender, ${next})`);
        database.close();
        change();
        const numbers = server
          .channel("a")
          .members.flatMap(({ sender, will }) => (will ? [sender, will] : [sender]));
        assert.equal(new Set(numbers).size, numbers.length, `${numbers}`);
        assert.ok(
          numbers.every((number) => number > 0 && number <= 65535),
          `${numbers}`,
        );
      }
      stage.start();
      for (const peer of stage.peers) peer.connect();
      await stage.run(10_000);
      assert.equal(stage.peers[3]?.open("a", stage.peers[2]?.seal("a") as Uint8Array), "text");
    }),
  );
}

test(
  "keyserver: refuses filters that can match the same topic, or control and epoch topics [V-1]",
  onStage((stage) => {
    const { server } = stage;
    server.createChannel("plant/+/temp");
    for (const filter of ["plant/1/temp", "plant/#", "+/1/+", "#", "plant/+/temp"]) {
      assert.throws(() => server.createChannel(filter), isRefused("FILTER_OVERLAP"), filter);
    }
    for (const filter of ["ampoule/+/up", "ampoule/#", "+/epoch/+", "ampoule/epoch/00", "+/+/down"]) {
      assert.throws(() => server.createChannel(filter), isRefused("FILTER_OVERLAP"), filter);
    }
    server.createChannel("plant/+/valve");
    server.createChannel("ampoule/other/topic/x");
    assert.equal(server.channels().length, 3);
  }),
);

test(
  "keyserver: a new member has from = open = announced + ahead + 1, and newcomers share one move [V-2]",
  onStage(async (stage) => {
    const { server } = stage;
    server.createChannel("a", { late: 3, ahead: 2 });
    for (const name of ["x", "y", "z"]) stage.peer(name);
    server.grant("a", "x");
    server.grant("a", "y");
    for (const name of ["x", "y"]) {
      const { from, open } = member(stage, "a", name);
      assert.deepEqual([from, open], [3, 3]);
    }
    assert.equal(server.channel("a").target, 3);
    stage.start();
    await stage.run(20_000);
    assert.equal(server.channel("a").step, 3);
    server.grant("a", "z");
    assert.deepEqual([member(stage, "a", "z").from, member(stage, "a", "z").open], [6, 6]);
    const moves = stage.heard("step").map((event) => event.detail);
    assert.deepEqual(moves, ["1", "2", "3"], "one step after another");
  }),
);

test(
  "keyserver: leases are renewed when less than half is left, and run out where they are not [K-4]",
  onStage((stage) => {
    const { server } = stage;
    server.createChannel("a", { leaseSteps: 16 });
    for (const name of ["renews", "expires"]) stage.peer(name);
    server.grant("a", "renews");
    server.grant("a", "expires", { renew: false });
    const end = member(stage, "a", "expires").to;
    for (let step = 0; step < 100; step++) {
      server.step("a");
      const { to } = member(stage, "a", "renews");
      assert.ok(to - server.channel("a").step >= 8 && (to + 1) % 16 === 0, `step ${step} of ${to}`);
      assert.equal(member(stage, "a", "expires").to, end);
    }
  }),
);

test(
  "keyserver: the last step of a generation is followed by a new one, at the moment of a grant too [V-2]",
  onStage((stage) => {
    const { server } = stage;
    server.createChannel("a");
    for (const name of ["x", "y"]) stage.peer(name);
    server.grant("a", "x");
    const database = stage.world.database(stage.path);
    database.exec("UPDATE channel SET step = 4000, target = 4000");
    database.close();
    for (let step = 4000; step < 4095; step++) server.step("a");
    assert.deepEqual([server.channel("a").generation, server.channel("a").step], [1, 4095]);
    assert.equal(member(stage, "a", "x").to, 4095);
    server.grant("a", "y");
    assert.deepEqual([server.channel("a").generation, server.channel("a").step], [2, 0]);
    assert.deepEqual([member(stage, "a", "y").open, member(stage, "a", "x").open], [2, 0]);
  }),
);

test(
  "keyserver: a channel made again after it was deleted begins at a generation never used",
  onStage((stage) => {
    const { server } = stage;
    server.createChannel("a");
    server.rotate("a");
    server.rotate("a");
    server.deleteChannel("a");
    assert.throws(() => server.channel("a"), isRefused("NO_CHANNEL"));
    assert.equal(server.createChannel("a").generation, 4);
  }),
);

test(
  "keyserver: refuses impossible parameters by name, and changes nothing",
  onStage((stage) => {
    const { server } = stage;
    const bad: ChannelParams[] = [
      { suite: 4 as 0 },
      { frameSize: 24 },
      { frameSize: 100 },
      { frameSize: 1032 },
      { frameSize: 16, shortTag: true },
      { late: 1, ahead: 1 },
      { late: 8 },
      { late: 1.5, ahead: 0 },
      { markBlock: 2 as 1 },
      { leaseSteps: 0 },
      { leaseSteps: 129 },
    ];
    for (const params of bad) {
      assert.throws(() => server.createChannel("a", params), isRefused("BAD_PARAMS"), JSON.stringify(params));
    }
    assert.throws(() => server.createChannel("a/+", { topicMode: 1 }), isRefused("BAD_PARAMS"));
    assert.deepEqual(server.channels(), []);
    server.createChannel("a", { frameSize: 24, shortTag: true, topicMode: 1, late: 7, ahead: 6 });
    assert.throws(() => server.grant("a", "nobody"), isRefused("NO_DEVICE"));
    server.provision("x");
    assert.throws(() => server.grant("b", "x"), isRefused("NO_CHANNEL"));
    assert.throws(() => server.grant("a", "x", { steps: 200 }), isRefused("BAD_LEASE"));
    assert.throws(() => server.revoke("a", "x"), isRefused("NOT_MEMBER"));
    assert.deepEqual([server.channel("a").members, server.channel("a").generation], [[], 1]);
  }),
);

test(
  "keyserver: device names are told apart from ids, and taken once",
  onStage((stage) => {
    const { server } = stage;
    for (const name of ["", " x", "a\nb", "x".repeat(65), "0123456789abcdef", "\u202ex"]) {
      assert.throws(() => server.provision(name), isRefused("BAD_NAME"), JSON.stringify(name));
    }
    const identity = server.provision("pump 7");
    assert.throws(() => server.provision("pump 7"), isRefused("NAME_TAKEN"));
    assert.deepEqual([identity.device.length, identity.key?.length, identity.realm], [8, 16, server.realm]);
    const id = Buffer.from(identity.device).toString("hex");
    assert.deepEqual(server.devices(), [{ id, name: "pump 7" }]);
    server.createChannel("a");
    server.grant("a", id);
    server.removeDevice("pump 7");
    assert.deepEqual([server.devices(), server.channel("a").members], [[], []]);
    assert.equal(server.channel("a").generation, 2, "the removed device held keys");
  }),
);

function member(stage: Stage, filter: string, name: string): MemberState {
  const found = stage.server.channel(filter).members.find((known) => known.name === name);
  assert.ok(found, `${name} is no member of ${filter}`);
  return found;
}

function numbersOf(stage: Stage, filter: string): number[] {
  return stage.server.channel(filter).members.flatMap(({ sender, will }) => [sender, will]);
}

function isRefused(code: ServerCode): (error: unknown) => boolean {
  return (error) => error instanceof ServerError && error.code === code;
}
