/*
 * What firmware does around the core: topics, payloads of several frames, storing, and when to say hello.
 * ampoule.h has the contracts; assembly/index.ts those of the core.
 */
#include "ampoule.h"

#include <string.h>

#include "amp_core.h"

/*
 * A trap leaves the core, whatever it was in, for the function of ampoule.h that entered it; a refusal leaves the same
 * way. GCC's own pair needs five words and no library.
 */
#if defined(__GNUC__) && !defined(__clang__)
typedef void *amp_jump[5];
#define SET_JUMP(jump) __builtin_setjmp(jump)
#define GO_JUMP(jump) __builtin_longjmp(jump, 1)
#else
#include <setjmp.h>
typedef jmp_buf amp_jump;
#define SET_JUMP(jump) setjmp(jump)
#define GO_JUMP(jump) longjmp(jump, 1)
#endif

/* Where the compiler's guess of what is smaller is wrong. */
#define NOINLINE __attribute__((noinline))
#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
  CLOSED = 0,
  OPEN = 0x414d,
  TRAPPED = 0x5054,

  NO_SLOT = 0xff,
  /* Filters of more levels have no `+`: a stranger's topic makes the device hash 2^levels of them. */
  LEVELS_MAX = 7,
  /* Depth of a pattern that does not end in `#`; and of one that is not known. */
  NO_HASH = 0xff,
  UNKNOWN_PATTERN = 0xfe,

  /* Marks found at boot from which a blob is stored before the next message. */
  MARKS_AT_BOOT = 16,

  /* Longest pause between two hellos that refusals ask for: 64 ticks. */
  PAUSE_MAX = 6
};

/** How a filter comes from a topic: bit i of plus makes level i a `+`; after `hash` levels comes `#`. */
typedef struct pattern {
  uint8_t plus;
  uint8_t hash;
} pattern;

/* What is used most has the lowest addresses, which take the fewest bytes of code; the core is last. */
typedef struct device {
  const char *prefix;
  amp_jump *jump;
  uint16_t life;
  /** Why the operation at hand was left. */
  uint8_t status;

  /** The slot that may be torn: the other one is the only good one. */
  uint8_t suspect;
  /** A blob must be stored before anything else; or should be before the next message. */
  uint8_t blob_due;
  uint8_t blob_wanted;
  uint8_t is_key_kept;
  /** Channels came or went, and no amp_receive() has told it. */
  uint8_t is_changed;

  /** Bytes at TOPIC, and the slot they belong to or NO_SLOT; of 0 bytes: whatever is there. */
  uint16_t topic_len;
  uint8_t topic_slot;
  pattern patterns[AMP_CHANNELS];

  /* Hellos. */
  uint8_t ack_due;
  uint8_t hello_due;
  /** The server was not heard since amp_hello(); ticks since. */
  uint8_t is_unanswered;
  uint16_t unanswered;
  /** Ticks until refusals are heard again, and the power of two of those they are not after the next hello. */
  uint8_t wait;
  uint8_t pause;
  /** Sealing was refused in the slot wanted, for want of counters, and the server not heard since; ticks since. */
  uint8_t is_wanting;
  uint8_t want_due;
  uint8_t wanted;
  uint16_t want_ticks;

  amp_port port;
  amp_core core;
} device;

typedef char amp_context_size_is_enough[sizeof(device) <= sizeof(amp_context) ? 1 : -1];

/** Arguments of an entry. After a refusal the library's `out` and `result` are zero. */
typedef struct call {
  const char *topic;
  const uint8_t *in;
  size_t in_len;
  uint8_t *out;
  size_t out_max;
  void *result;
  size_t result_size;
  int flag;
} call;

/** Returns when all is done; leaves with the name of a refusal otherwise. */
typedef void operation(device *d, const call *c);

/* ---- Memory of the core ---- */

/** A place behind buffers(). */
static uint8_t *place_of(device *d, uint32_t at) { return amp_core_at(&d->core, amp_core_buffers(&d->core) + at); }
static uint8_t *frame_of(device *d) { return place_of(d, 0); }
static uint8_t *topic_of(device *d) { return place_of(d, AT_TOPIC); }
static uint8_t *out_of(device *d) { return place_of(d, AT_OUT); }
static uint8_t *state_of(device *d) { return place_of(d, AT_STATE); }
static int asks(device *d) { return *place_of(d, AT_ASK); }

/** The channel in a slot, or null. */
static const uint8_t *channel_of(device *d, unsigned slot)
{
  const uint32_t at = amp_core_channelPtr(&d->core, slot);
  return at ? amp_core_at(&d->core, at) : NULL;
}

static ALWAYS_INLINE uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static ALWAYS_INLINE uint32_t read32(const uint8_t *at) { return read16(at) | (uint32_t)read16(at + 2) << 16; }

