import { type Act, device, expect, PATIENCE_MS, pause, type Scene, showReads } from "../scene.ts";

const SHOWN = 8;
const SENDERS = 4;

export const telemetry: Act = {
  heading: "Live telemetry",
  sentence: "Four devices publish measurements of this machine; desk reads them, the broker cannot.",
  async play(scene: Scene): Promise<void> {
    const { screen } = scene;
    const desk = device(scene, "desk");
    screen.columns("desk reads", "the broker carries");
    const mark = desk.mark;
    const reads = (): number => desk.since(mark, "read").length;
    await desk.until(() => reads() >= SHOWN, PATIENCE_MS);
    await pause(scene, 300);
    const shown = desk.since(mark, "read").slice(0, SHOWN);
    showReads(scene, shown);
    const senders = new Set(shown.map(({ sender }) => sender)).size;
    expect(
      scene,
      senders === SENDERS,
      `${shown.length} messages from ${senders} senders, each sealed under a key of its own`,
    );
  },
};
