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
import type { FrameView } from "../tap.ts";
import { FRAME_SIZE } from "../wire.ts";

const RECORDED = 12;

export const latecomer: Act = {
  heading: "Joining late",
  sentence: `${LATECOMER} is granted the channel for two steps; recorded messages are played to it.`,
  async play(scene: Scene): Promise<void> {
    const { stage } = scene;
    const recorded = stage.tap.frames((topic) => stage.isLive(topic), FRAME_SIZE).slice(-RECORDED);
    await command(scene, "channel", "grant", stage.filter, LATECOMER, "--steps", "2", "--no-renew");
    const guest = stage.addDevice(LATECOMER, null, 1000, 1000);
    guest.start();
    const joined = await guest.until(() => held(guest) !== undefined, PATIENCE_MS);
    expect(scene, joined, `${LATECOMER} has keys from step ${held(guest)?.step ?? "?"} on`);
    const reads = await guest.until(() => guest.since(0, "read").length >= 4, PATIENCE_MS);
    expect(scene, reads, `it reads what is sealed now: ${guest.since(0, "read").length} messages`);
    await playBack(scene, recorded);
    await pause(scene, 300);
  },
};

async function playBack(scene: Scene, recorded: FrameView[]): Promise<void> {
  const guest = device(scene, LATECOMER);
  const desk = device(scene, "desk");
  const [mark, deskMark] = [guest.mark, desk.mark];
  for (const { topic, frame } of recorded) await scene.stage.tap.inject(topic, frame);
  const refused = (): string[] => guest.since(mark, "refused").map(({ status }) => status);
  const deskRefused = (): string[] => desk.since(deskMark, "refused").map(({ status }) => status);
  const all = await guest.until(() => refused().length >= recorded.length, PATIENCE_MS);
  await desk.until(() => deskRefused().length >= recorded.length, PATIENCE_MS);
  expect(scene, all, `${recorded.length} recorded messages are closed to ${LATECOMER}: ${tally(refused())}`);
  expect(
    scene,
    deskRefused().length >= recorded.length,
    `desk has read them before and takes none twice: ${tally(deskRefused())}`,
  );
}
