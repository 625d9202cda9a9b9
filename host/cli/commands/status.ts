// `ampoule status`: who is in sync, behind, silent, diverged or suspended.

import type { Command } from "commander";
import type { DeviceStatus } from "../../keyserver/server.ts";
import { EXIT, ended } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { addRealmOptions, type RealmOptions, withRealm } from "../realm.ts";
import { ago, table } from "../table.ts";

interface StatusOptions extends RealmOptions {
  json?: boolean;
}

export function addStatus(program: Command, io: Io): void {
  const command = addRealmOptions(
    program
      .command("status")
      .description(
        "tell which devices are in sync, behind, silent, diverged or suspended; exit 3 on an alarm",
      )
      .option("--json", "print JSON"),
  ).action((options: StatusOptions) =>
    withRealm(options, io, (server) => show(server.status(), options, io)),
  );
  examples(command, [
    ["ampoule status", "a table"],
    ["ampoule status --json || notify", "exit 3 when a device has diverged or raised an alarm"],
  ]);
}

function show(devices: DeviceStatus[], options: StatusOptions, io: Io): void {
  if (options.json === true) io.out(`${JSON.stringify(devices)}\n`);
  else if (devices.length === 0) io.out("no devices; next: ampoule provision <name>\n");
  else io.out(`${statusTable(devices, io)}${summary(devices)}`);
  if (devices.some(isAlarming)) throw ended(EXIT.refused);
}

function isAlarming(device: DeviceStatus): boolean {
  return device.state === "diverged" || device.alarm !== null;
}

function statusTable(devices: DeviceStatus[], io: Io): string {
  const now = Date.now();
  return table(
    ["device", "state", "last seen", "revision", "keys", "channels", "alarm"],
    devices.map((device) => [
      device.name,
      painted(device, io),
      ago(device.lastSeen, now),
      device.revision,
      String(device.controlVersion),
      device.channels.join(" ") || "none",
      device.alarm ?? "",
    ]),
  );
}

function painted(device: DeviceStatus, { colors }: Io): string {
  if (isAlarming(device)) return colors.red(device.state);
  return device.state === "in sync" ? colors.green(device.state) : colors.yellow(device.state);
}

/** "4 devices: 3 in sync, 1 silent" */
function summary(devices: DeviceStatus[]): string {
  const counts = new Map<string, number>();
  for (const { state } of devices) counts.set(state, (counts.get(state) ?? 0) + 1);
  const parts = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  return `${devices.length} device${devices.length === 1 ? "" : "s"}: ${parts}\n`;
}
