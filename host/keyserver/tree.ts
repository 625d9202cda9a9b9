// The server's side of a generation: key tree, leases and beacons (SPEC sections 4 and 5).

import { concat } from "../bytes.ts";
import type { Kit } from "../core/kit.ts";
import { base, u16 } from "./bytes.ts";

export const STEPS = 4096;
export const LAST_STEP = STEPS - 1;
/** No node of a lease covers more than 128 steps (SPEC K-4). */
export const LEASE_MAX = 128;
const DEPTH = 12;
const LEASE_DEPTH = 5;
const CHECKPOINT = 64;

/** One node by its heap number h = 2^depth + index (SPEC K-2). */
export interface TreeNode {
  h: number;
  key: Uint8Array;
}

/** Everything but the key that a derivation of a generation depends on. */
export interface Scope {
  kit: Kit;
  suite: number;
  realm: Uint8Array;
  channel: Uint8Array;
  generation: number;
}

const depthOf = (h: number): number => 31 - Math.clz32(h);

/** First step a node covers. */
export function firstStep(h: number): number {
  const d = depthOf(h);
  return (h - (1 << d)) << (DEPTH - d);
}

/** Last step a node covers. */
export function lastStep(h: number): number {
  return firstStep(h) + (1 << (DEPTH - depthOf(h))) - 1;
}

/** Heap numbers of the smallest cover of the steps [first, last], in step order. */
export function cover(first: number, last: number, shallowest = 0): number[] {
  const found: number[] = [];
  const visit = (h: number): void => {
    if (lastStep(h) < first || firstStep(h) > last) return;
    if (firstStep(h) >= first && lastStep(h) <= last && depthOf(h) >= shallowest) found.push(h);
    else for (const child of [2 * h, 2 * h + 1]) visit(child);
  };
  if (first <= last) visit(1);
  return found;
}

/** The same, of nodes a member can be given (SPEC K-4). */
export function leaseCover(first: number, last: number): number[] {
  return cover(first, last, LEASE_DEPTH);
}

/**
 * Last step of a lease of about `steps` steps from `first` on: the end of an aligned block, so that
 * a block in use and its renewal fit the 8 node slots of a member (SPEC K-6).
 */
export function leaseEnd(first: number, steps: number): number {
  const block = 1 << (31 - Math.clz32(Math.min(steps, LEASE_MAX)));
  return Math.min(LAST_STEP, Math.floor((first + steps - 1) / block) * block + block - 1);
}

/** SPEC K-1. The secret is not needed afterwards. */
export function rootOf(scope: Scope, secret: Uint8Array): Uint8Array {
  return scope.kit.derive(scope.suite, secret, "root", context(scope, 16), 16);
}

/** SPEC K-1. */
export function seedOf(scope: Scope, secret: Uint8Array): Uint8Array {
  return scope.kit.derive(scope.suite, secret, "seed", context(scope, 16), 16);
}

/** SPEC K-7, from any node that covers `to`. */
export function lockUnder(scope: Scope, node: TreeNode, to: number): Uint8Array {
  const leaf = descend(scope, node, STEPS + to);
  return scope.kit.derive(scope.suite, leaf, "lock", concat(context(scope, 16), u16(to)), 16);
}

/** What is left of a generation's tree. */
export class KeyTree {
  readonly #scope: Scope;
  readonly #nodes: Map<number, Uint8Array>;

  constructor(scope: Scope, nodes: TreeNode[]) {
    this.#scope = scope;
    this.#nodes = new Map(nodes.map((node) => [node.h, node.key]));
  }

  /** The node h, or undefined once its steps are forgotten. */
  node(h: number): TreeNode | undefined {
    for (let held = h; held >= 1; held >>= 1) {
      const key = this.#nodes.get(held);
      if (key !== undefined) return { h, key: descend(this.#scope, { h: held, key }, h) };
    }
    return undefined;
  }

  /** The step secret of a step, or undefined once forgotten. */
  leaf(step: number): Uint8Array | undefined {
    return this.node(STEPS + step)?.key;
  }

  /** Nodes that cover exactly [first, last] (SPEC K-4); forgotten ones are left out. */
  lease(first: number, last: number): TreeNode[] {
    return leaseCover(first, last)
      .map((h) => this.node(h))
      .filter((node) => node !== undefined);
  }

  /** The smallest cover of all steps from `first` on: what is kept once older steps are forgotten (SPEC V-6). */
  rest(first: number): TreeNode[] {
    return cover(first, LAST_STEP)
      .map((h) => this.node(h))
      .filter((node) => node !== undefined);
  }
}

/** Beacon values of a generation (SPEC B-1): hashed down from the last step, every 64th one kept. */
export class BeaconChain {
  readonly #scope: Scope;
  readonly #checkpoints = new Map<number, Uint8Array>();

  constructor(scope: Scope, seed: Uint8Array) {
    this.#scope = scope;
    this.#checkpoints.set(STEPS, seed.slice());
  }

  value(step: number): Uint8Array {
    let at = (Math.floor(step / CHECKPOINT) + 1) * CHECKPOINT;
    while (!this.#checkpoints.has(at)) at += CHECKPOINT;
    let v = this.#checkpoints.get(at) as Uint8Array;
    while (at > step) {
      at--;
      v = this.#scope.kit.derive(this.#scope.suite, v, "step", concat(context(this.#scope, 16), u16(at)), 16);
      if (at % CHECKPOINT === 0) this.#checkpoints.set(at, v);
    }
    return v.slice();
  }

  /** Wipes the seed and all values kept; the chain must not be used again. */
  wipe(): void {
    for (const value of this.#checkpoints.values()) value.fill(0);
    this.#checkpoints.clear();
  }
}

function context(scope: Scope, n: number): Uint8Array {
  return base(scope.suite, n, scope.realm, scope.channel, scope.generation);
}

/** Walks from a node to one below it (SPEC K-2). */
function descend(scope: Scope, node: TreeNode, h: number): Uint8Array {
  let key = node.key;
  for (let levels = depthOf(h) - depthOf(node.h); levels > 0; levels--) {
    const parent = h >> levels;
    const d = depthOf(parent);
    const tail = concat(Uint8Array.of(d), u16(parent - (1 << d)));
    const both = scope.kit.derive(scope.suite, key, "tree", concat(context(scope, 32), tail), 32);
    key = (h >> (levels - 1)) & 1 ? both.slice(16) : both.slice(0, 16);
    both.fill(0);
  }
  return key.slice();
}
