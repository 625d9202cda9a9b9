// The server's half of the control channel (SPEC sections 10 and 11): revisions out, acks and hellos in.
// Every call runs inside the caller's transaction; what is to be published waits in the Outcome.

import { concat, fromHex, toHex } from "../bytes.ts";
import type { Kit } from "../core/kit.ts";
import { RefusedError, STATUS } from "../status.ts";
import type { World } from "../world.ts";
import { base, incarnationOf, nextRevision, type Revision, revisionOf } from "./bytes.ts";
import {
  type Answer,
  COMMANDS_MAX,
  type Command,
  type ControlKey,
  openUp,
  packCommands,
  parseCommands,
  readUpHeader,
  SHUT,
  sealDown,
  type UpHeader,
} from "./commands.ts";
import { baseOf, type Desired } from "./desired.ts";
import { digestOf } from "./digest.ts";
import { differences, isComplete, type Job, maybeHeld, mustReplace, settle } from "./ledger.ts";
import type { Outcome } from "./outcome.ts";
import type { Records } from "./records.ts";
import type { BootRow, ChannelRow, DeviceRow, MemberRow, RevisionRow } from "./rows.ts";
import { firstStep } from "./tree.ts";

const INCARNATION_MAX = 0xffffffff;
const FAR_VERSIONS = 4096;
const FAR_PAUSE_MS = 10_000;
/** Sessions granted and not yet confirmed: a device waits for one, the rest are old hellos sent again. */
const PENDING_SESSIONS = 16;
/** Sessions that are over and whose hellos are known for old ones: those of older ones at worst ask for a grant. */
const OVER_SESSIONS = 64;
/** A device without boot nonce is told everything again once in this time, however often it says hello. */
const ANEW_PAUSE_MS = 1000;
const NOBODY = "0000000000000000";

/** What is done about a digest that does not agree, one after the other. */
const DOUBT = { none: 0, resend: 1, reset: 2, wasReset: 3, given: 4 };

/** A message of a device, and the key it was sealed under. */
interface Heard {
  message: Answer;
  header: UpHeader;
  version: number;
  session?: BootRow;
}

export class Talk {
  readonly #records: Records;
  readonly #desired: Desired;
  readonly #kit: Kit;
  readonly #world: World;
  readonly #realm: Uint8Array;
  readonly #prefix: string;
  readonly #block: number;
  readonly #farTried = new Map<string, number>();
  readonly #begun = new Map<string, number>();

  constructor(records: Records, desired: Desired, kit: Kit, world: World, counterBlock: number) {
    this.#records = records;
    this.#desired = desired;
    this.#kit = kit;
    this.#world = world;
    this.#block = counterBlock;
    const { realm, prefix } = records.realm();
    this.#realm = fromHex(realm);
    this.#prefix = prefix;
  }

  /**
   * Brings a device one revision further: the outstanding one if it still says the truth (published
   * only if `again`), else a new one if something differs or is asked for (SPEC V-3).
   */
  reconcile(id: string, again: boolean, out: Outcome): void {
    const device = this.#records.device(id);
    if (device === undefined || device.class === null) return;
    if (device.class !== 0 && this.#session(device) === undefined) {
      if (again) this.#grantAgain(device, out);
      return;
    }
    const waiting = this.#records.outstanding(id);
    if (waiting !== undefined && !this.#isOutdated(device, waiting)) {
      if (again) this.#publish(device, waiting, out);
      return;
    }
    if (waiting !== undefined) this.#withdraw(device, out);
    const next = this.#nextRevision(device);
    if (next !== undefined) this.#publish(device, next, out);
  }

