/** SPEC section 4: the key tree of a generation, leases, node slots, lock. */

import { type Bytes, concat, u8, u16 } from "./bytes.ts";
import { STATUS } from "./status.ts";
import { deriveIn, keySize, type Scope } from "./suites.ts";

export const DEPTH = 12;
export const STEPS = 4096;
export const LEASE_DEPTH = 5;
export const NODE_SLOTS = 8;

export interface Node {
  /** Heap number 2^depth + index. */
  readonly h: number;
  readonly key: Bytes;
}

export interface Span {
  readonly depth: number;
  readonly index: number;
  readonly first: number;
  readonly last: number;
  readonly size: number;
}

/** The steps a node covers; h is 1 to 8191. */
export function span(h: number): Span {
  const depth = 31 - Math.clz32(h);
  const index = h - 2 ** depth;
  const size = 2 ** (DEPTH - depth);
  return { depth, index, first: index * size, last: (index + 1) * size - 1, size };
}

export function leafNumber(step: number): number {
  return STEPS + step;
}

export function treeRoot(scope: Scope, secret: Bytes): Bytes {
  return deriveIn(scope, secret, "A1-root", new Uint8Array(0), 16);
}

export function children(scope: Scope, node: Node): [Node, Node] {
  const { depth, index } = span(node.h);
  const both = deriveIn(scope, node.key, "A1-tree", concat(u8(depth), u16(index)), 32);
  return [
    { h: 2 * node.h, key: both.slice(0, 16) },
    { h: 2 * node.h + 1, key: both.slice(16, 32) },
  ];
}

/** The node h below (or at) `node`, which must cover it. */
export function descend(scope: Scope, node: Node, h: number): Node {
  let here = node;
  for (let up = span(h).depth - span(node.h).depth - 1; up >= 0; up--) {
    here = children(scope, here)[((h >> up) & 1) as 0 | 1];
  }
  return here;
}

/** K-4: heap numbers of the smallest cover of the steps from..to with nodes of 128 steps or fewer. */
export function cover(from: number, to: number): number[] {
  const out: number[] = [];
  let step = from;
  while (step <= to) {
    let size = 2 ** (DEPTH - LEASE_DEPTH);
    while (step % size !== 0 || step + size - 1 > to) size /= 2;
    out.push(STEPS / size + step / size);
    step += size;
  }
  return out;
}

export function covering(nodes: readonly Node[], step: number): Node | undefined {
  return nodes.find((node) => span(node.h).first <= step && step <= span(node.h).last);
}

/** The step secret, or null when no node covers the step. */
export function stepSecret(scope: Scope, nodes: readonly Node[], step: number): Bytes | null {
  const node = step < STEPS ? covering(nodes, step) : undefined;
  return node === undefined ? null : descend(scope, node, leafNumber(step)).key;
}

/** K-3. */
export function senderKey(scope: Scope, secret: Bytes, step: number, sender: number): Bytes {
  return deriveIn(scope, secret, "A1-send", concat(u16(step), u16(sender)), keySize(scope.suite));
}

/** K-7: from the leaf of `to`. */
export function lockOf(scope: Scope, leaf: Bytes, to: number): Bytes {
  return deriveIn(scope, leaf, "A1-lock", u16(to), 16);
}

/** K-5: what is left of one node when nothing before `base` may stay. */
export function cutNode(scope: Scope, node: Node, base: number): Node[] {
  const { first, last } = span(node.h);
  if (last < base) return [];
  if (first >= base) return [node];
  return cover(base, last).map((h) => descend(scope, node, h));
}

export function cutNodes(scope: Scope, nodes: readonly Node[], base: number): readonly Node[] {
  return nodes.flatMap((node) => cutNode(scope, node, base));
}

function wholeIn(part: Node, nodes: readonly Node[]): boolean {
  const { first, last } = span(part.h);
  for (let step = first; step <= last; step++) if (!covering(nodes, step)) return false;
  return true;
}

function inside(inner: Node, outer: Node): boolean {
  return span(inner.h).first >= span(outer.h).first && span(inner.h).last <= span(outer.h).last;
}

/** K-6: whether no later step move can need a ninth slot. Nodes in order of their steps. */
export function fitsSlots(nodes: readonly Node[]): boolean {
  return nodes.every((node, i) => {
    const right = nodes.length - 1 - i;
    return Math.max(1, DEPTH - span(node.h).depth) + right <= NODE_SLOTS;
  });
}

export interface Added {
  readonly status: number;
  readonly nodes: readonly Node[];
  /** The parts that came in: empty unless status is OK. */
  readonly parts: readonly Node[];
}

/** K-5 and K-6 for one arriving node. `nodes` stay in order of their steps. */
export function addNode(
  scope: Scope,
  nodes: readonly Node[],
  node: Node,
  lease: { from: number; to: number },
  base: number,
): Added {
  const refuse = (status: number): Added => ({ status, nodes, parts: [] });
  if (node.h < 2 ** LEASE_DEPTH || node.h >= 2 * STEPS) return refuse(STATUS.BAD_NODE);
  const { first, last } = span(node.h);
  if (first < lease.from || last > lease.to) return refuse(STATUS.BAD_NODE);
  const parts = cutNode(scope, node, base).filter((part) => !wholeIn(part, nodes));
  if (parts.length === 0) return refuse(STATUS.HELD);
  const kept = nodes.filter((held) => !parts.some((part) => inside(held, part)));
  const after = [...kept, ...parts].sort((a, b) => span(a.h).first - span(b.h).first);
  if (!fitsSlots(after)) return refuse(STATUS.LEASE_FULL);
  return { status: STATUS.OK, nodes: after, parts };
}
