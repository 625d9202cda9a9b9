// The Last Will: given in clear, sealed under the member's will number before each CONNECT, and
// never sent in clear. A client that has no keys yet connects without it.

import type { IClientOptions } from "mqtt";
import type { Client } from "../client/client.ts";
import { RefusedError } from "../status.ts";

type WillPacket = NonNullable<IClientOptions["will"]>;

export class Will {
  readonly #options: IClientOptions;
  readonly #client: Client;
  readonly #onRefused: (error: unknown, topic: string) => void;
  /** What the application asked for. */
  #clear: WillPacket | undefined;
  /** What stands in the options of the connection, by us. */
  #placed: WillPacket | undefined;
  /** Sealed already, for the next CONNECT. */
  #next: WillPacket | undefined;
  /** Epoch announced when the will of this connection was sealed; null for a connection without it. */
  #sealed: { generation: number; step: number } | null = null;

  /** Takes the clear will out of the options, which are those of the MQTT client. */
  constructor(options: IClientOptions, client: Client, onRefused: (error: unknown, topic: string) => void) {
    this.#options = options;
    this.#client = client;
    this.#onRefused = onRefused;
    this.#collect();
  }

  /** Puts a sealed will into the options; to be called right before each CONNECT. */
  place(): void {
    this.#collect();
    if (this.#next === undefined && this.#clear !== undefined) this.#next = this.#seal(this.#clear);
    this.#placed = this.#next;
    this.#next = undefined;
    if (this.#placed === undefined) delete this.#options.will;
    else this.#options.will = this.#placed;
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

  /** A will the application has set, or removed, since. */
  #collect(): void {
    const { will } = this.#options;
    if (will === this.#placed) return;
    this.#clear = will;
    this.#next = undefined;
    this.#placed = undefined;
    delete this.#options.will;
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
