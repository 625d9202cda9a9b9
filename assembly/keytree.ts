/*
 * The key tree of a generation as a member sees it: a few nodes. SPEC section 4.
 *
 * The nodes of a channel stand in order of their steps, without gaps; the heap number after the last is 0.
 */
import { job } from "./aead";
import { copy16, pub16, pub32, wipe } from "./bytes";
import { deriveHere, EXTRA, here } from "./context";
import { keySizeOf } from "./form";
import { A1_LOCK, A1_SEND, A1_TREE } from "./kdf";
import {
  CHILDREN,
  CH_FROM,
  CH_LOCK,
  CH_NODES,
  CH_TO,
  KEY_SIZE,
  LEAF_CACHE,
  NODES,
  NODES_SIZE,
  NODE_KEY,
  NODE_SIZE,
  NODE_WORK,
  PAIR_SIZE,
  STEPS,
} from "./layout";
import { BAD_NODE, HELD, LEASE_FULL, OK } from "./status";

/** The shallowest node a member may hold: depth 5, 128 steps. */
const HEAP_MIN: i32 = 32;

/** Which step secret is in LEAF_CACHE: step and slot + 1; 0 is none. */
let cached: i32 = 0;
/** What came of the last placeFrom(): HELD, OK if a part was missing, LEASE_FULL if one found no slot. */
let placed: i32 = 0;

/** 1 while insert() only erases what a node replaces: before any slot is taken, all that can be free is. */
let erasing: i32 = 0;

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
  return firstOf(h) + (1 << spread(h));
}

/** Address of the node that covers `step`; of the empty one after the last if none does. */
function find(step: i32): usize {
  let node = here.ch + CH_NODES - NODE_SIZE;
  let h = 0;
  do {
    node += NODE_SIZE;
    h = pub16(node);
    // Goes on while the ancestor of the leaf at the depth of the node is another one.
  } while (i32(h != 0) & i32((STEPS + step) >> spread(h) != h));
  return node;
}

/** Whether the member holds a key for `step`, which may be past the last: heap number of its node, or 0. */
export function covers(step: i32): i32 {
  return pub16(find(step));
}

/** Replaces NODE_KEY of node h by its child towards `right` (0 or 1); CHILDREN keeps both. Returns the child. */
function descend(h: i32, right: i32): i32 {
  const depth = 31 - clz(h);
  store<u8>(EXTRA, depth);
  store<u16>(EXTRA, h - (1 << depth), 1);
  deriveHere(PAIR_SIZE, A1_TREE, 3, NODE_KEY, CHILDREN);
  copy16(NODE_KEY, CHILDREN + (right << 4));
  return h * 2 + right;
}

/**
 * Derives the step secret of `step` (SPEC K-2), which must be covered.
 *
 * @param outPtr out, 16 bytes
 */
export function leaf(step: i32, outPtr: usize): void {
  const node = find(step);
  let h = pub16(node);
  copy16(NODE_KEY, node + 2);
  while (h < STEPS) h = descend(h, ((STEPS + step) >> (spread(h) - 1)) & 1);
  copy16(outPtr, NODE_KEY);
  forget();
}

/** Address of the step secret of the step at hand, from the cache or through it. */
export function cachedLeaf(): usize {
  const name = (here.slot + 1) | (here.step << 16);
  if (cached != name) leaf(here.step, LEAF_CACHE);
  cached = name;
  return LEAF_CACHE;
}

/** Empties the cache: a channel changed. */
export function forgetLeaf(): void {
  cached = 0;
  wipe(LEAF_CACHE, KEY_SIZE);
}

/**
 * Derives the sender key at hand from a step secret (SPEC K-3).
 *
 * @param keyPtr in, 16 bytes; may be outPtr
 * @param outPtr out, 32 bytes; the last 16 are not written for AEAD suites
 */
export function senderKey(keyPtr: usize, outPtr: usize): void {
  store<u32>(EXTRA, nameHere());
  deriveHere(keySizeOf(job.form), A1_SEND, 4, keyPtr, outPtr);
}

/** step(2) sender(2) at hand. */
export function nameHere(): i32 {
  return here.step | (here.sender << 16);
}

