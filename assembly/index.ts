/*
 * The ABI of the core: contracts, no logic. Every parameter and result is an i32; statuses are those of SPEC 14.
 *
 * What the host sees lies behind buffers() in this order, without gaps: FRAME (1024 bytes), RECORD (48), OUT (20), ASK (4),
 * TOPIC (256; 1024 in the host build), STATE (160). FRAME and TOPIC belong to the host between calls. The rest it reads
 * only; some state is in globals of the module, so memory alone is no copy of a device.
 *   RECORD  the mark that STORE_MARK asks to be stored
 *   OUT     of an opened frame: part(1) zero(3) chunkLen(4) generation(4) step(2) counter(2) sender(4)
 *   ASK     a byte: 1 if refusals ask for a hello (SPEC R-13), until a hello is written
 *   STATE   the control key version is a u32 at byte 40, the storage key 32 bytes at byte 112
 *
 * Order at boot: init(). With storage, for the slot with the higher sequence (u32 at byte 8 of its header): its first
 * 16 bytes at FRAME, loadBegin(), then chunk by chunk (336 bytes; 504 in the host build) at FRAME and loadNext() while it
 * says MORE. On a refusal init() again and the other slot. Both blank (never
 * written): go on with K(0). None good otherwise: the device is lost. Then each whole mark of 48 bytes at FRAME and
 * loadMark(); BAD_RECORD is a broken mark. Records that are shorter, or whose last 8 bytes are 0xFF as erased flash has
 * them, were cut off: they are left out. Then loadEnd().
 *
 * Storing a blob: saveBegin(), the 16 bytes at FRAME, then saveNext() until it gives 0, each chunk at FRAME; durable
 * in one slot; all of it again for the other one, slot 1 last, but a slot that may be torn first. Then marks may go, and
 * stored() once; until then everything is PENDING. If writing fails, nothing is lost: begin again.
 * A device blob has at most 2,032 bytes.
 *
 * Which frame size: byte 21 of channelPtr(slot) times 8; byte 81 for the kept previous generation, if byte 82 is not 0
 * and the high nibble of the frame's second byte is that of the generation before. In a narrow channel (bit 2 of byte
 * 23) every payload is one frame, first and last; the host joins the parts.
 *
 * The build for devices without storage (volatile.ts) has neither loading nor saving nor stored().
 *
 * After every refusal: state as before, failure counters and derivation credit apart; no text in any
 * buffer. Times depend on lengths, public fields and the status, never on keys or text.
 */
// First, so that FRAME has the lowest address.
import {
  ASK,
  BOOT_NONCE,
  CLASS_NEITHER,
  NO_CLASS,
  OUT,
  CONTROL_KEY,
  DIRTY,
  FRAME,
  FRAME_MAX,
  PAIR_SIZE,
  REALM,
  self,
  STORAGE_KEY,
  TOPIC,
  TOPIC_MAX,
} from "./layout";
import { turnTo } from "./channel";
import { copy16, pub32, wipe } from "./bytes";
import { deriveHere, discard as drop, here } from "./context";
import * as controls from "./control";
import * as credits from "./credit";
import { A1_CHAN, A1_STOR, hashLabel } from "./kdf";
import * as sessions from "./session";
import * as states from "./state";
import { BAD_ARGUMENT, BAD_TAG, OK, STORE_MARK } from "./status";

if (FRAME != 16) ERROR("index: nothing may lie below the frame");

/** End of the static data; the modules for devices leave this export to build/sizes.json. */
export function memoryEnd(): i32 {
  return __heap_base as i32;
}

/** Address of FRAME; everything the host sees lies behind it as said above. */
export function buffers(): i32 {
  return FRAME as i32;
}

/** Address of the channel in a slot, laid out as SPEC T-4 says; 0 if the slot is empty or out of range. */
export function channelPtr(slot: i32): i32 {
  return turnTo(slot) ? (here.ch as i32) : 0;
}

