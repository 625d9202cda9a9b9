import { tally } from "../ledger.ts";
import {
  type Act,
  command,
  device,
  expect,
  held,
  LATECOMER,
  PATIENCE_MS,
  pause,
  type Scene,
} from "../scene.ts";

const STEPS_MAX = 6;

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
  const refused = (way: "in" | "out"): string[] =>
    guest.since(mark, "refused").flatMap((refusal) => (refusal.way === way ? refusal.status : []));
  await guest.until(() => refused("in").length > 0 && refused("out").length > 0, PATIENCE_MS);
  await desk.until(() => desk.since(deskMark, "read").length > 0, PATIENCE_MS);
  const reads = guest.since(mark, "read").filter(({ step }) => step > last).length;
  const deskReads = desk.since(deskMark, "read").length;
  expect(
    scene,
    reads === 0 && refused("in").length > 0 && deskReads > 0,
    `desk reads ${deskReads}, ${LATECOMER} ${reads}: ${tally(refused("in"))}`,
  );
  expect(scene, refused("out").length > 0, `${LATECOMER} cannot send either: ${tally(refused("out"))}`);
}
