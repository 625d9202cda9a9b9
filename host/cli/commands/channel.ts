// `ampoule channel`: which topics are sealed, and for whom.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { ChannelParams, KeyServer } from "../../keyserver/server.ts";
import { CHANNEL_HEAD, channelJson, channelRow, describeChannel } from "../channel-view.ts";
import { examples } from "../help.ts";
import type { Io } from "../io.ts";
import { filter, frameSize, integer, SUITE_NAMES, suiteNumber } from "../options.ts";
import { addRealmOptions, type RealmOptions, withRealm } from "../realm.ts";
import { table } from "../table.ts";

export function addChannel(program: Command, io: Io): void {
  const channel = program
    .command("channel")
    .description("make channels, and say who belongs to them")
    .helpCommand(false);
  addCreate(channel, io);
  addList(channel, io);
  addShow(channel, io);
  addGrant(channel, io);
  for (const change of CHANGES) addChange(channel, change, io);
  addRevoke(channel, io);
}

interface CreateOptions extends RealmOptions {
  suite: string;
  frameSize?: number;
  shortTag?: boolean;
  late?: number;
  ahead?: number;
  narrow?: boolean;
  stored: boolean;
  markBlock?: string;
  lease?: number;
  stepEvery?: number;
  bindTopic: boolean;
}

function addCreate(channel: Command, io: Io): void {
  const create = withFilter(channel, "create", "make a channel; its parameters stay for good")
    .addOption(
      new Option("--suite <name>", "how frames are sealed").choices(SUITE_NAMES).default("ascon-siv"),
    )
    .option("--frame-size <bytes>", "size of every frame on the wire, 24 to 1024 (default 128)", frameSize)
    .option("--short-tag", "tags of 8 bytes instead of 16")
    .option("--late <steps>", "older steps still read (default 2)", integer(0, 7))
    .option("--ahead <steps>", "steps a sender may be ahead (default 1)", integer(0, 7))
    .option("--narrow", "one frame a message at the broker, for links with tiny packets")
    .option("--no-stored", "refuse retained messages")
    .option("--no-bind-topic", "let frames move between the topics of the channel")
    .addOption(
      new Option(
        "--mark-block <frames>",
        "frames accepted for each mark that is stored (default 16)",
      ).choices(["1", "16", "64"]),
    )
    .option("--lease <steps>", "length of a grant in steps (default 64)", integer(1, 128))
    .option(
      "--step-every <time>",
      "move the step by itself: 30m, 1h, 1d, seconds, or never (default 1d)",
      interval,
    );
  onRealm(create, (name: string, options: CreateOptions) =>
    withRealm(options, io, (server) => {
      server.createChannel(name, params(options));
      io.out(`created ${name}\nnext: ampoule channel grant ${quoted(name)} <device>\n`);
    }),
  );
  examples(create, [
    ["ampoule channel create 'plant/+/live'", "one channel for all topics the filter matches"],
    [
      "ampoule channel create door/lock --frame-size 64 --mark-block 1 --no-stored",
      "short commands, no retained ones",
    ],
    [
      "ampoule channel create 'lab/#' --step-every 1h",
      "what is older than three hours cannot be read any more",
    ],
  ]);
}

function params(options: CreateOptions): ChannelParams {
  const chosen: ChannelParams = {
    suite: suiteNumber(options.suite),
    shortTag: options.shortTag ?? false,
    narrow: options.narrow ?? false,
    stored: options.stored,
    topicMode: options.bindTopic ? 0 : 1,
  };
  if (options.frameSize !== undefined) chosen.frameSize = options.frameSize;
  if (options.late !== undefined) chosen.late = options.late;
  if (options.ahead !== undefined) chosen.ahead = options.ahead;
  if (options.markBlock !== undefined) chosen.markBlock = Number(options.markBlock) as 1 | 16 | 64;
  if (options.lease !== undefined) chosen.leaseSteps = options.lease;
  if (options.stepEvery !== undefined) chosen.stepEvery = options.stepEvery;
  return chosen;
}

const UNIT_SECONDS: Record<string, number> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400 };
const YEAR = 365 * 86_400;

/** A time in seconds, 0 for never; a minute to a year. */
function interval(value: string): number {
  if (value === "never") return 0;
  const [, digits, unit = ""] = /^(\d{1,9})([smhd]?)$/.exec(value) ?? [];
  const seconds = Number(digits) * (UNIT_SECONDS[unit] ?? 1);
  if (seconds >= 60 && seconds <= YEAR) return seconds;
  throw new InvalidArgumentError("It is 30m, 1h, 1d or seconds, from a minute to a year, or never.");
}

