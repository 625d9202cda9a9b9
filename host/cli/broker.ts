// Options that say which broker and as whom: one set for every command, with mosquitto's letters.

import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import type { LinkOptions } from "../world.ts";
import { usage } from "./errors.ts";
import type { Io } from "./io.ts";
import { integer } from "./options.ts";
import { readSecretFile } from "./secret.ts";

export interface LoginOptions {
  username?: string;
  passwordFile?: string;
  cafile?: string;
  cert?: string;
  key?: string;
  insecure?: boolean;
  password?: string;
}

export interface BrokerOptions extends LoginOptions {
  url?: string;
  host?: string;
  port?: number;
  id?: string;
  keepalive?: number;
  mqttVersion?: 4 | 5;
}

/** Where to connect and how. `options` may hold a password: not for printing. */
export interface Broker {
  url: string;
  options: LinkOptions & { keepalive?: number };
}

const PORTS: Record<string, number> = { "mqtt:": 1883, "mqtts:": 8883, "ws:": 80, "wss:": 443 };
const ALIASES: Record<string, string> = { "tcp:": "mqtt:", "ssl:": "mqtts:", "tls:": "mqtts:" };

export function addBrokerOptions(command: Command): Command {
  command
    .helpOption("--help", "show this help")
    .optionsGroup("Broker:")
    .addOption(
      new Option(
        "-L, --url <url>",
        "broker: mqtt, mqtts, ws or wss://host[:port] (default mqtt://localhost)",
      ).env("AMPOULE_URL"),
    )
    .option("-h, --host <host>", "broker's host, in place of --url")
    .option("-p, --port <port>", "broker's port", integer(1, 65535));
  return addLoginOptions(command)
    .option("-i, --id <id>", "client id at the broker")
    .option("-k, --keepalive <seconds>", "keep-alive", integer(0, 65535))
    .addOption(new Option("-V, --mqtt-version <version>", "311 or 5 (default 311)").argParser(mqttVersion));
}

/** As whom, and what of the broker is trusted. */
export function addLoginOptions(command: Command): Command {
  return command
    .addOption(new Option("-u, --username <name>", "name at the broker").env("AMPOULE_USERNAME"))
    .option("--password-file <file>", "password at the broker: first line of a file; or env AMPOULE_PASSWORD")
    .addOption(new Option("-P, --password <password>").hideHelp())
    .option("--cafile <file>", "certificates to trust (PEM), and TLS")
    .option("--cert <file>", "own certificate (PEM)")
    .option("--key <file>", "own key (PEM)")
    .option("--insecure", "accept any certificate: content stays sealed, metadata does not");
}

/** The words that say the same to another command of ours: names of files, no secrets. */
export function loginWords({ username, passwordFile, cafile, cert, key, insecure }: LoginOptions): string[] {
  const named = { username, "password-file": passwordFile, cafile, cert, key };
  const words = Object.entries(named).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, value],
  );
  return insecure === true ? [...words, "--insecure"] : words;
}

function mqttVersion(value: string): 4 | 5 {
  if (["5", "mqttv5"].includes(value)) return 5;
  if (["4", "311", "3.1.1", "mqttv311"].includes(value)) return 4;
  throw usage(`no MQTT version ${JSON.stringify(value)}`, "there are 311 and 5");
}

/** Reads the files the options name. Throws a usage error for what does not go together. */
export function broker(options: BrokerOptions, io: Io): Broker {
  refusePassword(options);
  const result: Broker = { url: address(options), options: { protocolVersion: options.mqttVersion ?? 4 } };
  const password = secret(options, io);
  if (options.username !== undefined) result.options.username = options.username;
  if (password !== undefined) result.options.password = password;
  if (password !== undefined && options.username === undefined) {
    throw usage("a password without a name", "add --username, or AMPOULE_USERNAME");
  }
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw usage("--cert and --key go together");
  }
  if (options.cafile !== undefined) result.options.ca = readFileSync(options.cafile);
  if (options.cert !== undefined) result.options.cert = readFileSync(options.cert);
  if (options.key !== undefined) result.options.key = readFileSync(options.key);
  if (options.insecure === true) result.options.rejectUnauthorized = false;
  if (options.id !== undefined) result.options.clientId = options.id;
  if (options.keepalive !== undefined) result.options.keepalive = options.keepalive;
  return result;
}

function refusePassword(options: BrokerOptions): void {
  if (options.password !== undefined) {
    throw usage(
      "a password is not an argument: other users see arguments",
      "use --password-file <file>, or AMPOULE_PASSWORD",
    );
  }
  if (options.username !== undefined && /^(mqtts?|tcp|ssl|tls|wss?):\/\//.test(options.username)) {
    throw usage("-u is the name at the broker", "the broker's address is -L, --url");
  }
}

function secret(options: BrokerOptions, io: Io): string | undefined {
  if (options.passwordFile !== undefined) return readSecretFile(options.passwordFile);
  return io.env.AMPOULE_PASSWORD;
}

/** --host and --port win over --url, which may come from the environment. */
function address(options: BrokerOptions): string {
  const tls = options.cafile !== undefined || options.cert !== undefined;
  const scheme = tls ? "mqtts" : "mqtt";
  const given =
    options.host === undefined ? (options.url ?? `${scheme}://localhost`) : `${scheme}://${host()}`;
  if (!URL.canParse(given)) throw badUrl();
  const url = new URL(given);
  const protocol = ALIASES[url.protocol] ?? url.protocol;
  const standard = PORTS[protocol];
  if (standard === undefined || url.hostname === "") throw badUrl();
  if (url.username !== "" || url.password !== "") {
    throw usage("the broker's address carries a name or a password", "use --username and --password-file");
  }
  const port = options.port ?? (url.port === "" ? standard : Number(url.port));
  const path = protocol.startsWith("ws") ? `${url.pathname}${url.search}` : "";
  return `${protocol}//${url.hostname}:${port}${path}`;

  function host(): string {
    const name = options.host ?? "";
    return name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
  }
}

function badUrl(): Error {
  return usage(
    "the broker's address is not one",
    "as in mqtt://localhost:1883, mqtts://broker.example:8883, wss://...",
  );
}
