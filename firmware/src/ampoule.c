/*
 * What firmware does around the core: topics, payloads of several frames, storing, and when to say hello.
 * ampoule.h has the contracts; assembly/index.ts those of the core.
 */
#include "ampoule.h"

#include <string.h>

#include "amp_core.h"

/*
 * A trap leaves the core, whatever it was in, for the function of ampoule.h that entered it. GCC's own pair needs five
 * words and no library.
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

enum {
  CLOSED = 0,
  OPEN = 0x414d,
  TRAPPED = 0x5054,

  NO_SLOT = 0xff,
  /* The topic at TOPIC has no channel. */
  NO_MATCH = 0xfe,
  /* Filters of more levels have no `+`: a stranger's topic makes the device hash 2^levels of them. */
  LEVELS_MAX = 7,
  /* Depth of a pattern that does not end in `#`. */
  NO_HASH = 0xff,
  UNKNOWN_PATTERN = 0xfe,

  /* Marks found at boot from which a blob is stored before the next message. */
  MARKS_AT_BOOT = 16,

  /* Longest pause between two hellos that refusals ask for, in ticks. */
  PAUSE_MAX = 64
};

/** How a filter comes from a topic: bit i of plus makes level i a `+`; after `hash` levels comes `#`. */
typedef struct pattern {
  uint16_t plus;
  uint8_t hash;
} pattern;

/* What is used most has the lowest addresses, which take the fewest bytes of code; the core is last. */
typedef struct device {
  const char *prefix;
  amp_jump *jump;
  uint16_t life;

  /** The slot that may be torn: the other one is the only good one. */
  uint8_t suspect;
  /** A blob must be stored before anything else; or should be before the next message. */
  uint8_t blob_due;
  uint8_t blob_wanted;
  uint8_t is_key_kept;
  /** Channels came or went, and no amp_receive() has told it. */
  uint8_t is_changed;

  /** Bytes at TOPIC and the slot they belong to, or NO_MATCH; NO_SLOT: whatever is there. */
  uint16_t topic_len;
  uint8_t topic_slot;
  pattern patterns[AMP_CHANNELS];

  /* Hellos. */
  uint8_t ack_due;
  uint8_t hello_due;
  /** The server was heard since amp_hello(); ticks since while it was not. */
  uint8_t is_answered;
  uint16_t unanswered;
  /** Ticks until refusals are heard again, and for how many they are not after the next hello. */
  uint8_t wait;
  uint8_t pause;
  /** A channel whose counters are wanted: sealing was refused, and the server not heard since; ticks since. */
  uint8_t is_wanting;
  uint8_t want_due;
  uint16_t want_ticks;
  uint8_t want[AMP_ID_SIZE];

  amp_port port;
  amp_core core;
} device;

typedef char amp_context_size_is_enough[sizeof(device) <= sizeof(amp_context) ? 1 : -1];

/** Arguments of an entry. */
typedef struct call {
  const char *topic;
  const uint8_t *in;
  size_t in_len;
  uint8_t *out;
  size_t out_max;
  void *result;
  int flag;
} call;

typedef amp_status operation(device *d, const call *c);

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

static uint16_t read16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static uint32_t read32(const uint8_t *at) { return read16(at) | (uint32_t)read16(at + 2) << 16; }

