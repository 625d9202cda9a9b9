// The last retained text this client published on each topic, to be sealed again when the step or
// the generation of its channel moves: else it ages until nobody can open it (SPEC V-9).

import type { IClientPublishOptions } from "mqtt";
import { BoundedMap } from "../client/bounded.ts";
import type { ChannelInfo } from "../core/device.ts";

export interface RetainedText {
  text: Uint8Array;
  options: IClientPublishOptions;
}

interface Entry extends RetainedText {
  epoch: string;
}

export class Retained {
  readonly #entries: BoundedMap<Entry>;

  /** With `max` topics; the one published longest ago is forgotten for another. */
  constructor(max: number) {
    this.#entries = new BoundedMap(max);
  }

  remember(topic: string, channel: ChannelInfo, value: RetainedText): void {
    const { text, options } = value;
    this.#entries.set(topic, { text: text.slice(), options, epoch: epochOf(channel) });
  }

  /** Cleared, or somebody else's by now: sealing ours again would bring an old value back. */
  forget(topic: string): void {
    this.#entries.delete(topic);
  }

  /** Values sealed in another epoch than their channel's current one; each is named once for an epoch. */
  aged(channelFor: (topic: string) => ChannelInfo | undefined): [string, RetainedText][] {
    const aged: [string, RetainedText][] = [];
    for (const [topic, entry] of this.#entries.entries()) {
      const channel = channelFor(topic);
      if (channel === undefined || epochOf(channel) === entry.epoch) continue;
      entry.epoch = epochOf(channel);
      aged.push([topic, entry]);
    }
    return aged;
  }
}

function epochOf(channel: ChannelInfo): string {
  return `${channel.generation} ${channel.step}`;
}
