// A channel as JSON, as a row of a table and as a page.

import type { ChannelState, MemberState } from "../keyserver/server.ts";
import { suiteName } from "./options.ts";
import { table } from "./table.ts";

/** Members are named, not numbered: ids are in `ampoule device list --json`. */
export function channelJson({ members, suite, ...state }: ChannelState): object {
  return {
    ...state,
    suite: suiteName(suite),
    members: members.map(({ device: id, name, ...member }) => ({ device: name, id, ...member })),
  };
}

export const CHANNEL_HEAD = ["filter", "suite", "frame", "generation", "step", "members"];

export function channelRow(state: ChannelState): string[] {
  const { filter, suite, frameSize, generation, step, members } = state;
  return [filter, suiteName(suite), ...[frameSize, generation, step, members.length].map(String)];
}

export function describeChannel(state: ChannelState): string {
  const { filter, id, generation, step, late, ahead, suite, frameSize, shortTag } = state;
  const lines = [
    `${filter} is channel ${id}`,
    `generation ${generation}, step ${step}, late ${late}, ahead ${ahead}`,
    `${suiteName(suite)}, frames of ${frameSize} bytes, tags of ${shortTag ? 8 : 16}, ${traits(state)}`,
    schedule(state),
  ];
  return `${lines.join("\n")}\n\n${memberTable(state)}`;
}

function traits({ stored, narrow, topicMode, markBlock, leaseSteps }: ChannelState): string {
  const words = [stored ? "retained messages" : "no retained messages"];
  if (narrow) words.push("narrow");
  if (topicMode === 1) words.push("not bound to topics");
  words.push(`mark every ${markBlock}`, `leases of ${leaseSteps} steps`);
  return words.join(", ");
}

function schedule({ stepEvery, steppedAt }: ChannelState): string {
  const last = steppedAt === 0 ? "" : `, last at ${new Date(steppedAt).toISOString()}`;
  return `${stepEvery === 0 ? "steps by hand only" : `steps every ${duration(stepEvery)}`}${last}`;
}

/** In the largest unit that gives a whole number. */
function duration(seconds: number): string {
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3600],
    ["m", 60],
  ];
  const [unit, size] = units.find(([, size]) => seconds % size === 0) ?? ["s", 1];
  return `${seconds / size}${unit}`;
}

function memberTable({ members }: ChannelState): string {
  if (members.length === 0) return "no members; next: ampoule channel grant <filter> <device>\n";
  return table(
    ["member", "sender", "will", "may", "lease", "renewed"],
    members.map((member) => [
      member.name,
      String(member.sender),
      member.will === 0 ? "none" : String(member.will),
      member.writes ? "read, write" : "read",
      lease(member),
      member.renew ? "yes" : "no",
    ]),
  );
}

/** A member does not read what was sealed before its opening. */
function lease({ from, open, to, suspendedTo }: MemberState): string {
  if (suspendedTo > 0) return `suspended to ${new Date(suspendedTo).toISOString()}`;
  return `${Math.max(from, open)} to ${to}`;
}
