// The key server's MQTT connection: the plain client behind the Link interface.

import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { Link, LinkOptions } from "../world.ts";

/** How long `end()` waits for what is on its way before it closes the connection anyway. */
const END_MS = 2000;
/** A persistent session of MQTT 5 has to be asked for: a week, as brokers allow it. */
const SESSION_SECONDS = 7 * 24 * 3600;

export class MqttLink implements Link {
  onConnect: Link["onConnect"] = () => {};
  onMessage: Link["onMessage"] = () => {};
  onError: Link["onError"] = () => {};
  onClose: Link["onClose"] = () => {};
  readonly #client: MqttClient;
  readonly #pending = new Set<(error: Error) => void>();
  #ended = false;

  /** Does not connect yet. Throws for an address that is none. */
  constructor(url: string, options: LinkOptions) {
    this.#client = mqtt.connect(url, { ...clientOptions(options), manualConnect: true });
    // Left on, it makes MQTT.js reconnect after an end() that came before the CONNACK.
    this.#client.options.manualConnect = false;
    this.#client.on("connect", (packet) => this.onConnect(packet.sessionPresent));
    this.#client.on("message", (topic, payload, packet) =>
      this.onMessage(topic, new Uint8Array(payload), packet.retain),
    );
    this.#client.on("error", (error) => this.onError(error));
    this.#client.on("close", () => this.onClose());
  }

  connect(): void {
    this.#client.connect();
  }

  /** Rejects when the broker refuses it, or when the link ends before the broker took it. */
  publish(topic: string, payload: Uint8Array, options: { qos: 0 | 1; retain: boolean }): Promise<void> {
    return this.#settled((done) => {
      this.#client.publish(topic, toBuffer(payload), options, done);
    });
  }

  subscribe(filter: string, qos: 0 | 1): Promise<void> {
    return this.#settled((done) => {
      this.#client.subscribe(filter, { qos }, (error) => done(error ?? undefined));
    });
  }

  /** Waits a moment for acknowledgements, then closes. May be called twice. */
  async end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await endClient(this.#client);
    for (const reject of [...this.#pending]) reject(new Error("the link has ended"));
  }

  #settled(start: (done: (error?: Error) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(new Error("the link has ended"));
        return;
      }
      this.#pending.add(reject);
      start((error) => {
        this.#pending.delete(reject);
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
  }
}

export function clientOptions(options: LinkOptions): IClientOptions {
  const { ca, cert, key, ...rest } = options;
  const result: IClientOptions = { ...rest };
  if (ca !== undefined) result.ca = pem(ca);
  if (cert !== undefined) result.cert = pem(cert);
  if (key !== undefined) result.key = pem(key);
  if (options.protocolVersion === 5 && options.clean === false) {
    result.properties = { sessionExpiryInterval: SESSION_SECONDS };
  }
  return result;
}

function pem(value: Uint8Array | string): Buffer | string {
  return typeof value === "string" ? value : toBuffer(value);
}

/** The same bytes as a Buffer: MQTT.js takes no plain Uint8Array. */
export function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Ends a client in good order, and where the broker does not answer all the same. */
export function endClient(client: MqttClient): Promise<void> {
  return new Promise((resolve) => {
    if (client.stream === undefined) {
      resolve();
      return;
    }
    if (!client.connected) {
      client.end(true, () => resolve());
      return;
    }
    const timer = setTimeout(() => {
      client.stream.destroy();
      resolve();
    }, END_MS);
    client.end(false, () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
