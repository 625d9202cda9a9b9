import type { ReportOf } from "../fleet.ts";
import {
  type Act,
  command,
  device,
  elapsed,
  expect,
  FLEET,
  held,
  PATIENCE_MS,
  pause,
  positionOf,
  type Scene,
} from "../scene.ts";

const AWAY = "disk";
const AWAY_MS = 1000;

export const offline: Act = {
  heading: "Away during a rotation",
  sentence: `${AWAY} loses its network while the channel gets a new generation of keys.`,
  async play(scene: Scene): Promise<void> {
    const { stage } = scene;
    const away = device(scene, AWAY);
    const desk = device(scene, "desk");
    const before = held(away)?.generation ?? 0;
    const online = away.mark;
    away.order({ order: "offline" });
    await away.until(() => away.since(online, "offline").length > 0, PATIENCE_MS);
    const mark = desk.mark;
    await command(scene, "channel", "rotate", stage.filter);
    const others = FLEET.filter((name) => name !== AWAY).map((name) => device(scene, name));
    const moved = await Promise.all(
      others.map((member) => member.until(() => (held(member)?.generation ?? 0) > before, PATIENCE_MS)),
    );
    const now = held(desk)?.generation;
    expect(
      scene,
      moved.every(Boolean) && held(away)?.generation === before,
      `${others.length} devices are at generation ${now}, ${AWAY} still at ${before}`,
    );
    await pause(scene, AWAY_MS);
    // A busy machine may need longer until there is something to miss.
    const known = new Set(away.since(0, "read").map(positionOf));
    // Its own last message may reach the others late, and it never reads that.
    const missed = (): ReportOf<"read">[] =>
      desk
        .since(mark, "read")
        .filter((read) => read.topic !== away.config.topic && !known.has(positionOf(read)));
    await desk.until(() => missed().length > 0, PATIENCE_MS);
    await comeBack(scene, before, missed());
  },
};

async function comeBack(scene: Scene, before: number, missed: ReportOf<"read">[]): Promise<void> {
  const away = device(scene, AWAY);
  const desk = device(scene, "desk");
  const [mark, deskMark] = [away.mark, desk.mark];
  const start = performance.now();
  away.order({ order: "online" });
  const caught = await away.until(() => (held(away)?.generation ?? 0) > before, PATIENCE_MS);
  expect(scene, caught, `back at the broker, it caught up in ${elapsed(start)}`);
  const later = (): Set<string> => new Set(away.since(mark, "read").map(positionOf));
  const caughtUp = (): boolean => missed.every((read) => later().has(positionOf(read)));
  const complete = await away.until(caughtUp, PATIENCE_MS);
  const count = missed.filter((read) => later().has(positionOf(read))).length;
  expect(
    scene,
    missed.length > 0 && complete,
    `it reads ${count} of the ${missed.length} messages it missed, old keys and new`,
  );
  const heard = (): boolean =>
    desk
      .since(deskMark, "read")
      .some(({ topic, generation }) => topic === away.config.topic && generation > before);
  expect(scene, await desk.until(heard, PATIENCE_MS), `and desk reads ${AWAY} again, under the new keys`);
}
