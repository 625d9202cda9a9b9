/*
 * Ampoule for firmware: end-to-end encryption over MQTT or any other link that carries topics and payloads.
 *
 * This header is the manual. The library has no heap, no global variables and no threads, and it sends nothing: it
 * takes payloads, gives payloads, and stores its state through callbacks. All memory is the caller's.
 *
 * A device in short; amp_mqtt is whatever MQTT client there is:
 *
 *     static amp_context device;
 *     amp_open(&device, &identity, &port);                                  at boot
 *     on connect:    amp_hello(&device);
 *                    for (i = 0; i < AMP_SUBSCRIPTIONS; ++i)
 *                      if (amp_subscription(&device, i, topic, sizeof topic) == AMP_OK) amp_mqtt_subscribe(topic);
 *     on message:    amp_receive(&device, topic, payload, len, retained, text, sizeof text, &received);
 *     always after:  while (amp_outgoing(&device, topic, sizeof topic, reply) == AMP_OK)
 *                      amp_mqtt_publish(topic, reply, AMP_REPLY_SIZE);
 *     to send:       amp_protect(&device, topic, text, len, payload, sizeof payload, &sealed);
 *     every 5 s:     amp_tick(&device);
 *
 * Subscribe and publish with QoS 1. Nothing that is refused may be sent or used in clear instead.
 *
 * For every function below, unless it says otherwise:
 * - AMP_OK, zero, is the only success. A refusal has the number of SPEC section 14; amp_status_name() gives its name.
 * - Topics are strings of at most AMP_TOPIC_MAX bytes of UTF-8, ended by a zero, without wildcards.
 * - A device knows its channels by ids of filters, and tries the filters that match a topic. Those with a `+` and more than
 *   7 levels it does not try: topics of such a channel are AMP_NO_CHANNEL, to send and to receive.
 * - Pointers must not be null unless said so. Buffers must not overlap each other or the context.
 * - After a refusal the state of the device is as before, failure counters apart, and output buffers are zero.
 * - Time depends on lengths, topics, public fields of frames and the status, never on keys or text.
 * - A context belongs to one thread at a time; different contexts are independent. Callbacks must not use the context.
 * - AMP_NOT_STORED: a callback of the port failed. What needed it did not happen; the next call tries again.
 * - AMP_TRAPPED: the core came to a state it must never come to (corrupted memory). The context has been wiped and
 *   answers AMP_TRAPPED from now on; amp_open() begins again from what is stored.
 */
#ifndef AMPOULE_H
#define AMPOULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define AMP_MUST_CHECK __attribute__((warn_unused_result))
#else
#define AMP_MUST_CHECK
#endif

/* ---- Sizes, in bytes unless they say otherwise. A test holds them to the core's. ---- */

/** Channels a device can hold, and senders whose replay windows it can keep beside those of the key server. */
#define AMP_CHANNELS 4
#define AMP_SENDERS 8
/** Largest frame of a channel; the size of a channel's frames is the key server's choice. */
#define AMP_FRAME_MAX 1024
/** Frames in one message at most. */
#define AMP_MESSAGE_FRAMES 64
/** Longest topic, without the zero at its end. */
#define AMP_TOPIC_MAX 256
/** Every payload that amp_outgoing() gives. */
#define AMP_REPLY_SIZE 128
/** Longest payload that the key server sends to this device. */
#define AMP_CONTROL_MAX 1024
/** One mark, and the longest blob: what the callbacks of amp_port store. */
#define AMP_MARK_SIZE 48
#define AMP_BLOB_MAX 2032
/** Header of a blob: the first bytes of a slot. */
#define AMP_BLOB_HEADER 16
/** Of an identity. */
#define AMP_ID_SIZE 8
#define AMP_KEY_SIZE 16
#define AMP_STORAGE_KEY_SIZE 32
#define AMP_BOOT_NONCE_SIZE 8
/** Topics to subscribe at most, see amp_subscription(). */
#define AMP_SUBSCRIPTIONS (1 + AMP_CHANNELS)

/**
 * Size of amp_context: the core's memory, frame and topic buffer included, and what this library adds; on machines of 32
 * bits, and of 64.
 */
#define AMP_CONTEXT_SIZE (sizeof(void *) == 4 ? 4624u : 4736u)

/** Heap of the back end wasm3, see amp_port; on machines of 32 bits, and of 64. */
#define AMP_WASM3_HEAP_SIZE (sizeof(void *) == 4 ? 73728u : 131072u)
/** The same of a library built with AMP_WASM3_FRUGAL. Whatever is more is used, and saves time. */
#define AMP_WASM3_FRUGAL_HEAP_SIZE (sizeof(void *) == 4 ? 28672u : 61440u)

