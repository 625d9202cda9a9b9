// The demo: sets the stage, plays the acts in order, sums up, and leaves nothing behind.

import type { Io } from "../cli/io.ts";
import { attacks } from "./acts/attacks.ts";
import { granting } from "./acts/granting.ts";
import { latecomer } from "./acts/latecomer.ts";
import { lease } from "./acts/lease.ts";
import { offline } from "./acts/offline.ts";
import { powerCut } from "./acts/power-cut.ts";
import { provisioning } from "./acts/provisioning.ts";
import { removal } from "./acts/removal.ts";
import { restart } from "./acts/restart.ts";
import { secrecy } from "./acts/secrecy.ts";
import { telemetry } from "./acts/telemetry.ts";
import { Ledger } from "./ledger.ts";
import { type Act, pause, type Scene } from "./scene.ts";
import { Screen } from "./screen.ts";
import { type OwnBroker, Stage } from "./stage.ts";
import { summarize } from "./summary.ts";
import { watch } from "./watch.ts";

export type Pace = "fast" | "normal" | "slow";

export interface DemoOptions {
  watch: boolean;
  /** A running broker; undefined starts the embedded one. */
  broker: OwnBroker | undefined;
  engine: string;
  pace: Pace;
  /** File to keep of what the broker saw. */
  log: string | undefined;
}

const PACES: Record<Pace, number> = { fast: 0.2, normal: 1, slow: 6 };
const BETWEEN_ACTS_MS = 1000;
const ACTS: Act[] = [
  provisioning,
  granting,
  telemetry,
  attacks,
  latecomer,
  lease,
  offline,
  restart,
  powerCut,
  removal,
  secrecy,
];

/** Resolves with true when every expectation came true. Whatever happens, it cleans up. */
export async function runDemo(options: DemoOptions, io: Io): Promise<boolean> {
  const start = performance.now();
  const stage = new Stage(options, io);
  const onExit = (): void => stage.clear();
  process.once("exit", onExit);
  // A second Ctrl-C must not stop the cleaning up after the first.
  const ignore = (): void => {};
  process.on("SIGINT", ignore);
  const over = new AbortController();
  const stopped = io.untilStopped(over.signal).then(() => "stopped" as const);
  try {
    const screen = new Screen(io, process.stdout.columns);
    const scene: Scene = { stage, screen, ledger: new Ledger(), pace: PACES[options.pace] };
    const ended = await Promise.race([perform(scene, start), stopped]);
    if (ended === "stopped") {
      screen.line("stopped");
      return false;
    }
    if (options.watch) await watch(scene, stopped);
    return ended;
  } finally {
    over.abort();
    await stage.close();
    process.removeListener("exit", onExit);
    process.removeListener("SIGINT", ignore);
  }
}

async function perform(scene: Scene, start: number): Promise<boolean> {
  const { stage, screen, ledger } = scene;
  await stage.openBroker();
  screen.title(
    "Ampoule: end-to-end encryption over MQTT",
    `broker ${stage.url}, everything else in processes of its own, the devices' core in ${stage.engine}`,
  );
  for (const act of ACTS) {
    ledger.begin(act.heading);
    screen.act(act.heading, act.sentence);
    await act.play(scene);
    await pause(scene, BETWEEN_ACTS_MS);
  }
  return summarize(scene, start);
}
