// The bridge's MQTT client: a session the broker keeps, and messages confirmed when the device has taken them.

import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { Relay } from "../bridge/bridge.ts";
import type { LinkOptions } from "../world.ts";
import { clientOptions, endClient, toBuffer } from "./link.ts";

export class MqttRelay implements Relay {
  onConnect: Relay["onConnect"] = () => {};
  onClose: Relay["onClose"] = () => {};
  onError: Relay["onError"] = () => {};
  onMessage: Relay["onMessage"] = (_message, done) => done(false);
  readonly #client: MqttClient;

  /** Does not connect yet. Throws for an address that is none. */
  constructor(url: string, options: LinkOptions & { clientId: string }) {
    const wanted: IClientOptions = {
      ...clientOptions({ ...options, clean: false }),
      queueQoSZero: false,
      // The device subscribes again by itself.
      resubscribe: false,
      manualConnect: true,
    };
    this.#client = mqtt.connect(url, wanted);
    this.#client.options.manualConnect = false;
    this.#client.on("connect", (packet) => this.onConnect(packet.sessionPresent));
    this.#client.on("close", () => this.onClose());
    this.#client.on("error", (error) => this.onError(error));
    // Called before PUBACK, which it holds back; with an error there is none.
    this.#client.handleMessage = (packet, done) => {
      const { topic, payload, retain, qos } = packet;
      const message = {
        topic,
        payload: new Uint8Array(Buffer.from(payload)),
        retained: retain === true,
        qos: qos === 0 ? (0 as const) : (1 as const),
      };
      this.onMessage(message, (isTaken) =>
        done(isTaken ? undefined : new Error("the device has not taken it")),
      );
    };
  }

  connect(): void {
    this.#client.connect();
  }

  publish(topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }): Promise<void> {
    const { qos, retain } = options;
    return this.#client.publishAsync(topic, toBuffer(payload), { qos, retain }).then(() => {});
  }

  async subscribe(filter: string, qos: 0 | 1): Promise<void> {
    const granted = await this.#client.subscribeAsync({ [filter]: { qos }, resubscribe: true } as never);
    if (granted.some((entry) => (entry.qos as number) >= 128))
      throw new Error(`the broker refuses ${filter}`);
  }

  end(): Promise<void> {
    return endClient(this.#client);
  }
}
