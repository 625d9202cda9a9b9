/** Writes scripts: makes each call on the twin, and insists on the status the author expects. */

import { type Bytes, concat, hex, run, u8, u32, zeros } from "./bytes.ts";
import type { Command, ControlKey } from "./control.ts";
import { Device } from "./device.ts";
import { type Ad, channelAd, topicAd } from "./frame.ts";
import type { DeviceOptions, Outcome } from "./model.ts";
import { type Call, expectedOf, type Line, perform, type Script } from "./script.ts";
import {
  Client,
  Generation,
  nodeCommands,
  parametersOf,
  revisionOf,
  sealMessage,
  type Writer,
} from "./server.ts";
import { FLAG_CHANNEL_AD, lateOf, type Parameters } from "./state.ts";
import { type StatusName, statusName } from "./status.ts";
import { channelId, digest } from "./suites.ts";

export const REALM = run(0x01, 8);
export const DEVICE = run(0xd0, 8);
export const KEY = run(0x80, 16);
export const BOOT_NONCE = run(0xb0, 8);
export const DOWN = "site/d0d1d2d3d4d5d6d7/down";
export const UP = "site/d0d1d2d3d4d5d6d7/up";
export const TOPIC = "plant/1/temp";

export const STORING: DeviceOptions = {
  class: 0,
  channels: 4,
  senders: 8,
  suites: 0b1111,
  layout: 1,
  frameMax: 1024,
};
export const BOOTING: DeviceOptions = { ...STORING, class: 1, suites: 0b0101 };
export const PLAIN: DeviceOptions = { ...STORING, class: 2, suites: 0b0101 };

/** n bytes that stand for a random value of the given name. */
export function random(name: string, n: number): Bytes {
  return digest("vectors", new TextEncoder().encode(name), n);
}

/** A channel of the test realm in one suite, and a generation of it. */
export function generationOf(suite: number, number = 7, filter = `plant/${suite}/+`): Generation {
  const id = channelId(REALM, filter);
  const scope = { suite, realm: REALM, id, generation: number };
  return new Generation(scope, random(`${filter} ${number}`, 16));
}

export interface Given {
  readonly generation: Generation;
  readonly parameters: Parameters;
  readonly id: string;
}

export interface Revision {
  /** Of the control call; default STORE_BLOB with storage and OK without. */
  readonly expect?: StatusName;
  readonly statuses: readonly StatusName[];
  readonly key?: ControlKey;
  readonly count?: number;
  /** False: leave the blob to the caller. */
  readonly save?: boolean;
}

export class Stage {
  readonly client = new Client(REALM, DEVICE, KEY);
  readonly options: DeviceOptions;
  readonly lines: Line[] = [];
  private readonly device: Device;
  private readonly title: string;
  private readonly provisioned: boolean;
  private readonly bootNonce: Bytes;
  private count = 0;
  sequence = 0;
  slots: [Bytes, Bytes] = [zeros(0), zeros(0)];
  marks: Bytes[] = [];

  constructor(title: string, options: DeviceOptions = STORING, provisioned = true) {
    this.title = title;
    this.options = options;
    this.provisioned = provisioned;
    this.device = new Device(options);
    this.bootNonce = options.class === 1 ? BOOT_NONCE : zeros(8);
    if (provisioned) this.device.provision({ realm: REALM, device: DEVICE, key: KEY }, BOOT_NONCE);
  }

  script(): Script {
    const { title, options, lines: calls } = this;
    if (!this.provisioned) return { title, options, calls };
    const identity = { realm: hex(REALM), device: hex(DEVICE), key: hex(KEY), bootNonce: hex(BOOT_NONCE) };
    return { title, options, identity, calls };
  }

  private record(call: Call): Outcome {
    const outcome = perform(this.device, call);
    this.lines.push({ ...call, gives: expectedOf(outcome) });
    return outcome;
  }

  private insist(outcome: Outcome, expect: StatusName): Outcome {
    const status = statusName(outcome.status);
    const line = this.lines.length - 1;
    const where = `${this.title}: call ${line} (${this.lines[line]?.call})`;
    if (status !== expect) throw new Error(`${where} gives ${status} instead of ${expect}`);
    return outcome;
  }

  call(call: Call, expect: StatusName): Outcome {
    return this.insist(this.record(call), expect);
  }

  // A call that may ask for a mark first; `expect` is the status in the end.
  private settle(call: Call, expect: StatusName): Outcome {
    const outcome = this.record(call);
    if (statusName(outcome.status) !== "STORE_MARK") return this.insist(outcome, expect);
    if (outcome.record !== undefined) this.marks.push(outcome.record);
    return this.confirm(true, expect);
  }

  confirm(stored = true, expect: StatusName = "OK"): Outcome {
    return this.call({ call: "confirm", stored }, expect);
  }

  save(): Bytes {
    this.sequence++;
    const { record } = this.call({ call: "saveBlob", sequence: this.sequence }, "STORE_BLOB");
    this.confirm();
    this.slots = [this.slots[1], record ?? zeros(0)];
    return record ?? zeros(0);
  }