/** Null is no bytes. */
static void wipe(void *at, size_t size)
{
  if (at != NULL) memset(at, 0, size);
  /* The bytes are read by someone, as far as the compiler knows. */
  __asm__ __volatile__("" : : "r"(at) : "memory");
}

/* ---- Entering and leaving ---- */

/** Wipes everything of a device that amp_open() has begun. */
static void forget(device *d)
{
  amp_core_wipe(&d->core);
  wipe(d, sizeof *d);
}

static NOINLINE __attribute__((noreturn)) void leave(device *d, unsigned status)
{
  d->status = (uint8_t)status;
  GO_JUMP(*d->jump);
}

/** Leaves unless the status is AMP_OK. */
static void must(device *d, unsigned status)
{
  if (status != AMP_OK) leave(d, status);
}

__attribute__((noreturn, noinline)) void amp_trap(void *instance);

void amp_trap(void *instance)
{
  leave((device *)(void *)((uint8_t *)instance - offsetof(device, core)), AMP_TRAPPED);
}

/** Runs an operation on a device that is open. */
static NOINLINE amp_status enter(amp_context *context, operation *work, const call *c)
{
  device *d = (device *)context;
  amp_jump jump;
  amp_status status = AMP_NO_IDENTITY;
  wipe(c->result, c->result_size);
  if (d->life == OPEN) {
    d->jump = &jump;
    d->status = AMP_OK;
    if (!SET_JUMP(jump)) work(d, c);
    status = (amp_status)d->status;
    if (status == AMP_TRAPPED) {
      forget(d);
      d->life = TRAPPED;
    }
  } else if (d->life == TRAPPED) {
    status = AMP_TRAPPED;
  }
  if (status != AMP_OK) {
    wipe(c->out, c->out_max);
    if (status != AMP_NO_SPACE) wipe(c->result, c->result_size);
  }
  return status;
}

static void init(device *d, const amp_identity *identity)
{
  uint8_t *frame = frame_of(d);
  memcpy(frame, identity->realm, AMP_ID_SIZE);
  memcpy(frame + 8, identity->device, AMP_ID_SIZE);
  memset(frame + 16, 0, AMP_BOOT_NONCE_SIZE);
  if (d->port.kind == AMP_BOOT_NONCE) memcpy(frame + 16, d->port.boot_nonce, AMP_BOOT_NONCE_SIZE);
  memcpy(frame + 24, identity->key, identity->key_size);
  amp_core_init(&d->core, (uint32_t)d->port.kind, identity->key_size == AMP_STORAGE_KEY_SIZE);
}

#if defined(AMP_VOLATILE)
/* ---- Storing: nothing, nor does the core ask for it ---- */

static void settle(device *d) { (void)d; }
static void store_blob(device *d) { leave(d, AMP_NOT_STORED); }
static void store_mark(device *d) { leave(d, AMP_NOT_STORED); }

#else
/* ---- Storing ---- */

/** Leaves if a callback of the port has failed. */
static void done(device *d, int failed)
{
  if (failed) leave(d, AMP_NOT_STORED);
}

/** If it fails, the core has a blob begun and takes nothing else: whoever wants it is told to store one first. */
static void write_slot(device *d, unsigned slot)
{
  const amp_port *port = &d->port;
  size_t size = AMP_BLOB_HEADER, at = 0;
  done(d, port->slot_erase(port->user, slot));
  amp_core_saveBegin(&d->core);
  do {
    done(d, port->slot_write(port->user, slot, at, frame_of(d), size));
    at += size;
    size = amp_core_saveNext(&d->core);
  } while (size > 0);
  done(d, port->slot_done(port->user, slot));
}

/** SPEC I-1: K(0) goes once the control key has moved past it in both slots. */
static void keep_key(device *d)
{
  const amp_port *port = &d->port;
  if (d->is_key_kept || port->keep_key == NULL || read32(state_of(d) + STATE_VERSION) == 0) return;
  d->is_key_kept = port->keep_key(port->user, state_of(d) + STATE_STORAGE_KEY) == 0;
}

/**
 * Writes both slots, slot 1 last, then confirms; a slot that may be torn is written before the other is touched.
 * If that fails the next call tries again, before anything else.
 */
static void store_blob(device *d)
{
  unsigned more = d->suspect + 2u;
  d->blob_due = 1;
  do {
    /* Of three the first is slot 1. */
    d->suspect = more & 1;
    write_slot(d, more & 1);
  } while (--more > 0);
  d->suspect = 0;
  d->blob_due = 0;
  /* Marks that stay are of older sequences and do no harm, but take room. */
  d->blob_wanted = d->port.marks_clear(d->port.user) != 0;
  amp_core_stored(&d->core);
  keep_key(d);
}

static void settle(device *d)
{
  if (d->blob_due || d->blob_wanted) store_blob(d);
}

