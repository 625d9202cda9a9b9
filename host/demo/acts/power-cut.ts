import { type Act, device, expect, listen, PATIENCE_MS, pause, type Scene } from "../scene.ts";
import { FRAME_SIZE } from "../wire.ts";

const VICTIM = "cpu";
const CUTS = 3;
const BURST_INTERVAL_MS = 10;
const BURST = 25;
/** What was on its way when the power failed has arrived by then. */
const FLIGHT_MS = 100;

export const powerCut: Act = {
  heading: "Power cuts",
  sentence: `${VICTIM} is killed ${CUTS} times in a burst of messages; no position may ever be used twice.`,
  async play(scene: Scene): Promise<void> {
    const { screen } = scene;
    const victim = device(scene, VICTIM);
    victim.order({ order: "pace", intervalMs: BURST_INTERVAL_MS });
    for (let cut = 1; cut <= CUTS; cut++) {
      await burst(scene);
      const pid = victim.pid;
      await victim.kill();
      await listen(FLIGHT_MS);
      const count = counters(scene).length;
      const last = counters(scene).at(-1);
      victim.start(cut === CUTS ? victim.config.intervalMs : BURST_INTERVAL_MS);
      await victim.until(() => counters(scene).length > count, PATIENCE_MS);
      const next = counters(scene)[count];
      screen.line(`kill -9 ${pid}: last counter on the wire ${last}, first after power is back ${next}`);
    }
    await pause(scene, 200);
    judge(scene);
  },
};

async function burst(scene: Scene): Promise<void> {
  const victim = device(scene, VICTIM);
  const mark = victim.mark;
  await victim.until(() => victim.since(mark, "sent").length >= BURST, PATIENCE_MS);
}

function counters({ stage }: Scene): number[] {
  return stage.tap.frames((topic) => topic === stage.topic(VICTIM), FRAME_SIZE).map(({ counter }) => counter);
}

/** One position, one ciphertext: over every frame of every member since the beginning. */
function judge(scene: Scene): void {
  const { stage } = scene;
  const positions = new Map<string, Buffer>();
  let twice = 0;
  const frames = stage.tap.frames((topic) => stage.isLive(topic), FRAME_SIZE);
  for (const { hint, sender, counter, frame } of frames) {
    const position = `${hint} ${sender} ${counter}`;
    const known = positions.get(position);
    if (known !== undefined && !known.equals(frame)) twice += 1;
    positions.set(position, frame);
  }
  expect(
    scene,
    frames.length > 0 && twice === 0,
    `${frames.length} frames on the wire, ${positions.size} positions, ${twice} used twice`,
  );
}
