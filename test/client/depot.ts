// A key server and its devices in one process, without a broker: payloads are handed over directly.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type ChannelParams,
  Client,
  KeyServer,
  type Link,
  MemoryStore,
  nodeWorld,
} from "../../host/index.ts";

const WAIT_MS = 10_000;

class DirectLink implements Link {
  onConnect: Link["onConnect"] = () => {};
  onMessage: Link["onMessage"] = () => {};
  onError: Link["onError"] = () => {};
  onClose: Link["onClose"] = () => {};
  readonly clients = new Set<Client>();

  connect(): void {
    queueMicrotask(() => this.onConnect(false));
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    await Promise.resolve();
    for (const client of this.clients) {
      if (!client.controlTopics().includes(topic)) continue;
      const received = client.receive(topic, payload);
      if (received.kind !== "control") continue;
      for (const reply of received.replies) this.answer(reply.topic, reply.payload);
    }
  }

  answer(topic: string, payload: Uint8Array): void {
    queueMicrotask(() => this.onMessage(topic, payload, false));
  }

  async subscribe(): Promise<void> {}
  async end(): Promise<void> {}
}

/** Devices that are members of one channel, with everything they need in their stores. */
export async function provisioned(
  names: string[],
  filter: string,
  params: ChannelParams,
): Promise<MemoryStore[]> {
  const world = nodeWorld();
  const unlock = { passphrase: "only for tests" };
  const server = KeyServer.create({ world, path: ":memory:", unlock, tuning: { batch: 10, poll: 10 } });
  server.createChannel(filter, params);
  const link = new DirectLink();
  const stores = names.map((name) => new MemoryStore(server.provision(name)));
  for (const store of stores) link.clients.add(new Client({ store, world }));
  for (const name of names) server.grant(filter, name);
  server.start(link);
  await sleep(20);
  for (const client of link.clients) {
    const { topic, payload } = client.hello();
    link.answer(topic, payload);
  }
  const deadline = Date.now() + WAIT_MS;
  const ready = (): boolean => {
    const { step, target } = server.channel(filter);
    return step === target && server.status().every(({ state }) => state === "in sync");
  };
  while (!ready()) {
    if (Date.now() > deadline) throw new Error("waited in vain for the devices to get their keys");
    await sleep(10);
  }
  await server.stop();
  server.close();
  return stores;
}
