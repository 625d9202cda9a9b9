import { tally } from "../ledger.ts";
import {
  type Act,
  command,
  device,
  expect,
  held,
  LATECOMER,
  listen,
  PATIENCE_MS,
  pause,
  type Scene,
} from "../scene.ts";

const STEPS_MAX = 6;
const LISTEN_MS = 1200;

export const lease: Act = {
  heading: "A lease runs out",
  sentence: `The channel steps past the last step ${LATECOMER} has keys for; nothing need be sent to it.`,
  async play(scene: Scene): Promise<void> {
    const { stage } = scene;
    const guest = device(scene, LATECOMER);
    const desk = device(scene, "desk");
    const last = held(guest)?.to ?? 0;
    for (let taken = 0; (held(desk)?.step ?? 0) <= last && taken < STEPS_MAX; taken++) {
      const before = held(desk)?.step ?? 0;
      await command(scene, "channel", "step", stage.filter);
      await desk.until(() => (held(desk)?.step ?? 0) > before, PATIENCE_MS);
    }
    await guest.until(() => (held(guest)?.step ?? last + 1) > last, PATIENCE_MS);
    await pause(scene, 200);
    await watchBoth(scene, last);
  },
};

async function watchBoth(scene: Scene, last: number): Promise<void> {
  const guest = device(scene, LATECOMER);
  const desk = device(scene, "desk");
  const [mark, deskMark] = [guest.mark, desk.mark];
  guest.order({ order: "publish" });
  await listen(LISTEN_MS);
  const reads = guest.since(mark, "read").filter(({ step }) => step > last).length;
  const refusals = guest.since(mark, "refused");
  const [incoming, outgoing] = (["in", "out"] as const).map((way) =>
    refusals.filter((refusal) => refusal.way === way).map(({ status }) => status),
  ) as [string[], string[]];
  const deskReads = desk.since(deskMark, "read").length;
  expect(
    scene,
    reads === 0 && incoming.length > 0 && deskReads > 0,
    `desk reads ${deskReads}, ${LATECOMER} ${reads}: ${tally(incoming)}`,
  );
  expect(scene, outgoing.length > 0, `${LATECOMER} cannot send either: ${tally(outgoing)}`);
}
