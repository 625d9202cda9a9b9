// A member at the broker: an identity, its state beside it, and the connection that seals and opens.

import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { IClientOptions } from "mqtt";
import { connect, type ProtectedClient } from "../mqtt/protect.ts";
import { nodeWorld } from "../node-world.ts";
import { addBrokerOptions, type Broker, type BrokerOptions, broker } from "./broker.ts";
import { reason } from "./doctor/finding.ts";
import { io as ioError, refused, usage } from "./errors.ts";
import { readIdentityFile } from "./identity-file.ts";
import type { Io } from "./io.ts";
import { integer, seconds, topic } from "./options.ts";

export interface MemberOptions extends BrokerOptions {
  identity?: string;
  state?: string;
  qos: 0 | 1 | 2;
  wait: number;
  willTopic?: string;
  willPayload?: string;
  willQos?: 0 | 1 | 2;
  willRetain?: boolean;
}

export function addMemberOptions(command: Command, waiting: string): Command {
  command
    .optionsGroup("Member:")
    .addOption(new Option("-I, --identity <file>", "identity of this member").env("AMPOULE_IDENTITY"))
    .option("--state <dir>", "its state (default <identity>.state, made at the first use)")
    .addOption(new Option("-q, --qos <level>", "quality of service").argParser(integer(0, 2)).default(1))
    .option("--wait <seconds>", waiting, seconds, 10)
    .option("--will-topic <topic>", "topic of the last will, sealed like any message", topic)
    .option("--will-payload <text>", "text of the last will; empty clears a retained message")
    .option("--will-qos <level>", "its quality of service (default 0)", integer(0, 2))
    .option("--will-retain", "keep it at the broker");
  return addBrokerOptions(command);
}

export interface Member {
  client: ProtectedClient;
  /** Sends what is on its way, and gives the state back. */
  close(): Promise<void>;
}

/**
 * Connects; resolves when the broker has accepted. `listen` is called before, so that nothing that a
 * session holds is missed.
 */
export async function openMember(
  options: MemberOptions,
  more: IClientOptions,
  io: Io,
  listen: (client: ProtectedClient) => void = () => {},
): Promise<Member> {
  const { identity, state } = options;
  if (identity === undefined) {
    throw usage("no identity", "name one with --identity <file>, or AMPOULE_IDENTITY");
  }
  const target = broker(options, io);
  checkState(identity, state);
  const client = connect(target.url, {
    ...(target.options as IClientOptions),
    ...will(options),
    ...more,
    reconnectPeriod: 0,
    manualConnect: true,
    ampoule: { identity, ...(state === undefined ? {} : { state }) },
  });
  listen(client);
  try {
    await connected(client, target, options.wait * 1000);
    client.options.reconnectPeriod = more.reconnectPeriod ?? RECONNECT_MS;
  } catch (error) {
    client.end(true);
    throw error;
  }
  return { client, close: () => close(client) };
}

/** An identity that has been used is of no use without what it has stored (SPEC T-8). */
function checkState(path: string, given: string | undefined): void {
  const { key } = readIdentityFile(path);
  const state = given ?? `${nodeWorld().disk.real(path)}.state`;
  if (key !== undefined || existsSync(state)) return;
  throw refused(
    `${path} has been used, and its state ${state} is not there`,
    "bring that directory back, or name it with --state; if it is lost, provision the device again under a new name",
  );
}

function will(options: MemberOptions): IClientOptions {
  const { willTopic, willPayload = "", willQos = 0, willRetain = false } = options;
  if (willTopic === undefined) {
    if (options.willPayload !== undefined) throw usage("--will-payload without --will-topic");
    return {};
  }
  return { will: { topic: willTopic, payload: Buffer.from(willPayload), qos: willQos, retain: willRetain } };
}

const RECONNECT_MS = 1000;

/** The first connection must succeed; later ones are tried again and again. */
function connected(client: ProtectedClient, target: Broker, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void =>
      end(
        ioError(
          `no connection to ${target.url}: ${why}`,
          "is it right, and is the broker up? see `ampoule doctor`",
        ),
      );
    const onError = (error: Error): void => fail(reason(error));
    const onClose = (): void => fail("the broker closed it");
    const onConnect = (): void => end();
    const timer = setTimeout(() => fail("no answer"), ms);
    const end = (error?: Error): void => {
      clearTimeout(timer);
      client.raw.off("error", onError).off("close", onClose).off("connect", onConnect);
      if (error === undefined) resolve();
      else reject(error);
    };
    client.raw.on("error", onError).on("close", onClose).on("connect", onConnect);
    client.connect();
  });
}

const CLOSE_MS = 3000;

function close(client: ProtectedClient): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => client.end(true), CLOSE_MS);
    client.raw.once("end", () => {
      clearTimeout(timer);
      resolve();
    });
    client.end();
  });
}

const QUIET_MS = 400;
const SETTLE_MAX_MS = 2500;

/**
 * Waits for keys that seal `topic`, and a moment longer for newer ones: commands that came while
 * this member was away follow its hello. Returns after `ms` at the latest, with or without keys.
 */
export async function keysFor({ client }: Member, topic: string, ms: number): Promise<void> {
  const start = performance.now();
  let last = start;
  const { downTopic, prefix } = client.ampoule.device;
  client.raw.on("message", (name) => {
    if (name === downTopic || name.startsWith(`${prefix}/epoch/`)) last = performance.now();
  });
  for (;;) {
    const now = performance.now();
    const settled = now - last >= QUIET_MS || now - start >= SETTLE_MAX_MS;
    const channel = client.ampoule.channelFor(topic);
    const open = channel !== undefined && channel.step >= channel.from;
    if ((open && settled) || now - start >= ms) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