function addList(channel: Command, io: Io): void {
  const list = channel.command("list").description("list channels").option("--json", "print JSON");
  onRealm(list, (options: RealmOptions & { json?: boolean }) =>
    withRealm(options, io, (server) => {
      const channels = server.channels();
      if (options.json === true) return io.out(`${JSON.stringify(channels.map(channelJson))}\n`);
      if (channels.length === 0) return io.out("no channels; next: ampoule channel create <filter>\n");
      io.out(table(CHANNEL_HEAD, channels.map(channelRow)));
    }),
  );
  examples(list, [["ampoule channel list", "filters, suites, generations, members"]]);
}

function addShow(channel: Command, io: Io): void {
  const show = withFilter(channel, "show", "show a channel and its members").option("--json", "print JSON");
  onRealm(show, (name: string, options: RealmOptions & { json?: boolean }) =>
    withRealm(options, io, (server) => {
      const state = server.channel(name);
      io.out(options.json === true ? `${JSON.stringify(channelJson(state))}\n` : describeChannel(state));
    }),
  );
  examples(show, [["ampoule channel show 'plant/+/live'", "parameters, leases, sender numbers"]]);
}

interface GrantOptions extends RealmOptions {
  will?: boolean;
  steps?: number;
  renew: boolean;
  readOnly?: boolean;
}

function addGrant(channel: Command, io: Io): void {
  const grant = withFilter(channel, "grant", "give a device the keys of a channel from now on")
    .argument("<device>", "name of the device")
    .option("--read-only", "it has no business sending; it is served before those that do")
    .option("--will", "a second sender number, for its last will")
    .option("--steps <n>", "length of the lease in steps", integer(1, 128))
    .option("--no-renew", "let the lease run out");
  onRealm(grant, (name: string, device: string, options: GrantOptions) =>
    withRealm(options, io, (server) => {
      const { will = false, steps, renew, readOnly = false } = options;
      const lease = steps === undefined ? {} : { steps };
      server.grant(name, device, { will, renew, write: !readOnly, ...lease });
      io.out(`granted ${name} to ${device}\n`);
    }),
  );
  examples(grant, [
    [
      "ampoule channel grant 'plant/+/live' boiler",
      "reads and writes; what was sealed before stays closed to it",
    ],
    ["ampoule channel grant 'plant/+/live' guest --steps 10 --no-renew", "for ten steps"],
  ]);
}

function addRevoke(channel: Command, io: Io): void {
  const revoke = withFilter(
    channel,
    "revoke",
    "take a device out of a channel: new keys for everyone else",
  ).argument("<device>", "name of the device");
  onRealm(revoke, (name: string, device: string, options: RealmOptions) =>
    withRealm(options, io, (server) => {
      server.revoke(name, device);
      io.out(`revoked ${name} from ${device}\n`);
    }),
  );
  examples(revoke, [
    ["ampoule channel revoke 'plant/+/live' guest", "it reads nothing that is sealed from then on"],
  ]);
}

interface Change {
  verb: "rotate" | "step" | "delete";
  what: string;
  example: string;
  apply: (server: KeyServer, filter: string) => string;
}

const CHANGES: Change[] = [
  {
    verb: "rotate",
    what: "give a channel a new generation of keys",
    example: "members keep the last steps of the old generation until they are through with it",
    apply: (server, name) => {
      server.rotate(name);
      return `rotated ${name}`;
    },
  },
  {
    verb: "step",
    what: "move a channel one step: keys of steps past are erased",
    example: "now, whatever its schedule says: what is older than two steps can no longer be read",
    apply: (server, name) => {
      server.step(name);
      return `moved ${name} one step`;
    },
  },
  {
    verb: "delete",
    what: "delete a channel: its members drop their keys",
    example: "what it sealed can no longer be read by anyone",
    apply: (server, name) => {
      server.deleteChannel(name);
      return `deleted ${name}`;
    },
  },
];

function addChange(channel: Command, { verb, what, example, apply }: Change, io: Io): void {
  const command = withFilter(channel, verb, what);
  onRealm(command, (name: string, options: RealmOptions) =>
    withRealm(options, io, (server) => io.out(`${apply(server, name)}\n`)),
  );
  examples(command, [[`ampoule channel ${verb} 'plant/+/live'`, example]]);
}

/** Realm options come last in the help. */
function onRealm<A extends unknown[]>(command: Command, action: (...values: A) => Promise<void>): void {
  addRealmOptions(command).action((...values: unknown[]) => action(...(values as A)));
}

function withFilter(channel: Command, verb: string, what: string): Command {
  return channel.command(verb).description(what).argument("<filter>", "topic filter of the channel", filter);
}

/** Safe to paste into a shell. */
function quoted(name: string): string {
  return /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}