/**
 * Begins a device: everything else is forgotten.
 *
 * FRAME holds realm(8) device(8) bootNonce(8) and then K(0)(16), or with stored = 1 the storage key(32).
 *
 * @param kind 0 storage, 1 boot nonce, 2 neither
 * @returns OK or BAD_ARGUMENT, as for kind 0 in the build for devices without storage. With stored = 1 a blob must be loaded next: there is no control key yet.
 *
 * FRAME is zero afterwards. Without storage stored must be 0. After the first boot keep the storage key; K(0) may
 * be overwritten once both slots hold a blob with a control key version above 0.
 */
export function init(kind: i32, stored: i32): i32 {
  if (i32(<u32>kind > <u32>CLASS_NEITHER) | i32(<u32>stored > <u32>i32(!kind))) return BAD_ARGUMENT;
  if (!AMP_STORAGE && !kind) return BAD_ARGUMENT;
  drop();
  states.blank();
  self.kind = stored ? NO_CLASS : kind;
  copy16(REALM, FRAME);
  memory.copy(BOOT_NONCE, FRAME + 16, 8);
  if (AMP_STORAGE && stored) memory.copy(STORAGE_KEY, FRAME + 24, PAIR_SIZE);
  else {
    copy16(CONTROL_KEY, FRAME + 24);
    controls.turnToDevice();
    if (AMP_STORAGE) deriveHere(PAIR_SIZE, A1_STOR, 0, CONTROL_KEY, STORAGE_KEY);
  }
  wipe(FRAME, 56);
  return OK;
}

/** See state.ts: begins to load the blob whose header is at FRAME. @returns OK */
export function loadBegin(): i32 {
  states.loadBegin();
  return OK;
}

/** See state.ts: loads the next chunk at FRAME. MORE, OK after the last, BAD_RECORD or NO_ROOM; then init() again. */
export function loadNext(): i32 {
  return states.loadNext();
}

/** See state.ts: takes the mark of 48 bytes at FRAME into account. OK, BAD_RECORD or NO_ROOM. */
export function loadMark(): i32 {
  return states.loadMark();
}

/** See state.ts: ends loading. OK; STORE_BLOB if a slot was torn or a mark broken (SPEC T-8): store a blob, call stored(). */
export function loadEnd(torn: i32, sequence: i32, broken: i32): i32 {
  return states.loadEnd(torn, sequence, broken);
}

/** See state.ts: begins a blob. The 16-byte header is at FRAME. @returns OK */
export function saveBegin(): i32 {
  drop();
  states.saveBegin();
  return OK;
}

/** See state.ts: the next chunk at FRAME; returns its length, 0 at the end. */
export function saveNext(): i32 {
  return states.saveNext();
}

/**
 * The host has stored what STORE_MARK or STORE_BLOB asked for, durably.
 *
 * After STORE_MARK of protect(): call protect() again. After STORE_MARK of unprotect(): the payload is
 * committed. After STORE_BLOB: everything may go on. @returns OK
 */
export function stored(): i32 {
  if (!sessions.markStored()) store<u8>(DIRTY, 0);
  return OK;
}

/** Drops a message, payload or mark in progress: what was opened provisionally must not be used. @returns OK */
export function discard(): i32 {
  drop();
  return OK;
}

/**
 * Seals one frame of a message in place.
 *
 * The chunk lies at FRAME + 7, the topic at TOPIC. All frames of a message are sealed one after another.
 *
 * @param slot channel slot
 * @param what 0 own number, 1 will number
 * @param index 0..count-1
 * @param count frames of the message, 1..64
 * @param chunkLen bytes at FRAME + 7; F - t - 8 in all frames but the last, at most that in the last
 * @param topicLen bytes at TOPIC
 * @returns OK: the frame is at FRAME, F bytes. STORE_MARK at index 0: store RECORD, call stored(), then
 *   protect() again; the chunk is still there. Else refused: NO_CHANNEL, BAD_ARGUMENT, BAD_LENGTH, BAD_ORDER,
 *   NOT_YET, EXHAUSTED, EXPIRED, NO_LEASE, HOLD, SINGLE_ONLY, NO_GRANT, PENDING, NO_IDENTITY
 *
 * SPEC section 7.
 */
