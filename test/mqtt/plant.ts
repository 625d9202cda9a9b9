// A realm on a real broker: a key server, members behind MQTT.js, and a plain client that sees what
// the broker sees.

import { setTimeout as sleep } from "node:timers/promises";
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import {
  type ChannelParams,
  Client,
  KeyServer,
  type LinkOptions,
  MemoryStore,
  MqttLink,
  nodeWorld,
  type ProtectedClient,
  type ProtectedPacket,
  type ProtectOptions,
  protect,
  type Refusal,
} from "../../host/index.ts";
import type { Broker } from "../support/brokers.ts";

const WAIT_MS = 60_000;
const QUICK: ProtectOptions = { quietMs: 150, drainMs: 3000, tickMs: 200, willSpreadMs: 0 };

export interface Member {
  readonly name: string;
  readonly store: MemoryStore;
  readonly client: Client;
  readonly mqtt: ProtectedClient;
  /** "topic=text" in the order of arrival. */
  readonly texts: string[];
  readonly packets: ProtectedPacket[];
  readonly refused: Refusal[];
  readonly errors: string[];
}

export interface Spy {
  readonly mqtt: MqttClient;
  readonly seen: IPublishPacket[];
}

/** Returns once `holds` does; fails by name. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(10);
  }
}

export class Plant {
  readonly broker: Broker;
  readonly server: KeyServer;
  readonly events: string[] = [];
  readonly #open: MqttClient[] = [];

  constructor(broker: Broker) {
    this.broker = broker;
    this.server = KeyServer.create({
      world: nodeWorld(),
      path: ":memory:",
      unlock: { passphrase: "only for tests" },
      tuning: { batch: 20, poll: 20, resend: 2000 },
    });
    this.server.onEvent = ({ kind, detail }) => this.events.push(`${kind} ${detail ?? ""}`);
    this.server.start(
      new MqttLink(broker.url, { ...linkOptions(broker), clientId: "key-server", clean: false }),
    );
  }

  channel(filter: string, params: ChannelParams = {}): void {
    this.server.createChannel(filter, params);
  }

  /** A new device that holds the keys of its channels and is connected. */
  async member(
    name: string,
    channels: string[],
    options: IClientOptions = {},
    settings: ProtectOptions = {},
  ): Promise<Member> {
    const store = new MemoryStore(this.server.provision(name));
    for (const filter of channels) this.server.grant(filter, name, { will: true });
    const member = this.attach(name, store, options, settings);
    member.mqtt.connect();
    await until(`${name} to connect`, () => member.mqtt.connected);
    await this.settled(member);
    return member;
  }

  /** A client over a store, not yet connected: a device that boots. */
  attach(
    name: string,
    store: MemoryStore,
    options: IClientOptions = {},
    settings: ProtectOptions = {},
  ): Member {
    store.powerOn();
    const client = new Client({ store, world: nodeWorld() });
    const inner = mqtt.connect(this.broker.url, {
      reconnectPeriod: 100,
      clientId: `member-${name}`,
      ...this.broker.options,
      ...options,
      manualConnect: true,
    });
    const shim = protect(inner, client, { ...QUICK, ...settings });
    const member: Member = {
      name,
      store,
      client,
      mqtt: shim,
      texts: [],
      packets: [],
      refused: [],
      errors: [],
    };
    shim.on("message", (topic, text, packet) => {
      member.texts.push(`${topic}=${text}`);
      member.packets.push(packet);
    });
    shim.on("refused", (refusal) => member.refused.push(refusal));
    shim.on("error", (error) => member.errors.push(error.message));
    this.#open.push(inner);
    return member;
  }

  /** A plain client that subscribes to everything. */
  async spy(filter = "#", options: IClientOptions = {}): Promise<Spy> {
    const client = mqtt.connect(this.broker.url, { ...this.broker.options, ...options });
    this.#open.push(client);
    const seen: IPublishPacket[] = [];
    client.on("message", (_topic, _payload, packet) => seen.push(packet));
    await client.subscribeAsync(filter, { qos: 1 });
    return { mqtt: client, seen };
  }

  /** The given members have what they should have, and are at the step of each of their channels. */
  async settled(...members: Member[]): Promise<void> {
    const current = (member: Member): boolean => {
      const status = this.server.status().find(({ name }) => name === member.name);
      return (
        status?.state === "in sync" &&
        status.channels.every((filter) => {
          const { step, target } = this.server.channel(filter);
          return step === target && stepOf(member, filter) === step;
        })
      );
    };
    for (const member of members) await until(`${member.name} to settle`, () => current(member));
  }

  /** Moves a channel by steps, one after another, as every given member follows. */
  async step(filter: string, count: number, ...members: Member[]): Promise<void> {
    for (let n = 0; n < count; n++) {
      this.server.step(filter);
      const { step } = this.server.channel(filter);
      await until(`step ${step} of ${filter}`, () =>
        members.every((member) => stepOf(member, filter) >= step),
      );
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((client) => client.endAsync(true).catch(() => {})));
    await this.server.stop();
    this.server.close();
    await this.broker.dispose();
  }
}

export function stepOf({ client }: Member, filter: string): number {
  return client.device.channel(client.device.channelId(filter))?.step ?? -1;
}

export function generationOf({ client }: Member, filter: string): number {
  return client.device.channel(client.device.channelId(filter))?.generation ?? 0;
}

export const statuses = ({ refused }: Member): string[] => refused.map(({ status }) => status);

function linkOptions({ options }: Broker): LinkOptions {
  const { username, password, ca } = options;
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: String(password) }),
    ...(ca === undefined ? {} : { ca: String(ca) }),
  };
}