/* ---- Statuses ---- */

/** SPEC section 14; from 64 on those of this library. Names of all: amp_status_name(). */
typedef enum amp_status {
  AMP_OK = 0,
  AMP_MORE = 1,
  AMP_BAD_TAG = 16,
  AMP_BAD_LENGTH = 17,
  AMP_BAD_FORM = 18,
  AMP_NO_CHANNEL = 19,
  AMP_UNKNOWN_EPOCH = 20,
  AMP_NO_LEASE = 21,
  AMP_REFLECTED = 22,
  AMP_NO_ROOM = 23,
  AMP_REPLAYED = 24,
  AMP_CLOSED = 25,
  AMP_BUSY = 26,
  AMP_BAD_PADDING = 27,
  AMP_BAD_PART = 28,
  AMP_BAD_ORDER = 29,
  AMP_NOT_YET = 30,
  AMP_EXPIRED = 31,
  AMP_EXHAUSTED = 32,
  AMP_NO_STORED_MODE = 33,
  AMP_BAD_BEACON = 34,
  AMP_OLD_BEACON = 35,
  AMP_FAR_BEACON = 36,
  AMP_OLD_REVISION = 37,
  AMP_BAD_COMMAND = 38,
  AMP_CHANNEL_FULL = 39,
  AMP_LEASE_FULL = 40,
  AMP_HELD = 41,
  AMP_OLD_GENERATION = 42,
  AMP_BAD_CHANGE = 43,
  AMP_BAD_NODE = 44,
  AMP_BAD_RATCHET = 45,
  AMP_BAD_SUITE = 46,
  AMP_NO_SESSION = 47,
  AMP_BAD_SESSION = 48,
  AMP_NO_GRANT = 49,
  AMP_BAD_RECORD = 50,
  AMP_NO_IDENTITY = 51,
  AMP_HOLD = 52,
  AMP_PENDING = 53,
  AMP_BAD_ARGUMENT = 54,
  AMP_SINGLE_ONLY = 55,
  AMP_GAP = 56,

  /** Nothing to give: not a failure. */
  AMP_NONE = 64,
  /** A callback of the port failed. */
  AMP_NOT_STORED = 65,
  /** The output buffer is too small; nothing was spent. */
  AMP_NO_SPACE = 66,
  /** Back end wasm3: the module is not the expected one, or the interpreter has too little memory for it. */
  AMP_BAD_MODULE = 67,
  /** The core stopped; see the top of this file. */
  AMP_TRAPPED = 68,
  /** With AMP_ASCON_HOSTED: the permutation of this firmware does not give the known answer. The compiler is broken. */
  AMP_BAD_PERMUTATION = 69
} amp_status;

/** Name of a status without the prefix, "REPLAYED"; "UNKNOWN" for other numbers. Never null. */
const char *amp_status_name(amp_status status);

/* ---- What the caller provides ---- */

/**
 * Who the device is: the arrays that `ampoule provision --format c` writes,
 * {amp_realm, amp_device, amp_key, sizeof amp_key, amp_prefix}.
 *
 * The bytes are copied by amp_open(), the prefix is not: it must stay as it is until amp_close().
 */
typedef struct amp_identity {
  /** AMP_ID_SIZE bytes each. */
  const uint8_t *realm;
  const uint8_t *device;
  /** K(0) of AMP_KEY_SIZE bytes; or the storage key, AMP_STORAGE_KEY_SIZE bytes, that port.keep_key() was given. */
  const uint8_t *key;
  size_t key_size;
  /** Prefix of control topics, ended by a zero. */
  const char *prefix;
} amp_identity;

/** What a device has beside its identity (SPEC C-17). */
typedef enum amp_class {
  /** Durable storage: everything below. The only class for AEAD suites and forward secrecy. */
  AMP_STORAGE = 0,
  /** No storage, but eight bytes at each boot that never repeat. */
  AMP_BOOT_NONCE = 1,
  /** Neither: messages of one frame only, and a broker can bring back any recorded state. */
  AMP_NEITHER = 2
} amp_class;

/**
 * Storage, and other things that boards differ in.
 *
 * The struct is copied; what `user` points to is the caller's. With AMP_STORAGE every callback but keep_key must be
 * there, with the other classes none is called. Each returns 0 when done and anything else when it failed; a write is
 * done when it would survive a power cut now. Sizes and offsets of slots and marks are multiples of 8.
 */
