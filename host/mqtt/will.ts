// The Last Will: given in clear, sealed under the member's will number before each CONNECT, and
// never sent in clear. A client that has no keys yet connects without it.

import type { IClientOptions, MqttClient } from "mqtt";
import type { Client } from "../client/client.ts";
import { RefusedError } from "../status.ts";

type WillPacket = NonNullable<IClientOptions["will"]>;

export class Will {
  readonly #mqtt: Pick<MqttClient, "options">;
  readonly #client: Client;
  readonly #onRefused: (error: unknown, topic: string) => void;
  /** What the application asked for. */
  #clear: WillPacket | undefined;
  /** What stands in the options of the connection, by us, and as it was put there. */
  #placed: WillPacket | undefined;
  #asPlaced: WillPacket | undefined;
  /** What was asked for, by what was put in its place: an application may keep options of any connection. */
  readonly #origins = new WeakMap<WillPacket, WillPacket>();
  /** Sealed already, for the next CONNECT. */
  #next: WillPacket | undefined;
  /** Epoch announced when the will of this connection was sealed; null for a connection without it. */
  #sealed: { generation: number; step: number } | null = null;

  /** Takes the clear will out of the options of the client, which may be another object at each connection. */
  constructor(
    mqtt: Pick<MqttClient, "options">,
    client: Client,
    onRefused: (error: unknown, topic: string) => void,
  ) {
    this.#mqtt = mqtt;
    this.#client = client;
    this.#onRefused = onRefused;
    this.#collect();
  }

  /** Puts a sealed will into the options; to be called right before each CONNECT. */
  place(): void {
    this.#collect();
    if (this.#next === undefined && this.#clear !== undefined) this.#next = this.#seal(this.#clear);
    this.#put(this.#next);
    this.#next = undefined;
  }

  /**
   * True if the connection should be made anew: keys for the will have come, its generation is over,
   * or its step is the oldest one still read. A fresh will is sealed by then.
   */
  isDue(): boolean {
    if (this.#clear === undefined || this.#isPlain(this.#clear)) return false;
    if (!this.#isAged(this.#clear.topic)) return false;
    this.#next = this.#seal(this.#clear);
    return this.#next !== undefined;
  }

  /** A will the application has set, changed or removed since. */
  #collect(): void {
    const { will } = this.#mqtt.options;
    if (will === this.#placed && !this.#isChanged(will)) return;
    this.#clear = will === undefined ? undefined : this.#origin(will);
    this.#next = undefined;
    this.#put(undefined);
  }

  #put(will: WillPacket | undefined): void {
    const { options } = this.#mqtt;
    if (will === undefined) delete options.will;
    else options.will = will;
    this.#placed = will;
    this.#asPlaced = will && { ...will };
    if (will !== undefined && this.#clear !== undefined) this.#origins.set(will, this.#clear);
  }

  /** True if the application wrote into the will that was put there. */
  #isChanged(will: WillPacket | undefined): boolean {
    return will !== undefined && changes(will, this.#asPlaced).length > 0;
  }

  /** What the application means by a will it has set: one of ours, copied or changed, is not sealed twice. */
  #origin(will: WillPacket): WillPacket {
    const known = this.#origins.get(will);
    if (known !== undefined && will !== this.#placed) return known;
    const placed = this.#asPlaced;
    if (placed === undefined || this.#clear === undefined) return will;
    if (will !== this.#placed && !isSame(will.payload, placed.payload)) return will;
    return { ...this.#clear, ...Object.fromEntries(changes(will, placed)) };
  }

  /** An empty will clears a topic, and a clear topic has no keys. */
  #isPlain(will: WillPacket): boolean {
    return will.payload.length === 0 || this.#client.isClear(will.topic);
  }

  #isAged(topic: string): boolean {
    const channel = this.#client.channelFor(topic);
    if (channel === undefined) return false;
    if (this.#sealed === null || this.#sealed.generation !== channel.generation) return true;
    return channel.step - this.#sealed.step >= channel.late;
  }

  #seal(will: WillPacket): WillPacket | undefined {
    const { topic } = will;
    this.#sealed = null;
    if (this.#isPlain(will)) return will;
    try {
      const channel = this.#client.channelFor(topic);
      const [payload, ...more] = this.#client.protect(topic, Buffer.from(will.payload), { will: true });
      // A broker publishes one payload for a will: a message of several in a narrow channel is none.
      if (payload === undefined || more.length > 0) throw new RefusedError("BAD_LENGTH", topic);
      if (channel !== undefined) this.#sealed = { generation: channel.generation, step: channel.step };
      return { ...will, payload: Buffer.from(payload), ...withoutFormat(will.properties) };
    } catch (error) {
      this.#onRefused(error, topic);
      return undefined;
    }
  }
}

/** A frame is not UTF-8, and brokers may check. */
function withoutFormat(properties: WillPacket["properties"]): Pick<WillPacket, "properties"> {
  if (properties === undefined) return {};
  const { payloadFormatIndicator: _, ...rest } = properties;
  return { properties: rest };
}

/** Fields of a will that are not as they were. */
function changes(will: WillPacket, before: WillPacket | undefined): [string, unknown][] {
  const old = new Map<string, unknown>(Object.entries(before ?? {}));
  return Object.entries(will).filter(([field, value]) => !isSame(value, old.get(field)));
}

/** Equal, or of equal bytes. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
}
