// `ampoule device`: who is in the realm.

import type { Command } from "commander";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { addRealmOptions, type RealmOptions, withRealm } from "../realm.ts";
import { table } from "../table.ts";

interface ListOptions extends RealmOptions {
  json?: boolean;
}

export function addDevice(program: Command, io: Io): void {
  const device = program.command("device").description("list and remove devices").helpCommand(false);
  const list = addRealmOptions(
    device.command("list").description("list devices").option("--json", "print JSON"),
  ).action((options: ListOptions) =>
    withRealm(options, io, (server) => {
      const devices = server.devices();
      if (options.json === true) return io.out(`${JSON.stringify(devices)}\n`);
      if (devices.length === 0) return io.out("no devices; next: ampoule provision <name>\n");
      io.out(
        table(
          ["device", "id"],
          devices.map(({ name, id }) => [name, id]),
        ),
      );
    }),
  );
  examples(list, [["ampoule device list --json", "names and ids for a script"]]);

  const remove = addRealmOptions(
    device
      .command("remove")
      .description(
        "remove a device: it leaves every channel, and what is sealed from then on is closed to it",
      )
      .argument("<name>", "name of the device"),
  ).action((name: string, options: RealmOptions) =>
    withRealm(options, io, (server) => {
      server.removeDevice(name);
      io.out(`removed ${name}\n`);
    }),
  );
  examples(remove, [["ampoule device remove pump", "for a device that is lost, sold or broken into"]]);
}
