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
  addList(device, io);
  addRemove(device, io);
  addClearAlarm(device, io);
}

function addList(device: Command, io: Io): void {
  const list = device.command("list").description("list devices").option("--json", "print JSON");
  addRealmOptions(list).action((options: ListOptions) =>
    withRealm(options, io, (server) => {
      const devices = server.devices();
      const rows = devices.map(({ name, id }) => [name, id]);
      if (options.json === true) io.out(`${JSON.stringify(devices)}\n`);
      else if (rows.length === 0) io.out("no devices; next: ampoule provision <name>\n");
      else io.out(table(["device", "id"], rows));
    }),
  );
  examples(list, [["ampoule device list --json", "names and ids for a script"]]);
}

function addRemove(device: Command, io: Io): void {
  const remove = device
    .command("remove")
    .description("remove a device: it leaves every channel, and what is sealed from then on is closed to it")
    .argument("<name>", "name of the device");
  addRealmOptions(remove).action((name: string, options: RealmOptions) =>
    withRealm(options, io, (server) => {
      server.removeDevice(name);
      io.out(`removed ${name}\n`);
    }),
  );
  examples(remove, [["ampoule device remove pump", "for a device that is lost, sold or broken into"]]);
}

function addClearAlarm(device: Command, io: Io): void {
  const clear = device
    .command("clear-alarm")
    .description("say that an alarm was seen to; a device that was given up is asked again")
    .argument("<name>", "name of the device");
  addRealmOptions(clear).action((name: string, options: RealmOptions) =>
    withRealm(options, io, (server) => {
      server.clearAlarm(name);
      io.out(`cleared the alarm of ${name}\n`);
    }),
  );
  examples(clear, [["ampoule device clear-alarm pump", "`ampoule status` exits with 0 again"]]);
}
