import { METRICS, type MetricName } from "../metrics.ts";
import {
  type Act,
  command,
  elapsed,
  expect,
  FLEET,
  held,
  OUTCAST,
  PATIENCE_MS,
  quietly,
  type Scene,
} from "../scene.ts";
import { FRAME_SIZE } from "../wire.ts";

/** Between two measurements of one device. */
const INTERVAL_MS = 500;
/** A busy machine may bring keys late; of the outcast refusals are to be seen soon. */
const HOLD_MS = 30_000;
const OUTCAST_HOLD_MS = 1000;

export const granting: Act = {
  heading: "Granting",
  sentence: "A channel is made for the topics of the plant; its members fetch their keys over the broker.",
  async play(scene: Scene): Promise<void> {
    const { stage, screen } = scene;
    await command(scene, "channel", "create", stage.filter, "--frame-size", String(FRAME_SIZE));
    for (const [at, name] of FLEET.entries()) {
      await (at === 0 ? command : quietly)(scene, "channel", "grant", stage.filter, name);
    }
    screen.faint(`and so on: ${FLEET.slice(1).join(", ")}`);
    const start = performance.now();
    await stage.startServer();
    const members = FLEET.map((name) => {
      const hold = name === OUTCAST ? OUTCAST_HOLD_MS : HOLD_MS;
      return stage.addDevice(name, metricOf(name), INTERVAL_MS, hold);
    });
    for (const member of members) member.start();
    const keyed = await Promise.all(
      members.map((member) => member.until(() => held(member) !== undefined, PATIENCE_MS)),
    );
    expect(
      scene,
      keyed.every(Boolean),
      `${members.length} processes started and hold keys after ${elapsed(start)}`,
    );
    const agreed = await stage.inSync([...FLEET], PATIENCE_MS);
    expect(scene, agreed, "the key server has proof: every device is in sync with what it was granted");
  },
};

function metricOf(name: string): MetricName | null {
  return METRICS.find((metric) => metric === name) ?? null;
}
