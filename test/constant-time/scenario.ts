// The same calls with other secrets: everything a device does in its life with one channel, from a key, tree,
// text and storage that a seed makes. Whatever is public is the same for every seed.

import { CoreModel } from "../core/adapter.ts";
import { type Bytes, concat, hex, run, u8, u64, zeros } from "../twin/bytes.ts";
import { type Command, type ControlKey, packCommand } from "../twin/control.ts";
import { sealFrame, topicAd } from "../twin/frame.ts";
import { Client, Generation, nodeCommands, revisionOf } from "../twin/server.ts";
import { DEVICE, DOWN, REALM, random, STORING, TOPIC, tampered, UP } from "../twin/stage.ts";
import type { Parameters } from "../twin/state.ts";
import { type STATUS, statusName } from "../twin/status.ts";
import { channelId, keySize, makeForm } from "../twin/suites.ts";
import type { ShadowEngine } from "./engine.ts";
import { Transcript } from "./transcript.ts";

export interface Shape {
  suite: number;
  /** Frame size in bytes. */
  size: number;
}

/** The lines of what `live` does on a new device. */
export function transcriptOf(
  engine: ShadowEngine,
  shape: Shape,
  seed: string,
  live: (life: Life) => void,
): string[] {
  let transcript: Transcript | undefined;
  engine.record = (memory) => {
    transcript = new Transcript(engine.notes.module, memory);
    return transcript;
  };
  live(new Life(engine, shape, seed));
  engine.record = undefined;
  return (transcript as Transcript | undefined)?.lines ?? [];
}

export class Life {
  readonly model: CoreModel;
  readonly id: Bytes;
  private readonly seed: string;
  private readonly shape: Shape;
  private readonly client: Client;
  private readonly generation: Generation;
  private readonly parameters: Parameters;
  private revision = 0;
  private slots: [Bytes, Bytes] = [zeros(0), zeros(0)];
  private readonly marks: Bytes[] = [];

  constructor(engine: ShadowEngine, shape: Shape, seed: string) {
    const { suite, size } = shape;
    this.seed = seed;
    this.shape = shape;
    this.model = new CoreModel(engine, { ...STORING, ...engine.options });
    this.id = channelId(REALM, TOPIC);
    this.client = new Client(REALM, DEVICE, this.secret("control key", 16));
    const scope = { suite, realm: REALM, id: this.id, generation: 7 };
    this.generation = new Generation(scope, this.secret("generation", 16));
    this.parameters = {
      id: this.id,
      generation: 7,
      step: 0,
      from: 0,
      open: 0,
      to: 140,
      form: makeForm(suite, 16),
      size,
      la: 0x12,
      flags: 0,
      sender: 1,
      will: 0,
      // Public: it is in every beacon. No beacon is sent here, so it need not be of the chain.
      v: run(0x33, 16),
    };
  }

  private secret(name: string, n: number): Bytes {
    return random(`${this.seed} ${name}`, n);
  }

  private must(outcome: { status: number }, ...expected: (keyof typeof STATUS)[]): void {
    const name = statusName(outcome.status);
    if (!expected.some((one) => one === name)) throw new Error(`${name} instead of ${expected}`);
  }

  private revise(commands: Command[], key = this.client.newest()): void {
    const revision = revisionOf(1, ++this.revision);
    const payload = this.client.seal(key, revision, commands, DOWN);
    this.must(this.model.control(payload, DOWN), "STORE_BLOB");
    this.store();
    this.must(this.model.ack(UP), "OK");
  }

  private store(): void {
    const { record = zeros(0) } = this.model.saveBlob(this.revision * 10);
    this.slots = [this.slots[1], record];
    this.marks.length = 0;
    this.must(this.model.confirm(true), "OK");
  }

  private confirmed(outcome: { status: number; record?: Bytes | undefined }): void {
    this.must(outcome, "STORE_MARK", "OK");
    if (outcome.record === undefined) return;
    this.marks.push(outcome.record);
    this.must(this.model.confirm(true), "OK");
  }

