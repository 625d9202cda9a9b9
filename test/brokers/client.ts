// A plain MQTT client with an inbox that is there before the first message.

import { setTimeout as sleep } from "node:timers/promises";
import mqtt, { type IClientOptions, type IConnackPacket, type MqttClient } from "mqtt";
import type { Broker } from "../support/brokers.ts";

export interface Message {
  topic: string;
  text: string;
  qos: number;
  retain: boolean;
}

export interface Client {
  mqtt: MqttClient;
  inbox: Message[];
  connack: IConnackPacket;
}

const WAIT_MS = 10_000;

/** Connects; the inbox holds everything the broker sends from its first packet on. */
export function open(broker: Broker, options: IClientOptions = {}): Promise<Client> {
  const client = mqtt.connect(broker.url, {
    reconnectPeriod: 0,
    connectTimeout: WAIT_MS,
    ...broker.options,
    ...options,
  });
  const inbox: Message[] = [];
  client.on("message", (topic, payload, { qos, retain }) => {
    inbox.push({ topic, text: payload.toString(), qos, retain });
  });
  return new Promise((resolve, reject) => {
    client.once("connect", (connack) => {
      client.off("error", reject);
      client.on("error", () => {});
      resolve({ mqtt: client, inbox, connack });
    });
    client.once("error", reject);
    client.once("close", () => reject(new Error(`${broker.name} closed the connection`)));
  });
}

/** Returns once `holds` does; fails by name after ten seconds. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(10);
  }
}
