// What a client asks of the real key server, on the real core: counters for a device without storage,
// and news for values that it cannot open.

import assert from "node:assert/strict";
import { Client } from "../../host/client/client.ts";
import { RefusedError } from "../../host/status.ts";
import { MemoryStore } from "../../host/store/memory.ts";
import { ENGINE, type HubLink, onStage, type Stage } from "../keyserver/stage.ts";
import { test } from "../support/engines.ts";

/** A client on the hub of a stage, which obeys as the MQTT shim does. */
class Member {
  readonly client: Client;
  readonly texts: string[] = [];
  readonly statuses: string[] = [];
  hellos = 0;
  keys = 0;
  readonly #link: HubLink;
  readonly #subscribed = new Set<string>();

  constructor(stage: Stage, name: string, kind: 0 | 1 = 0) {
    const store = new MemoryStore(stage.server.provision(name));
    this.client = new Client({ store, world: stage.world, engine: ENGINE, class: kind });
    this.client.onKeys = () => this.keys++;
    this.#link = stage.hub.link();
    this.#link.onMessage = (topic, payload, retained) => this.#take(topic, payload, retained);
  }

  connect(): void {
    this.#link.onConnect = () => {
      this.#subscribe();
      this.#hello(this.client.hello());
    };
    this.#link.connect();
  }

  disconnect(): void {
    this.#link.cut();
  }

  subscribe(filter: string): void {
    void this.#link.subscribe(filter);
  }

  /** Status of the refusal, or "OK". */
  publish(topic: string, text: string, retain = false): string {
    try {
      for (const payload of this.client.protect(topic, text))
        void this.#link.publish(topic, payload, { retain });
      return "OK";
    } catch (error) {
      if (error instanceof RefusedError) return error.status;
      throw error;
    } finally {
      this.#ask();
    }
  }

  tick(): void {
    this.client.tick();
    this.#ask();
  }

  #take(topic: string, payload: Uint8Array, retained: boolean): void {
    try {
      const received = this.client.receive(topic, payload, { retained });
      if (received.kind === "text") this.texts.push(`${topic}=${Buffer.from(received.text)}`);
      if (received.kind !== "control") return;
      this.#subscribe();
      for (const reply of received.replies)
        void this.#link.publish(reply.topic, reply.payload, { retain: false });
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      this.statuses.push(error.status);
    } finally {
      this.#ask();
    }
  }

  #ask(): void {
    const hello = this.client.wantedHello();
    if (hello !== null) this.#hello(hello);
  }

  #hello({ topic, payload }: { topic: string; payload: Uint8Array }): void {
    this.hellos += 1;
    void this.#link.publish(topic, payload, { retain: false });
  }

  #subscribe(): void {
    for (const topic of this.client.controlTopics()) {
      if (this.#subscribed.has(topic)) continue;
      this.#subscribed.add(topic);
      void this.#link.subscribe(topic);
    }
  }
}

test(
  "asks: a device without storage gets new counters whenever it has used up those it had [P-4] [C-18]",
  onStage(
    async (stage) => {
      stage.server.createChannel("a");
      stage.start();
      const member = new Member(stage, "small", 1);
      stage.server.grant("a", "small");
      member.connect();
      await stage.run(5000);
      const before = member.hellos;
      let sealed = 0;
      let refused = 0;
      for (let n = 0; n < 100; n++) {
        const status = member.publish("a", `${n}`);
        if (status === "OK") {
          sealed += 1;
          continue;
        }
        assert.equal(status, "NO_GRANT");
        refused += 1;
        const { keys } = member;
        await stage.run(1000);
        assert.ok(member.keys > keys, "the application is told that it may try again");
      }
      assert.ok(refused >= 4 && sealed >= 80, `${sealed} sealed, ${refused} refused`);
      assert.equal(member.hellos - before, refused, "one hello for each block of counters");
      member.disconnect();
    },
    { tuning: { counterBlock: 16 } },
  ),
);

test(
  "asks: a server that is away is asked again with growing pauses, until counters come [P-4] [C-18]",
  onStage(
    async (stage) => {
      stage.server.createChannel("a");
      stage.start();
      const member = new Member(stage, "small", 1);
      stage.server.grant("a", "small");
      member.connect();
      await stage.run(5000);
      while (member.publish("a", "x") === "OK");
      stage.hub.loss = 1;
      await stage.run(1000);
      const before = member.hellos;
      for (let n = 0; n < 60; n++) {
        member.tick();
        await stage.run(4000);
      }
      assert.equal(member.hellos - before, 6, "after 1, 2, 4, 8, 16 and 32 ticks");
      stage.hub.loss = 0;
      for (let n = 0; n < 10; n++) {
        member.tick();
        await stage.run(4000);
      }
      assert.equal(member.publish("a", "y"), "OK");
      member.disconnect();
    },
    { tuning: { counterBlock: 16 } },
  ),
);

test(
  "asks: a thousand stored values that are too old to be read make few hellos [R-11] [R-13]",
  onStage(async (stage) => {
    stage.server.createChannel("a/#", { late: 2 });
    stage.start();
    const [writer, reader] = [new Member(stage, "writer"), new Member(stage, "reader")];
    for (const name of ["writer", "reader"]) stage.server.grant("a/#", name);
    for (const member of [writer, reader]) member.connect();
    await stage.run(5000);
    for (let n = 0; n < 1000; n++) assert.equal(writer.publish(`a/${n}`, "old", true), "OK");
    await stage.run(1000);
    for (let n = 0; n < 5; n++) {
      stage.server.step("a/#");
      await stage.run(2000);
    }
    assert.equal(writer.publish("a/fresh", "new", true), "OK");
    const before = reader.hellos;
    stage.hub.jitter = 40_000;
    reader.subscribe("a/#");
    for (let n = 0; n < 80; n++) {
      await stage.run(500);
      if (n % 8 === 0) reader.tick();
    }
    const named = new Set(reader.statuses);
    assert.equal(reader.statuses.length + reader.texts.length, 1001);
    assert.ok(
      ["BAD_TAG", "NO_LEASE", "UNKNOWN_EPOCH"].some((status) => named.has(status)),
      [...named].join(),
    );
    const hellos = reader.hellos - before;
    assert.ok(hellos >= 1 && hellos <= 11, `${hellos} hellos`);
    for (const member of [writer, reader]) member.disconnect();
  }),
);