/** Stores the mark asked for. If that fails, nothing was accepted or sealed. */
static void store_mark(device *d)
{
  const int result = d->port.mark_append(d->port.user, place_of(d, AT_RECORD));
  if (result != 0) d->blob_wanted = 1;
  if (result != 0 && result != AMP_PORT_FULL) {
    /* The log may be full since an earlier boot: a blob empties it. */
    amp_core_discard(&d->core);
    wipe(frame_of(d), AMP_FRAME_MAX);
    leave(d, AMP_NOT_STORED);
  }
  amp_core_stored(&d->core);
}

/* ---- Loading (SPEC T-6 to T-8) ---- */

static void read_slot(device *d, unsigned slot, size_t at, size_t size)
{
  done(d, d->port.slot_read(d->port.user, slot, at, frame_of(d), size));
}

/** Whether bytes are as flash is erased. */
static NOINLINE int is_erased(const uint8_t *at, size_t size)
{
  unsigned all = 0xff;
  while (size > 0) all &= at[--size];
  return all == 0xff;
}

/** Whether the slot was never written: all of it is erased. If not, gives the sequence in its header. */
static int is_blank(device *d, unsigned slot, uint32_t *sequence)
{
  enum { HALF = AMP_BLOB_MAX / 2 };
  size_t at;
  for (at = 0; at < AMP_BLOB_MAX; at += HALF) {
    read_slot(d, slot, at, HALF);
    if (at == 0) *sequence = read32(frame_of(d) + 8);
    if (!is_erased(frame_of(d), HALF)) return 0;
  }
  *sequence = 0;
  return 1;
}

/** Begins anew and loads a slot. */
static int load_slot(device *d, const amp_identity *identity, unsigned slot)
{
  size_t at = AMP_BLOB_HEADER;
  uint32_t status;
  init(d, identity);
  read_slot(d, slot, 0, AMP_BLOB_HEADER);
  amp_core_loadBegin(&d->core);
  do {
    read_slot(d, slot, at, BLOB_CHUNK);
    status = amp_core_loadNext(&d->core);
    at += BLOB_CHUNK;
  } while (status == AMP_MORE && at + BLOB_CHUNK <= AMP_BLOB_MAX);
  return status == AMP_OK;
}

/** Takes all marks into account; tells whether one is broken. */
static unsigned load_marks(device *d)
{
  unsigned broken = 0;
  size_t index;
  for (index = 0;; ++index) {
    const int result = d->port.mark_read(d->port.user, index, frame_of(d));
    uint32_t status;
    if (result == AMP_PORT_END) break;
    done(d, result);
    /* Not written to its end (SPEC T-8). */
    if (is_erased(frame_of(d) + AMP_MARK_SIZE - 8, 8)) continue;
    status = amp_core_loadMark(&d->core);
    if (status == AMP_BAD_RECORD) broken = 1;
    else must(d, status);
  }
  /* AMP_PORT_FULL is forgotten by a device that sleeps after each message. */
  d->blob_wanted = index >= MARKS_AT_BOOT;
  return broken;
}

static void load(device *d, const amp_identity *identity)
{
  /* Bits 0 and 1 are for the slots. */
  unsigned blank = 0, good = 0, torn, broken, newer, slot, turn;
  uint32_t sequence[2];
  for (slot = 0; slot < 2; ++slot) blank |= (unsigned)is_blank(d, slot, &sequence[slot]) << slot;
  newer = sequence[0] <= sequence[1];
  /* The older one, the newer one, and the older one again if only that is good. */
  for (turn = 0; turn < 3; ++turn) {
    slot = turn == 1 ? newer : newer ^ 1;
    if (turn == 2 && good != 1u << slot) break;
    good &= ~(1u << slot);
    if (!(blank >> slot & 1)) good |= (unsigned)load_slot(d, identity, slot) << slot;
  }
  if (good == 0) {
    if (d->is_key_kept || blank == 0) leave(d, AMP_BAD_RECORD);
    init(d, identity);
  }
  torn = 3 & ~(blank | good);
  broken = load_marks(d);
  /* Slot 1 is written last: if slot 0 is the newer one, a write was cut off between them. */
  d->suspect = (uint8_t)(good >> newer & 1 ? newer ^ 1 : newer);
  amp_core_loadEnd(&d->core, torn != 0, sequence[torn >> 1], broken);
  if (torn || broken || (newer == 0 && good & 1)) store_blob(d);
  keep_key(d);
}

#endif

/* ---- Topics ---- */

static char *put_id(char *at, const uint8_t *id)
{
  int i;
  for (i = 0; i < 2 * AMP_ID_SIZE; ++i) {
    const int digit = id[i >> 1] >> (i & 1 ? 0 : 4) & 15;
    *at++ = (char)(digit < 10 ? '0' + digit : 'a' - 10 + digit);
  }
  return at;
}

static char *put_text(char *at, const char *text)
{
  while (*text) *at++ = *text++;
  return at;
}