  /** Provisions the device and gives it the channel. */
  begin(): void {
    const identity = { realm: REALM, device: DEVICE, key: this.client.base().secret };
    this.must(this.model.provision(identity, zeros(8)), "OK");
    this.must(this.model.hello(UP, zeros(8)), "OK");
    const nodes = this.generation.lease(0, 140, 0);
    this.revise([{ code: 1, parameters: this.parameters }, ...nodeCommands(this.id, 7, nodes)]);
  }

  /** A frame of a peer, its text as long as fits. */
  frame(counter: number, step = 0, key = this.generation.key(step, 9), text = this.text()): Bytes {
    const { form, size } = this.parameters;
    const position = { form, size, sender: 9, generation: 7, step, counter };
    return sealFrame(position, key, topicAd(TOPIC), 0x80, text).frame;
  }

  text(): Bytes {
    return this.secret("text", this.shape.size - 24);
  }

  /** Opens a frame of the peer. */
  accept(counter: number, step = 0): void {
    this.confirmed(this.read(this.frame(counter, step)));
  }

  /** Control payloads that nobody sealed: by kind. */
  forgedControl(): Record<string, Bytes> {
    const revision = revisionOf(1, this.revision + 1);
    const commands: Command[] = [{ code: 1, parameters: { ...this.parameters, step: 9, la: 0x12 } }];
    const seal = (key: ControlKey) => this.client.seal(key, revision, commands, DOWN);
    const key = this.client.base();
    const secret = zeros(16);
    const inClear = seal({ ...key, step: 1 });
    inClear.set(concat(u8(0x80), u64(revision), ...commands.map(packCommand), u8(0x80)), 6);
    return {
      "a bit of the text": tampered(seal(key), 30),
      "a bit of the tag": tampered(seal(key), -16),
      "sealed under a control key of zeros": seal({ ...key, secret }),
      "sealed under a next key of zeros": seal({ ...key, version: key.version + 1, secret }),
      "sealed under a session of zeros": seal({ ...key, step: 1, secret }),
      "in clear": inClear,
    };
  }

  refuseControl(payload: Bytes): void {
    this.must(this.model.control(payload, DOWN), "BAD_TAG", "UNKNOWN_EPOCH", "NO_SESSION");
  }

  refuse(frame: Bytes): void {
    this.must(this.read(frame), "BAD_TAG");
  }

  private read(frame: Bytes): { status: number; record?: Bytes | undefined } {
    return this.model.unprotect(hex(this.id), frame, TOPIC, false);
  }

  /** Frames that nobody sealed: by kind. */
  forgeries(counter = 0): Record<string, Bytes> {
    const good = this.frame(counter);
    const last = good.length - 16;
    return {
      "a bit of the tag": tampered(good, -16),
      "a bit of the text": tampered(good, 8),
      "a tag of zeros": concat(good.slice(0, last), zeros(16)),
      "sealed under a key of zeros": this.frame(counter, 0, zeros(keySize(this.shape.suite))),
    };
  }

  private restart(): void {
    const slots: [Bytes, Bytes] = [this.slots[0], this.slots[1]];
    this.must(this.model.restart(slots, this.marks, zeros(8)), "OK");
  }

  play(): void {
    this.begin();
    for (const forgery of Object.values(this.forgeries())) this.refuse(forgery);
    this.accept(0);
    this.accept(1);
    this.must(this.read(this.frame(1)), "REPLAYED");
    const texts = [this.text(), this.text().slice(0, 3)];
    for (const text of texts) this.confirmed(this.model.protect(hex(this.id), text, TOPIC, false));
    const key = this.client.base();
    this.revise([this.client.ratchet(this.secret("fresh", 32))], key);
    // Another step: keys are cut and erased.
    this.revise([{ code: 1, parameters: { ...this.parameters, step: 3 } }]);
    this.confirmed(this.model.protect(hex(this.id), this.text(), TOPIC, false));
    this.restart();
    this.confirmed(this.model.protect(hex(this.id), this.text(), TOPIC, false));
    // Another generation: frames of the one before are opened by the secrets of steps that were kept.
    this.accept(0, 3);
    this.revise([{ code: 1, parameters: { ...this.parameters, generation: 8, flags: 0x80 } }]);
    this.accept(1, 3);
    this.restart();
    this.accept(2, 3);
  }
}
