// `ampoule serve`: the key server at the broker.

import type { Command } from "commander";
import type { ServerEvent } from "../../keyserver/server.ts";
import { nodeWorld } from "../../node-world.ts";
import { addBrokerOptions, type BrokerOptions, broker } from "../broker.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { addRealmOptions, openRealm, type RealmOptions } from "../realm.ts";

interface ServeOptions extends RealmOptions, BrokerOptions {
  json?: boolean;
  quiet?: boolean;
  restored?: boolean;
}

export function addServe(program: Command, io: Io): void {
  const command = program
    .command("serve")
    .description("run the key server of a realm at a broker")
    .option("--json", "events as JSON lines")
    .option("-q, --quiet", "alarms and errors only")
    .option(
      "--restored",
      "the database comes from a backup: all numbers jump ahead, all channels get new keys",
    );
  addBrokerOptions(addRealmOptions(command)).action((options: ServeOptions) => serve(options, io));
  examples(command, [
    ["ampoule serve --url mqtt://localhost", "until Ctrl-C; other commands work meanwhile"],
    [
      "ampoule serve --url mqtts://broker.example --cafile ca.pem --username keys --password-file pw --json",
      "as a service: events as JSON lines",
    ],
  ]);
}

async function serve(options: ServeOptions, io: Io): Promise<void> {
  const { url, options: linkOptions } = broker(options, io);
  const server = openRealm(options, io, { restored: options.restored === true });
  const tell = (event: ServeEvent): void => {
    if (options.quiet === true && !isUrgent(event)) return;
    io.out(options.json === true ? `${jsonLine(event)}\n` : `${plainLine(event)}\n`);
  };
  try {
    server.onEvent = tell;
    server.start(nodeWorld().link(url, linkOptions));
    // Only now: waiting keeps the process alive, and a start that failed must end it.
    const stopped = io.untilStopped();
    tell({ kind: "serving", detail: `realm ${Buffer.from(server.realm).toString("hex")} at ${url}` });
    await stopped;
    await server.stop();
    tell({ kind: "stopped" });
  } finally {
    server.close();
  }
}

type ServeEvent =
  | ServerEvent
  | { kind: "serving" | "stopped"; device?: string; channel?: string; detail?: string };

const URGENT = new Set(["alarm", "diverged", "error"]);

function isUrgent(event: ServeEvent): boolean {
  return URGENT.has(event.kind);
}

function jsonLine(event: ServeEvent): string {
  return JSON.stringify({ time: new Date().toISOString(), ...event });
}

function plainLine(event: ServeEvent): string {
  const words = [new Date().toISOString(), event.kind, event.device, event.channel, event.detail];
  return words.filter((word) => word !== undefined && word !== "").join("  ");
}
