// The shipped modules and the independent model, call by call, through seeded cases.

import assert from "node:assert/strict";
import { STATUS } from "../../host/status.ts";
import { test, testEngine } from "../support/engines.ts";
import { CASES, runCases } from "../twin/cases.ts";
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
