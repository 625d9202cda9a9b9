// Build constants: asconfig.json gives each target its values.

/** Channels a module holds at once. */
declare const AMP_CHANNELS: i32;
/** Senders whose windows a module holds at once, over all channels. */
declare const AMP_SENDERS: i32;
/** 1 when the module carries Xoodyak beside Ascon, else 0. */
declare const AMP_XOODYAK: i32;
/** 0 in the module for devices without storage (SPEC section 1, classes 1 and 2): no blobs, marks and ratchet. */
declare const AMP_STORAGE: i32;
/** 1 in the module of the key server and the client library, 0 on devices. */
declare const AMP_HOST: i32;
/** 1 in the module that exports permutations and modes to the known-answer tests, else 0. */
declare const AMP_KAT: i32;
/**
 * What the module is made for: 0 few bytes, 1 an interpreter, 2 a compiler for 32-bit machines, 3 a host that has Ascon-p.
 * See ascon-p.ts.
 */
declare const AMP_PROFILE: i32;
