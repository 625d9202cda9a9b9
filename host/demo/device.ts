// A device of the fleet: a process that measures, seals, publishes and reads. Its orders come over
// IPC, everything else over the broker; its state directory is all that outlives it.

import type { IClientOptions } from "mqtt";
import { Client } from "../client/client.ts";
import { connect, type ProtectedClient } from "../mqtt/protect.ts";
import { nodeWorld } from "../node-world.ts";
import { DirectoryStore } from "../store/directory.ts";
import { engineOf } from "./engines.ts";
import { type Gauge, gauge } from "./metrics.ts";
import type { DeviceConfig, Order, Report } from "./orders.ts";

const QUIET_MS = 50;

class Fleeting {
  readonly #config: DeviceConfig;
  readonly #mqtt: ProtectedClient;
  readonly #measure: Gauge;
  #timer: NodeJS.Timeout | undefined;
  #intervalMs: number;
  #last = "";

  constructor(config: DeviceConfig) {
    this.#config = config;
    this.#intervalMs = config.intervalMs;
    this.#measure = config.metric === null ? () => "anybody there?" : gauge(config.metric);
    const world = nodeWorld();
    const store = new DirectoryStore(world, config.identity);
    const client = new Client({ store, world, engine: engineOf(config.engine), channels: [config.filter] });
    this.#mqtt = connect(config.url, {
      ...(config.link as IClientOptions),
      clientId: `ampoule-demo-${Buffer.from(client.device.device).toString("hex")}`,
      clean: false,
      manualConnect: true,
      reconnectPeriod: 500,
      ampoule: { client, holdMs: config.holdMs, quietMs: QUIET_MS },
    });
    this.#attach();
    this.#mqtt.connect();
  }

  #attach(): void {
    const mqtt = this.#mqtt;
    mqtt.on("connect", () => {
      mqtt.subscribe(this.#config.filter, { qos: 1 });
      this.#tellKeys();
      report({ report: "online" });
      this.#schedule();
    });
    mqtt.on("keys", () => this.#tellKeys());
    mqtt.on("message", (topic, payload, { ampoule }) => {
      if (ampoule === undefined) return;
      const { sender, generation, step, counter } = ampoule;
      report({ report: "read", topic, text: payload.toString(), sender, generation, step, counter });
    });
    mqtt.on("refused", ({ status, topic, packet }) => {
      // Its own messages come back from the broker, as it subscribes to the whole channel.
      if (status === "REFLECTED") return;
      report({ report: "refused", way: packet === undefined ? "out" : "in", topic, status });
    });
  }

  take(order: Exclude<Order, { order: "start" }>): void {
    switch (order.order) {
      case "pace":
        this.#intervalMs = order.intervalMs;
        this.#schedule();
        return;
      case "publish":
        this.#publish();
        return;
      case "offline":
        this.#goOffline();
        return;
      case "online":
        this.#mqtt.options.reconnectPeriod = 500;
        this.#mqtt.connect();
    }
  }

  /** The network is gone: no goodbye to the broker, which keeps the session. */
  #goOffline(): void {
    clearInterval(this.#timer);
    this.#mqtt.options.reconnectPeriod = 0;
    this.#mqtt.raw.once("close", () => report({ report: "offline" }));
    this.#mqtt.raw.stream.destroy();
  }

  #schedule(): void {
    clearInterval(this.#timer);
    if (this.#config.metric === null) return;
    this.#timer = setInterval(() => this.#publish(), this.#intervalMs);
  }

  #publish(): void {
    const { topic } = this.#config;
    const text = this.#measure();
    // Told before it is sent: after a power cut the wire must not know more than the report.
    report({ report: "sent", topic, text });
    this.#mqtt.publish(topic, text, { qos: 1 });
  }

  #tellKeys(): void {
    const channel = this.#mqtt.ampoule.channelFor(this.#config.topic);
    const held =
      channel === undefined
        ? null
        : { sender: channel.sender, generation: channel.generation, step: channel.step, to: channel.to };
    const now = JSON.stringify(held);
    if (now === this.#last) return;
    this.#last = now;
    report({ report: "keys", held });
  }
}

function report(value: Report): void {
  if (process.connected) process.send?.(value);
}

let device: Fleeting | undefined;
process.on("message", (order: Order) => {
  if (order.order === "start") {
    device = new Fleeting(order.config);
    report({ report: "ready" });
  } else device?.take(order);
});
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(0));
