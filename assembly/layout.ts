/*
 * Where everything lies in linear memory. All of it is static: no heap, no
 * pointers inside. Offsets of a channel's first CHANNEL_STORED bytes are those of
 * its blob chunk (SPEC T-4), so that storing is copying.
 *
 * What is used most lies lowest, where an address takes the fewest bytes of code.
 */

// Constants of the protocol.
export const HEADER_SIZE: i32 = 6;
export const KEY_SIZE: i32 = 16;
export const PAIR_SIZE: i32 = 32;
export const STEPS: i32 = 4096;
export const COUNTERS: i32 = 65536;
export const NODES: i32 = 8;
export const CONTROL_FRAME: i32 = 128;
export const CONTROL_FRAMES: i32 = 8;

// Constants of this build.
export const CHANNELS: i32 = AMP_CHANNELS;
export const SENDERS: i32 = AMP_SENDERS;
export const LEAVES: i32 = AMP_HOST ? 15 : 4;
export const LAYOUT: i32 = AMP_HOST ? 2 : 1;
export const LATE_AHEAD_MAX: i32 = AMP_HOST ? 14 : 3;
export const SUITES: i32 = AMP_XOODYAK ? 15 : 3;
export const FRAME_MAX: i32 = 1024;
export const TOPIC_MAX: i32 = AMP_HOST ? 1024 : 256;
/** Rows: SENDERS shared ones, then one for sender 0 of each channel. */
export const ROWS: i32 = SENDERS + CHANNELS;

// What a device has (SPEC C-17).
export const NO_CLASS: i32 = -1;
export const CLASS_STORAGE: i32 = 0;
export const CLASS_NEITHER: i32 = 2;

/** What a device is from init() on. */
export namespace self {
  /** One of CLASS_STORAGE = 0, 1 for a boot nonce, CLASS_NEITHER; NO_CLASS: no identity yet. */
  export let kind: i32 = -1;
}

/** Whether the device stores its state; one that has no identity yet does not. */
export function hasStorage(): i32 {
  return AMP_STORAGE ? i32(!self.kind) : 0;
}

// A window: epoch, top and bitmap of SPEC section 9.
//
// An epoch is held as one number that rises with it: 0 none, 1 + step in the previous generation,
// 1 + STEPS + step in the held one.
export const W_TOP: i32 = 2;
export const W_BITS: i32 = 4;
export const WINDOW_SIZE: i32 = 12;
export const HELD_EPOCH: i32 = 1 + STEPS;
export const PREV_EPOCH: i32 = 1;

// A sender row.
/** slot + ROW_USED (2) sender (2). */
export const ROW_NAME: i32 = 0;
/** 1 when ROW_KEY is the sender key of the newest epoch. */
export const ROW_KEYED: i32 = 5;
/** Exclusive bound of the stored mark (SPEC W-5), 0: none. */
export const ROW_BOUND: i32 = 8;
/** Window of n1. */
export const ROW_NEW: i32 = 12;
/** Window of n0. Its epoch is that of n1 where closedBelow is set: then everything older is closed. */
export const ROW_OLD: i32 = ROW_NEW + WINDOW_SIZE;
export const ROW_KEY: i32 = ROW_OLD + WINDOW_SIZE;
export const ROW_SIZE: i32 = ROW_KEY + PAIR_SIZE;

/** Slot of a row never used, and of one that was freed in a table that is searched by hash. */
export const ROW_FREE: i32 = 0;
export const ROW_FREED: i32 = 1;
export const ROW_USED: i32 = 2;

// What the host sees, in the order that index.ts gives.
/** The frame, control payload, chunk or record at hand. Header and command lie where addresses are shortest. */
export const FRAME: usize = memory.data(FRAME_MAX, 8);
/** A mark record (SPEC T-5), to be stored when a call returns STORE_MARK. */
export const RECORD: usize = memory.data(48, 4);
/** part(1) zero(3) chunkLen(4) generation(4) step(2) counter(2) sender(4). */
export const OUT: usize = memory.data(20, 4);
/** 1 if the server should be asked (SPEC R-13). */
export const ASK: usize = memory.data(4, 4);
/** The topic. */
export const TOPIC: usize = memory.data(TOPIC_MAX, 4);

// The device. From REVISION to ACK_STATUSES it lies as in chunk 0 of a blob (SPEC T-3).
export const STATE_SIZE: i32 = 160;
export const STATE: usize = memory.data(STATE_SIZE, 4);
export const REALM: usize = STATE;
export const DEVICE: usize = STATE + 8;
// An answer begins with these three (SPEC C-17).
export const REVISION: usize = STATE + 16;
export const ECHO: usize = STATE + 24;
/** Zeros with storage. */
export const BOOT_NONCE: usize = STATE + 32;
export const VERSION: usize = STATE + 40;
/** 1: K(v+1) is held. Three bytes of zero follow. */
export const HAS_NEXT: usize = STATE + 44;
export const CONTROL_KEY: usize = STATE + 48;
export const NEXT_KEY: usize = STATE + 64;
/** Number of statuses(1), and they. */
export const ACK: usize = STATE + 80;
export const ACK_SIZE: i32 = 1 + CONTROL_FRAMES;
export const DEVICE_STORED: i32 = 64 + ACK_SIZE;
/** 1: a blob is to be stored before anything else. */
export const DIRTY: usize = STATE + 92;
/** Bit 0: a session was granted; bit 1: the server was heard in it since the last hello. */
export const SESSION: usize = STATE + 93;
export const SESSION_KEY: usize = STATE + 96;
export const STORAGE_KEY: usize = STATE + 112;
/** Of the last blob, and of the one that was loaded: an answer has both (SPEC C-17). */
export const SEQUENCE: usize = STATE + 144;
export const BOOT_SEQUENCE: usize = STATE + 148;
export const MARK_NUMBER: usize = STATE + 152;