typedef struct amp_port {
  /** Handed to each callback; may be null. */
  void *user;
  amp_class kind;
  /** AMP_BOOT_NONCE_SIZE bytes that no earlier boot had, with AMP_BOOT_NONCE; else null. */
  const uint8_t *boot_nonce;

  /**
   * Reads bytes of slot 0 or 1 from an offset on. Bytes that were not written since the slot was last erased read as
   * 0xFF; so does a whole slot that was never written. at + size <= AMP_BLOB_MAX.
   */
  int (*slot_read)(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size);
  /** Erases a slot, of which AMP_BLOB_MAX bytes are used. The other slot must not be touched. */
  int (*slot_erase)(void *user, unsigned slot);
  /** Writes bytes to an erased slot. Offsets follow one another from 0; a call has at most AMP_FRAME_MAX bytes. */
  int (*slot_write)(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size);
  /** After the last byte of a blob: it must be durable now. */
  int (*slot_done)(void *user, unsigned slot);

  /**
   * Appends a mark durably. A message waits for it: sealing needs one in 16 to 1,024 frames, opening one in 1, 16 or
   * 64 of each sender, as the channel says.
   *
   * Returns 0; or AMP_PORT_FULL if it was stored but little room is left: a blob is then stored before the next message,
   * and marks_clear() called. So it is after a failure, and after a boot that found 16 marks: there must be room for more.
   */
  int (*mark_append)(void *user, const uint8_t mark[AMP_MARK_SIZE]);
  /** Reads the mark of an index from 0 on, in the order of appending. Returns 0, or AMP_PORT_END past the last one. */
  int (*mark_read)(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE]);
  /** Forgets all marks. If it fails they are read again at boot, which does no harm; the next message tries again. */
  int (*marks_clear)(void *user);

  /**
   * May be null. Called once when K(0) can go: keep this key durably in its place, overwrite K(0), and give this one to
   * amp_open() from now on (SPEC I-1). Without it there is no forward secrecy against whoever reads K(0) and has recorded
   * the control topics.
   */
  int (*keep_key)(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE]);

  /**
   * Back end wasm3 only, else ignored: the module, which must stay readable until amp_close() (flash will do), and the
   * SHA-256 it must have, 32 bytes; null: that of the module this library was built with. The interpreter puts all it
   * needs into the heap, which must be aligned to 8 bytes and stay until amp_close(): AMP_WASM3_HEAP_SIZE bytes are
   * enough for the modules of this version.
   *
   * Of a library built with AMP_ASCON_HOSTED this version's module is `device-ascon-hosted`, which leaves Ascon-p to C:
   * a third of the time. It is compared with known answers at each amp_open(). Modules that import nothing run as they
   * do without; of a library built without it a module that imports anything is AMP_BAD_MODULE.
   *
   * A library built with AMP_WASM3_FRUGAL is content with AMP_WASM3_FRUGAL_HEAP_SIZE: the code of functions that are not
   * running is dropped when room is needed, and compiled again. Sealing and opening mostly find theirs; a command of
   * the key server may take several times as long. Another module than this version's can turn out too large in the
   * middle of a call, which is AMP_TRAPPED.
   */
  const uint8_t *module;
  size_t module_size;
  const uint8_t *module_sha256;
  uint8_t *heap;
  size_t heap_size;
} amp_port;

/** Beside 0 from mark_append, and from mark_read. Numbers that no port gives for a failure. */
#define AMP_PORT_FULL 0x4655
#define AMP_PORT_END 0x454e

/** One device. Its content is the library's; it holds keys. Static, or on a stack that has room; it may not be copied. */
typedef struct amp_context {
  uint64_t opaque[AMP_CONTEXT_SIZE / 8];
} amp_context;

/* ---- Life of a device ---- */

/**
 * Begins a device with what is stored, or as a new one where nothing is (SPEC T-6 to T-8).
 *
 * @param device out; whatever it held is forgotten
 * @param identity in
 * @param port in, copied
 * @returns AMP_OK; AMP_BAD_RECORD: both slots are lost, the device must be provisioned again; AMP_BAD_ARGUMENT: a
 *   callback, the boot nonce or a size of the identity is missing; AMP_NO_ROOM: more senders in marks than fit;
 *   AMP_NOT_STORED; AMP_BAD_MODULE; AMP_BAD_PERMUTATION; AMP_TRAPPED
 * Re-entrant, but with the back end wasm3 for one device at a time.
 *
 * May write: after a power cut in the middle of a write both slots are written again before this returns.
 * After failure: the context answers AMP_NO_IDENTITY.
 */
AMP_MUST_CHECK amp_status amp_open(amp_context *device, const amp_identity *identity, const amp_port *port);