  /** Takes a payload from `<prefix>/<device>/up`. Junk changes nothing. */
  receive(topic: string, payload: Uint8Array, out: Outcome): void {
    const id = topic.slice(this.#prefix.length + 1, -"/up".length);
    const device = this.#records.device(id);
    const header = readUpHeader(payload);
    if (device === undefined || header === undefined) {
      out.tell("ignored", {
        device: device?.name,
        detail: device ? "not a control frame" : "unknown device",
      });
      return;
    }
    const heard = this.#open(device, topic, header, payload);
    if (heard === undefined) {
      out.tell("ignored", { device: device.name, detail: "sealed under no key of this device" });
      return;
    }
    device.lastSeen = this.#world.now();
    if (!this.#isBelievable(device, heard, out)) return;
    if (heard.session !== undefined && !heard.session.confirmed) this.#confirm(device, heard.session, out);
    this.#settleRatchet(device, heard, out);
    if (heard.message.kind === "hello") this.#hello(device, heard, heard.message, out);
    else this.#ack(device, heard.message, out);
  }

  /** Takes back every revision that carries keys forgotten in this transaction, served or not (SPEC V-6). */
  forget(out: Outcome): void {
    out.erased = true;
    for (const id of this.#records.waiting()) {
      const [device, row] = [this.#records.device(id), this.#records.outstanding(id)];
      if (device === undefined || row === undefined || !this.#isOutdated(device, row)) continue;
      this.#withdraw(device, out);
      this.#records.saveDevice({ ...device, ask: true });
    }
  }

  /** After a restore nothing is known of what devices hold, or how far their control keys went (SPEC V-7). */
  restored(device: DeviceRow, out: Outcome): void {
    this.#withdraw(device, out);
    this.#forgetHeld(device);
    const fresh = { far: true, synced: false, doubt: DOUBT.none, blobSequence: null, bootSequence: null };
    this.#records.saveDevice({ ...device, ...fresh });
  }

  #hello(device: DeviceRow, heard: Heard, hello: Answer, out: Outcome): void {
    device.class = hello.class;
    out.tell("hello", { device: device.name, detail: `class ${hello.class}, revision ${hello.revision}` });
    if (hello.class !== 0 && heard.session === undefined) {
      this.#records.saveDevice(device);
      this.#bootHello(device, hello, out);
      return;
    }
    device.ask = true;
    this.#withdrawOld(device, hello.revision, out);
    if (hello.class === 0) this.#compareSequence(device, hello, out);
    this.#records.saveDevice(device);
    this.#noteWant(device, hello);
    this.reconcile(device.id, true, out);
  }

  /** What was refused is tried again, and counters that are wanted are given: not for a hello sent again. */
  #noteWant(device: DeviceRow, hello: Answer): void {
    for (const row of this.#records.held(device.id)) {
      const wanted = hello.want === row.channel && hello.revision >= (row.counters ?? "");
      if (row.refused === null && !wanted) continue;
      this.#records.saveHeld({ ...row, refused: null, counters: wanted ? null : row.counters });
    }
  }

  /** An ack that settles nothing has the outstanding revision sent again (SPEC V-3). */
  #ack(device: DeviceRow, ack: Answer, out: Outcome): void {
    out.tell("ack", { device: device.name, detail: `revision ${ack.revision}` });
    const waiting = this.#records.outstanding(device.id);
    const commands = waiting && parseCommands(waiting.commands);
    if (waiting === undefined || commands === undefined || !answers(ack, waiting, commands)) {
      device.ask ||= this.#withdrawOld(device, ack.revision, out);
      this.#records.saveDevice(device);
      this.reconcile(device.id, true, out);
      return;
    }
    this.#records.removeOutstanding(device.id);
    out.erased = true;
    // Only now: what was heard before may have been said to a later state of this database, and sent again.
    device.far = false;
    if (commands[0]?.kind === "reset" && ack.statuses[0] === STATUS.OK) device.doubt = DOUBT.wasReset;
    settle(this.#records, this.#desired, device, waiting.revision, commands, ack.statuses, out);
    if (commands.some((command) => this.#isOvertaken(command))) device.ask = true;
    this.#watchSequence(device, ack, out);
    this.#judge(device, ack, out);
    this.#records.saveDevice(device);
    this.reconcile(device.id, false, out);
  }

  /** The step moved while the revision was under way: the beacon may have come before its generation. */
  #isOvertaken(command: Command): boolean {
    if (command.kind !== "set") return false;
    const channel = this.#records.channel(command.channel);
    return channel?.generation === command.generation && command.step < channel.step;
  }

  /** SPEC V-4, from the ack of the newest revision only. Complete and yet another digest: tell it all again. */
  #judge(device: DeviceRow, ack: Answer, out: Outcome): void {
    if (!isComplete(this.#records, this.#desired, device)) return;
    const held = this.#records.held(device.id).filter((row) => row.generation !== 0);
    device.synced = digestOf(this.#kit, this.#realm, held) === ack.digest;
    if (device.synced) {
      device.doubt = DOUBT.none;
      if (!device.ask && !device.moved) out.tell("insync", { device: device.name });
      return;
    }
    if (device.doubt === DOUBT.given) return;
    device.doubt = nextDoubt(device.doubt);
    out.tell("diverged", { device: device.name, detail: `digest of revision ${ack.revision}` });
    if (device.doubt === DOUBT.given) {
      this.#raise(device, "its digest does not agree, even after a reset", out);
      return;
    }
    device.ask = true;
    this.#forgetHeld(device);
    if (device.doubt === DOUBT.reset) this.#loseAll(device);
  }

  /**
   * SPEC V-11. A hello may be an old one sent again, so nothing is concluded from it. A lower sequence asks
   * for an ack. A higher one counts if this hello came after the last ack and before anything else was
   * given: then every later ack is younger than it. A revision that resets stays: old hellos must not
   * spend generations.
   */
  #compareSequence(device: DeviceRow, hello: Answer, out: Outcome): void {
    const waiting = this.#records.outstanding(device.id);
    if (!wentBack(device, hello)) {
      const isNewest = waiting === undefined && hello.revision === device.revision;
      if (isNewest) this.#noteSequence(device, hello);
    } else if (waiting === undefined || isCheap(parseCommands(waiting.commands))) {
      if (waiting !== undefined) this.#withdraw(device, out);
      device.moved = true;
    }
  }

  /** SPEC V-11: a storing device's blob sequence only rises; an older one is a rollback or a clone. */
  #watchSequence(device: DeviceRow, ack: Answer, out: Outcome): void {
    // A device whose channels are shut says so until all of them were set anew, or dropped.
    const shut = ack.bootSequence === SHUT && isComplete(this.#records, this.#desired, device);
    if (device.class === 0 && (shut || wentBack(device, ack))) {
      const went = `its stored state went back from ${device.blobSequence} to ${ack.bootSequence}`;
      this.#raise(device, ack.bootSequence === SHUT ? "a record it stored is broken" : went, out);
      this.#loseAll(device);
    }
    this.#noteSequence(device, ack);
  }

  #noteSequence(device: DeviceRow, { blobSequence, bootSequence }: Answer): void {
    Object.assign(device, { blobSequence, bootSequence });
  }

  /** A new generation of all its channels. */
  #loseAll(device: DeviceRow): void {
    for (const member of this.#records.memberships(device.id)) this.#desired.lost(member);
  }

  #raise(device: DeviceRow, detail: string, out: Outcome): void {
    device.alarm = detail;
    out.tell("alarm", { device: device.name, detail });
  }

  /** What it holds is no longer known; channels it may hold stay on the list. */
  #forgetHeld(device: DeviceRow): void {
    for (const { channel, counters } of this.#records.held(device.id)) {
      this.#records.saveHeld({ ...maybeHeld(device.id, channel), counters });
    }
  }

  /** A device never holds a revision that was not given: otherwise this database is an old one (SPEC V-7). */
  #isBelievable(device: DeviceRow, heard: Heard, out: Outcome): boolean {
    const { revision } = heard.message;
    if (revision <= device.revision) return true;
    if (incarnationOf(revision) < this.#records.realm().incarnation) {
      device.revision = revision;
      return true;
    }
    const incarnation = incarnationOf(revision) + 1;
    this.#raise(device, "it holds a revision this database never gave: was an older copy restored?", out);
    if (incarnation < INCARNATION_MAX) {
      device.revision = revisionOf(incarnation, 0);
      this.#records.saveDevice(device);
      this.#withdraw(device, out);
      for (const member of this.#records.memberships(device.id)) {
        this.#desired.lost(member, this.#desired.secondsSince2025());
      }
    }
    this.#records.saveDevice(device);
    return incarnation < INCARNATION_MAX;
  }