/** Writes `<prefix>/epoch/<id>`, or `<prefix>/<id><end>` with an end; not ended by a zero. Returns its length. */
static size_t control_topic(device *d, const uint8_t *id, const char *end)
{
  char *const begin = (char *)topic_of(d);
  char *at = put_text(begin, d->prefix);
  d->topic_len = 0;
  at = put_text(at, end ? "/" : "/epoch/");
  at = put_id(at, id);
  if (end) at = put_text(at, end);
  return (size_t)(at - begin);
}

/** Gives the caller what is at TOPIC. */
static void give_topic(device *d, size_t len, const call *c)
{
  if (len >= c->out_max) leave(d, AMP_NO_SPACE);
  memcpy(c->out, topic_of(d), len);
  c->out[len] = 0;
}

/** Length of a topic, or 0 if no message can have it. */
static size_t topic_length(const char *topic)
{
  size_t len = 0;
  for (; topic[len]; ++len) {
    if (len == AMP_TOPIC_MAX || topic[len] == '+' || topic[len] == '#') return 0;
  }
  return len;
}

/**
 * Writes the filter that a pattern makes of a topic to TOPIC. Returns its length, or 0: the topic has fewer levels than
 * the pattern, or the filter is too long.
 */
static size_t put_filter(device *d, const char *topic, pattern p)
{
  uint8_t *const filter = topic_of(d);
  size_t len = 0;
  unsigned level;
  for (level = 0;; ++level) {
    const char *text = "#";
    size_t size = 1;
    if (level != p.hash) {
      if (level > 0 && *topic++ == 0) return p.hash == NO_HASH ? len : 0;
      text = topic;
      while (*topic && *topic != '/') ++topic;
      size = (size_t)(topic - text);
      if (level < LEVELS_MAX && (p.plus >> level & 1)) {
        text = "+";
        size = 1;
      }
    }
    if (len + size + (level > 0) > AMP_TOPIC_MAX) return 0;
    if (level > 0) filter[len++] = '/';
    memcpy(filter + len, text, size);
    len += size;
    if (level == p.hash) return len;
  }
}

/** The slot of the channel with an id, or NO_SLOT. */
static unsigned slot_of(device *d, const uint8_t *id)
{
  unsigned slot;
  for (slot = 0; slot < AMP_CHANNELS; ++slot) {
    const uint8_t *ch = channel_of(d, slot);
    if (ch != NULL && memcmp(ch, id, AMP_ID_SIZE) == 0) return slot;
  }
  return NO_SLOT;
}

/** The slot of the channel with the filter that the pattern makes of the topic, or NO_SLOT. */
static unsigned try_pattern(device *d, const char *topic, pattern p)
{
  size_t len;
  unsigned slot;
  /* A wildcard at the front matches no topic that begins with `$`. */
  if (topic[0] == '$' && (p.hash == 0 || (p.plus & 1))) return NO_SLOT;
  len = put_filter(d, topic, p);
  if (len == 0) return NO_SLOT;
  amp_core_channelId(&d->core, (uint32_t)len);
  slot = slot_of(d, frame_of(d));
  if (slot != NO_SLOT) d->patterns[slot] = p;
  return slot;
}

/** Tries all filters that match the topic and have no `+` or at most LEVELS_MAX levels: some 500 if none is held. */
static unsigned guess(device *d, const char *topic)
{
  unsigned levels = 1, depth, i;
  for (i = 0; topic[i]; ++i) levels += topic[i] == '/';
  /* At depth levels + 1 stands the filter that does not end in `#`. */
  for (depth = levels + 1; depth <= levels + 1; --depth) {
    const unsigned variable = depth > levels ? levels : depth;
    const unsigned count = variable <= LEVELS_MAX ? 1u << variable : 1;
    for (i = 0; i < count; ++i) {
      pattern p;
      unsigned slot;
      p.plus = (uint8_t)i;
      p.hash = (uint8_t)(depth > levels ? NO_HASH : depth);
      slot = try_pattern(d, topic, p);
      if (slot != NO_SLOT) return slot;
    }
  }
  return NO_SLOT;
}

static unsigned search(device *d, const char *topic)
{
  int holds_any = 0;
  unsigned i;
  for (i = 0; i < AMP_CHANNELS; ++i) {
    if (channel_of(d, i) == NULL) continue;
    holds_any = 1;
    if (d->patterns[i].hash != UNKNOWN_PATTERN) {
      const unsigned slot = try_pattern(d, topic, d->patterns[i]);
      if (slot != NO_SLOT) return slot;
    }
  }
  return holds_any ? guess(d, topic) : NO_SLOT;
}

/** What a topic under the prefix is for. */
typedef enum control_kind { NOT_CONTROL, EPOCH, DOWN, OF_OTHERS } control_kind;