/** Fills in the lock if it is missing and `to` is covered (SPEC K-7). */
export function setLock(): void {
  const lock = here.ch + CH_LOCK;
  const to = pub16(here.ch + CH_TO);
  if (pub32(lock) | pub32(lock + 4) | i32(!covers(to))) return;
  leaf(to, lock);
  store<u16>(EXTRA, to);
  deriveHere(KEY_SIZE, A1_LOCK, 2, lock, lock);
}

/** Erases every node left of `from` and cuts the one that contains it (SPEC K-5). */
export function cut(from: i32): void {
  const first = here.ch + CH_NODES;
  for (let h = pub16(first); h && firstOf(h) < from; h = pub16(first)) {
    copy16(NODE_KEY, first + 2);
    remove(first);
    if (endOf(h) > from) placeFrom(h, from);
  }
  forget();
}

/**
 * Adds an arriving node (SPEC K-4 to K-6).
 *
 * @param node in: h(2) key(16)
 * @param from first step that is still of use
 * @returns OK, HELD, BAD_NODE or LEASE_FULL
 *
 * After failure: the channel is unchanged.
 */
export function addNode(node: usize, from: i32): i32 {
  const h = pub16(node);
  if (<u32>(h - HEAP_MIN) >= <u32>(2 * STEPS - HEAP_MIN)) return BAD_NODE;
  if (i32(firstOf(h) < pub16(here.ch + CH_FROM)) | i32(endOf(h) > pub16(here.ch + CH_TO) + 1))
    return BAD_NODE;
  if (endOf(h) <= from) return HELD;
  const area = here.ch + CH_NODES;
  memory.copy(NODE_WORK, area, NODES_SIZE);
  for (erasing = 2; --erasing >= 0;) {
    copy16(NODE_KEY, node + 2);
    placeFrom(h, from);
  }
  if (i32(placed == OK) & i32(!hasRoom())) placed = LEASE_FULL;
  if (placed == LEASE_FULL) memory.copy(area, NODE_WORK, NODES_SIZE);
  wipe(NODE_WORK, NODES_SIZE);
  forget();
  return placed;
}

/** Places the smallest cover of node h, key in NODE_KEY, from `from` on; `placed` says what came of it. */
function placeFrom(h: i32, from: i32): void {
  placed = HELD;
  while (firstOf(h) < from) {
    const right = i32(endOf(h * 2) <= from);
    h = descend(h, right);
    if (!right) place(h + 1, CHILDREN + KEY_SIZE);
  }
  place(h, NODE_KEY);
}

/** Places one whole node unless all its steps are held, erasing held nodes inside it. */
function place(h: i32, keyPtr: usize): void {
  let step = firstOf(h);
  do {
    const held = covers(step);
    if (!held) return insert(h, keyPtr);
    step = endOf(held);
  } while (step < endOf(h));
}

function insert(h: i32, keyPtr: usize): void {
  const area = here.ch + CH_NODES;
  let node = area;
  for (let held = pub16(node); held && firstOf(held) < endOf(h); held = pub16(node)) {
    if (firstOf(held) < firstOf(h)) node += NODE_SIZE;
    else remove(node);
  }
  if (erasing > 0) return;
  const last = area + NODES_SIZE - NODE_SIZE;
  if (pub16(last)) {
    placed = LEASE_FULL;
    return;
  }
  if (placed == HELD) placed = OK;
  memory.copy(node + NODE_SIZE, node, <i32>(last - node));
  store<u16>(node, h);
  copy16(node + 2, keyPtr);
}

/** Erases a node and closes the gap. */
function remove(node: usize): void {
  const last = here.ch + CH_NODES + NODES_SIZE - NODE_SIZE;
  memory.copy(node, node + NODE_SIZE, <i32>(last - node));
  wipe(last, NODE_SIZE);
}

/** Whether no later step move can need a ninth slot (SPEC K-6). */
function hasRoom(): bool {
  let right = 0;
  let at = NODES_SIZE;
  do {
    at -= NODE_SIZE;
    const h = pub16(here.ch + CH_NODES + at);
    if (!h) continue;
    const need = spread(h);
    if ((need ? need : 1) + right > NODES) return false;
    ++right;
  } while (at);
  return true;
}

function forget(): void {
  wipe(CHILDREN, PAIR_SIZE + KEY_SIZE);
}
