// What the demo and its device processes say to each other over IPC.

import type { LinkOptions } from "../world.ts";
import type { MetricName } from "./metrics.ts";

/** First message to a device process. */
export interface DeviceConfig {
  name: string;
  identity: string;
  url: string;
  /** How the broker lets it in. */
  link: LinkOptions;
  /** Filter it subscribes to, and the channel's own. */
  filter: string;
  /** Topic it publishes to. */
  topic: string;
  /** What it measures; null reads only. */
  metric: MetricName | null;
  intervalMs: number;
  /** Payloads whose keys may be on their way are tried again for so long, then refused by name. */
  holdMs: number;
  engine: string;
}

export type Order =
  | { order: "start"; config: DeviceConfig }
  | { order: "pace"; intervalMs: number }
  | { order: "publish" }
  | { order: "offline" }
  | { order: "online" };

/** Position of a message: what the frame shows, and what only a member knows. */
export interface Position {
  sender: number;
  generation: number;
  step: number;
  counter: number;
}

export type Report =
  | { report: "ready" }
  | { report: "online" }
  | { report: "offline" }
  /** Keys arrived or changed. Null: the channel is not held (any more). */
  | { report: "keys"; held: { sender: number; generation: number; step: number; to: number } | null }
  | { report: "sent"; topic: string; text: string }
  | ({ report: "read"; topic: string; text: string } & Position)
  /** A message that came in, or one that should have gone out, was refused. */
  | { report: "refused"; way: "in" | "out"; topic: string; status: string }
  | { report: "failed"; message: string };
