// `ampoule image`: what is flashed for one device, and the line that flashes it.

import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { toHex } from "../../bytes.ts";
import { readModule } from "../../core/wasm.ts";
import { makeDirectory, nodeWorld } from "../../node-world.ts";
import { stateInUse } from "../../store/directory.ts";
import type { NamedIdentity } from "../../store/identity.ts";
import { io as ioError, usage } from "../errors.ts";
import { checkFree, type Output, writeAll } from "../files.ts";
import { examples } from "../help.ts";
import { formatHeader, readIdentityFile } from "../identity-file.ts";
import { formatModule } from "../image/module-header.ts";
import { GENERATOR_PACKAGE, generatorLine, type ModuleCheck, nvsBinary, nvsCsv } from "../image/nvs.ts";
import { DEFAULT_TABLE, hexNumber, type Partition, parsePartitions, SECTOR } from "../image/partitions.ts";
import type { Io } from "../io.ts";

const CHIPS = [
  "esp32",
  "esp32s2",
  "esp32s3",
  "esp32c2",
  "esp32c3",
  "esp32c5",
  "esp32c6",
  "esp32h2",
  "esp32p4",
];
const NVS_MIN = 3 * SECTOR;

interface ImageOptions {
  identity?: string;
  output?: string;
  format: "esp" | "c" | "both";
  module: "device" | "device-ascon" | "device-ascon-volatile" | "device-ascon-hosted";
  partitions?: string;
  chip?: string;
  port?: string;
  python: string;
  force?: boolean;
  json?: boolean;
}

/** A file at its place in flash. */
interface Part {
  file: string;
  offset: number;
}

interface Image {
  outputs: Output[];
  parts: Part[];
  /** How nvs.bin is made from nvs.csv, where the generator is not installed. */
  todo?: string;
}

export function addImage(program: Command, io: Io): void {
  const command = program
    .command("image")
    .description("write what is flashed for a device: its identity, the core, and the esptool line")
    .addOption(
      new Option("-I, --identity <file>", "identity of the device, as provisioned").env("AMPOULE_IDENTITY"),
    )
    .option("-o, --output <dir>", "directory, made if absent (default <name>-image)")
    .addOption(
      new Option("--format <format>", "esp: an NVS partition and the module; c: the same as C headers")
        .choices(["esp", "c", "both"])
        .default("esp"),
    )
    .addOption(
      new Option(
        "--module <build>",
        "which core: that of the firmware; device has Xoodyak too, -volatile no storage, and -hosted leaves Ascon-p to it",
      )
        .choices(["device-ascon", "device-ascon-volatile", "device-ascon-hosted", "device"])
        .default("device-ascon"),
    )
    .option(
      "--partitions <csv>",
      "partition table with `ampoule` and, for wasm3, `wasm`; the example's otherwise",
    )
    .addOption(new Option("--chip <chip>", "for the esptool line; it finds out by itself").choices(CHIPS))
    .option("--port <port>", "for the esptool line")
    .addOption(
      new Option("--python <command>", "a Python that has Espressif's NVS generator")
        .env("AMPOULE_PYTHON")
        .default("python3"),
    )
    .option("--force", "overwrite existing files")
    .option("--json", "print the result, without secrets, as JSON")
    .action((options: ImageOptions) => image(options, io));
  examples(command, [
    [
      "ampoule provision boiler && ampoule image -I boiler.json",
      "boiler-image/: nvs.bin, wasm.bin, flash_args",
    ],
    ["ampoule image -I boiler.json --partitions partitions.csv --chip esp32c3", "offsets of your own table"],
    [
      "ampoule image -I boiler.json --format c -o src",
      "src/identity.h and src/module.h, for any microcontroller",
    ],
  ]);
}

function image(options: ImageOptions, io: Io): void {
  if (options.identity === undefined) {
    throw usage("no identity", "name one with --identity <file>, or AMPOULE_IDENTITY");
  }
  const identity = readIdentityFile(options.identity);
  checkUnused(options.identity, identity);
  const directory = options.output ?? `${identity.name ?? basename(options.identity, ".json")}-image`;
  const image = build(identity, directory, options);
  const named = [...image.outputs, ...image.parts].map((one) => ("path" in one ? one.path : one.file));
  checkFree(named, options.force === true);
  write(directory, image.outputs, options.force === true);
  // One of an earlier run may be another device's.
  for (const { file } of image.parts)
    if (!image.outputs.some(({ path }) => path === file)) rmSync(file, { force: true });
  report(identity, directory, image, options, io);
}

/** Two that use one identity would seal the same positions. */
function checkUnused(path: string, identity: NamedIdentity): void {
  const hint = "a device has an identity of its own; make one with `ampoule provision <name>`";
  if (identity.key === undefined) throw usage(`${path} has been used: its first key is gone`, hint);
  const state = stateInUse(nodeWorld().disk, path);
  if (state !== null) throw usage(`${path} is in use on this machine, ${state} says`, hint);
}