/** Reads 16 lower-case hex digits; returns what follows them, or null. */
static const char *read_id(const char *text, uint8_t id[AMP_ID_SIZE])
{
  unsigned i;
  for (i = 0; i < 2 * AMP_ID_SIZE; ++i, ++text) {
    const unsigned digit = (unsigned char)*text;
    unsigned value;
    if (digit >= '0' && digit <= '9') value = digit - '0';
    else if (digit >= 'a' && digit <= 'f') value = digit - 'a' + 10;
    else return NULL;
    id[i >> 1] = (uint8_t)(id[i >> 1] << 4 | value);
  }
  return text;
}

/** What follows `start` in a text, or null if the text does not begin with it. */
static const char *after(const char *text, const char *start)
{
  for (; *start; ++start, ++text) {
    if (*text != *start) return NULL;
  }
  return text;
}

static int is(const char *text, const char *other)
{
  text = after(text, other);
  return text != NULL && *text == 0;
}

/** Sorts a topic; for a beacon id is its channel's. */
static control_kind sort_topic(device *d, const char *topic, uint8_t id[AMP_ID_SIZE])
{
  const char *rest = after(topic, d->prefix);
  const char *epoch;
  if (rest == NULL || *rest++ != '/') return NOT_CONTROL;
  epoch = after(rest, "epoch/");
  rest = read_id(epoch != NULL ? epoch : rest, id);
  if (rest == NULL) return NOT_CONTROL;
  if (epoch != NULL) return *rest == 0 ? EPOCH : NOT_CONTROL;
  if (is(rest, "/down")) return memcmp(id, state_of(d) + STATE_DEVICE, AMP_ID_SIZE) == 0 ? DOWN : OF_OTHERS;
  return is(rest, "/up") ? OF_OTHERS : NOT_CONTROL;
}

/** Puts a topic at TOPIC, which for all that is known has no channel. */
static NOINLINE void set_topic(device *d, const char *topic)
{
  const size_t len = strlen(topic);
  memcpy(topic_of(d), topic, len);
  d->topic_len = (uint16_t)len;
  d->topic_slot = NO_SLOT;
}

/** Finds the channel of a topic, puts the topic at TOPIC and the slot at topic_slot. */
static const uint8_t *find_channel(device *d, const char *topic)
{
  const size_t len = topic_length(topic);
  if (len == 0) leave(d, AMP_BAD_ARGUMENT);
  if (len != d->topic_len || memcmp(topic_of(d), topic, len) != 0) {
    uint8_t id[AMP_ID_SIZE];
    unsigned slot;
    d->topic_len = 0;
    slot = sort_topic(d, topic, id) == NOT_CONTROL ? search(d, topic) : NO_SLOT;
    set_topic(d, topic);
    d->topic_slot = (uint8_t)slot;
  }
  if (d->topic_slot == NO_SLOT) leave(d, AMP_NO_CHANNEL);
  return channel_of(d, d->topic_slot);
}

/* ---- Messages ---- */

static size_t chunk_max(const uint8_t *shape, size_t size)
{
  return size - (shape[0] & FORM_SHORT_TAG ? 16 : 24);
}

/** Sealing was refused for want of counters: a hello asks for them, and again after growing pauses (SPEC P-4). */
static void want(device *d)
{
  if (d->wanted != d->topic_slot) {
    if (d->is_wanting) return;
    d->wanted = d->topic_slot;
    d->want_ticks = 0;
    d->want_due = 1;
  }
  d->is_wanting = 1;
}

static void seal(device *d, const call *c)
{
  amp_sealed *const sealed = (amp_sealed *)c->result;
  const uint8_t *const ch = find_channel(d, c->topic);
  const size_t size = (size_t)ch[CH_SIZE] << 3;
  const size_t most = chunk_max(ch + CH_FORM, size);
  const size_t count = c->in_len == 0 ? 1 : (c->in_len - 1) / most + 1;
  const uint8_t *in = c->in;
  uint8_t *out = c->out;
  size_t index, left = c->in_len;
  if (count > AMP_MESSAGE_FRAMES) leave(d, AMP_BAD_LENGTH);
  sealed->len = count * size;
  sealed->payload_len = ch[CH_FLAGS] & FLAG_NARROW ? size : sealed->len;
  if (sealed->len > c->out_max) leave(d, AMP_NO_SPACE);
  settle(d);
  for (index = 0; index < count; ++index) {
    const size_t len = left < most ? left : most;
    uint32_t status;
    if (len > 0) memcpy(frame_of(d) + AT_CHUNK, in, len);
    for (;;) {
      status = amp_core_protect(&d->core, d->topic_slot, (uint32_t)c->flag, (uint32_t)index, (uint32_t)count,
                                (uint32_t)len, d->topic_len);
      if (status != STORE_MARK) break;
      /* The chunk is still there. */
      store_mark(d);
    }
    if (status == AMP_NO_GRANT) want(d);
    must(d, status);
    memcpy(out, frame_of(d), size);
    in += len;
    left -= len;
    out += size;
  }
  if (d->wanted == d->topic_slot) {
    d->wanted = NO_SLOT;
    d->is_wanting = 0;
  }
}

