// A plain MQTT client for questions to a broker: every answer comes within a time limit.

import { randomBytes } from "node:crypto";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { Broker } from "../broker.ts";

const ANSWER_MS = 3000;

export interface Seen {
  topic: string;
  payload: Buffer;
  retained: boolean;
}

/** One connection. `messages` gathers everything that arrives from the first moment on. */
export class Wire {
  readonly client: MqttClient;
  readonly messages: Seen[] = [];
  /** Maximum packet size the broker announces (MQTT 5), else undefined. */
  maximumPacketSize: number | undefined;
  sessionPresent = false;
  #arrived: () => void = () => {};

  private constructor(client: MqttClient) {
    this.client = client;
    client.on("message", (topic, payload, packet) => {
      this.messages.push({ topic, payload, retained: packet.retain === true });
      this.#arrived();
    });
    client.on("error", () => {});
  }

  /** Rejects when the broker refuses or does not answer. */
  static async open({ url, options }: Broker, more: IClientOptions = {}): Promise<Wire> {
    const clientId = `ampoule-doctor-${randomBytes(6).toString("hex")}`;
    const wanted: IClientOptions = {
      ...(options as IClientOptions),
      clientId,
      connectTimeout: ANSWER_MS,
      reconnectPeriod: 0,
      manualConnect: true,
      ...more,
    };
    const wire = new Wire(mqtt.connect(url, wanted));
    await wire.#connect();
    return wire;
  }

  #connect(): Promise<void> {
    const { client } = this;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => end(new Error("the broker does not answer")), ANSWER_MS);
      const end = (error?: Error): void => {
        clearTimeout(timer);
        if (error === undefined) resolve();
        else {
          client.end(true);
          reject(error);
        }
      };
      client.once("error", end);
      client.once("close", () => end(new Error("the broker closed the connection")));
      client.once("connect", (connack) => {
        this.maximumPacketSize = connack.properties?.maximumPacketSize;
        this.sessionPresent = connack.sessionPresent;
        end();
      });
      client.connect();
    });
  }

  /** True if the broker grants the subscription. */
  async subscribe(filter: string, qos: 0 | 1 | 2): Promise<boolean> {
    const granted = await within(this.client.subscribeAsync(filter, { qos }).catch(() => []));
    return granted.length > 0 && granted.every((entry) => (entry.qos as number) < 128);
  }

  async publish(topic: string, payload: Buffer, qos: 0 | 1 | 2, retain = false): Promise<void> {
    await within(this.client.publishAsync(topic, payload, { qos, retain }));
  }

  /** The first message `test` accepts, among those seen and those to come; undefined after the limit. */
  async expect(test: (seen: Seen) => boolean, ms = ANSWER_MS): Promise<Seen | undefined> {
    const end = Date.now() + ms;
    for (;;) {
      const found = this.messages.find(test);
      const left = end - Date.now();
      if (found !== undefined || left <= 0) return found;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#arrived = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async close(): Promise<void> {
    await within(this.client.endAsync()).catch(() => this.client.end(true));
  }
}

function within<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the broker does not answer")), ANSWER_MS);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}
