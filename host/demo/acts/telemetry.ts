import type { ReportOf } from "../fleet.ts";
import { METRICS } from "../metrics.ts";
import { type Act, device, expect, PATIENCE_MS, pause, type Scene, showReads } from "../scene.ts";

/** Messages shown of each sender. */
const SHOWN = 2;

export const telemetry: Act = {
  heading: "Live telemetry",
  sentence: "Four devices publish measurements of this machine; desk reads them, the broker cannot.",
  async play(scene: Scene): Promise<void> {
    const { screen } = scene;
    const desk = device(scene, "desk");
    screen.columns("desk reads", "the broker carries");
    const mark = desk.mark;
    const shown = (): ReportOf<"read">[] => firstOfEach(desk.since(mark, "read"));
    await desk.until(() => shown().length >= SHOWN * METRICS.length, PATIENCE_MS);
    await pause(scene, 300);
    const reads = shown();
    await showReads(scene, reads);
    const senders = new Set(reads.map(({ sender }) => sender)).size;
    expect(
      scene,
      senders === METRICS.length,
      `${reads.length} messages from ${senders} senders, each sealed under a key of its own`,
    );
  },
};

/** The first messages of each sender, in the order in which they came. */
function firstOfEach(reads: ReportOf<"read">[]): ReportOf<"read">[] {
  const counts = new Map<number, number>();
  return reads.filter(({ sender }) => {
    const count = (counts.get(sender) ?? 0) + 1;
    counts.set(sender, count);
    return count <= SHOWN;
  });
}