  restart(expect: StatusName = "OK", slots = this.slots, marks = this.marks): void {
    const texts: [string, string] = [hex(slots[0]), hex(slots[1])];
    this.call(
      { call: "restart", slots: texts, marks: marks.map(hex), bootNonce: hex(this.bootNonce) },
      expect,
    );
  }

  control(payload: Bytes, expect: StatusName, topic = DOWN): Outcome {
    return this.call({ call: "control", payload: hex(payload), topic }, expect);
  }

  get key(): ControlKey {
    return this.client.sessionKey() ?? this.client.newest();
  }

  nextRevision(): bigint {
    this.count++;
    return revisionOf(1, this.count);
  }

  get revision(): bigint {
    return revisionOf(1, this.count);
  }

  /** Sends one revision, stores what must be stored, and reads the statuses off the ack. */
  revise(commands: readonly Command[], { expect, statuses, key = this.key, save = true }: Revision): void {
    const wanted = expect ?? (this.options.class === 0 ? "STORE_BLOB" : "OK");
    this.control(this.client.seal(key, this.nextRevision(), commands, DOWN), wanted);
    if (!save) return;
    if (wanted === "STORE_BLOB") this.save();
    this.expectAck(statuses);
  }

  expectAck(statuses: readonly StatusName[]): void {
    const { payloads } = this.call({ call: "ack", topic: UP }, "OK");
    const up = this.client.open(payloads?.[0] ?? zeros(0), UP);
    const given = up.ack?.statuses.map(statusName).join() ?? statusName(up.status);
    if (given !== statuses.join())
      throw new Error(`${this.title}: ack says ${given}, not ${statuses.join()}`);
  }

  grantSession(): void {
    const command = this.client.grant(this.bootNonce, random("session", 16));
    const payload = this.client.seal(this.client.base(), this.nextRevision(), [command], DOWN);
    this.control(payload, "OK");
    this.expectAck(["OK"]);
  }

  /** Sets a channel and gives its whole lease in one revision. */
  give(generation: Generation, changes: Partial<Parameters> & { t?: number } = {}): Given {
    const parameters = parametersOf(generation, changes);
    const { id, step, la, from, to } = parameters;
    const base = Math.max(step - lateOf(la), 0);
    const nodes = generation.lease(from, to, base);
    const commands: Command[] = [
      { code: 1, parameters },
      ...nodeCommands(id, generation.scope.generation, nodes),
    ];
    this.revise(commands, { statuses: commands.map(() => "OK") });
    return { generation, parameters, id: hex(id) };
  }

  payload(given: Given, writer: Writer, text: Bytes, topic = TOPIC): Bytes {
    return concat(...framesOf(given, writer, text, topic));
  }

  /** unprotect, with confirm when a mark has to be stored; expect is the status in the end. */
  read(given: Given, payload: Bytes, expect: StatusName, { stored = false, topic = TOPIC } = {}): Outcome {
    const line: Call = { call: "unprotect", channel: given.id, payload: hex(payload), topic, stored };
    return this.settle(line, expect);
  }

  /** unprotect that must ask for a mark, which is left waiting. */
  begin(given: Given, payload: Bytes, topic = TOPIC): Outcome {
    const line: Call = { call: "unprotect", channel: given.id, payload: hex(payload), topic, stored: false };
    return this.call(line, "STORE_MARK");
  }

  /** protect, with confirm when a mark has to be stored; expect is the status in the end. */
  write(given: Given, text: Bytes, expect: StatusName, { will = false, topic = TOPIC } = {}): Outcome {
    const line: Call = { call: "protect", channel: given.id, text: hex(text), topic, will };
    return this.settle(line, expect);
  }

  beacon(given: Given, payload: Bytes, expect: StatusName): Outcome {
    return this.call({ call: "beacon", channel: given.id, payload: hex(payload) }, expect);
  }

  move(given: Given, step: number, expect: StatusName = "OK"): Outcome {
    return this.beacon(given, given.generation.beacon(given.parameters.form, step), expect);
  }
}

export function adOf(parameters: Parameters, topic: string): Ad {
  return (parameters.flags & FLAG_CHANNEL_AD) !== 0 ? channelAd(parameters.id) : topicAd(topic);
}

export function framesOf(given: Given, writer: Writer, text: Bytes, topic = TOPIC): Bytes[] {
  const { generation, parameters } = given;
  return sealMessage(generation, parameters, writer, adOf(parameters, topic), text);
}

/** bytes with one byte xored. */
export function tampered(bytes: Bytes, offset: number, mask = 1): Bytes {
  const copy = bytes.slice();
  const place = (offset + copy.length) % copy.length;
  copy[place] = (copy[place] ?? 0) ^ mask;
  return copy;
}

/** A beacon of any fields at all. */
export function anyBeacon(form: number, generation: number, step: number, v: Bytes): Bytes {
  return concat(u8(form), u32(generation), u32(step), v);
}
