/*
 * Where everything lies in linear memory. All of it is static: no heap, no
 * pointers inside. Offsets of a channel's first CHANNEL_STORED bytes are those of
 * its blob chunk (SPEC T-4), so that storing is copying.
 */

// Constants of the protocol.
export const VERSION_MASK: i32 = 3;
export const HEADER_SIZE: i32 = 6;
export const KEY_SIZE: i32 = 16;
export const PAIR_SIZE: i32 = 32;
export const STEPS: i32 = 4096;
export const COUNTERS: i32 = 65536;
export const NODES: i32 = 8;
export const CONTROL_FRAME: i32 = 128;
export const CONTROL_FRAMES: i32 = 16;
export const CONTROL_CHUNK: i32 = 104;

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

// Buffers shared with the host.
export const FRAME: usize = memory.data(FRAME_MAX, 16);
export const TOPIC: usize = memory.data(TOPIC_MAX, 16);
/** A mark record (SPEC T-5), to be stored when a call returns STORE_MARK. */
export const RECORD: usize = memory.data(48, 16);
/** part(1) zero(3) chunkLen(2) zero(2) generation(4) step(2) counter(2) sender(2). */
export const OUT: usize = memory.data(20, 4);

// The device.
export const STATE: usize = memory.data(160, 16);
export const REALM: usize = STATE;
export const DEVICE: usize = STATE + 8;
export const REVISION: usize = STATE + 16;
export const VERSION: usize = STATE + 24;
export const ACK_COUNT: usize = STATE + 28;
/** bit 0: K(v+1) held; bit 1: session granted. */
export const FLAGS: usize = STATE + 29;
/** 0 no identity yet, 1 storage, 2 boot nonce, 3 neither. */
export const CLASS: usize = STATE + 30;
/** 1: a blob is to be stored before anything else. */
export const DIRTY: usize = STATE + 31;
export const CONTROL_KEY: usize = STATE + 32;
export const NEXT_KEY: usize = STATE + 48;
export const ACK_STATUSES: usize = STATE + 64;
export const ECHO: usize = STATE + 80;
export const BOOT_NONCE: usize = STATE + 88;
export const SESSION_KEY: usize = STATE + 96;
export const STORAGE_KEY: usize = STATE + 112;
export const SEQUENCE: usize = STATE + 144;
export const MARK_NUMBER: usize = STATE + 148;
/** 1 after a lost write was found at load: the next sequence is skipped. */
export const TORN: usize = STATE + 152;

export const CLASS_STORAGE: i32 = 1;
export const CLASS_NONCE: i32 = 2;
export const CLASS_NEITHER: i32 = 3;

export const HAS_NEXT: i32 = 1;
export const HAS_SESSION: i32 = 2;

// A channel.
export const CH_ID: i32 = 0;
export const CH_GENERATION: i32 = 8;
export const CH_STEP: i32 = 12;
export const CH_FROM: i32 = 14;
export const CH_OPEN: i32 = 16;
export const CH_TO: i32 = 18;
export const CH_FORM: i32 = 20;
export const CH_SIZE8: i32 = 21;
export const CH_LA: i32 = 22;
export const CH_FLAGS: i32 = 23;
export const CH_SENDER: i32 = 24;
export const CH_WILL: i32 = 26;
export const CH_V: i32 = 28;
export const CH_LOCK: i32 = 44;
/** Two blocks of OWN_SIZE: own number, will number. */
export const CH_OWN: i32 = 52;
export const CH_HOLD: i32 = 68;
export const CH_PREV_FIRST: i32 = 70;
export const CH_PREV_COUNT: i32 = 72;
export const CH_PREV_FORM: i32 = 73;
export const CH_PREV_SIZE8: i32 = 74;
export const CH_PREV_FLAGS: i32 = 75;
export const CH_PREV_SENDER: i32 = 76;
export const CH_PREV_WILL: i32 = 78;
/** Heap numbers, then keys. */
export const CH_NODES: i32 = 80;
export const CH_LEAVES: i32 = 224;
export const CHANNEL_STORED: i32 = CH_LEAVES + 16 * LEAVES;
// Not stored: limits and block sizes of both numbers, the own key in use, slot in use.
export const CH_LIMIT: i32 = CHANNEL_STORED;
export const CH_BLOCK: i32 = CH_LIMIT + 8;
export const CH_KEY_SENDER: i32 = CH_BLOCK + 4;
export const CH_KEY_STEP: i32 = CH_KEY_SENDER + 2;
export const CH_KEY: i32 = CH_KEY_STEP + 2;
export const CH_USED: i32 = CH_KEY + PAIR_SIZE;
export const CHANNEL_SIZE: i32 = CH_USED + 8;