  /** SPEC V-5: K(v) is overwritten; what it protected is not sealed again under K(v+1) without a ratchet. */
  #settleRatchet(device: DeviceRow, heard: Heard, out: Outcome): void {
    if (heard.version === device.version) return;
    const keys = this.#records.controlKeys(device.id);
    if (keys.next !== null) {
      this.#records.saveControlKeys(device.id, heard.version, { key: keys.next.key, next: null });
    }
    device.version = heard.version;
    device.moved = true;
    out.erased = true;
    out.tell("settled", { device: device.name, detail: `control key ${heard.version}` });
    this.#records.saveDevice(device);
    const waiting = this.#records.outstanding(device.id);
    const settled = heard.message.kind === "ack" && heard.message.revision === waiting?.revision;
    if (waiting !== undefined && !settled && carriesKeys(parseCommands(waiting.commands))) {
      this.#withdraw(device, out);
    }
  }

  // Revisions

  /** Gives the open differences, as far as they fit, a revision number and stores them. */
  #nextRevision(device: DeviceRow): RevisionRow | undefined {
    const commands = device.moved ? [] : this.#lacking(device);
    if (commands.length === 0 && !device.ask && !device.moved) return undefined;
    commands.push({ kind: "query", nonce: toHex(this.#world.random(8)) });
    if (device.class === 0 && carriesKeys(commands)) commands.push(this.#ratchet(device));
    const revision = this.#takeRevision(device);
    device.ask &&= device.moved;
    device.moved = device.synced = false;
    this.#records.saveDevice(device);
    const row = {
      device: device.id,
      revision,
      session: device.class !== 0,
      commands: packCommands(commands),
    };
    this.#records.saveOutstanding(row);
    return row;
  }

  /**
   * Members whose channel can only be replaced get a new generation (SPEC V-2). A reset replaces every
   * channel, also one that was set after an earlier reset: its counters begin anew.
   */
  #replaceWhatMust(device: DeviceRow): void {
    const reset = device.doubt === DOUBT.reset;
    const held = new Map(this.#records.held(device.id).map((row) => [row.channel, row]));
    for (const { channel: id } of this.#records.memberships(device.id)) {
      const channel = this.#records.channel(id) as ChannelRow;
      const member = this.#records.member(id, device.id) as MemberRow;
      const replaced = mustReplace(held.get(id), this.#desired.setting(channel, member));
      if (replaced || (reset && member.sent)) this.#desired.lost(member);
    }
  }

  /** Commands for what differs, as far as they fit one revision with its query and ratchet. */
  #lacking(device: DeviceRow): Command[] {
    this.#replaceWhatMust(device);
    const jobs = differences(this.#records, this.#desired, device, { steps: device.ask });
    const room = COMMANDS_MAX - (device.class === 0 ? 2 : 1);
    const commands: Command[] = device.doubt === DOUBT.reset ? [{ kind: "reset" }] : [];
    for (const job of jobs) {
      if (commands.length + job.commands.length + (job.counters ? 2 : 0) > room) break;
      commands.push(...job.commands, ...this.#counters(job));
      if (job.member === undefined || job.commands.length === 0) continue;
      this.#records.saveMember({ ...job.member, sent: true });
      const held = this.#records.held(device.id).some((row) => row.channel === job.member?.channel);
      if (!held) this.#records.saveHeld(maybeHeld(device.id, job.member.channel));
    }
    return commands;
  }

  #counters(job: Job): Command[] {
    const { member, channel } = job;
    if (!job.counters || member === undefined || channel === undefined) return [];
    const commands: Command[] = [];
    for (const sender of [member.sender, member.will]) {
      if (sender === 0) continue;
      const block = this.#desired.takeCounters(channel, member, sender, this.#block);
      if (block === null) continue;
      commands.push({
        kind: "counters",
        channel: channel.id,
        generation: channel.generation,
        sender,
        ...block,
      });
    }
    return commands;
  }

  /** SPEC C-15: the same target and fresh bytes until they are settled. */
  #ratchet(device: DeviceRow): Command {
    const keys = this.#records.controlKeys(device.id);
    let next = keys.next;
    if (next === null) {
      const fresh = this.#records.realm().recoverable ? new Uint8Array(32) : this.#world.random(32);
      next = { key: this.#nextKey(device.id, device.version, keys.key, fresh), fresh };
      this.#records.saveControlKeys(device.id, device.version, { key: keys.key, next });
    }
    return { kind: "ratchet", target: device.version + 1, fresh: next.fresh };
  }

  #nextKey(device: string, version: number, key: Uint8Array, fresh: Uint8Array): Uint8Array {
    const context = concat(base(0, 16, this.#realm, fromHex(device), version), fresh);
    return this.#kit.derive(0, key, "next", context, 16);
  }

  #takeRevision(device: DeviceRow): Revision {
    device.revision = nextRevision(device.revision, this.#records.realm().incarnation);
    return device.revision;
  }

  /**
   * Takes an unacknowledged revision back. The device may still apply it, so nothing is booked: what it
   * set stays on the list of channels it may hold, and its sender numbers count as used.
   */
  #withdraw(device: DeviceRow, out: Outcome): void {
    this.#records.removeOutstanding(device.id);
    out.erased = true;
  }

  /** Takes back a revision that the device would refuse as old (SPEC C-5); true if it was one. */
  #withdrawOld(device: DeviceRow, held: Revision, out: Outcome): boolean {
    const waiting = this.#records.outstanding(device.id);
    if (waiting === undefined || held <= waiting.revision) return false;
    this.#withdraw(device, out);
    return true;
  }

  /** True if a revision carries keys the server forgot, or a channel the device is no member of any more. */
  #isOutdated(device: DeviceRow, row: RevisionRow): boolean {
    if (row.session !== (device.class !== 0)) return true;
    return parseCommands(row.commands).some((command) => this.#isStale(device, command));
  }

  #isStale(device: DeviceRow, command: Command): boolean {
    if (command.kind !== "set" && command.kind !== "nodes") return false;
    const channel = this.#records.channel(command.channel);
    const member = this.#records.member(command.channel, device.id);
    if (channel === undefined || member === undefined) return true;
    if (channel.generation !== command.generation) return true;
    if (command.kind === "set") return command.sender !== member.sender;
    return command.nodes.some((node) => firstStep(node.h) < baseOf(channel));
  }

  #publish(device: DeviceRow, row: RevisionRow, out: Outcome): void {
    const key = this.#downKey(device, row.session);
    const topic = `${this.#prefix}/${device.id}/down`;
    const commands = parseCommands(row.commands);
    const payload = sealDown(this.#kit, key, topic, row.revision, commands);
    const kinds = commands.map((command) => command.kind).join(" ");
    this.#send(device, topic, payload, row.revision, kinds, out);
  }

  #send(
    device: DeviceRow,
    topic: string,
    payload: Uint8Array,
    revision: Revision,
    kinds: string,
    out: Outcome,
  ): void {
    const event = out.tell("sent", { device: device.name, detail: `revision ${revision}: ${kinds}` });
    out.publications.push({ topic, payload, retain: false, device: device.id, revision, event });
  }

  #downKey(device: DeviceRow, session: boolean): ControlKey {
    const { key } = this.#records.controlKeys(device.id);
    const row = session ? this.#session(device) : undefined;
    if (row === undefined) return this.#control(device.id, device.version, 0, key);
    return this.#control(device.id, device.version, 1, this.#sessionSecret(device, key, row));
  }

  // Devices without storage

  /** The confirmed session. */
  #session(device: DeviceRow): BootRow | undefined {
    return this.#records.sessions(device.id).find((row) => row.confirmed);
  }

  #sessionSecret(device: DeviceRow, key: Uint8Array, row: BootRow): Uint8Array {
    const random = row.random ?? new Uint8Array(16);
    const context = concat(
      base(0, 16, this.#realm, fromHex(device.id), device.version),
      fromHex(row.nonce),
      random,
    );
    return this.#kit.derive(0, key, "sess", context, 16);
  }

  /**
   * SPEC V-8. A hello under K(v) may be an old one: nothing is given up before the device speaks in the
   * session. A grant at or below the revision that this boot holds was not taken and never will be.
   */
  #bootHello(device: DeviceRow, hello: Answer, out: Outcome): void {
    const known = this.#records.boot(device.id, hello.boot);
    if (known?.confirmed && known.random === null) {
      out.tell("ignored", { device: device.name, detail: "a boot that is over" });
      return;
    }
    // After a restore the device may be in a session that this database does not know.
    if (known?.confirmed && hello.revision >= known.revision && !device.far) {
      device.ask = true;
      this.#records.saveDevice(device);
      this.#noteWant(device, hello);
      this.reconcile(device.id, true, out);
      return;
    }
    const usable = known?.random && known.revision > hello.revision;
    const row = usable ? known : this.#newSession(device, hello.boot);
    if (row.confirmed && device.class === 2) this.#beginAnew(device, row, out);
    else this.#publishGrant(device, row, out);
  }

  /** Without a boot nonce each boot has the same session: the device may be empty again. */
  #beginAnew(device: DeviceRow, row: BootRow, out: Outcome): void {
    const now = this.#world.now();
    const age = now - (this.#begun.get(device.id) ?? Number.NEGATIVE_INFINITY);
    if (age >= 0 && age < ANEW_PAUSE_MS) {
      out.tell("ignored", { device: device.name, detail: "a hello too soon after another" });
      return;
    }
    this.#begun.set(device.id, now);
    this.#publishGrant(device, row, out);
    // The pause was kept here: the grant goes at once, before the revision that follows it.
    delete out.publications.at(-1)?.revision;
    this.#withdraw(device, out);
    this.#forgetHeld(device);
    device.ask = true;
    this.#records.saveDevice(device);
    this.reconcile(device.id, false, out);
  }

  #newSession(device: DeviceRow, nonce: string): BootRow {
    const pending = this.#records.sessions(device.id).filter((row) => !row.confirmed);
    for (const old of pending.slice(PENDING_SESSIONS - 1)) this.#records.removeBoot(device.id, old.nonce);
    const revision = this.#takeRevision(device);
    const random = this.#world.random(16);
    const row = { device: device.id, nonce, revision, confirmed: false, random };
    this.#records.saveBoot(row);
    this.#records.saveDevice(device);
    return row;
  }

  #grantAgain(device: DeviceRow, out: Outcome): void {
    const newest = this.#records.sessions(device.id)[0];
    if (newest !== undefined) this.#publishGrant(device, newest, out);
  }

  #publishGrant(device: DeviceRow, row: BootRow, out: Outcome): void {
    const { key } = this.#records.controlKeys(device.id);
    const topic = `${this.#prefix}/${device.id}/down`;
    const random = row.random ?? new Uint8Array(16);
    const payload = sealDown(
      this.#kit,
      this.#control(device.id, device.version, 0, key),
      topic,
      row.revision,
      [{ kind: "session", boot: row.nonce, random }],
    );
    this.#send(device, topic, payload, row.revision, "session", out);
  }

  /**
   * The device spoke under a session secret: it runs this boot. A session that ran before is over; grants
   * that nobody was heard under are forgotten, for nothing proves that their boots are earlier ones.
   */
  #confirm(device: DeviceRow, row: BootRow, out: Outcome): void {
    for (const other of this.#records.sessions(device.id)) {
      if (other.nonce === row.nonce) continue;
      if (other.confirmed) this.#records.saveBoot({ ...other, random: null });
      else if (other.revision < row.revision) this.#records.removeBoot(device.id, other.nonce);
    }
    this.#records.forgetBoots(device.id, OVER_SESSIONS);
    row.confirmed = true;
    this.#records.saveBoot(row);
    this.#withdraw(device, out);
    this.#records.clearHeld(device.id);
    this.#desired.booted(device);
    Object.assign(device, { ask: true, doubt: 0, blobSequence: null, bootSequence: null });
    this.#records.saveDevice(device);
    out.tell("session", { device: device.name });
  }

  // Keys a device may speak under

  #open(device: DeviceRow, topic: string, header: UpHeader, payload: Uint8Array): Heard | undefined {
    return header.step === 0
      ? this.#openUnderKeys(device, topic, header, payload)
      : this.#openInSession(device, topic, header, payload);
  }

  #openUnderKeys(device: DeviceRow, topic: string, header: UpHeader, payload: Uint8Array): Heard | undefined {
    const { key, next } = this.#records.controlKeys(device.id);
    const keys = [{ version: device.version, key }];
    if (next !== null) keys.push({ version: device.version + 1, key: next.key });
    for (const { version, key } of keys) {
      const message = this.#tryOpen(this.#control(device.id, version, 0, key), topic, header, payload);
      if (message !== undefined) return { message, header, version };
    }
    return device.far ? this.#openFar(device, topic, header, payload) : undefined;
  }

  /** After a restore the device may have ratcheted on; only ratchets without fresh bytes can be followed. */
  #openFar(device: DeviceRow, topic: string, header: UpHeader, payload: Uint8Array): Heard | undefined {
    const now = this.#world.now();
    const age = now - (this.#farTried.get(device.id) ?? Number.NEGATIVE_INFINITY);
    if (age >= 0 && age < FAR_PAUSE_MS) return undefined;
    this.#farTried.set(device.id, now);
    const keys = this.#records.controlKeys(device.id);
    let [key, version] = keys.next ? [keys.next.key, device.version + 1] : [keys.key, device.version];
    for (const end = device.version + FAR_VERSIONS; version < end; ) {
      key = this.#nextKey(device.id, version, key, new Uint8Array(32));
      version++;
      const message = this.#tryOpen(this.#control(device.id, version, 0, key), topic, header, payload);
      if (message === undefined) continue;
      this.#records.saveControlKeys(device.id, version, { key, next: null });
      return { message, header, version };
    }
    return undefined;
  }

  #openInSession(device: DeviceRow, topic: string, header: UpHeader, payload: Uint8Array): Heard | undefined {
    const { key } = this.#records.controlKeys(device.id);
    for (const session of this.#records.sessions(device.id)) {
      const secret = this.#sessionSecret(device, key, session);
      const control = this.#control(device.id, device.version, 1, secret);
      const message = this.#tryOpen(control, topic, header, payload);
      if (message !== undefined) return { message, header, version: device.version, session };
    }
    return undefined;
  }

  #tryOpen(key: ControlKey, topic: string, header: UpHeader, payload: Uint8Array): Answer | undefined {
    if ((key.version & 15) !== header.versionHint) return undefined;
    try {
      return openUp(this.#kit, key, topic, header, payload);
    } catch (error) {
      if (error instanceof RefusedError) return undefined;
      throw error;
    }
  }

  #control(device: string, version: number, step: 0 | 1, secret: Uint8Array): ControlKey {
    return { realm: this.#realm, device: fromHex(device), version, step, secret };
  }
}

