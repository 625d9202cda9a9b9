// After the acts: live lines until somebody stops it.

import { device, frameOf, nameOf, type Scene } from "./scene.ts";

export async function watch(scene: Scene, stopped: Promise<unknown>): Promise<void> {
  const { screen } = scene;
  const desk = device(scene, "desk");
  screen.title("Live", "what desk reads, and what the broker carries; Ctrl-C ends it");
  desk.onReport = (report) => {
    if (report.report === "read") {
      const bytes = frameOf(scene, report);
      if (bytes !== undefined) screen.pair(`${nameOf(report.topic).padEnd(8)} ${report.text}`, bytes);
    }
    for (const member of scene.stage.devices.values()) member.reports.length = 0;
    scene.stage.tap.seen.length = 0;
  };
  await stopped;
}
