// A life of a device as lines for test/packaging/run/script.c: what a real key server sends it, what other members seal,
// and when it seals itself. The same bytes lead any device with this identity to the same state.

import { setTimeout as sleep } from "node:timers/promises";
import { toHex } from "../../host/bytes.ts";
import { Client, KeyServer, type Link, MemoryStore, nodeWorld } from "../../host/index.ts";

export const FILTER = "plant/+/live";
export const OWN_TOPIC = "plant/boiler/live";
const WAIT_MS = 20_000;

class Recorder implements Link {
  onConnect: Link["onConnect"] = () => {};
  onMessage: Link["onMessage"] = () => {};
  onError: Link["onError"] = () => {};
  onClose: Link["onClose"] = () => {};
  readonly clients: Client[] = [];
  /** Whose life it is, and what came to it. */
  subject: Client | undefined;
  readonly lines: string[] = [];

  connect(): void {
    queueMicrotask(() => this.onConnect(false));
  }

  async publish(topic: string, payload: Uint8Array): Promise<void> {
    await Promise.resolve();
    for (const client of this.clients) {
      if (!client.controlTopics().includes(topic)) continue;
      if (client === this.subject) this.lines.push(`receive ${topic} ${toHex(payload)}`);
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

/** Text of the device's own messages, and those of the other member, in order. */
export interface Life {
  script: string;
  texts: string[];
  downTopic: string;
  upTopic: string;
}

export async function recordLife(): Promise<Life> {
  const world = nodeWorld();
  const server = KeyServer.create({
    world,
    path: ":memory:",
    unlock: { passphrase: "only for tests" },
    tuning: { batch: 5, poll: 5 },
  });
  const link = new Recorder();
  server.start(link);
  const identity = server.provision("boiler");
  const secrets = [identity.realm, identity.device, identity.key ?? new Uint8Array()].map(toHex);
  const identityLine = ["identity", ...secrets, identity.prefix].join(" ");
  const boiler = new Client({ store: new MemoryStore(identity), world });
  const desk = new Client({ store: new MemoryStore(server.provision("desk")), world });
  link.clients.push(boiler, desk);
  link.subject = boiler;
  const texts: string[] = [];
  const settled = async (): Promise<void> => {
    const end = Date.now() + WAIT_MS;
    for (let quiet = 0; quiet < 3; await sleep(10)) {
      const all = server.status().every(({ state }) => state === "in sync");
      quiet = all && server.channels().every(({ step, target }) => step === target) ? quiet + 1 : 0;
      if (Date.now() > end) throw new Error("the key server and its devices do not come together");
    }
  };
  const talk = (times: number): void => {
    for (let i = 0; i < times; i++) {
      const text = `message ${texts.length} of the desk`;
      texts.push(text);
      for (const payload of desk.protect("plant/desk/live", text)) {
        link.lines.push(`receive plant/desk/live ${toHex(payload)}`);
      }
      link.lines.push(`seal ${OWN_TOPIC} ${toHex(Buffer.from(`reading ${i}`))}`);
    }
  };
  try {
    server.createChannel(FILTER, { frameSize: 64, markBlock: 1 });
    for (const name of ["boiler", "desk"]) server.grant(FILTER, name);
    for (const client of link.clients) {
      const { topic, payload } = client.hello();
      link.answer(topic, payload);
    }
    await settled();
    talk(6);
    server.step(FILTER);
    await settled();
    talk(4);
    server.rotate(FILTER);
    await settled();
    talk(4);
    const script = `${[identityLine, ...link.lines].join("\n")}\n`;
    return { script, texts, downTopic: boiler.device.downTopic, upTopic: boiler.device.upTopic };
  } finally {
    await server.stop();
    server.close();
  }
}