static void wipe(void *at, size_t size)
{
  memset(at, 0, size);
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

__attribute__((noreturn, noinline)) void amp_trap(void *instance);

void amp_trap(void *instance)
{
  device *d = (device *)(void *)((uint8_t *)instance - offsetof(device, core));
  GO_JUMP(*d->jump);
}

/** Runs an operation; a trap in it becomes a status. What was written to `out` goes after a refusal. */
static __attribute__((noinline)) amp_status run(device *d, operation *work, const call *c)
{
  amp_jump jump;
  amp_status status;
  d->jump = &jump;
  if (SET_JUMP(jump)) {
    forget(d);
    d->life = TRAPPED;
    status = AMP_TRAPPED;
  } else {
    status = work(d, c);
  }
  if (status != AMP_OK && c->out_max > 0) wipe(c->out, c->out_max);
  return status;
}

static amp_status enter(amp_context *context, operation *work, const call *c)
{
  device *d = (device *)context;
  if (d->life == OPEN) return run(d, work, c);
  if (c->out_max > 0) wipe(c->out, c->out_max);
  return d->life == TRAPPED ? AMP_TRAPPED : AMP_NO_IDENTITY;
}

/* ---- Storing ---- */

/** Writes a slot. After a failure the core is told all the same that the blob has ended: it can begin another. */
static int write_slot(device *d, unsigned slot)
{
  const amp_port *port = &d->port;
  int failed = port->slot_erase(port->user, slot);
  size_t size = AMP_BLOB_HEADER, at = 0;
  amp_core_saveBegin(&d->core);
  for (; size > 0; size = amp_core_saveNext(&d->core)) {
    if (!failed) failed = port->slot_write(port->user, slot, at, frame_of(d), size);
    at += size;
  }
  return failed ? failed : port->slot_done(port->user, slot);
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
 * If that fails the core stays PENDING, and the next call tries again.
 */
static amp_status store_blob(device *d)
{
  unsigned slot = d->suspect;
  int more = slot == 1 ? 3 : 2;
  for (; more > 0; --more, slot ^= 1) {
    d->suspect = (uint8_t)slot;
    if (write_slot(d, slot)) return AMP_NOT_STORED;
  }
  d->suspect = 0;
  d->blob_due = 0;
  /* Marks that stay are of older sequences and do no harm, but take room. */
  d->blob_wanted = d->port.marks_clear(d->port.user) != 0;
  amp_core_stored(&d->core);
  keep_key(d);
  return AMP_OK;
}

static amp_status settle(device *d)
{
  return d->blob_due || d->blob_wanted ? store_blob(d) : AMP_OK;
}

/** Stores the mark asked for. If that fails, nothing was accepted or sealed. */
static amp_status store_mark(device *d)
{
  const int result = d->port.mark_append(d->port.user, place_of(d, AT_RECORD));
  if (result != 0 && result != AMP_PORT_FULL) {
    amp_core_discard(&d->core);
    /* The log may be full since an earlier boot: a blob empties it. */
    d->blob_wanted = 1;
    return AMP_NOT_STORED;
  }
  amp_core_stored(&d->core);
  if (result == AMP_PORT_FULL) d->blob_wanted = 1;
  return AMP_OK;
}

/* ---- Loading (SPEC T-6 to T-8) ---- */

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

static int read_slot(device *d, unsigned slot, size_t at, size_t size)
{
  return d->port.slot_read(d->port.user, slot, at, frame_of(d), size);
}

/** What a slot holds. */
typedef struct slot_state {
  uint8_t is_blank;
  uint8_t is_good;
  uint32_t sequence;
} slot_state;

/** Whether the slot was never written: all of it is 0xFF. */
static int look_at_slot(device *d, unsigned slot, slot_state *state)
{
  size_t at, size, i;
  state->is_blank = 1;
  for (at = 0; at < AMP_BLOB_MAX; at += size) {
    size = AMP_BLOB_MAX - at < AMP_FRAME_MAX ? AMP_BLOB_MAX - at : AMP_FRAME_MAX;
    if (read_slot(d, slot, at, size)) return 1;
    if (at == 0) state->sequence = read32(frame_of(d) + 8);
    for (i = 0; i < size; ++i) {
      if (frame_of(d)[i] != 0xff) state->is_blank = 0;
    }
  }
  return 0;
}

/** Begins anew and loads a slot. Returns other than 0 if it cannot be read. */
static int load_slot(device *d, const amp_identity *identity, unsigned slot, slot_state *state)
{
  size_t at = AMP_BLOB_HEADER;
  uint32_t status = AMP_MORE;
  state->is_good = 0;
  if (state->is_blank) return 0;
  init(d, identity);
  if (read_slot(d, slot, 0, AMP_BLOB_HEADER)) return 1;
  amp_core_loadBegin(&d->core);
  for (; status == AMP_MORE && at + BLOB_CHUNK <= AMP_BLOB_MAX; at += BLOB_CHUNK) {
    if (read_slot(d, slot, at, BLOB_CHUNK)) return 1;
    status = amp_core_loadNext(&d->core);
  }
  state->is_good = status == AMP_OK;
  return 0;
}

/** Whether a mark was not written to its end: its last 8 bytes are as flash is erased (SPEC T-8). */
static int is_cut_off(const uint8_t *mark)
{
  unsigned i, all = 0xff;
  for (i = AMP_MARK_SIZE - 8; i < AMP_MARK_SIZE; ++i) all &= mark[i];
  return all == 0xff;
}

/** Takes all marks into account; tells whether one is broken. */
static amp_status load_marks(device *d, unsigned *broken)
{
  size_t index;
  for (index = 0;; ++index) {
    const int result = d->port.mark_read(d->port.user, index, frame_of(d));
    uint32_t status;
    if (result == AMP_PORT_END) {
      /* AMP_PORT_FULL is forgotten by a device that sleeps after each message. */
      d->blob_wanted = index >= MARKS_AT_BOOT;
      return AMP_OK;
    }
    if (result != 0) return AMP_NOT_STORED;
    if (is_cut_off(frame_of(d))) continue;
    status = amp_core_loadMark(&d->core);
    if (status == AMP_BAD_RECORD) *broken = 1;
    else if (status != AMP_OK) return (amp_status)status;
  }
}

static amp_status load(device *d, const amp_identity *identity)
{
  slot_state slots[2];
  unsigned newer, older, slot, torn = 0, broken = 0;
  uint32_t sequence = 0;
  amp_status status;
  if (look_at_slot(d, 0, &slots[0]) || look_at_slot(d, 1, &slots[1])) return AMP_NOT_STORED;
  newer = !slots[0].is_blank && (slots[1].is_blank || slots[0].sequence > slots[1].sequence) ? 0 : 1;
  older = newer ^ 1;
  if (load_slot(d, identity, older, &slots[older]) || load_slot(d, identity, newer, &slots[newer])) {
    return AMP_NOT_STORED;
  }
  for (slot = 0; slot < 2; ++slot) {
    if (slots[slot].is_blank || slots[slot].is_good) continue;
    torn = 1;
    sequence = slots[slot].sequence;
  }
  if (slots[older].is_good && !slots[newer].is_good && load_slot(d, identity, older, &slots[older])) {
    return AMP_NOT_STORED;
  }
  if (!slots[0].is_good && !slots[1].is_good) {
    const int is_new = slots[0].is_blank || slots[1].is_blank;
    if (identity->key_size == AMP_STORAGE_KEY_SIZE || !is_new) return AMP_BAD_RECORD;
    init(d, identity);
  }
  status = load_marks(d, &broken);
  if (status != AMP_OK) return status;
  /* Slot 1 is written last: if slot 0 is the newer one, a write was cut off between them. */
  d->suspect = slots[newer].is_good ? (uint8_t)older : (uint8_t)newer;
  d->blob_due = (uint8_t)(torn | broken | (unsigned)(newer == 0 && slots[0].is_good));
  amp_core_loadEnd(&d->core, torn, sequence, broken);
  if (d->blob_due) return store_blob(d);
  keep_key(d);
  return AMP_OK;
}

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
  d->topic_slot = NO_SLOT;
  at = put_text(at, end ? "/" : "/epoch/");
  at = put_id(at, id);
  if (end) at = put_text(at, end);
  return (size_t)(at - begin);
}

static size_t up_topic(device *d)
{
  return control_topic(d, state_of(d) + STATE_DEVICE, "/up");
}

/** Gives the caller what is at TOPIC. */
static amp_status give_topic(device *d, size_t len, char *topic, size_t max)
{
  if (len >= max) return AMP_NO_SPACE;
  memcpy(topic, topic_of(d), len);
  topic[len] = 0;
  return AMP_OK;
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
  for (level = 0; level < p.hash; ++level) {
    const int is_plus = level < LEVELS_MAX && (p.plus >> level & 1);
    if (level > 0) {
      if (*topic == 0) return p.hash == NO_HASH ? len : 0;
      ++topic;
      if (len == AMP_TOPIC_MAX) return 0;
      filter[len++] = '/';
    }
    if (is_plus) {
      if (len == AMP_TOPIC_MAX) return 0;
      filter[len++] = '+';
    }
    for (; *topic && *topic != '/'; ++topic) {
      if (is_plus) continue;
      if (len == AMP_TOPIC_MAX) return 0;
      filter[len++] = (uint8_t)*topic;
    }
  }
  if (p.hash == NO_HASH || len + 2 > AMP_TOPIC_MAX) return 0;
  if (level > 0) filter[len++] = '/';
  filter[len++] = '#';
  return len;
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
  for (slot = 0; slot < AMP_CHANNELS; ++slot) {
    const uint8_t *ch = channel_of(d, slot);
    if (ch != NULL && memcmp(ch, frame_of(d), AMP_ID_SIZE) == 0) {
      d->patterns[slot] = p;
      return slot;
    }
  }
  return NO_SLOT;
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
      p.plus = (uint16_t)i;
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

static void set_topic(device *d, const char *topic, size_t len)
{
  memcpy(topic_of(d), topic, len);
  d->topic_len = (uint16_t)len;
  d->topic_slot = NO_SLOT;
}

/** Finds the channel of a topic, and puts the topic at TOPIC. */
static amp_status find_channel(device *d, const char *topic, unsigned *slot)
{
  const size_t len = topic_length(topic);
  uint8_t id[AMP_ID_SIZE];
  if (len == 0) return AMP_BAD_ARGUMENT;
  if (d->topic_slot == NO_SLOT || len != d->topic_len || memcmp(topic_of(d), topic, len) != 0) {
    d->topic_slot = NO_SLOT;
    if (sort_topic(d, topic, id) != NOT_CONTROL) return AMP_NO_CHANNEL;
    *slot = search(d, topic);
    set_topic(d, topic, len);
    d->topic_slot = *slot == NO_SLOT ? NO_MATCH : (uint8_t)*slot;
  }
  *slot = d->topic_slot;
  return *slot == NO_MATCH ? AMP_NO_CHANNEL : AMP_OK;
}

/* ---- Messages ---- */

static size_t chunk_max(const uint8_t *shape, size_t size)
{
  return size - (shape[0] & FORM_SHORT_TAG ? 16 : 24);
}

/** Sealing was refused for want of counters: a hello asks for them, and again after growing pauses (SPEC P-4). */
static void want(device *d, const uint8_t *id)
{
  if (memcmp(d->want, id, AMP_ID_SIZE) != 0) {
    if (d->is_wanting) return;
    memcpy(d->want, id, AMP_ID_SIZE);
    d->want_ticks = 0;
    d->want_due = 1;
  }
  d->is_wanting = 1;
}

static amp_status seal(device *d, const call *c)
{
  amp_sealed *const sealed = (amp_sealed *)c->result;
  unsigned slot;
  size_t size, most, at = 0, count, index;
  uint8_t id[AMP_ID_SIZE];
  const uint8_t *ch;
  amp_status status = find_channel(d, c->topic, &slot);
  if (status != AMP_OK) return status;
  ch = channel_of(d, slot);
  memcpy(id, ch, AMP_ID_SIZE);
  size = (size_t)ch[CH_SIZE] << 3;
  most = chunk_max(ch + CH_FORM, size);
  count = c->in_len == 0 ? 1 : c->in_len / most + (c->in_len % most != 0);
  if (count > AMP_MESSAGE_FRAMES) return AMP_BAD_LENGTH;
  sealed->len = count * size;
  sealed->payload_len = ch[CH_FLAGS] & FLAG_NARROW ? size : sealed->len;
  if (sealed->len > c->out_max) return AMP_NO_SPACE;
  status = settle(d);
  for (index = 0; index < count && status == AMP_OK; ++index, at += most) {
    const size_t len = c->in_len - at < most ? c->in_len - at : most;
    if (len > 0) memcpy(frame_of(d) + AT_CHUNK, c->in + at, len);
    do {
      status = (amp_status)amp_core_protect(&d->core, slot, (uint32_t)c->flag, (uint32_t)index, (uint32_t)count,
                                            (uint32_t)len, d->topic_len);
      /* The mark is stored: the chunk is still there. */
    } while ((int)status == STORE_MARK && (status = store_mark(d)) == AMP_OK);
    if (status == AMP_OK) memcpy(c->out + index * size, frame_of(d), size);
  }
  if (status == AMP_NO_GRANT) want(d, id);
  else if (status == AMP_OK && memcmp(d->want, id, AMP_ID_SIZE) == 0) memset(d->want, 0, sizeof d->want), d->is_wanting = 0;
  if (status != AMP_OK) wipe(frame_of(d), AMP_FRAME_MAX);
  return status;
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

/** Frame size that the payload must have: of the kept previous generation if the hint names it (SPEC R-1). */
static size_t size_for(const uint8_t *ch, const call *c, size_t *most, int *is_narrow)
{
  const unsigned high = c->in_len > 1 ? c->in[1] >> 4 : 0;
  const unsigned generation = read32(ch + CH_GENERATION) & 15;
  const int is_previous = ch[CH_PREV_COUNT] && high != generation && high == ((generation - 1) & 15);
  const size_t size = (size_t)ch[is_previous ? CH_PREV_SIZE : CH_SIZE] << 3;
  *most = chunk_max(ch + (is_previous ? CH_PREV_SIZE - 1 : CH_FORM), size);
  *is_narrow = ch[is_previous ? CH_PREV_FLAGS : CH_FLAGS] & FLAG_NARROW;
  return size;
}

static amp_status open_payload(device *d, const call *c)
{
  amp_received *const received = (amp_received *)c->result;
  unsigned slot;
  size_t size, most, count, index, len = 0;
  int is_narrow;
  amp_status status = find_channel(d, c->topic, &slot);
  if (status != AMP_OK) return status;
  size = size_for(channel_of(d, slot), c, &most, &is_narrow);
  count = c->in_len / size;
  if (c->in_len % size != 0 || count < 1 || count > (is_narrow ? 1 : AMP_MESSAGE_FRAMES)) return AMP_BAD_LENGTH;
  if (count * most > c->out_max) {
    received->len = count * most;
    return AMP_NO_SPACE;
  }
  status = settle(d);
  if (status != AMP_OK) return status;
  for (index = 0; index < count; ++index) {
    const uint32_t flags = (index == 0 ? FIRST : 0u) | (index == count - 1 ? FINAL : 0u) | (c->flag ? STORED : 0u);
    size_t chunk;
    memcpy(frame_of(d), c->in + index * size, size);
    status = (amp_status)amp_core_unprotect(&d->core, slot, (uint32_t)size, d->topic_len, flags);
    if ((int)status > STORE_MARK) return status;
    chunk = read32(out_of(d) + OUT_LEN);
    memcpy(c->out + len, frame_of(d) + AT_CHUNK, chunk);
    len += chunk;
    wipe(frame_of(d), size);
    describe(d, received);
    if ((int)status == STORE_MARK) {
      status = store_mark(d);
      if (status != AMP_OK) return status;
    }
  }
  received->len = len;
  /* A payload that is a whole message is its only part. */
  if (!is_narrow) received->part = 0;
  return AMP_OK;
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
  d->topic_slot = NO_SLOT;
  d->wait = 0;
  d->pause = 1;
}

static amp_status take_control(device *d, const call *c)
{
  amp_received *const received = (amp_received *)c->result;
  const uint32_t before = fingerprint(d);
  amp_status status;
  if (c->in_len % CONTROL_FRAME != 0 || c->in_len > AMP_CONTROL_MAX) return AMP_BAD_LENGTH;
  status = settle(d);
  if (status != AMP_OK) return status;
  set_topic(d, c->topic, strlen(c->topic));
  memcpy(frame_of(d), c->in, c->in_len);
  status = (amp_status)amp_core_control(&d->core, (uint32_t)c->in_len, d->topic_len);
  if ((int)status > STORE_BLOB) return status;
  d->is_answered = 1;
  d->ack_due = 1;
  d->is_wanting = 0;
  received->kind = AMP_CONTROL;
  if (before != fingerprint(d)) d->is_changed = 1;
  if (d->is_changed || (int)status == STORE_BLOB) moved(d);
  if ((int)status != STORE_BLOB) return AMP_OK;
  d->blob_due = 1;
  /* If it fails the next call tries again, and the ack waits. */
  return store_blob(d);
}

static amp_status take_beacon(device *d, const call *c, const uint8_t *id)
{
  amp_received *const received = (amp_received *)c->result;
  unsigned slot;
  amp_status status;
  for (slot = 0; slot < AMP_CHANNELS; ++slot) {
    const uint8_t *ch = channel_of(d, slot);
    if (ch != NULL && memcmp(ch, id, AMP_ID_SIZE) == 0) break;
  }
  if (slot == AMP_CHANNELS) return AMP_OK;
  if (c->in_len != BEACON_SIZE) return AMP_BAD_BEACON;
  status = settle(d);
  if (status != AMP_OK) return status;
  memcpy(frame_of(d), c->in, BEACON_SIZE);
  status = (amp_status)amp_core_beacon(&d->core, slot, BEACON_SIZE);
  /* Every subscription brings the retained one again. */
  if (status == AMP_OLD_BEACON) return AMP_OK;
  if (status != AMP_OK && (int)status != STORE_BLOB) return status;
  received->kind = AMP_CONTROL;
  moved(d);
  if ((int)status != STORE_BLOB) return AMP_OK;
  d->blob_due = 1;
  return store_blob(d);
}

static amp_status take(device *d, const call *c)
{
  uint8_t id[AMP_ID_SIZE];
  if (topic_length(c->topic) == 0) return AMP_BAD_ARGUMENT;
  ((amp_received *)c->result)->kind = AMP_IGNORED;
  if (c->in_len == 0) return AMP_OK;
  switch (sort_topic(d, c->topic, id)) {
    case DOWN:
      return take_control(d, c);
    case EPOCH:
      return take_beacon(d, c, id);
    case OF_OTHERS:
      return AMP_OK;
    default:
      return open_payload(d, c);
  }
}

/** A change is told once it is stored: when that failed, with what is received next. */
static amp_status receive(device *d, const call *c)
{
  const amp_status status = take(d, c);
  if (status == AMP_OK) {
    ((amp_received *)c->result)->changed = d->is_changed;
    d->is_changed = 0;
  }
  return status;
}

/* ---- What is said to the key server ---- */

static amp_status say(device *d, const call *c, int is_hello)
{
  const size_t len = up_topic(d);
  uint32_t status;
  if (len >= c->out_max) return AMP_NO_SPACE;
  if (is_hello && d->is_wanting) memcpy(frame_of(d) + AT_WANT, d->want, AMP_ID_SIZE);
  else memset(frame_of(d) + AT_WANT, 0, AMP_ID_SIZE);
  status = amp_core_answer(&d->core, is_hello ? HELLO : ACK, (uint32_t)len);
  if (status != AMP_OK) return (amp_status)status;
  memcpy(c->result, frame_of(d), AMP_REPLY_SIZE);
  return give_topic(d, len, (char *)c->out, c->out_max);
}

static amp_status outgoing(device *d, const call *c)
{
  const int refusals = d->wait == 0 && asks(d);
  const int wants = d->is_wanting && d->want_due;
  amp_status status = settle(d);
  if (status != AMP_OK) return status;
  if (d->ack_due) {
    status = say(d, c, 0);
    if (status == AMP_NO_SPACE) return status;
    d->ack_due = 0;
    if (status == AMP_OK) return status;
  }
  if (!d->hello_due && !refusals && !wants) return AMP_NONE;
  status = say(d, c, 1);
  if (status != AMP_OK) return status;
  d->hello_due = d->want_due = 0;
  if (refusals) {
    d->wait = d->pause;
    d->pause = d->pause < PAUSE_MAX / 2 ? (uint8_t)(2 * d->pause) : PAUSE_MAX;
  }
  return AMP_OK;
}

static int is_power_of_two(unsigned n) { return (n & (n - 1)) == 0; }

static amp_status tick(device *d, const call *c)
{
  (void)c;
  amp_core_tick(&d->core);
  if (d->wait > 0) --d->wait;
  else if (!asks(d) && d->pause > 1) d->pause >>= 1;
  ++d->want_ticks;
  if (is_power_of_two(d->want_ticks)) d->want_due = 1;
  /* A hello that came before the server subscribed is lost (SPEC C-18). */
  if (!d->is_answered) {
    ++d->unanswered;
    if (is_power_of_two(d->unanswered)) d->hello_due = 1;
  }
  return AMP_OK;
}

/* ---- Questions ---- */

static amp_status subscription(device *d, const call *c)
{
  const uint8_t *ch;
  if (c->flag == 0) {
    return give_topic(d, control_topic(d, state_of(d) + STATE_DEVICE, "/down"), (char *)c->out, c->out_max);
  }
  ch = channel_of(d, (unsigned)c->flag - 1);
  if (ch == NULL) return AMP_NONE;
  return give_topic(d, control_topic(d, ch, NULL), (char *)c->out, c->out_max);
}

static amp_status tell_channel(device *d, const call *c)
{
  amp_channel *const told = (amp_channel *)c->result;
  const uint8_t *ch;
  unsigned slot;
  const amp_status status = find_channel(d, c->topic, &slot);
  if (status != AMP_OK) return status;
  ch = channel_of(d, slot);
  memcpy(told->id, ch, AMP_ID_SIZE);
  told->generation = read32(ch + CH_GENERATION);
  told->step = read16(ch + CH_STEP);
  told->from = read16(ch + CH_FROM);
  told->to = read16(ch + CH_TO);
  told->frame_size = (uint16_t)(ch[CH_SIZE] << 3);
  told->text_max = (uint16_t)chunk_max(ch + CH_FORM, told->frame_size);
  told->sender = read16(ch + CH_SENDER);
  told->is_narrow = (ch[CH_FLAGS] & FLAG_NARROW) != 0;
  return AMP_OK;
}

/* ---- The public functions ---- */

static amp_status open_device(device *d, const call *c)
{
  const amp_identity *const identity = (const amp_identity *)c->result;
  const amp_status status = amp_core_open(&d->core, &d->port);
  if (status != AMP_OK) return status;
  init(d, identity);
  return d->port.kind == AMP_STORAGE ? load(d, identity) : AMP_OK;
}

/** Whether everything is there that the class of device needs. */
static int is_complete(const amp_identity *identity, const amp_port *port)
{
  const int stores = port->slot_read && port->slot_erase && port->slot_write && port->slot_done &&
                     port->mark_append && port->mark_read && port->marks_clear;
  const size_t prefix_len = strlen(identity->prefix);
  /* `<prefix>/epoch/<16 digits>` must be a topic. */
  if (prefix_len == 0 || prefix_len > AMP_TOPIC_MAX - 23) return 0;
  if (port->kind == AMP_STORAGE) {
    return stores && (identity->key_size == AMP_KEY_SIZE || identity->key_size == AMP_STORAGE_KEY_SIZE);
  }
  if (identity->key_size != AMP_KEY_SIZE) return 0;
  return port->kind == AMP_NEITHER || (port->kind == AMP_BOOT_NONCE && port->boot_nonce);
}

amp_status amp_open(amp_context *context, const amp_identity *identity, const amp_port *port)
{
  device *const d = (device *)context;
  call c = {NULL, NULL, 0, NULL, 0, NULL, 0};
  amp_status status;
  unsigned i;
  wipe(d, sizeof *d);
  if (!is_complete(identity, port)) return AMP_BAD_ARGUMENT;
  d->port = *port;
  d->prefix = identity->prefix;
  d->topic_slot = NO_SLOT;
  d->pause = 1;
  d->is_answered = 1;
  d->is_key_kept = identity->key_size == AMP_STORAGE_KEY_SIZE;
  for (i = 0; i < AMP_CHANNELS; ++i) d->patterns[i].hash = UNKNOWN_PATTERN;
  c.result = (void *)(uintptr_t)identity;
  status = run(d, open_device, &c);
  if (status == AMP_OK) d->life = OPEN;
  else if (status != AMP_TRAPPED) forget(d);
  return status;
}

void amp_close(amp_context *context)
{
  device *const d = (device *)context;
  if (d->life == OPEN) forget(d);
}

amp_status amp_tick(amp_context *context)
{
  const call c = {NULL, NULL, 0, NULL, 0, NULL, 0};
  return enter(context, tick, &c);
}

static amp_status protect_as(amp_context *context, const char *topic, const uint8_t *text, size_t text_len,
                             uint8_t *payload, size_t payload_max, amp_sealed *sealed, int what)
{
  const call c = {topic, text, text_len, payload, payload_max, sealed, what};
  amp_status status;
  memset(sealed, 0, sizeof *sealed);
  status = enter(context, seal, &c);
  if (status != AMP_OK && status != AMP_NO_SPACE) memset(sealed, 0, sizeof *sealed);
  return status;
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

static amp_status receive_as(amp_context *context, const char *topic, const uint8_t *payload, size_t payload_len,
                             int retained, uint8_t *text, size_t text_max, amp_received *received, operation *work)
{
  const call c = {topic, payload, payload_len, text, text_max, received, retained};
  amp_status status;
  memset(received, 0, sizeof *received);
  status = enter(context, work, &c);
  if (status != AMP_OK && status != AMP_NO_SPACE) memset(received, 0, sizeof *received);
  return status;
}

amp_status amp_receive(amp_context *context, const char *topic, const uint8_t *payload, size_t payload_len,
                       int retained, uint8_t *text, size_t text_max, amp_received *received)
{
  return receive_as(context, topic, payload, payload_len, retained, text, text_max, received, receive);
}

amp_status amp_unprotect(amp_context *context, const char *topic, const uint8_t *payload, size_t payload_len,
                         int retained, uint8_t *text, size_t text_max, amp_received *received)
{
  return receive_as(context, topic, payload, payload_len, retained, text, text_max, received, open_payload);
}

void amp_hello(amp_context *context)
{
  device *const d = (device *)context;
  if (d->life != OPEN) return;
  d->hello_due = 1;
  d->is_answered = 0;
  d->unanswered = 0;
}

amp_status amp_outgoing(amp_context *context, char *topic, size_t topic_max, uint8_t payload[AMP_REPLY_SIZE])
{
  const call c = {NULL, NULL, 0, (uint8_t *)topic, topic_max, payload, 0};
  const amp_status status = enter(context, outgoing, &c);
  if (status != AMP_OK) memset(payload, 0, AMP_REPLY_SIZE);
  return status;
}

amp_status amp_subscription(amp_context *context, unsigned index, char *topic, size_t topic_max)
{
  const call c = {NULL, NULL, 0, (uint8_t *)topic, topic_max, NULL, (int)index};
  return enter(context, subscription, &c);
}

amp_status amp_channel_of(amp_context *context, const char *topic, amp_channel *channel)
{
  const call c = {topic, NULL, 0, NULL, 0, channel, 0};
  memset(channel, 0, sizeof *channel);
  return enter(context, tell_channel, &c);
}
