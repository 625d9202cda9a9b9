// The last page: what was sent, refused and proven, from what the processes reported.

import { table } from "../cli/table.ts";
import { tally } from "./ledger.ts";
import { elapsed, hintOf, positionOf, type Scene } from "./scene.ts";
import type { Stage } from "./stage.ts";
import { FRAME_SIZE } from "./wire.ts";

/** Prints the summary; returns whether every expectation came true. */
export function summarize({ stage, screen, ledger }: Scene, start: number): boolean {
  const rows = [...stage.devices.values()].map((member) => {
    const refused = member.since(0, "refused");
    const incoming = refused.filter(({ way }) => way === "in").map(({ status }) => status);
    const outgoing = refused.filter(({ way }) => way === "out").map(({ status }) => status);
    const sent = member.since(0, "sent").length - outgoing.length;
    return [
      member.name,
      String(sent),
      String(member.since(0, "read").length),
      tally(incoming),
      tally(outgoing),
    ];
  });
  screen.title("Summary", `computed from what happened, in ${elapsed(start)}`);
  const head = ["device", "sent", "read", "refused to read", "refused to send"];
  screen.block(table(head, rows, [8, 4, 4, screen.width - 45, 18]));
  const live = stage.tap.seen.filter(({ topic }) => stage.isLive(topic)).length;
  const control = stage.tap.seen.length - live;
  screen.line(`on the wire    ${live} messages of the plant, ${control} of control`);
  screen.line(`by attackers   ${stage.tap.injected} messages; members read ${forged(stage)} of them`);
  const { expectations, failed } = ledger;
  screen.verdict(
    failed.length === 0,
    `${expectations.length - failed.length} of ${expectations.length} expectations came true`,
  );
  for (const { act, text } of failed) screen.line(`${act}: ${text}`);
  return failed.length === 0;
}

/** Messages a device has released that no member put on the wire, or that it had released before. */
function forged({ devices, tap, isLive }: Stage): number {
  const genuine = new Set(
    tap
      .frames(isLive, FRAME_SIZE)
      .map(({ topic, hint, sender, counter }) => `${topic} ${hint} ${sender} ${counter}`),
  );
  let count = 0;
  for (const member of devices.values()) {
    const seen = new Set<string>();
    for (const read of member.since(0, "read")) {
      const { topic, generation, step, sender, counter } = read;
      const onWire = genuine.has(`${topic} ${hintOf(generation, step)} ${sender} ${counter}`);
      if (!onWire || seen.has(positionOf(read))) count += 1;
      seen.add(positionOf(read));
    }
  }
  return count;
}
