import type { DeviceProcess } from "../fleet.ts";
import { tally } from "../ledger.ts";
import {
  type Act,
  command,
  device,
  expect,
  FLEET,
  held,
  OUTCAST,
  PATIENCE_MS,
  pause,
  type Scene,
  seen,
} from "../scene.ts";
import type { FrameView } from "../tap.ts";
import type { Thief } from "../thief.ts";
import { FRAME_SIZE } from "../wire.ts";

export const removal: Act = {
  heading: "Taking a member out",
  sentence: `${OUTCAST} is revoked: the others get new keys, it stays and listens, and so does a thief of its old ones.`,
  async play(scene: Scene): Promise<void> {
    const { stage } = scene;
    const others = FLEET.filter((name) => name !== OUTCAST).map((name) => device(scene, name));
    const before = held(device(scene, "desk"))?.generation ?? 0;
    const thief = stage.steal(OUTCAST);
    const known = frames(scene).length;
    await command(scene, "channel", "revoke", stage.filter, OUTCAST);
    const moved = await Promise.all(
      others.map((member) => member.until(() => (held(member)?.generation ?? 0) > before, PATIENCE_MS)),
    );
    const now = held(device(scene, "desk"))?.generation;
    expect(scene, moved.every(Boolean), `${others.length} members are at generation ${now}`);
    await pause(scene, 300);
    await watchBoth(scene, before);
    const fresh = (): FrameView[] =>
      frames(scene)
        .slice(known)
        .filter(({ hint }) => hint >> 4 === (now ?? 0) % 16);
    await seen(() => fresh().length > 0);
    judgeThief(scene, thief, fresh());
  },
};

function frames({ stage }: Scene): FrameView[] {
  return stage.tap.frames((topic) => stage.isLive(topic), FRAME_SIZE);
}

/** Whoever holds the keys of a removed member reads the old generation to its end, and nothing of the new one. */
function judgeThief(scene: Scene, thief: Thief, fresh: FrameView[]): void {
  const results = thief.tryAll(fresh);
  thief.close();
  expect(
    scene,
    fresh.length > 0 && !results.includes("OK"),
    `a thief who copied its keys before reads ${results.filter((result) => result === "OK").length} of ${fresh.length} messages: ${tally(results)}`,
  );
}

async function watchBoth(scene: Scene, before: number): Promise<void> {
  const outcast = device(scene, OUTCAST);
  const desk = device(scene, "desk");
  const [mark, deskMark] = [outcast.mark, desk.mark];
  const readNow = (member: DeviceProcess, since: number): number =>
    member.since(since, "read").filter(({ generation }) => generation > before).length;
  const refused = (): string[] =>
    outcast.since(mark, "refused").flatMap(({ way, status }) => (way === "in" ? status : []));
  await outcast.until(() => refused().length > 0, PATIENCE_MS);
  await desk.until(() => readNow(desk, deskMark) > 0, PATIENCE_MS);
  const [reads, deskReads] = [readNow(outcast, mark), readNow(desk, deskMark)];
  expect(
    scene,
    reads === 0 && deskReads > 0 && refused().length > 0,
    `desk reads ${deskReads} messages, ${OUTCAST} ${reads}: ${tally(refused())}`,
  );
  const heard = desk.since(deskMark, "read").filter(({ topic }) => topic === outcast.config.topic).length;
  expect(scene, heard === 0, `and nobody reads ${OUTCAST}: ${heard} messages`);
}
