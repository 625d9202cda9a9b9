// The shipped modules and the independent model, call by call, through seeded cases.

import assert from "node:assert/strict";
import { STATUS } from "../../host/status.ts";
import { test, testEngine } from "../support/engines.ts";
import { CASES, runCases, VOLATILE } from "../twin/cases.ts";
import { Device } from "../twin/device.ts";
import { lockstep } from "../twin/lockstep.ts";
import { CoreModel } from "./adapter.ts";

const engine = testEngine();

test("core: agrees with the model on 10,000 seeded cases, call by call and byte by byte [N-3]", () => {
  const { statuses } = runCases((options) => lockstep(new Device(options), new CoreModel(engine, options)));
  // GAP is the host's, BAD_ARGUMENT and BAD_ORDER the caller's; a full sender table is left to the scripts.
  const rare = new Set(["MORE", "GAP", "BAD_ARGUMENT", "BAD_ORDER", "NO_ROOM"]);
  const missing = Object.keys(STATUS).filter((name) => !statuses.has(name) && !rare.has(name));
  assert.deepEqual(missing, []);
});

test("core: agrees with the model on cases of other seeds", () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    runCases((options) => lockstep(new Device(options), new CoreModel(engine, options)), CASES / 10, seed);
  }
});

test("core: the build for devices without storage agrees with the model, and with the one that has it", () => {
  const { statuses } = runCases(
    (options) => {
      const whole = new CoreModel(engine, options, "device-ascon");
      return lockstep(
        lockstep(new Device(options), whole),
        new CoreModel(engine, options, "device-ascon-volatile"),
      );
    },
    CASES / 5,
    8,
    VOLATILE,
  );
  // What it shows is worth something only if devices did all that they can do.
  for (const name of [
    "OK",
    "REPLAYED",
    "NO_SESSION",
    "BAD_SESSION",
    "NO_GRANT",
    "SINGLE_ONLY",
    "BAD_RATCHET",
    "BUSY",
  ])
    assert.ok((statuses.get(name) ?? 0) > 0, name);
});