/** Tells of the frame at hand. */
static void describe(device *d, amp_received *received)
{
  const uint8_t *const out = out_of(d);
  received->kind = AMP_TEXT;
  received->generation = read32(out + OUT_GENERATION);
  received->step = read16(out + OUT_STEP);
  received->counter = read16(out + OUT_COUNTER);
  received->sender = read16(out + OUT_SENDER);
  received->part = out[OUT_PART] & 63;
  received->is_last = out[OUT_PART] >> 7;
}

static void open_payload(device *d, const call *c)
{
  amp_received *const received = (amp_received *)c->result;
  /* A shape: form, size, count or step, flags. That of the kept previous generation if the hint names it (SPEC R-1). */
  const uint8_t *const ch = find_channel(d, c->topic);
  const unsigned behind = c->in_len > 1 ? (ch[CH_GENERATION] - (c->in[1] >> 4)) & 15u : 0;
  const uint8_t *const shape = ch + (behind == 1 && ch[CH_PREV_COUNT] ? CH_PREV_SIZE - 1 : CH_FORM);
  const size_t size = (size_t)shape[1] << 3;
  const size_t most = chunk_max(shape, size);
  const int is_narrow = shape[3] & FLAG_NARROW;
  const uint8_t *in = c->in;
  uint8_t *out = c->out;
  uint32_t flags = FIRST | (c->flag ? STORED : 0u), status;
  size_t count = c->in_len / size;
  if (c->in_len % size != 0 || count < 1 || count > (is_narrow ? 1 : AMP_MESSAGE_FRAMES)) leave(d, AMP_BAD_LENGTH);
  received->len = count * most;
  if (received->len > c->out_max) leave(d, AMP_NO_SPACE);
  settle(d);
  do {
    size_t len;
    if (--count == 0) flags |= FINAL;
    memcpy(frame_of(d), in, size);
    status = amp_core_unprotect(&d->core, d->topic_slot, (uint32_t)size, d->topic_len, flags);
    if (status > STORE_MARK) leave(d, status);
    len = read32(out_of(d) + OUT_LEN);
    /* Of what it refused the core says -1: no skipped instruction takes a refusal for a text. */
    if (len > most) leave(d, AMP_BAD_TAG);
    memcpy(out, frame_of(d) + AT_CHUNK, len);
    wipe(frame_of(d), size);
    flags &= ~(uint32_t)FIRST;
    in += size;
    out += len;
  } while (count > 0);
  received->len = (size_t)(out - c->out);
  describe(d, received);
  /* A payload that is a whole message is its only part. */
  if (!is_narrow) received->part = 0;
  if (status == STORE_MARK) store_mark(d);
}

/* ---- Control ---- */

/** A number that changes when channels come, go or are renewed. */
static uint32_t fingerprint(device *d)
{
  uint32_t sum = 2166136261u;
  unsigned slot, i;
  for (slot = 0; slot < AMP_CHANNELS; ++slot) {
    const uint8_t *ch = channel_of(d, slot);
    /* Id and generation. */
    for (i = 0; i < CH_STEP; ++i) sum = (sum ^ (ch ? ch[i] : 0)) * 16777619u;
  }
  return sum;
}

/** Keys, steps or channels moved: what is refused from now on is another matter. */
static void moved(device *d)
{
  d->topic_len = 0;
  d->wait = 0;
  d->pause = 0;
}

static void take_control(device *d, const call *c)
{
  const uint32_t before = fingerprint(d);
  uint32_t status;
  if (c->in_len % CONTROL_FRAME != 0 || c->in_len > AMP_CONTROL_MAX) leave(d, AMP_BAD_LENGTH);
  settle(d);
  set_topic(d, c->topic);
  memcpy(frame_of(d), c->in, c->in_len);
  status = amp_core_control(&d->core, (uint32_t)c->in_len, d->topic_len);
  if (status > STORE_BLOB) leave(d, status);
  d->is_unanswered = 0;
  d->ack_due = 1;
  d->is_wanting = 0;
  if (before != fingerprint(d)) {
    d->is_changed = 1;
    d->wanted = NO_SLOT;
  }
  if (d->is_changed || status == STORE_BLOB) moved(d);
  /* If it fails the next call tries again, and the ack waits. */
  if (status == STORE_BLOB) store_blob(d);
}

