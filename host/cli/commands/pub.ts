// `ampoule pub`: seal and publish, with mosquitto_pub's letters.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Command } from "commander";
import { RefusedError } from "../../status.ts";
import { usage } from "../errors.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { addMemberOptions, keysFor, type Member, type MemberOptions, openMember } from "../member.ts";
import { topic } from "../options.ts";

interface PubOptions extends MemberOptions {
  topic: string;
  message?: string;
  stdinLine?: boolean;
  stdinFile?: boolean;
  file?: string;
  nullMessage?: boolean;
  retain?: boolean;
}

export function addPub(program: Command, io: Io): void {
  const command = program
    .command("pub")
    .description("seal and publish messages")
    .requiredOption("-t, --topic <topic>", "topic to publish to", topic)
    .option("-m, --message <text>", "a message; other users see arguments, stdin and files they do not")
    .option("-l, --stdin-line", "each line of stdin is a message")
    .option("-s, --stdin-file", "all of stdin is one message")
    .option("-f, --file <file>", "a file is one message")
    .option("-n, --null-message", "an empty message: with -r it clears the topic; it is never sealed")
    .option("-r, --retain", "the broker keeps it for those who come later");
  addMemberOptions(command, "how long to wait for the broker, and for keys").action((options: PubOptions) =>
    pub(options, io),
  );
  examples(command, [
    ["uptime | ampoule pub -I boiler.json -t plant/boiler/live -s", "one message from stdin"],
    [
      "sensor | ampoule pub -I boiler.json -h broker.example -t plant/boiler/live -l -q 0",
      "a line, a message",
    ],
    ["ampoule pub -I boiler.json -t plant/boiler/state -m on -r", "kept by the broker, and sealed there too"],
  ]);
}

async function pub(options: PubOptions, io: Io): Promise<void> {
  const next = messages(options, io);
  const member = await openMember(options, { clean: true, reconnectPeriod: 0 }, io);
  try {
    await keysFor(member, options.topic, options.nullMessage === true ? 0 : options.wait * 1000);
    for await (const message of next) await publish(member, message, options);
  } finally {
    await member.close();
  }
}

async function publish({ client }: Member, message: Buffer, options: PubOptions): Promise<void> {
  const { topic: name, qos, retain = false } = options;
  if (message.length === 0 && !retain) {
    throw usage("an empty message says nothing", "with --retain it clears the topic");
  }
  if (client.ampoule.isClear(name)) throw new RefusedError("NO_CHANNEL", name);
  await client.publishAsync(name, message, { qos, retain });
}

/** Checks that there is exactly one source; reads nothing before the first message is asked for. */
function messages(options: PubOptions, io: Io): AsyncIterable<Buffer> {
  const { message, stdinLine, stdinFile, file, nullMessage } = options;
  const given = [message, stdinLine, stdinFile, file, nullMessage].filter((source) => source !== undefined);
  if (given.length !== 1) {
    throw usage(
      given.length === 0 ? "nothing to publish" : "more than one thing to publish",
      "choose one of -m, -l, -s, -f and -n",
    );
  }
  if (message !== undefined) return one(() => Promise.resolve(Buffer.from(message)));
  if (nullMessage === true) return one(() => Promise.resolve(Buffer.alloc(0)));
  if (stdinLine === true) return lines(io.stdin);
  return one(() => whole(file === undefined ? io.stdin : createReadStream(file)));
}

async function* one(read: () => Promise<Buffer>): AsyncIterable<Buffer> {
  yield await read();
}

/** Empty lines are left out, as there are no empty messages. */
async function* lines(input: Readable): AsyncIterable<Buffer> {
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line !== "") yield Buffer.from(line);
  }
}

/** More than the longest message: 64 frames of 1024 bytes. */
const INPUT_MAX = 65_536;

async function whole(input: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of input) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > INPUT_MAX) throw new RefusedError("BAD_LENGTH");
  }
  return Buffer.concat(chunks);
}