export function protect(slot: i32, what: i32, index: i32, count: i32, chunkLen: i32, topicLen: i32): i32 {
  const status = sessions.protect(slot, what, index, count, chunkLen, topicLen);
  if (status > STORE_MARK) wipe(FRAME, FRAME_MAX);
  return status;
}

/**
 * Opens one frame of a payload in place.
 *
 * @param slot channel slot
 * @param frameLen bytes at FRAME
 * @param topicLen bytes at TOPIC
 * @param flags 1 first frame of the payload, 2 last one, 4 stored mode
 * @returns OK on the last frame: the payload is committed, its chunks may be used. STORE_MARK on the last frame:
 *   store RECORD and call stored(), which commits; or discard(). MORE on others: the chunk is at FRAME + 7,
 *   provisional. OUT describes the frame. Else refused: all chunks of the payload must be wiped.
 *
 * After failure: FRAME[0..frameLen) is zero, unless the status is BAD_ARGUMENT, BAD_ORDER, PENDING or NO_IDENTITY.
 * SPEC sections 8 and 9.
 */
export function unprotect(slot: i32, frameLen: i32, topicLen: i32, flags: i32): i32 {
  const status = sessions.unprotect(slot, frameLen, topicLen, flags);
  // One skipped instruction must not accept what was not opened.
  return i32(status < BAD_TAG) & i32(pub32(OUT + 4) < 0) ? BAD_TAG : status;
}

/**
 * Takes a beacon of `len` bytes at FRAME.
 *
 * @returns OK or STORE_BLOB: the step moved. Else refused: NO_CHANNEL, BAD_BEACON, UNKNOWN_EPOCH, OLD_BEACON,
 *   FAR_BEACON, BUSY. SPEC section 5.
 */
export function beacon(slot: i32, len: i32): i32 {
  drop();
  return sessions.beacon(slot, len);
}

/**
 * Takes a whole control payload at FRAME.
 *
 * @param len its bytes: 1 to 8 frames of 128
 * @returns OK, or STORE_BLOB: store a blob, call stored(); then answer(1). Else refused. SPEC section 10.
 *
 * Afterwards FRAME[0..len) is zero, unless the status is BAD_ARGUMENT, BAD_ORDER, PENDING or NO_IDENTITY.
 */
export function control(len: i32, topicLen: i32): i32 {
  return controls.control(len, topicLen);
}

/**
 * Writes an answer to the server at FRAME, 128 bytes, for the up topic at TOPIC.
 *
 * @param kind 0 hello, 1 ack of the held revision
 * @returns OK, PENDING; NO_SESSION for an ack without session
 *
 * FRAME + 67 holds, in place, 8 bytes: the id of the channel whose counters a hello wants; else zeros.
 */
export function answer(kind: i32, topicLen: i32): i32 {
  drop();
  if (!kind) store<u8>(ASK, 0);
  return controls.answer(kind & 1, topicLen);
}

/** One tick of the host, every few seconds: some derivation credit comes back (SPEC R-14). @returns OK */
export function tick(): i32 {
  credits.tick();
  return OK;
}

/** Writes the id of the channel whose filter has filterLen bytes at TOPIC, 8 bytes, at FRAME. OK or BAD_ARGUMENT. */
export function channelId(filterLen: i32): i32 {
  if (<u32>filterLen > <u32>TOPIC_MAX) return BAD_ARGUMENT;
  hashLabel(A1_CHAN, REALM, 8, TOPIC, filterLen, FRAME, 8);
  return OK;
}
