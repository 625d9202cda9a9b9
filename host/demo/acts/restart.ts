import {
  type Act,
  command,
  device,
  elapsed,
  expect,
  FLEET,
  held,
  listen,
  PATIENCE_MS,
  pause,
  type Scene,
} from "../scene.ts";

const ABSENCE_MS = 1200;

export const restart: Act = {
  heading: "The key server dies",
  sentence: "Its process is killed without warning; members talk on, and it resumes from its database.",
  async play(scene: Scene): Promise<void> {
    const { stage, screen } = scene;
    const desk = device(scene, "desk");
    screen.command(`kill -9 ${stage.serverPid}`);
    await stage.killServer();
    const mark = desk.mark;
    await listen(ABSENCE_MS);
    const reads = (): number => desk.since(mark, "read").length;
    expect(
      scene,
      await desk.until(() => reads() > 0, PATIENCE_MS),
      `without it desk has read ${reads()} messages`,
    );
    const start = performance.now();
    await stage.startServer();
    const before = held(desk)?.step ?? 0;
    await command(scene, "channel", "step", stage.filter);
    await moved(scene, before, start);
    await pause(scene, 200);
  },
};

async function moved(scene: Scene, before: number, start: number): Promise<void> {
  const members = FLEET.map((name) => device(scene, name));
  const stepped = await Promise.all(
    members.map((member) => member.until(() => (held(member)?.step ?? 0) > before, PATIENCE_MS)),
  );
  const step = held(device(scene, "desk"))?.step;
  expect(
    scene,
    stepped.every(Boolean),
    `started again, it moved all ${members.length} members to step ${step} in ${elapsed(start)}`,
  );
  const agreed = await scene.stage.inSync([...FLEET], PATIENCE_MS);
  expect(scene, agreed, "and finds every one in sync");
}