export const OWN_STEP: i32 = 0;
export const OWN_COUNTER: i32 = 4;
export const OWN_SIZE: i32 = 8;

export const FLAG_TOPIC_MODE: i32 = 1;
export const FLAG_STORED: i32 = 2;
export const FLAG_NARROW: i32 = 4;
export const FLAG_KEEP: i32 = 128;

/** Node area: 8 heap numbers, then 8 keys. */
export const NODES_SIZE: i32 = NODES * (2 + KEY_SIZE);
export const NODE_KEYS: i32 = NODES * 2;

export const CHANNEL_TABLE: usize = memory.data(CHANNELS * CHANNEL_SIZE, 16);

// A sender row.
export const ROW_SLOT: i32 = 0;
export const ROW_SENDER: i32 = 2;
export const ROW_FLAGS: i32 = 4;
export const ROW_STEP1: i32 = 6;
export const ROW_STEP0: i32 = 8;
export const ROW_TOP1: i32 = 10;
export const ROW_TOP0: i32 = 12;
/** Highest closed counter of the stored mark, when R_MARK is set. */
export const ROW_MARK: i32 = 14;
export const ROW_BITS1: i32 = 16;
export const ROW_BITS0: i32 = 24;
export const ROW_KEY: i32 = 32;
export const ROW_SIZE: i32 = 64;

export const R_N1: i32 = 1;
export const R_N1_PREV: i32 = 2;
export const R_N0: i32 = 4;
export const R_N0_PREV: i32 = 8;
export const R_CLOSED_BELOW: i32 = 16;
export const R_PINNED: i32 = 32;
export const R_KEY: i32 = 64;
export const R_MARK: i32 = 128;

/** ROW_SLOT of a row never used, and of one that was freed; a used row has slot + 2. */
export const ROW_FREE: i32 = 0;
export const ROW_FREED: i32 = 1;
export const ROW_USED: i32 = 2;

export const ROW_TABLE: usize = memory.data(ROWS * ROW_SIZE, 16);

// Caches and failure counters: not state (SPEC, N-3).
export const LEAF_CACHE: usize = memory.data(24, 8);
export const CACHE_GENERATION: usize = LEAF_CACHE + 16;
export const CACHE_STEP: usize = LEAF_CACHE + 20;
/** Slot + 1 of the cached step secret; 0 is none. */
export const CACHE_SLOT: usize = LEAF_CACHE + 22;
export const COUNTS: usize = memory.data(12, 4);
export const FAILURES: usize = COUNTS;
export const PAYLOADS: usize = COUNTS + 4;
export const CREDIT: usize = COUNTS + 8;
export const BUSY_COUNT: usize = COUNTS + 9;
export const ASK: usize = COUNTS + 10;
/** For each channel the payload count from which a beacon is tried again (SPEC B-4). */
export const BEACON_AT: usize = memory.data(CHANNELS * 4, 4);

// Scratch: zero between calls, except what a payload in progress needs.
export const NONCE: usize = memory.data(16, 16);
export const CONTEXT: usize = memory.data(56, 16);
/** Sender key of the payload in progress. */
export const PAYLOAD_KEY: usize = memory.data(PAIR_SIZE, 16);
export const CHILDREN: usize = memory.data(PAIR_SIZE, 16);
export const NODE_KEY: usize = memory.data(KEY_SIZE, 16);
export const NODE_WORK: usize = memory.data(NODES_SIZE, 16);
export const ROW_COPY: usize = memory.data(ROW_SIZE, 16);

if (CH_NODES + NODES_SIZE != CH_LEAVES) ERROR("layout: the node area must end where the kept leaves begin");
if (CHANNEL_STORED + 16 > FRAME_MAX) ERROR("layout: a channel chunk must fit the frame buffer");