// A channel.
export const CH_GENERATION: i32 = 8;
export const CH_STEP: i32 = 12;
export const CH_FROM: i32 = 14;
export const CH_OPEN: i32 = 16;
export const CH_TO: i32 = 18;
/** Shape of a generation: form(1) F/8(1) la(1) flags(1) sender(2) will(2). */
export const CH_SHAPE: i32 = 20;
export const CH_LA: i32 = CH_SHAPE + 2;
export const CH_FLAGS: i32 = CH_SHAPE + 3;
export const CH_SENDER: i32 = CH_SHAPE + 4;
export const CH_WILL: i32 = CH_SHAPE + 6;
export const CH_V: i32 = 28;
export const CH_LOCK: i32 = 44;
/** step(2) zero(2) limit(4) of the own number; OWN_SIZE on, of the will number. */
export const CH_OWN: i32 = 60;
export const CH_OWN_LIMIT: i32 = CH_OWN + 4;
/** First step that AEAD suites seal in; SHUT: nothing is sealed or opened in any. */
export const CH_HOLD: i32 = 76;
export const SHUT: i32 = 0xffff;
export const CH_PREV_FIRST: i32 = 78;
/** Shape of the previous generation, with the number of kept leaves for la. */
export const CH_PREV_SHAPE: i32 = 80;
export const CH_PREV_COUNT: i32 = CH_PREV_SHAPE + 2;
export const CH_LEAVES: i32 = 88;
/** Nodes, NODE_SIZE each, in order of their steps and without gaps: heap number, 0 if empty, and key. */
export const CH_NODES: i32 = CH_LEAVES + KEY_SIZE * LEAVES;
export const NODE_SIZE: i32 = 2 + KEY_SIZE;
export const NODES_SIZE: i32 = NODES * NODE_SIZE;
export const CHANNEL_STORED: i32 = CH_NODES + NODES_SIZE;
// Not stored. The heap number of a ninth node comes first: it is always 0 and ends every search.
/** Next counter of the own number; OWN_SIZE on, of the will number. */
export const CH_COUNTER: i32 = CHANNEL_STORED + 4;
/** step(2) sender(2) that CH_KEY is for. */
export const CH_KEY_NAME: i32 = CH_COUNTER + 4;
export const CH_KEY: i32 = CH_COUNTER + 12;
/** Size of the next reservation less the first one's, of the own number; OWN_SIZE on, of the will number. */
export const CH_BLOCK: i32 = CH_KEY + PAIR_SIZE;
export const CHANNEL_SIZE: i32 = CH_BLOCK + 12;

/** From a field of the own number to that of the will number. */
export const OWN_SIZE: i32 = 8;

export const FLAG_TOPIC_MODE: i32 = 1;
export const FLAG_STORED: i32 = 2;
export const FLAG_NARROW: i32 = 4;

/** Follows STATE directly, and ROW_TABLE follows it. */
export const CHANNEL_TABLE: usize = memory.data(CHANNELS * CHANNEL_SIZE, 4);
export const ROW_TABLE: usize = memory.data(ROWS * ROW_SIZE, 4);
export const ROW_END: usize = ROW_TABLE + ROWS * ROW_SIZE;

// Scratch: zero between calls, except what a payload in progress needs.
export const NONCE: usize = memory.data(16, 8);
/** The row at hand. */
export const ROW_COPY: usize = memory.data(ROW_SIZE, 4);
/** Sender key of the payload in progress. */
export const PAYLOAD_KEY: usize = memory.data(PAIR_SIZE, 4);
export const CONTEXT: usize = memory.data(56, 4);
export const CHILDREN: usize = memory.data(PAIR_SIZE, 4);
export const NODE_KEY: usize = memory.data(KEY_SIZE, 4);
/** realm || device || previous tag. */
export const RECORD_AD: usize = memory.data(32, 4);

// Failure counters and caches: not state (SPEC, N-3).
/** One unverified step secret. */
export const LEAF_CACHE: usize = memory.data(KEY_SIZE, 4);
/** A node area as it was, while nodes are placed. */
export const NODE_WORK: usize = memory.data(NODES_SIZE, 4);

if (CHANNEL_STORED + 16 > FRAME_MAX) ERROR("layout: a channel chunk must fit the frame buffer");
if (ROW_COPY + ROW_SIZE != PAYLOAD_KEY) ERROR("layout: the payload key must follow the row at hand");
if (CHILDREN + PAIR_SIZE != NODE_KEY) ERROR("layout: the key of a node must follow those of its children");
if (FRAME + FRAME_MAX != RECORD) ERROR("layout: the record must follow the frame");
if (RECORD + 48 != OUT) ERROR("layout: what describes a frame must follow the record");
if (OUT + 20 != ASK) ERROR("layout: whether to ask must follow what describes a frame");
if (ASK + 4 != TOPIC) ERROR("layout: the topic must follow whether to ask");
if (TOPIC + TOPIC_MAX != STATE) ERROR("layout: the device must follow the topic");
if (CHANNEL_STORED < DEVICE_STORED) ERROR("layout: the device must fit a chunk");
if (DIRTY < ACK + ACK_SIZE) ERROR("layout: the last ack must end before what is not stored");
if (STATE + STATE_SIZE != CHANNEL_TABLE) ERROR("layout: the channels must follow the device");
if (CHANNEL_TABLE + CHANNELS * CHANNEL_SIZE != ROW_TABLE) ERROR("layout: the rows must follow the channels");