/**
 * Whether an answer tells of stored state older than what was seen (SPEC V-11), or of a broken record, for the first
 * time. Both slots hold the same, under two sequences: to have booted from the lower one is no loss.
 */
function wentBack(device: DeviceRow, { blobSequence, bootSequence }: Answer): boolean {
  const seen = device.blobSequence ?? 0;
  if (bootSequence === device.bootSequence || device.bootSequence === SHUT) return blobSequence < seen;
  return bootSequence === SHUT || bootSequence + 1 < seen;
}

function nextDoubt(doubt: number): number {
  if (doubt === DOUBT.none) return DOUBT.resend;
  return doubt === DOUBT.resend ? DOUBT.reset : DOUBT.given;
}

/** An ack counts for the outstanding revision if it came after it: it carries its query's nonce. */
function answers(ack: Answer, row: RevisionRow, commands: Command[]): boolean {
  const nonce = commands.find((command) => command.kind === "query")?.nonce ?? NOBODY;
  return ack.revision === row.revision && ack.echo === nonce && ack.statuses.length === commands.length;
}

/** More than a query, and made anew it spends no sender number. */
function isCheap(commands: Command[]): boolean {
  const kinds = commands.map((command) => command.kind);
  return kinds.some((kind) => kind !== "query") && !kinds.includes("reset");
}

function carriesKeys(commands: Command[]): boolean {
  return commands.some((command) => command.kind === "nodes");
}