/** Wipes a context that amp_open() has opened, and the heap of its port. Nothing needs it but the wish to leave no key. */
void amp_close(amp_context *device);

/**
 * To be called every few seconds: refused senders get a new chance (SPEC R-14), and hellos come due.
 *
 * @returns AMP_OK, AMP_NO_IDENTITY, AMP_TRAPPED
 */
amp_status amp_tick(amp_context *device);

/* ---- Messages ---- */

/** What amp_protect() gave: len bytes, to be published in payloads of payload_len bytes each, in order. */
typedef struct amp_sealed {
  size_t len;
  /** len itself, but in narrow channels the size of one frame. */
  size_t payload_len;
} amp_sealed;

/**
 * Seals a message.
 *
 * @param topic the concrete topic it is for; decides on the channel
 * @param text in, text_len bytes; may be null if text_len is 0
 * @param payload out, payload_max bytes; text may not overlap it
 * @param sealed out
 * @returns AMP_OK: publish sealed->len bytes. AMP_NO_CHANNEL: no channel held for the topic (yet). AMP_NO_SPACE:
 *   sealed->len says how many bytes are needed. AMP_BAD_LENGTH: more than AMP_MESSAGE_FRAMES frames. Keys or counters
 *   are missing, which the server will mend: AMP_NOT_YET, AMP_EXPIRED, AMP_EXHAUSTED, AMP_NO_LEASE, AMP_NO_GRANT,
 *   AMP_HOLD. AMP_SINGLE_ONLY, AMP_BAD_ARGUMENT, AMP_NOT_STORED, AMP_NO_IDENTITY, AMP_TRAPPED
 *
 * After failure: payload[0..payload_max) is zero unless AMP_NO_SPACE; counters may be spent. SPEC section 7.
 */
AMP_MUST_CHECK amp_status amp_protect(amp_context *device, const char *topic, const uint8_t *text, size_t text_len,
                                      uint8_t *payload, size_t payload_max, amp_sealed *sealed);

/** As amp_protect(), under the number for wills; AMP_BAD_ARGUMENT if the device has none in that channel. */
AMP_MUST_CHECK amp_status amp_protect_will(amp_context *device, const char *topic, const uint8_t *text,
                                           size_t text_len, uint8_t *payload, size_t payload_max, amp_sealed *sealed);

/** What a payload was. */
typedef enum amp_kind {
  /** A text from a member of a channel: secret, authentic and, unless it was retained, fresh. */
  AMP_TEXT = 1,
  /** From the key server, and obeyed: amp_outgoing() may have an answer. */
  AMP_CONTROL = 2,
  /** Nothing for this device: an empty payload (anyone can send one), control traffic of others, a known beacon. */
  AMP_IGNORED = 3
} amp_kind;

/** What amp_receive() and amp_unprotect() tell of a payload. */
typedef struct amp_received {
  amp_kind kind;
  /** Bytes of text. */
  size_t len;
  /** Position of the text: sender number in its channel, generation, step, counter of its last frame. */
  uint32_t generation;
  uint16_t step;
  uint16_t counter;
  uint16_t sender;
  /**
   * In narrow channels a message comes in parts, see amp_join(): only part 0 with is_last 1 is a whole text. Elsewhere
   * every text is whole, and is_last is 1.
   */
  uint8_t part;
  uint8_t is_last;
  /** 1 if channels came, went or were renewed, by this payload or one that could not be stored: subscribe again. */
  uint8_t changed;
} amp_received;

/**
 * Takes any payload: from the key server, a beacon, or a sealed message.
 *
 * @param topic it came on
 * @param payload in, payload_len bytes
 * @param retained 1 if it has the RETAIN flag (state, not an event: it may be a repetition), else 0
 * @param text out, text_max bytes; payload may not overlap it
 * @param received out
 * @returns AMP_OK: see received->kind. Else refused by name and to be thrown away. AMP_REFLECTED: this device sent
 *   it itself. AMP_REPLAYED, AMP_CLOSED: not fresh. AMP_NO_SPACE: received->len bytes of text are possible, and the
 *   payload can be given again. AMP_BUSY: again after a tick. AMP_BAD_TAG and others: SPEC section 14. AMP_NOT_STORED,
 *   AMP_NO_IDENTITY, AMP_TRAPPED
 *
 * After failure: text[0..text_max) is zero. SPEC sections 5, 8, 9 and 10.
 */
AMP_MUST_CHECK amp_status amp_receive(amp_context *device, const char *topic, const uint8_t *payload,
                                      size_t payload_len, int retained, uint8_t *text, size_t text_max,
                                      amp_received *received);

