// `ampoule bridge`: MQTT for a device that has a serial line and no network.

import type { Command } from "commander";
import { Bridge, type BridgeEvent } from "../../bridge/bridge.ts";
import { MqttRelay } from "../../mqtt/relay.ts";
import { nodeWorld } from "../../node-world.ts";
import { addBrokerOptions, type BrokerOptions, broker } from "../broker.ts";
import { io as ioError } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { integer } from "../options.ts";
import { openLine, type SerialOptions } from "../serial.ts";

interface BridgeOptions extends BrokerOptions, SerialOptions {
  json?: boolean;
  quiet?: boolean;
}

const RETRY_MS = 250;

export function addBridge(program: Command, io: Io): void {
  const command = program
    .command("bridge")
    .description("pass sealed messages between a broker and a device on a serial line")
    .requiredOption("--serial <line>", "/dev/ttyUSB0, COM3, tcp:HOST:PORT or unix:PATH")
    .option("--baud <rate>", "speed of a serial port", integer(300, 4_000_000), 115_200)
    .option("--json", "events as JSON lines")
    .option("-q, --quiet", "what goes wrong only");
  addBrokerOptions(command).action((options: BridgeOptions) => bridge(options, io));
  examples(command, [
    [
      "ampoule bridge --serial /dev/ttyUSB0 --url mqtt://localhost",
      "until Ctrl-C; the device may come and go",
    ],
    ["ampoule bridge --serial tcp:localhost:4444 -h broker.example", "an emulator, or a terminal server"],
  ]);
}

type Event = BridgeEvent | { kind: "line" | "gone" | "stopped"; detail?: string };

async function bridge(options: BridgeOptions, io: Io): Promise<void> {
  const { url, options: link } = broker(options, io);
  const failed = Promise.withResolvers<never>();
  // It may fail before anybody waits for it.
  failed.promise.catch(() => {});
  let wasOnline = false;
  const tell = (event: Event): void => {
    wasOnline ||= event.kind === "online";
    if (event.kind === "refused" && !wasOnline) {
      failed.reject(
        ioError(`no connection to ${url}: ${event.detail}`, "is it right, and is the broker up?"),
      );
    } else if (options.quiet !== true || isUrgent(event)) {
      io.out(options.json === true ? jsonLine(event) : plainLine(event));
    }
  };
  const relayed = new Bridge({
    world: nodeWorld(),
    openRelay: (clientId) => new MqttRelay(url, { ...link, clientId }),
    ...(options.id === undefined ? {} : { clientId: options.id }),
    onEvent: tell,
  });
  const over = new AbortController();
  const keepLine = async (): Promise<void> => {
    const line = await openLine(options);
    tell({ kind: "line", detail: options.serial });
    relayed.attach(line);
    line.onClose = () => {
      relayed.detach();
      tell({ kind: "gone", detail: options.serial });
      retry();
    };
  };
  const retry = (): void => {
    if (!over.signal.aborted) setTimeout(() => keepLine().catch(retry), RETRY_MS).unref();
  };
  try {
    await keepLine();
    await Promise.race([io.untilStopped(over.signal), failed.promise]);
  } finally {
    over.abort();
    await relayed.stop();
  }
  tell({ kind: "stopped" });
}

const URGENT = new Set(["gone", "offline", "dropped", "error", "refused"]);

function isUrgent(event: Event): boolean {
  return URGENT.has(event.kind);
}

function jsonLine(event: Event): string {
  return `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`;
}

function plainLine(event: Event): string {
  const { kind, topic, detail } = event as { kind: string; topic?: string; detail?: string };
  const words = [new Date().toISOString(), kind, topic, detail];
  return `${words.filter((word) => word !== undefined && word !== "").join("  ")}\n`;
}
