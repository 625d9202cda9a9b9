// Whoever listens at the broker: sees every byte, holds no key. Also the attacker's hands.

import { closeSync, openSync, writeSync } from "node:fs";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { LinkOptions } from "../world.ts";

/** What one frame shows to everybody (SPEC section 6). */
export interface FrameView {
  topic: string;
  frame: Buffer;
  /** Low four bits of generation and step. */
  hint: number;
  sender: number;
  counter: number;
}

export interface Tapped {
  topic: string;
  payload: Buffer;
  /** Put there by inject(). */
  injected: boolean;
}

/** Line of the broker's log: time, topic, payload in hex. */
export function logLine(topic: string, payload: Buffer): string {
  return `${new Date().toISOString()} ${topic} ${payload.toString("hex")}\n`;
}

export class Tap {
  readonly seen: Tapped[] = [];
  onMessage: (message: Tapped) => void = () => {};
  readonly #client: MqttClient;
  injected = 0;
  /** Injected and not come back from the broker yet. */
  readonly #expected: Buffer[] = [];
  #log: number | undefined;

  private constructor(client: MqttClient) {
    this.#client = client;
  }

  /** Listens to all `filters` from the moment it resolves. */
  static async open(url: string, link: LinkOptions, filters: string[]): Promise<Tap> {
    const client = mqtt.connect(url, {
      ...(link as IClientOptions),
      manualConnect: true,
      reconnectPeriod: 0,
      connectTimeout: 5000,
    });
    const tap = new Tap(client);
    client.on("message", (topic, payload) => tap.#take(topic, payload));
    await new Promise<void>((resolve, reject) => {
      client.once("connect", () => resolve());
      client.once("error", reject);
      client.once("close", () => reject(new Error(`no connection to ${url}`)));
      client.connect();
    });
    client.on("error", () => {});
    await client.subscribeAsync(filters, { qos: 1 });
    return tap;
  }

  #take(topic: string, payload: Buffer): void {
    const at = this.#expected.findIndex((bytes) => bytes.equals(payload));
    if (at >= 0) this.#expected.splice(at, 1);
    const message = { topic, payload, injected: at >= 0 };
    this.seen.push(message);
    if (this.#log !== undefined) writeSync(this.#log, logLine(topic, payload));
    this.onMessage(message);
  }

  /** Writes down everything from here on, for a broker that writes nothing itself. */
  writeLog(path: string): void {
    this.#log = openSync(path, "a", 0o600);
  }

  /** Puts bytes on the wire as they are, as anyone at the broker can. */
  async inject(topic: string, payload: Buffer): Promise<void> {
    this.#expected.push(payload);
    this.injected += 1;
    await this.#client.publishAsync(topic, payload, { qos: 1 });
  }

  /** Frames of the members, without what was injected and without control messages. */
  frames(belongs: (topic: string) => boolean, frameSize: number): FrameView[] {
    const own = this.seen.filter(
      ({ topic, payload, injected }) =>
        !injected && belongs(topic) && payload.length > 0 && payload.length % frameSize === 0,
    );
    return own.flatMap(({ topic, payload }) => split(topic, payload, frameSize));
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true).catch(() => {});
    if (this.#log !== undefined) closeSync(this.#log);
    this.#log = undefined;
  }
}

function split(topic: string, payload: Buffer, frameSize: number): FrameView[] {
  const frames: FrameView[] = [];
  for (let at = 0; at < payload.length; at += frameSize) {
    const frame = payload.subarray(at, at + frameSize);
    frames.push({
      topic,
      frame,
      hint: frame.readUInt8(1),
      sender: frame.readUInt16LE(2),
      counter: frame.readUInt16LE(4),
    });
  }
  return frames;
}
