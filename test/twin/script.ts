/** Scripts: calls on a DeviceModel with everything they must give, as JSON holds them. */

import { type Bytes, hex, unhex } from "./bytes.ts";
import type { DeviceModel, DeviceOptions, Identity, Outcome } from "./model.ts";
import { statusName } from "./status.ts";

export type Call =
  | { call: "restart"; slots: [string, string]; marks: string[]; bootNonce: string }
  | { call: "protect"; channel: string; text: string; topic: string; will: boolean }
  | { call: "unprotect"; channel: string; payload: string; topic: string; stored: boolean }
  | { call: "beacon"; channel: string; payload: string }
  | { call: "control"; payload: string; topic: string }
  | { call: "ack"; topic: string }
  | { call: "hello"; topic: string; want: string }
  | { call: "saveBlob"; sequence: number }
  | { call: "confirm"; stored: boolean }
  | { call: "tick" };

/** What a call gave. Only what is present is compared. */
export interface Expected {
  status: string;
  text?: string;
  payloads?: string[];
  record?: string;
  asks?: boolean;
}

export type Line = Call & { gives: Expected };

export interface Script {
  title: string;
  options: DeviceOptions;
  /** Absent: the calls are made before provisioning. */
  identity?: { realm: string; device: string; key: string; bootNonce: string };
  calls: Line[];
}

export function perform(device: DeviceModel, line: Call): Outcome {
  switch (line.call) {
    case "restart":
      return device.restart(
        [unhex(line.slots[0]), unhex(line.slots[1])],
        line.marks.map(unhex),
        unhex(line.bootNonce),
      );
    case "protect":
      return device.protect(line.channel, unhex(line.text), line.topic, line.will);
    case "unprotect":
      return device.unprotect(line.channel, unhex(line.payload), line.topic, line.stored);
    case "beacon":
      return device.beacon(line.channel, unhex(line.payload));
    case "control":
      return device.control(unhex(line.payload), line.topic);
    case "ack":
      return device.ack(line.topic);
    case "hello":
      return device.hello(line.topic, unhex(line.want));
    case "saveBlob":
      return device.saveBlob(line.sequence);
    case "confirm":
      return device.confirm(line.stored);
    case "tick":
      return device.tick();
  }
}

/** An outcome as a script holds it. */
export function expectedOf(outcome: Outcome): Expected {
  const { status, text, payloads, record, asks } = outcome;
  return {
    status: statusName(status),
    ...(text === undefined ? {} : { text: hex(text) }),
    ...(payloads === undefined ? {} : { payloads: payloads.map(hex) }),
    ...(record === undefined ? {} : { record: hex(record) }),
    ...(asks === true ? { asks } : {}),
  };
}

export function identityOf(script: Script): { identity: Identity; bootNonce: Bytes } | null {
  if (script.identity === undefined) return null;
  const { realm, device, key, bootNonce } = script.identity;
  const identity = { realm: unhex(realm), device: unhex(device), key: unhex(key) };
  return { identity, bootNonce: unhex(bootNonce) };
}

/**
 * Makes every call of a script and throws on the first that gives something else, and on a refusal
 * that changed the snapshot [N-3].
 */
export function runScript(make: (options: DeviceOptions) => DeviceModel, script: Script): void {
  const device = make(script.options);
  const given = identityOf(script);
  if (given !== null) device.provision(given.identity, given.bootNonce);
  script.calls.forEach((line, i) => {
    const before = device.snapshot();
    const outcome = perform(device, line);
    const actual = expectedOf(outcome) as unknown as Record<string, unknown>;
    const expected = line.gives as unknown as Record<string, unknown>;
    for (const field of ["status", "text", "payloads", "record", "asks"]) {
      const wanted = JSON.stringify(expected[field]);
      const got = JSON.stringify(actual[field]);
      const where = `${script.title}: call ${i} (${line.call}) ${field}`;
      if (wanted !== got) throw new Error(`${where}: ${got} instead of ${wanted}`);
    }
    if (isRefusal(outcome.status) && line.call !== "restart" && device.snapshot() !== before) {
      throw new Error(`${script.title}: call ${i} (${line.call}) was refused and changed the state`);
    }
  });
}

/** Statuses after which N-3 holds. HELD is a success; GAP has marked the window. */
export function isRefusal(status: number): boolean {
  return status >= 16 && status !== 41 && status !== 56;
}