/** Returns whether it was new. */
static int take_beacon(device *d, const call *c, const uint8_t *id)
{
  const unsigned slot = slot_of(d, id);
  uint32_t status;
  if (slot == NO_SLOT) return 0;
  if (c->in_len != BEACON_SIZE) leave(d, AMP_BAD_BEACON);
  settle(d);
  memcpy(frame_of(d), c->in, BEACON_SIZE);
  status = amp_core_beacon(&d->core, slot, BEACON_SIZE);
  /* Every subscription brings the retained one again. */
  if (status == AMP_OLD_BEACON) return 0;
  if (status != STORE_BLOB) must(d, status);
  moved(d);
  if (status == STORE_BLOB) store_blob(d);
  return 1;
}

/** A change is told once it is stored: when that failed, with what is received next. */
static void receive(device *d, const call *c)
{
  amp_received *const received = (amp_received *)c->result;
  amp_kind kind = AMP_IGNORED;
  uint8_t id[AMP_ID_SIZE];
  if (topic_length(c->topic) == 0) leave(d, AMP_BAD_ARGUMENT);
  if (c->in_len > 0) {
    switch (sort_topic(d, c->topic, id)) {
      case DOWN:
        take_control(d, c);
        kind = AMP_CONTROL;
        break;
      case EPOCH:
        if (take_beacon(d, c, id)) kind = AMP_CONTROL;
        break;
      case OF_OTHERS:
        break;
      default:
        open_payload(d, c);
        kind = AMP_TEXT;
    }
  }
  received->kind = kind;
  received->changed = d->is_changed;
  d->is_changed = 0;
}

/* ---- What is said to the key server ---- */

/** Gives a hello or an ack, and the topic for it. Returns the status of the core. */
static uint32_t say(device *d, const call *c, uint32_t kind)
{
  const size_t len = control_topic(d, state_of(d) + STATE_DEVICE, "/up");
  const uint8_t *const ch = kind == HELLO && d->is_wanting ? channel_of(d, d->wanted) : NULL;
  uint32_t status;
  give_topic(d, len, c);
  memset(frame_of(d) + AT_WANT, 0, AMP_ID_SIZE);
  if (ch != NULL) memcpy(frame_of(d) + AT_WANT, ch, AMP_ID_SIZE);
  status = amp_core_answer(&d->core, kind, (uint32_t)len);
  memcpy(c->result, frame_of(d), AMP_REPLY_SIZE);
  return status;
}

static void outgoing(device *d, const call *c)
{
  const int refusals = d->wait == 0 && asks(d);
  settle(d);
  if (d->ack_due) {
    const uint32_t status = say(d, c, ACK);
    d->ack_due = 0;
    if (status == AMP_OK) return;
  }
  if (!d->hello_due && !refusals && !(d->is_wanting && d->want_due)) leave(d, AMP_NONE);
  must(d, say(d, c, HELLO));
  d->hello_due = d->want_due = 0;
  if (refusals) {
    d->wait = (uint8_t)(1u << d->pause);
    if (d->pause < PAUSE_MAX) ++d->pause;
  }
}

static int is_power_of_two(unsigned n) { return (n & (n - 1)) == 0; }

static void tick(device *d, const call *c)
{
  (void)c;
  amp_core_tick(&d->core);
  if (d->wait > 0) --d->wait;
  else if (!asks(d) && d->pause > 0) --d->pause;
  ++d->want_ticks;
  if (is_power_of_two(d->want_ticks)) d->want_due = 1;
  /* A hello that came before the server subscribed is lost (SPEC C-18). */
  if (d->is_unanswered && is_power_of_two(++d->unanswered)) d->hello_due = 1;
}

/* ---- Questions ---- */

static void subscription(device *d, const call *c)
{
  const uint8_t *of = state_of(d) + STATE_DEVICE;
  if (c->flag > 0) {
    of = channel_of(d, (unsigned)c->flag - 1);
    if (of == NULL) leave(d, AMP_NONE);
  }
  give_topic(d, control_topic(d, of, c->flag > 0 ? NULL : "/down"), c);
}

static void tell_channel(device *d, const call *c)
{
  amp_channel *const told = (amp_channel *)c->result;
  const uint8_t *const ch = find_channel(d, c->topic);
  memcpy(told->id, ch, AMP_ID_SIZE);
  told->generation = read32(ch + CH_GENERATION);
  told->step = read16(ch + CH_STEP);
  told->from = read16(ch + CH_FROM);
  told->to = read16(ch + CH_TO);
  told->frame_size = (uint16_t)(ch[CH_SIZE] << 3);
  told->text_max = (uint16_t)chunk_max(ch + CH_FORM, told->frame_size);
  told->sender = read16(ch + CH_SENDER);
  told->is_narrow = (ch[CH_FLAGS] & FLAG_NARROW) != 0;
}

/* ---- The public functions ---- */

static void open_device(device *d, const call *c)
{
  const amp_identity *const identity = (const amp_identity *)(const void *)c->in;
  must(d, amp_core_open(&d->core, &d->port));
  init(d, identity);
#if !defined(AMP_VOLATILE)
  if (d->port.kind == AMP_STORAGE) load(d, identity);
#endif
}

