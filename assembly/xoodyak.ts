/*
 * Xoodyak: Cyclist over Xoodoo[12], as in the final round of the NIST
 * lightweight cryptography process ("Xoodyak, a lightweight cryptographic
 * scheme", section 2): the nonce of an AEAD is the key id. One computation runs
 * at a time; one Absorb may come in any number of calls, cut anywhere.
 *
 * Pointers may have any alignment. Times depend on lengths alone.
 *
 *     keyedInit | hashInit  (absorbBegin absorb* absorbEnd)*  crypt  squeeze  wipe
 */
import { ABSORB, DECRYPT } from "./bytes";
import { STATE_SIZE, permute, state, wipeState } from "./xoodoo";

const R_HASH: i32 = 16;
const R_KIN: i32 = 44;
const R_KOUT: i32 = 24;

const KEY_SIZE: i32 = 16;
const ID_SIZE: i32 = 16;

// Domain separation: cD of AbsorbKey and Absorb, cU of Crypt and Squeeze.
const C_KEY: i32 = 0x02;
const C_ABSORB: i32 = 0x03;
const C_CRYPT: i32 = 0x80;
const C_SQUEEZE: i32 = 0x40;

const UP: i32 = 0;
const DOWN: i32 = 1;

let phase: i32 = 0;
/** Rabsorb in bytes: R_KIN in keyed mode, R_HASH in hash mode. */
let rate: i32 = 0;
/** Bytes of the block that the state has taken in, 0..rate. */
let pos: i32 = 0;
/** cD of the block that is being taken in. */
let domain: i32 = 0;

function addByte(at: i32, x: i32): void {
  store<u8>(state + at, load<u8>(state + at) ^ x);
}

/** Takes len bytes at ptr into the block, which has room; ENCRYPT and DECRYPT also replace them. */
function duplex(ptr: usize, len: i32, mode: i32): void {
  while (len) {
    const at = state + pos;
    let n = 8;
    if (len >= 8) {
      const x = load<u64>(ptr);
      const y = x ^ load<u64>(at);
      store<u64>(at, mode == DECRYPT ? x : y);
      if (mode != ABSORB) store<u64>(ptr, y);
    } else {
      n = 1;
      const x = load<u8>(ptr);
      const y = x ^ load<u8>(at);
      store<u8>(at, mode == DECRYPT ? x : y);
      if (mode != ABSORB) store<u8>(ptr, y);
    }
    pos += n;
    ptr += n;
    len -= n;
  }
}

/** Up(0, cU); the caller reads the output from the state. */
function up(cU: i32): void {
  if (rate == R_KIN) addByte(STATE_SIZE - 1, cU);
  permute();
  phase = UP;
  pos = 0;
}

/** Down(X, cD) for a block X of pos bytes that the state has taken in. */
function down(cD: i32): void {
  addByte(pos, 0x01);
  addByte(STATE_SIZE - 1, rate == R_KIN ? cD : cD & 0x01);
  phase = DOWN;
}

function anyBegin(cD: i32): void {
  if (phase != UP) up(0);
  domain = cD;
}

/** Begins one Absorb. */
export function absorbBegin(): void {
  anyBegin(C_ABSORB);
}

/** Absorbs len bytes at ptr into the Absorb that was begun. */
export function absorb(ptr: usize, len: i32): void {
  while (len) {
    if (pos == rate) {
      absorbEnd();
      anyBegin(0);
    }
    const n = min(len, rate - pos);
    duplex(ptr, n, ABSORB);
    ptr += n;
    len -= n;
  }
}

/** Ends the Absorb that was begun. */
export function absorbEnd(): void {
  down(domain);
}

/** Absorb of a label of 7 bytes as the first input: its bytes little-endian, top byte zero. */
export function absorbLabel(label: u64): void {
  absorbBegin();
  store<u64>(state, load<u64>(state) ^ label);
  pos = 7;
  absorbEnd();
}

/** Begins hash mode: Cyclist(empty, empty, empty). */
export function hashInit(): void {
  wipeState();
  rate = R_HASH;
  phase = UP;
  pos = 0;
}

/**
 * Begins keyed mode: Cyclist(K, id, empty).
 *
 * @param keyPtr in, 16 bytes
 * @param idPtr in, 16 bytes
 */
export function keyedInit(keyPtr: usize, idPtr: usize): void {
  hashInit();
  rate = R_KIN;
  domain = C_KEY;
  absorb(keyPtr, KEY_SIZE);
  absorb(idPtr, ID_SIZE);
  addByte(pos, ID_SIZE);
  pos = KEY_SIZE + ID_SIZE + 1;
  // Nothing, unless for want of one instruction it was not the key that was absorbed: then the key is mixed in here.
  store<u64>(state, load<u64>(state, 8) ^ load<u64>(state) ^ load<u64>(keyPtr), 8);
  absorbEnd();
}

/**
 * Encrypts or decrypts in place; keyed mode, the whole text in one call.
 *
 * @param ptr in and out, len bytes
 * @param mode ENCRYPT or DECRYPT
 */
export function crypt(ptr: usize, len: i32, mode: i32): void {
  let cU = C_CRYPT;
  do {
    up(cU);
    cU = 0;
    const n = min(len, R_KOUT);
    duplex(ptr, n, mode);
    down(0);
    ptr += n;
    len -= n;
  } while (len);
}

/** Gives len bytes at outPtr: one Squeeze. */
export function squeeze(outPtr: usize, len: i32): void {
  const most = rate == R_KIN ? R_KOUT : R_HASH;
  up(C_SQUEEZE);
  while (len > most) {
    memory.copy(outPtr, state, most);
    outPtr += most;
    len -= most;
    down(0);
    up(0);
  }
  memory.copy(outPtr, state, len);
}

/**
 * Gives the 16 bytes of a tag at outPtr: one Squeeze.
 *
 * In two words: a copy that takes its bytes from elsewhere, for want of one instruction, would give a tag that is known.
 */
export function tag(outPtr: usize): void {
  up(C_SQUEEZE);
  store<u64>(outPtr, load<u64>(state));
  store<u64>(outPtr, load<u64>(state, 8), 8);
}

export { wipeState as wipe };
