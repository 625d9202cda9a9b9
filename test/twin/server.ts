/** What a key server computes, and what its writers seal; no duties of SPEC section 11 are decided here. */

import * as beacon from "./beacon.ts";
import { type Bytes, concat, hex, xor, zeros } from "./bytes.ts";
import type { Command, ControlKey } from "./control.ts";
import * as control from "./control.ts";
import { type Ad, chunkSize, partOf, sealFrame, splitMessage } from "./frame.ts";
import { cover, descend, leafNumber, lockOf, type Node, senderKey, treeRoot } from "./keytree.ts";
import type { Parameters } from "./state.ts";
import { makeForm, type Scope } from "./suites.ts";

const chains = new Map<string, Bytes[]>();

/** One generation of one channel: K-1 to K-4, K-7, B-1, B-2. */
export class Generation {
  readonly scope: Scope;
  readonly root: Node;
  private readonly seed: Bytes;

  constructor(scope: Scope, secret: Bytes) {
    this.scope = scope;
    this.root = { h: 1, key: treeRoot(scope, secret) };
    this.seed = beacon.chainSeed(scope, secret);
  }

  node(h: number): Node {
    return descend(this.scope, this.root, h);
  }

  leaf(step: number): Bytes {
    return this.node(leafNumber(step)).key;
  }

  /** K-4: the nodes of the lease from..to, cut to steps at or after `base`. */
  lease(from: number, to: number, base: number): Node[] {
    return cover(Math.max(from, base), to).map((h) => this.node(h));
  }

  lock(to: number): Bytes {
    return lockOf(this.scope, this.leaf(to), to);
  }

  key(step: number, sender: number): Bytes {
    return senderKey(this.scope, this.leaf(step), step, sender);
  }

  v(step: number): Bytes {
    const name = hex(concat(this.scope.realm, this.seed));
    let chain = chains.get(name);
    if (chain === undefined) {
      chain = beacon.chain(this.scope, this.seed);
      chains.set(name, chain);
    }
    return chain[step] ?? zeros(16);
  }

  beacon(form: number, step: number): Bytes {
    return beacon.packBeacon({ form, generation: this.scope.generation, step, v: this.v(step) });
  }
}

export interface Writer {
  readonly sender: number;
  readonly step: number;
  readonly counter: number;
}

/** The frames of one message as any member seals it. t and F are those of `shape`. */
export function sealMessage(
  generation: Generation,
  shape: { form: number; size: number },
  writer: Writer,
  ad: Ad,
  text: Bytes,
): Bytes[] {
  const { form, size } = shape;
  const { sender, step } = writer;
  const key = generation.key(step, sender);
  const chunks = splitMessage(text, chunkSize(form, size));
  return chunks.map((chunk, i) => {
    const counter = writer.counter + i;
    const position = { form, size, sender, generation: generation.scope.generation, step, counter };
    return sealFrame(position, key, ad, partOf(i, chunks.length), chunk).frame;
  });
}

/** The control keys a server holds for one device, and what it makes with them. */
export class Client {
  readonly realm: Bytes;
  readonly device: Bytes;
  private held: { version: number; secret: Bytes };
  private next: Bytes | null = null;
  private session: Bytes | null = null;

  constructor(realm: Bytes, device: Bytes, key: Bytes, version = 0) {
    this.realm = realm;
    this.device = device;
    this.held = { version, secret: key };
  }

  get version(): number {
    return this.held.version;
  }

  get ratcheting(): boolean {
    return this.next !== null;
  }

  private key(version: number, step: number, secret: Bytes): ControlKey {
    return { realm: this.realm, device: this.device, version, step, secret };
  }

  base(): ControlKey {
    return this.key(this.held.version, 0, this.held.secret);
  }

  /** The key after the ratchet that is under way, else the held one. */
  newest(): ControlKey {
    return this.next === null ? this.base() : this.key(this.held.version + 1, 0, this.next);
  }

  sessionKey(): ControlKey | null {
    return this.session === null ? null : this.key(this.held.version, 1, this.session);
  }

  keys(): ControlKey[] {
    const keys = [this.base(), this.newest()];
    const session = this.sessionKey();
    return session === null ? keys : [...keys, session];
  }

  /** C-15, the server's half; the command to send with it. */
  ratchet(fresh: Bytes): Command {
    const { version, secret } = this.held;
    this.next = control.nextKey(this.realm, this.device, version, secret, fresh);
    return { code: control.RATCHET, target: version + 1, fresh };
  }

  /** V-5. */
  settle(): void {
    if (this.next === null) return;
    this.held = { version: this.held.version + 1, secret: this.next };
    this.next = null;
  }

  /** C-20, the server's half; the command to send under `base`. */
  grant(bootNonce: Bytes, random: Bytes): Command {
    const { version, secret } = this.held;
    this.session = control.sessionSecret(this.realm, this.device, version, secret, bootNonce, random);
    return { code: control.GRANT_SESSION, bootNonce, random };
  }

  seal(key: ControlKey, revision: bigint, commands: readonly Command[], topic: string): Bytes {
    return control.sealDown(key, revision, commands.map(control.packCommand), topic);
  }

  open(frame: Bytes, topic: string): control.Up {
    return control.openUp(frame, topic, this.keys());
  }
}

/** C-2. */
export function revisionOf(incarnation: number, count: number): bigint {
  return (BigInt(incarnation) << 32n) | BigInt(count);
}

/** C-19, of channels whose locks the server knows from their trees. */
export function digestOf(realm: Bytes, channels: readonly { parameters: Parameters; lock: Bytes }[]): Bytes {
  return channels
    .map(({ parameters, lock }) => control.digestEntry(realm, parameters, lock))
    .reduce(xor, zeros(16));
}

/** Commands that carry the nodes, at most four in each (C-13). */
export function nodeCommands(channel: Bytes, generation: number, nodes: readonly Node[]): Command[] {
  const commands: Command[] = [];
  for (let i = 0; i < nodes.length; i += 4) {
    commands.push({ code: control.ADD_NODES, channel, generation, nodes: nodes.slice(i, i + 4) });
  }
  return commands;
}

/** A set of parameters with everything given that a test does not name. */
export function parametersOf(
  generation: Generation,
  changes: Partial<Parameters> & { t?: number },
): Parameters {
  const { t = 16, ...rest } = changes;
  const step = rest.step ?? 0;
  const { scope } = generation;
  return {
    id: scope.id,
    generation: scope.generation,
    step,
    from: 0,
    open: 0,
    to: 127,
    form: makeForm(scope.suite, t),
    size: 64,
    la: 0x12,
    flags: 0,
    sender: 1,
    will: 0,
    v: generation.v(step),
    ...rest,
  };
}