/** As amp_receive(), for sealed messages only: control topics are AMP_NO_CHANNEL, an empty payload AMP_BAD_LENGTH. */
AMP_MUST_CHECK amp_status amp_unprotect(amp_context *device, const char *topic, const uint8_t *payload,
                                        size_t payload_len, int retained, uint8_t *text, size_t text_max,
                                        amp_received *received);

/** A message of a narrow channel on its way, of one sender on one topic. To begin with: all zero, buffer and max set. */
typedef struct amp_joined {
  uint8_t *buffer;
  size_t max;
  /** Bytes of text in buffer. */
  size_t len;
  uint32_t generation;
  uint32_t counter;
  uint16_t step;
  uint16_t sender;
  /** Parts so far; 0: none. */
  uint8_t parts;
} amp_joined;

/**
 * Adds a part that amp_receive() gave to its message (SPEC R-9).
 *
 * Never a retained one: a broker keeps the last payload alone, so a retained text is one frame, with part 0 and is_last
 * 1, and anything else that is retained is to be dropped as AMP_GAP, as hosts do.
 *
 * @param text in, received->len bytes
 * @returns AMP_OK: joined->buffer holds joined->len bytes, the whole message. AMP_MORE: parts are to come. AMP_GAP: it
 *   does not follow what is held; what was held is dropped. AMP_NO_SPACE: the message is dropped
 *
 * After failure: buffer[0..max) is zero.
 */
AMP_MUST_CHECK amp_status amp_join(amp_joined *joined, const amp_received *received, const uint8_t *text);

/** Where the newest retained text of a topic and sender stood; all zero: nowhere. */
typedef struct amp_position {
  uint32_t generation;
  uint16_t step;
  uint16_t counter;
} amp_position;

/**
 * Holds a retained text against the newest one of the same topic and sender (SPEC R-11), whose place is the caller's.
 *
 * @returns AMP_OK: it is not older, and newest is its position now. AMP_CLOSED: it is older, drop it
 */
AMP_MUST_CHECK amp_status amp_check_retained(amp_position *newest, const amp_received *received);

/* ---- Talking to the key server ---- */

/**
 * The link to the broker is up, with everything subscribed: a hello is due now, and again with growing pauses until the
 * server is heard.
 */
void amp_hello(amp_context *device);

/**
 * Gives the next payload for the key server, if one is due: an answer, or a hello.
 *
 * @param topic out, topic_max bytes; ended by a zero. AMP_TOPIC_MAX + 1 bytes are enough
 * @param payload out: to be published on topic with QoS 1, not retained
 * @returns AMP_OK, AMP_NONE: nothing is due, AMP_NO_SPACE, AMP_NOT_STORED, AMP_NO_IDENTITY, AMP_TRAPPED
 *
 * Call it after each connect, amp_receive() and amp_tick(), until it gives AMP_NONE. What is lost on the way is asked
 * for again by the server or by the next hello.
 */
AMP_MUST_CHECK amp_status amp_outgoing(amp_context *device, char *topic, size_t topic_max,
                                       uint8_t payload[AMP_REPLY_SIZE]);

/**
 * Gives a topic to subscribe with QoS 1 beside the application's own: commands, and beacons of the channels held.
 *
 * @param index 0..AMP_SUBSCRIPTIONS-1
 * @param topic out, topic_max bytes; ended by a zero
 * @returns AMP_OK, AMP_NONE: no topic at this index, AMP_NO_SPACE, AMP_NO_IDENTITY, AMP_TRAPPED
 *
 * The topics are others when received->changed was 1.
 */
AMP_MUST_CHECK amp_status amp_subscription(amp_context *device, unsigned index, char *topic, size_t topic_max);

/** Of a channel, for programs that show or decide. */
typedef struct amp_channel {
  uint8_t id[AMP_ID_SIZE];
  uint32_t generation;
  /** Current step, and first and last step of the lease. */
  uint16_t step;
  uint16_t from;
  uint16_t to;
  uint16_t frame_size;
  /** Text in one frame at most. */
  uint16_t text_max;
  /** Own number. */
  uint16_t sender;
  uint8_t is_narrow;
} amp_channel;

/** Tells of the channel a topic belongs to. @returns AMP_OK, AMP_NO_CHANNEL, AMP_NO_IDENTITY, AMP_TRAPPED */
AMP_MUST_CHECK amp_status amp_channel_of(amp_context *device, const char *topic, amp_channel *channel);

#ifdef __cplusplus
}
#endif

#endif
