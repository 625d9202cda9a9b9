// `ampoule provision`: a new device, and the identity file it gets once.

import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { KeyServer } from "../../keyserver/server.ts";
import { stateDirectories } from "../../store/directory.ts";
import { formatIdentity } from "../../store/identity.ts";
import type { Identity } from "../../store/store.ts";
import { usage } from "../errors.ts";
import { checkFree, type Output, writeAll } from "../files.ts";
import { examples } from "../help.ts";
import { formatHeader, isDeviceName } from "../identity-file.ts";
import type { Io } from "../io.ts";
import { addRealmOptions, type RealmOptions, withRealm } from "../realm.ts";

type Format = "json" | "c" | "both";

interface ProvisionOptions extends RealmOptions {
  output?: string;
  format: Format;
  force?: boolean;
  json?: boolean;
}

export function addProvision(program: Command, io: Io): void {
  const command = addRealmOptions(
    program
      .command("provision")
      .description("make a device and write its identity, which is shown this once")
      .argument("<name>", "name of the device: letters, digits, dot, dash, underscore")
      .option("-o, --output <file>", "identity file (default <name>.json or <name>.h); - for stdout")
      .addOption(
        new Option("--format <format>", "json for hosts, c for a C header")
          .choices(["json", "c", "both"])
          .default("json"),
      )
      .option("--force", "overwrite existing files")
      .option("--json", "print the result, without secrets, as JSON"),
  ).action((name: string, options: ProvisionOptions) => provision(name, options, io));
  examples(command, [
    ["ampoule provision boiler", "writes boiler.json for `ampoule pub`, `ampoule sub` and the library"],
    ["ampoule provision pump --format c -o src/identity.h", "arrays for a microcontroller's firmware"],
    ["ampoule provision meter --format both -o out/meter.json", "out/meter.json and out/meter.h"],
  ]);
}

async function provision(name: string, options: ProvisionOptions, io: Io): Promise<void> {
  if (!isDeviceName(name)) {
    throw usage(
      `${JSON.stringify(name)} is not a device name`,
      "1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
    );
  }
  const paths = files(name, options);
  checkFree([...paths.values()], options.force === true);
  checkNoState(paths.get("json"));
  await withRealm(options, io, (server) => {
    const identity = server.provision(name);
    handOut(name, identity, paths, options, server, io);
  });
}

/** The state of another identity would not verify under this one. */
function checkNoState(path: string | undefined): void {
  if (path === undefined) return;
  const state = stateDirectories(path).find((one) => existsSync(one));
  if (state === undefined) return;
  throw usage(`${state} holds the state of another identity`, "remove it, or name another file");
}

/** A device nobody got the identity of is useless: it goes again if the files cannot be written. */
function handOut(
  name: string,
  identity: Identity,
  paths: Map<"json" | "c", string>,
  options: ProvisionOptions,
  server: KeyServer,
  io: Io,
): void {
  const text = { json: () => formatIdentity({ ...identity, name }), c: () => formatHeader(name, identity) };
  if (options.output === "-") {
    io.out(text[options.format === "c" ? "c" : "json"]());
    return;
  }
  const outputs: Output[] = [...paths].map(([kind, path]) => ({ path, bytes: text[kind]() }));
  try {
    writeAll(outputs, options.force === true);
  } catch (error) {
    server.removeDevice(name);
    throw error;
  } finally {
    identity.key?.fill(0);
  }
  report(
    name,
    identity,
    outputs.map(({ path }) => path),
    options,
    io,
  );
}

function files(name: string, options: ProvisionOptions): Map<"json" | "c", string> {
  const { format, output } = options;
  if (output === "-") {
    if (format === "both") throw usage("--format both needs files, not stdout");
    return new Map();
  }
  const base = output?.replace(/\.(json|h)$/, "") ?? name;
  if (format === "json") return new Map([["json", output ?? `${base}.json`]]);
  if (format === "c") return new Map([["c", output ?? `${base}.h`]]);
  return new Map([
    ["json", `${base}.json`],
    ["c", `${base}.h`],
  ]);
}

function report(name: string, identity: Identity, files: string[], options: ProvisionOptions, io: Io): void {
  const id = Buffer.from(identity.device).toString("hex");
  if (options.json === true) {
    io.out(`${JSON.stringify({ name, id, files })}\n`);
    return;
  }
  io.out(`device ${name} is ${id}\n`);
  for (const file of files) io.out(`wrote ${file} (secret, mode 0600)\n`);
  io.out(`next: ampoule channel grant <filter> ${name}\n`);
}