/** Whether everything is there that the class of device needs. */
static int is_complete(const amp_identity *identity, const amp_port *port)
{
  const int stores = port->slot_read && port->slot_erase && port->slot_write && port->slot_done &&
                     port->mark_append && port->mark_read && port->marks_clear;
  const size_t prefix_len = strlen(identity->prefix);
  /* `<prefix>/epoch/<16 digits>` must be a topic. */
  if (prefix_len == 0 || prefix_len > AMP_TOPIC_MAX - 23) return 0;
#if defined(AMP_VOLATILE)
  if (port->kind == AMP_STORAGE) return 0;
#endif
  if (port->kind == AMP_STORAGE) {
    return stores && (identity->key_size == AMP_KEY_SIZE || identity->key_size == AMP_STORAGE_KEY_SIZE);
  }
  if (identity->key_size != AMP_KEY_SIZE) return 0;
  return port->kind == AMP_NEITHER || (port->kind == AMP_BOOT_NONCE && port->boot_nonce);
}

amp_status amp_open(amp_context *context, const amp_identity *identity, const amp_port *port)
{
  device *const d = (device *)context;
  const call c = {NULL, (const uint8_t *)(const void *)identity, 0, NULL, 0, NULL, 0, 0};
  amp_status status;
  unsigned i;
  wipe(d, sizeof *d);
  if (!is_complete(identity, port)) return AMP_BAD_ARGUMENT;
  d->port = *port;
  d->prefix = identity->prefix;
  d->wanted = NO_SLOT;
  d->is_key_kept = identity->key_size == AMP_STORAGE_KEY_SIZE;
  for (i = 0; i < AMP_CHANNELS; ++i) d->patterns[i].hash = UNKNOWN_PATTERN;
  d->life = OPEN;
  status = enter(context, open_device, &c);
  if (status != AMP_OK) amp_close(context);
  return status;
}

void amp_close(amp_context *context)
{
  device *const d = (device *)context;
  if (d->life == OPEN) forget(d);
}

amp_status amp_tick(amp_context *context)
{
  const call c = {NULL, NULL, 0, NULL, 0, NULL, 0, 0};
  return enter(context, tick, &c);
}

static amp_status protect_as(amp_context *context, const char *topic, const uint8_t *text, size_t text_len,
                             uint8_t *payload, size_t payload_max, amp_sealed *sealed, int what)
{
  const call c = {topic, text, text_len, payload, payload_max, sealed, sizeof *sealed, what};
  return enter(context, seal, &c);
}

amp_status amp_protect(amp_context *context, const char *topic, const uint8_t *text, size_t text_len,
                       uint8_t *payload, size_t payload_max, amp_sealed *sealed)
{
  return protect_as(context, topic, text, text_len, payload, payload_max, sealed, 0);
}

amp_status amp_protect_will(amp_context *context, const char *topic, const uint8_t *text, size_t text_len,
                            uint8_t *payload, size_t payload_max, amp_sealed *sealed)
{
  return protect_as(context, topic, text, text_len, payload, payload_max, sealed, 1);
}

amp_status amp_receive(amp_context *context, const char *topic, const uint8_t *payload, size_t payload_len,
                       int retained, uint8_t *text, size_t text_max, amp_received *received)
{
  const call c = {topic, payload, payload_len, text, text_max, received, sizeof *received, retained};
  return enter(context, receive, &c);
}

amp_status amp_unprotect(amp_context *context, const char *topic, const uint8_t *payload, size_t payload_len,
                         int retained, uint8_t *text, size_t text_max, amp_received *received)
{
  const call c = {topic, payload, payload_len, text, text_max, received, sizeof *received, retained};
  return enter(context, open_payload, &c);
}

void amp_hello(amp_context *context)
{
  device *const d = (device *)context;
  if (d->life != OPEN) return;
  d->hello_due = 1;
  d->is_unanswered = 1;
  d->unanswered = 0;
}

amp_status amp_outgoing(amp_context *context, char *topic, size_t topic_max, uint8_t payload[AMP_REPLY_SIZE])
{
  const call c = {NULL, NULL, 0, (uint8_t *)topic, topic_max, payload, AMP_REPLY_SIZE, 0};
  return enter(context, outgoing, &c);
}

amp_status amp_subscription(amp_context *context, unsigned index, char *topic, size_t topic_max)
{
  const call c = {NULL, NULL, 0, (uint8_t *)topic, topic_max, NULL, 0, (int)index};
  return enter(context, subscription, &c);
}

amp_status amp_channel_of(amp_context *context, const char *topic, amp_channel *channel)
{
  const call c = {topic, NULL, 0, NULL, 0, channel, sizeof *channel, 0};
  return enter(context, tell_channel, &c);
}
