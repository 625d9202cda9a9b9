/*
 * The key tree of a generation as a member sees it: a few nodes. SPEC section 4.
 *
 * A node area is 8 heap numbers (0 is an empty slot) and 8 keys: in a channel, or NODE_WORK.
 */
import { pub8, pub16, pub32, wipe } from "./bytes";
import { base, deriveHere } from "./context";
import { keySizeOf, suiteOf } from "./form";
import { A1_LOCK, A1_SEND, A1_TREE } from "./kdf";
import {
  CHILDREN,
  CH_FORM,
  CH_FROM,
  CH_GENERATION,
  CH_LOCK,
  CH_NODES,
  CH_TO,
  KEY_SIZE,
  NODES,
  NODES_SIZE,
  NODE_KEY,
  NODE_KEYS,
  NODE_WORK,
  STEPS,
} from "./layout";
import { BAD_NODE, HELD, LEASE_FULL, OK } from "./status";

/** The shallowest node a member may hold: depth 5, 128 steps. */
const HEAP_MIN: i32 = 32;

/** log2 of the steps under node h. */
function spread(h: i32): i32 {
  return clz(h) - 19;
}

/** First step under node h. */
function firstOf(h: i32): i32 {
  return (h << spread(h)) - STEPS;
}

/** First step right of node h. */
function endOf(h: i32): i32 {
  return ((h + 1) << spread(h)) - STEPS;
}

function heapAt(area: usize, slot: i32): i32 {
  return pub16(area + slot * 2);
}

function keyAt(area: usize, slot: i32): usize {
  return area + NODE_KEYS + slot * KEY_SIZE;
}

function clear(area: usize, slot: i32): void {
  store<u16>(area + slot * 2, 0);
  wipe(keyAt(area, slot), KEY_SIZE);
}

/** Slot of the node that covers `step`, or -1. */
function find(area: usize, step: i32): i32 {
  for (let slot = 0; slot < NODES; ++slot) {
    const h = heapAt(area, slot);
    if (h && firstOf(h) <= step && step < endOf(h)) return slot;
  }
  return -1;
}

/** Replaces NODE_KEY of node h by its child towards `right` (0 or 1); CHILDREN keeps both. */
function descend(ch: usize, h: i32, right: i32): void {
  const suite = suiteOf(pub8(ch + CH_FORM));
  const depth = 31 - clz(h);
  const extra = base(suite, 32, ch, pub32(ch + CH_GENERATION));
  store<u8>(extra, depth);
  store<u16>(extra, h - (1 << depth), 1);
  deriveHere(suite, NODE_KEY, A1_TREE, 3, CHILDREN);
  memory.copy(NODE_KEY, CHILDREN + (right << 4), KEY_SIZE);
}

/** Whether the member holds a key for `step`. */
export function covers(ch: usize, step: i32): bool {
  return find(ch + CH_NODES, step) >= 0;
}

/**
 * Derives the step secret of `step` (SPEC K-2), which must be covered.
 *
 * @param outPtr out, 16 bytes
 */
export function leaf(ch: usize, step: i32, outPtr: usize): void {
  const slot = find(ch + CH_NODES, step);
  let h = heapAt(ch + CH_NODES, slot);
  memory.copy(NODE_KEY, keyAt(ch + CH_NODES, slot), KEY_SIZE);
  for (let left = spread(h) - 1; left >= 0; --left) {
    const right = (step >> left) & 1;
    descend(ch, h, right);
    h = h * 2 + right;
  }
  memory.copy(outPtr, NODE_KEY, KEY_SIZE);
  forget();
}

/**
 * Derives a sender key from a step secret (SPEC K-3).
 *
 * @param idPtr channel or device id
 * @param keyPtr in, 16 bytes; may be outPtr
 * @param outPtr out, 32 bytes; the last 16 are not written for AEAD suites
 */
export function senderKey(
  suite: i32,
  idPtr: usize,
  generation: i32,
  step: i32,
  sender: i32,
  keyPtr: usize,
  outPtr: usize,
): void {
  const extra = base(suite, keySizeOf(suite), idPtr, generation);
  store<u16>(extra, step);
  store<u16>(extra, sender, 2);
  deriveHere(suite, keyPtr, A1_SEND, 4, outPtr);
}

/** Fills in the lock if it is missing and `to` is covered (SPEC K-7). */
export function setLock(ch: usize): void {
  const to = pub16(ch + CH_TO);
  if (pub32(ch + CH_LOCK) | pub32(ch + CH_LOCK + 4) || !covers(ch, to)) return;
  leaf(ch, to, NODE_WORK);
  const suite = suiteOf(pub8(ch + CH_FORM));
  const extra = base(suite, 8, ch, pub32(ch + CH_GENERATION));
  store<u16>(extra, to);
  deriveHere(suite, NODE_WORK, A1_LOCK, 2, ch + CH_LOCK);
  wipe(NODE_WORK, KEY_SIZE);
}

