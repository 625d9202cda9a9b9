// From a concrete topic to the channel that seals it. A channel is known by the hash of its filter
// only, so filters that could match are hashed and looked up among the channels held.

import type { ChannelInfo, Device } from "../core/device.ts";
import { BoundedMap } from "./bounded.ts";
import { candidates, match } from "./filter.ts";

const TOPICS_MAX = 4096;
/** Filters found from topics that are kept beside the configured ones. */
const FOUND_MAX = 256;

export class Lookup {
  readonly #device: Device;
  /** Configured filters, and their channel ids. */
  readonly #known: { filter: string; id: Uint8Array }[];
  readonly #found = new BoundedMap<Uint8Array>(FOUND_MAX);
  /** Channel id of a topic; null if no held channel has it. Valid until keys change. */
  readonly #topics = new BoundedMap<Uint8Array | null>(TOPICS_MAX);

  constructor(device: Device, filters: string[]) {
    this.#device = device;
    this.#known = filters.map((filter) => ({ filter, id: device.channelId(filter) }));
  }

  /** The held channel whose filter matches the topic: at most one, as the server refuses overlaps. */
  find(topic: string): ChannelInfo | undefined {
    const cached = this.#topics.get(topic);
    if (cached === null) return undefined;
    if (cached !== undefined) return this.#device.channel(cached);
    const channel = this.#search(topic);
    this.#topics.set(topic, channel?.id ?? null);
    return channel;
  }

  /** Channels came or went: what was absent may be held now. */
  refresh(): void {
    this.#topics.clear();
  }

  #search(topic: string): ChannelInfo | undefined {
    for (const { filter, id } of this.#known) {
      const channel = match(filter, topic) ? this.#device.channel(id) : undefined;
      if (channel !== undefined) return channel;
    }
    for (const [filter, id] of this.#found.entries()) {
      const channel = match(filter, topic) ? this.#device.channel(id) : undefined;
      if (channel !== undefined) return channel;
    }
    if (this.#device.channels().length === 0) return undefined;
    return this.#guess(topic);
  }

  #guess(topic: string): ChannelInfo | undefined {
    for (const filter of candidates(topic)) {
      const id = this.#device.channelId(filter);
      const channel = this.#device.channel(id);
      if (channel === undefined) continue;
      this.#found.set(filter, id);
      return channel;
    }
    return undefined;
  }
}