function build(identity: NamedIdentity, directory: string, options: ImageOptions): Image {
  const { format } = options;
  const module = readModule(options.module);
  const image: Image =
    format === "c" ? { outputs: [], parts: [] } : buildFlash(identity, module, directory, options);
  if (format !== "esp") {
    image.outputs.push(
      { path: join(directory, "identity.h"), bytes: formatHeader(identity.name ?? "", identity) },
      { path: join(directory, "module.h"), bytes: formatModule(options.module, module) },
    );
  }
  return image;
}

function buildFlash(
  identity: NamedIdentity,
  module: Uint8Array,
  directory: string,
  options: ImageOptions,
): Image {
  const { nvs, wasm } = places(module.length, options.partitions);
  const outputs: Output[] = [];
  const parts: Part[] = [];
  const add = (name: string, bytes: Uint8Array | string): string => {
    const path = join(directory, name);
    outputs.push({ path, bytes });
    return path;
  };
  let check: ModuleCheck | undefined;
  if (wasm !== undefined) {
    check = { size: module.length, sha256: createHash("sha256").update(module).digest() };
    parts.push({ file: add("wasm.bin", module), offset: wasm.offset });
  }
  const csv = nvsCsv(identity, check);
  const csvPath = add("nvs.csv", csv);
  const binPath = join(directory, "nvs.bin");
  const binary = nvsBinary(options.python, csv, nvs.size);
  if (binary !== undefined) add("nvs.bin", binary);
  parts.push({ file: binPath, offset: nvs.offset });
  add(
    "flash_args",
    `${parts.map(({ file, offset }) => `${hexNumber(offset)} ${basename(file)}`).join("\n")}\n`,
  );
  const image = { outputs, parts };
  return binary !== undefined
    ? image
    : { ...image, todo: generatorLine(options.python, csvPath, binPath, nvs.size) };
}

function places(
  moduleSize: number,
  path: string | undefined,
): { nvs: Partition; wasm: Partition | undefined } {
  const name = path ?? "the example's partition table";
  const table = parsePartitions(path === undefined ? DEFAULT_TABLE : readFileSync(path, "utf8"), name);
  const nvs = table.find(({ label }) => label === "ampoule");
  const wasm = table.find(({ label }) => label === "wasm");
  if (nvs === undefined) {
    throw ioError(`${name} has no partition ampoule`, "a line for it: ampoule, data, nvs, , 0x8000");
  }
  if (nvs.subtype !== "nvs" || nvs.size < NVS_MIN || nvs.size % SECTOR !== 0) {
    throw ioError(
      `${name}: ampoule is not of subtype nvs with whole sectors, ${hexNumber(NVS_MIN)} bytes or more`,
    );
  }
  if (wasm !== undefined && wasm.size < moduleSize) {
    throw ioError(`${name}: wasm has ${wasm.size} bytes, and the module ${moduleSize}`);
  }
  return { nvs, wasm };
}

/** All of it or nothing: a directory that was not there before goes again. */
function write(directory: string, outputs: Output[], force: boolean): void {
  const made = makeDirectory(directory);
  try {
    writeAll(outputs, force);
  } catch (error) {
    if (made !== undefined) rmSync(made, { recursive: true, force: true });
    throw error;
  }
}

function report(
  identity: NamedIdentity,
  directory: string,
  image: Image,
  options: ImageOptions,
  io: Io,
): void {
  const { outputs, parts, todo } = image;
  const files = outputs.map(({ path }) => path);
  const esptool = esptoolLine(parts, options);
  if (options.json === true) {
    const device = toHex(identity.device);
    const lines = {
      ...(todo === undefined ? {} : { generate: todo }),
      ...(esptool === undefined ? {} : { esptool }),
    };
    io.out(`${JSON.stringify({ name: identity.name, device, directory, files, parts, ...lines })}\n`);
  } else {
    for (const file of files) io.out(`wrote ${file} (mode 0600)\n`);
    if (todo !== undefined) io.out(`next: ${todo}\n`);
    if (esptool !== undefined) io.out(`next: ${esptool}\n`);
    io.out(`then remove ${directory} and ${options.identity}: they are the device's first key\n`);
  }
  if (todo !== undefined) {
    io.err(`ampoule: no nvs.bin: ${options.python} has no Espressif NVS generator\n`);
    io.err(`ampoule: hint: ${options.python} -m pip install ${GENERATOR_PACKAGE}\n`);
  }
}

/** esptool 5 writes its commands with dashes. */
function esptoolLine(parts: Part[], { chip, port }: ImageOptions): string | undefined {
  if (parts.length === 0) return undefined;
  const words = ["esptool"];
  if (chip !== undefined) words.push("--chip", chip);
  if (port !== undefined) words.push("--port", port);
  words.push("write-flash", ...parts.flatMap(({ file, offset }) => [hexNumber(offset), file]));
  return words.map(shellWord).join(" ");
}

function shellWord(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
