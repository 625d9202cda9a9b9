// The shipped modules play every script and every window table that the independent model wrote.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test, testEngine } from "../support/engines.ts";
import { forAscon } from "../twin/for-ascon.ts";
import type { DeviceOptions } from "../twin/model.ts";
import { runScripts } from "../twin/run-vectors.ts";
import type { Script } from "../twin/script.ts";
import { buildFor, CoreModel } from "./adapter.ts";

const engine = testEngine();
const make = (options: DeviceOptions) => new CoreModel(engine, options);

function read(name: string) {
  return JSON.parse(readFileSync(join(import.meta.dirname, "..", "vectors", name), "utf8"));
}

/** Device builds have 4 channels, 8 senders and a topic buffer of 256 bytes (1024 in the host build). */
function fits(script: Script): boolean {
  const { layout, channels, senders } = script.options;
  if (layout === 1 && (channels !== 4 || senders !== 8)) return false;
  return script.calls.every((line) => !("topic" in line) || line.topic.length <= 256);
}

const scripts: Script[] = [
  ...["beacon.json", "control.json", "blob.json", "mark.json", "messages.json"].flatMap(
    (name) => read(name).scripts as Script[],
  ),
  ...(read("refusals.json") as { script: Script }[]).map(({ script }) => script),
];

for (const script of scripts.filter(fits)) {
  test(`core: ${buildFor(script.options)} plays: ${script.title}`, () => runScripts(make, [script]));
}

const volatile = scripts
  .filter((script) => fits(script) && script.options.layout === 1 && script.options.class !== 0)
  .map(forAscon)
  .filter((script) => script !== null);

for (const script of volatile) {
  const build = "device-ascon-volatile";
  test(`core: ${build} plays: ${script.title}`, () =>
    runScripts((options) => new CoreModel(engine, options, build), [script]));
}

test("core: of devices without storage there are scripts", () => {
  assert.ok(volatile.length >= 5, `${volatile.length}`);
});

test("core: all scripts but those for other table sizes or longer topics are played", () => {
  assert.ok(scripts.filter((script) => !fits(script)).length <= 4);
});
