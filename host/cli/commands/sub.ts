// `ampoule sub`: subscribe and open, with mosquitto_sub's letters.

import type { Command } from "commander";
import type { ProtectedClient, ProtectedPacket, Refusal } from "../../mqtt/protect.ts";
import { EXIT, ended, io as ioError, STATUS_HINTS, usage } from "../errors.ts";
import { checkFormat, formatMessage, messageJson } from "../format.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { addMemberOptions, type MemberOptions, openMember } from "../member.ts";
import { collect, filter, integer, seconds } from "../options.ts";

interface SubOptions extends MemberOptions {
  topic: string[];
  verbose?: boolean;
  count?: number;
  timeout?: number;
  noRetained?: boolean;
  noNewline?: boolean;
  disableCleanSession?: boolean;
  format?: string;
  json?: boolean;
}

export function addSub(program: Command, io: Io): void {
  const command = program
    .command("sub")
    .description("subscribe to topics and open messages")
    .requiredOption("-t, --topic <filter>", "topic or filter; may be repeated", collect(filter))
    .option("-v, --verbose", "print the topic before each message")
    .option("-C, --count <n>", "end after n messages", integer(1, 4_294_967_295))
    .option("-W, --timeout <seconds>", "end after so long", seconds)
    .option("-R, --no-retained", "leave out messages the broker has kept")
    .option("-N, --no-newline", "no line end after a message")
    .option(
      "-c, --disable-clean-session",
      "the broker keeps what comes while this member is away; needs --id",
    )
    .option(
      "-F, --format <text>",
      "%t topic, %p text, %x hex, %l length, %q qos, %r retained, %S sender, %G generation, %E step, %N counter, %I time, %j JSON, %%",
      checkFormat,
    )
    .option("--json", "a JSON line for each message, and for each refusal on stderr");
  addMemberOptions(
    command,
    "how long to wait for the broker, and for keys before it says that there are none",
  ).action((options: SubOptions) => sub(options, io));
  examples(command, [
    ["ampoule sub -I desk.json -t 'plant/+/live' -v", "topic and text, until Ctrl-C"],
    ["ampoule sub -I desk.json -t 'plant/#' -C 1 -W 10 --json", "one message within ten seconds, or exit 2"],
    ["ampoule sub -I desk.json -t 'plant/+/live' -F '%I %t sender %S: %p'", "a line of your own"],
  ]);
}

interface Count {
  read: number;
  refused: number;
}

type End = "count" | "timeout" | "stopped";

async function sub(raw: SubOptions & { retained?: boolean; newline?: boolean }, io: Io): Promise<void> {
  const { retained, newline, ...rest } = raw;
  const options: SubOptions = { ...rest, noRetained: retained === false, noNewline: newline === false };
  const clean = options.disableCleanSession !== true;
  if (!clean && options.id === undefined) throw usage("--disable-clean-session needs --id");
  const over = new AbortController();
  const stopped = io.untilStopped(over.signal).then((): End => "stopped");
  try {
    await listen(options, clean, stopped, io);
  } finally {
    over.abort();
  }
}

async function listen(options: SubOptions, clean: boolean, stopped: Promise<End>, io: Io): Promise<void> {
  const count: Count = { read: 0, refused: 0 };
  const done = Promise.withResolvers<End>();
  // It may fail before anybody waits for it.
  done.promise.catch(() => {});
  const member = await openMember(options, { clean }, io, (client) => {
    client.on("message", (topic, text, packet) => {
      if (options.noRetained && packet.retain) return;
      if (options.count !== undefined && count.read >= options.count) return;
      count.read += 1;
      print(topic, text, packet, options, io);
      if (count.read === options.count) done.resolve("count");
    });
    client.on("refused", (refusal) => {
      count.refused += 1;
      io.err(refusalLine(refusal, options));
    });
    client.on("connect", () => void subscribe(client, options).catch(done.reject));
  });
  const sayMissing = once(() => io.err(missingLines(member.client, options)));
  const timers = [limit(options.timeout, () => done.resolve("timeout")), limit(options.wait, sayMissing)];
  try {
    const why = await Promise.race([done.promise, stopped]);
    if (why === "timeout") sayMissing();
    finish(why, count, options);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    await member.close();
  }
}

function limit(after: number | undefined, run: () => void): NodeJS.Timeout | undefined {
  return after === undefined ? undefined : setTimeout(run, after * 1000);
}

function once(run: () => void): () => void {
  let done = false;
  return () => {
    if (!done) run();
    done = true;
  };
}

/**
 * Says which filters no held channel has. A member knows its channels by the hashes of their filters: of a
 * filter with wildcards it cannot tell while it holds any channel that is not just this one or a wider one.
 */
function missingLines(client: ProtectedClient, options: SubOptions): string {
  const { device } = client.ampoule;
  const none = device.channels().length === 0;
  return options.topic
    .filter((name) => client.ampoule.channelFor(name) === undefined && (none || !/[+#]/.test(name)))
    .filter((name) => !name.startsWith(`${device.prefix}/`))
    .map((topic) => {
      const line = refusalLine({ status: "NO_CHANNEL", topic }, options);
      return options.json === true ? line : `${line}ampoule: hint: ${STATUS_HINTS.NO_CHANNEL}\n`;
    })
    .join("");
}

async function subscribe(client: ProtectedClient, { topic, qos }: SubOptions): Promise<void> {
  const map = Object.fromEntries(topic.map((name) => [name, { qos }]));
  const granted = await client
    .subscribeAsync({ ...map, resubscribe: true } as never)
    .catch((error: Error) => {
      throw ioError(`the broker refused the subscription: ${error.message}`);
    });
  const denied = granted.find((entry) => (entry.qos as number) >= 128);
  if (denied !== undefined) throw ioError(`the broker refused the subscription to ${denied.topic}`);
}

function print(topic: string, text: Buffer, packet: ProtectedPacket, options: SubOptions, io: Io): void {
  const { json, format, verbose, noNewline } = options;
  const end = noNewline === true ? "" : "\n";
  if (json === true) io.out(`${JSON.stringify(messageJson(topic, text, packet))}\n`);
  else if (format !== undefined) io.out(`${formatMessage(format, topic, text, packet)}${end}`);
  else io.out(Buffer.concat([Buffer.from(verbose === true ? `${topic} ` : ""), text, Buffer.from(end)]));
}

function refusalLine({ status, topic }: Refusal, options: SubOptions): string {
  if (options.json === true) return `${JSON.stringify({ refused: status, topic })}\n`;
  return `ampoule: refused (${status.toLowerCase().replaceAll("_", " ")}) on ${JSON.stringify(topic)}\n`;
}

/** What was asked for and did not come is not success. */
function finish(why: End, { read, refused }: Count, options: SubOptions): void {
  if (why !== "timeout" || options.count === undefined) return;
  if (refused > 0 && read === 0) throw ended(EXIT.refused);
  throw ioError(`${read} of ${options.count} messages came within ${options.timeout} s`);
}