/** Writes the node area in order of the steps, empty slots last (SPEC T-4). */
export function packNodes(ch: usize, outPtr: usize): void {
  wipe(outPtr, NODES_SIZE);
  let from = -1;
  for (let to = 0; to < NODES; ++to) {
    let next = -1;
    for (let slot = 0; slot < NODES; ++slot) {
      const h = heapAt(ch + CH_NODES, slot);
      if (h && firstOf(h) > from && (next < 0 || firstOf(h) < firstOf(heapAt(ch + CH_NODES, next))))
        next = slot;
    }
    if (next < 0) return;
    from = firstOf(heapAt(ch + CH_NODES, next));
    store<u16>(outPtr + to * 2, heapAt(ch + CH_NODES, next));
    memory.copy(keyAt(outPtr, to), keyAt(ch + CH_NODES, next), KEY_SIZE);
  }
}

/** Erases every node left of `from`, then cuts the one that contains it (SPEC K-5). */
export function cut(ch: usize, from: i32): void {
  const area = ch + CH_NODES;
  let cuts = -1;
  for (let slot = 0; slot < NODES; ++slot) {
    const h = heapAt(area, slot);
    if (!h || firstOf(h) >= from) continue;
    // The parts need the slots of all that is erased.
    if (endOf(h) <= from) clear(area, slot);
    else cuts = slot;
  }
  if (cuts < 0) return;
  const h = heapAt(area, cuts);
  memory.copy(NODE_KEY, keyAt(area, cuts), KEY_SIZE);
  clear(area, cuts);
  placeFrom(ch, area, h, from);
  forget();
}

/**
 * Adds an arriving node (SPEC K-4 to K-6).
 *
 * @param keyPtr in, 16 bytes
 * @param from first step that is still of use
 * @returns OK, HELD, BAD_NODE or LEASE_FULL
 *
 * After failure: the channel is unchanged.
 */
export function addNode(ch: usize, h: i32, keyPtr: usize, from: i32): i32 {
  if (h < HEAP_MIN || h >= 2 * STEPS) return BAD_NODE;
  if (firstOf(h) < pub16(ch + CH_FROM) || endOf(h) - 1 > pub16(ch + CH_TO)) return BAD_NODE;
  if (endOf(h) <= from) return HELD;
  memory.copy(NODE_WORK, ch + CH_NODES, NODES_SIZE);
  memory.copy(NODE_KEY, keyPtr, KEY_SIZE);
  let status = placeFrom(ch, NODE_WORK, h, from);
  if (status == OK) {
    if (hasRoom(NODE_WORK)) memory.copy(ch + CH_NODES, NODE_WORK, NODES_SIZE);
    else status = LEASE_FULL;
  }
  wipe(NODE_WORK, NODES_SIZE);
  forget();
  return status;
}

/** Places the smallest cover of node h, key in NODE_KEY, from `from` on. Returns OK, HELD or LEASE_FULL. */
function placeFrom(ch: usize, area: usize, h: i32, from: i32): i32 {
  let status = HELD;
  while (firstOf(h) < from) {
    const right: i32 = endOf(h * 2) <= from ? 1 : 0;
    descend(ch, h, right);
    if (!right) {
      const placed = place(area, h * 2 + 1, CHILDREN + KEY_SIZE);
      if (placed == LEASE_FULL) return placed;
      if (placed == OK) status = OK;
    }
    h = h * 2 + right;
  }
  const placed = place(area, h, NODE_KEY);
  return placed == HELD ? status : placed;
}

/** Places one whole node, erasing held nodes inside it. Returns OK, HELD or LEASE_FULL. */
function place(area: usize, h: i32, keyPtr: usize): i32 {
  const first = firstOf(h);
  const end = endOf(h);
  let free = -1;
  let missing = end - first;
  for (let slot = 0; slot < NODES; ++slot) {
    const held = heapAt(area, slot);
    if (held && firstOf(held) <= first && end <= endOf(held)) return HELD;
    if (held && isInside(held, first, end)) missing -= 1 << spread(held);
  }
  if (!missing) return HELD;
  for (let slot = 0; slot < NODES; ++slot) {
    const held = heapAt(area, slot);
    if (held && !isInside(held, first, end)) continue;
    clear(area, slot);
    free = slot;
  }
  if (free < 0) return LEASE_FULL;
  store<u16>(area + free * 2, h);
  memory.copy(keyAt(area, free), keyPtr, KEY_SIZE);
  return OK;
}

function isInside(h: i32, first: i32, end: i32): bool {
  return first <= firstOf(h) && endOf(h) <= end;
}

/** Whether no later step move can need a ninth slot (SPEC K-6). */
function hasRoom(area: usize): bool {
  for (let slot = 0; slot < NODES; ++slot) {
    const h = heapAt(area, slot);
    if (!h) continue;
    let need = spread(h);
    if (!need) need = 1;
    for (let other = 0; other < NODES; ++other) {
      const o = heapAt(area, other);
      if (o && firstOf(o) > firstOf(h)) ++need;
    }
    if (need > NODES) return false;
  }
  return true;
}

function forget(): void {
  wipe(NODE_KEY, KEY_SIZE);
  wipe(CHILDREN, 2 * KEY_SIZE);
}
