/** Two models as one: makes every call on both and throws at the first outcome that differs. */

import { hex } from "./bytes.ts";
import type { DeviceModel, Outcome } from "./model.ts";
import { expectedOf } from "./script.ts";

function textOf(outcome: Outcome): string {
  return JSON.stringify({ ...expectedOf(outcome), asks: undefined, from: outcome.from });
}

/** The outcomes and snapshots are those of `model`; `asks` is not compared. */
export function lockstep(model: DeviceModel, other: DeviceModel): DeviceModel {
  const both = (name: string, call: (device: DeviceModel) => Outcome): Outcome => {
    const before = model.snapshot();
    const outcome = call(model);
    const [one, two] = [textOf(outcome), textOf(call(other))];
    if (one !== two) throw new Error(`${name}: ${one} against ${two} after ${before}`);
    return outcome;
  };
  return {
    provision: (identity, nonce) => both("provision", (device) => device.provision(identity, nonce)),
    restart: (slots, marks, nonce) => both("restart", (device) => device.restart(slots, marks, nonce)),
    protect: (id, text, topic, will) =>
      both(`protect ${id} ${text.length}`, (device) => device.protect(id, text, topic, will)),
    unprotect: (id, payload, topic, stored) =>
      both(`unprotect ${id} ${hex(payload)}`, (device) => device.unprotect(id, payload, topic, stored)),
    beacon: (id, payload) => both(`beacon ${id} ${hex(payload)}`, (device) => device.beacon(id, payload)),
    control: (payload, topic) => both(`control ${hex(payload)}`, (device) => device.control(payload, topic)),
    ack: (topic) => both("ack", (device) => device.ack(topic)),
    hello: (topic, want) => both("hello", (device) => device.hello(topic, want)),
    saveBlob: (sequence) => both(`saveBlob ${sequence}`, (device) => device.saveBlob(sequence)),
    confirm: (stored) => both("confirm", (device) => device.confirm(stored)),
    tick: () => both("tick", (device) => device.tick()),
    snapshot: () => model.snapshot(),
  };
}
