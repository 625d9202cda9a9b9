// Numbers of the core's ABI (assembly/index.ts, assembly/layout.ts) that the host needs.

/** Where a chunk lies in the frame buffer: after header and part byte. */
export const CHUNK_OFFSET = 7;
/** Where a hello expects the id of the wanted channel. */
export const WANT_OFFSET = 51;
export const FRAME_MAX = 1024;
export const CONTROL_FRAME = 128;
export const MARK_SIZE = 48;
export const BLOB_HEADER = 16;
export const KIT_CONTEXT_MAX = 64;

/** flags of `unprotect`. */
export const FLAG_FIRST = 1;
export const FLAG_FINAL = 2;
export const FLAG_STORED = 4;

/** pass of `control`. */
export const PASS_VERIFY = 1;
export const PASS_APPLY = 2;
