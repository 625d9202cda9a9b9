#include "amp_zephyr.h"

#include <string.h>
#include <zephyr/logging/log.h>
#include <zephyr/settings/settings.h>

LOG_MODULE_REGISTER(ampoule);

/** A blob is asked for when so many marks are left free: those of messages under way still fit. */
#define MARKS_LEFT 8
/** Names there are for marks: a build with a lower limit reads all that an earlier one has stored. */
#define MARK_NAMES 256
#define PIECES ((AMP_BLOB_MAX + AMP_ZEPHYR_PIECE - 1) / AMP_ZEPHYR_PIECE)
#define NAME_MAX 24

typedef char amp_pieces_have_one_digit[PIECES <= 10 ? 1 : -1];

/** "ampoule/" and what follows. */
static const char *name_of(char name[NAME_MAX], const char *rest)
{
  strcpy(name, "ampoule/");
  strncat(name, rest, NAME_MAX - sizeof "ampoule/");
  return name;
}

static const char *piece_name(char name[NAME_MAX], unsigned slot, unsigned piece)
{
  (void)name_of(name, "s0/0");
  name[9] = (char)('0' + slot);
  name[11] = (char)('0' + piece);
  return name;
}

static const char *mark_name(char name[NAME_MAX], size_t index)
{
  static const char digits[] = "0123456789abcdef";
  (void)name_of(name, "m/00");
  name[10] = digits[index >> 4 & 15];
  name[11] = digits[index & 15];
  return name;
}

/** A value being read: found is its size, -1 after a failure. */
typedef struct value {
  uint8_t *bytes;
  size_t max;
  ssize_t found;
} value;

static int take_value(const char *key, size_t len, settings_read_cb read, void *arg, void *param)
{
  value *v = param;
  if (key != NULL) return 0; /* of a name that goes on */
  v->found = len <= v->max ? read(arg, v->bytes, len) : -1;
  return 0;
}

/** Returns the size of a value, 0 if there is none, -1 if it cannot be read or does not fit. */
static ssize_t get(const char *name, uint8_t *bytes, size_t max)
{
  value v = {bytes, max, 0};
  if (settings_load_subtree_direct(name, take_value, &v) != 0) return -1;
  return v.found;
}

static int failed(const char *name, int error)
{
  LOG_ERR("%s: error %d", name, error);
  return -1;
}

static int set(const char *name, const void *bytes, size_t size)
{
  const int error = settings_save_one(name, bytes, size);
  return error == 0 ? 0 : failed(name, error);
}

static int erase(const char *name)
{
  const int error = settings_delete(name);
  return error == 0 ? 0 : failed(name, error);
}

/** Piece 0 goes first and comes last: without it a slot is as never written. */
static int erase_slot(unsigned slot)
{
  char name[NAME_MAX];
  unsigned piece;
  for (piece = 0; piece < PIECES; ++piece) {
    if (erase(piece_name(name, slot, piece)) != 0) return -1;
  }
  return 0;
}

/** The bytes of a slot in zephyr->slot, 0xFF behind them. */
static int hold(amp_zephyr *zephyr, unsigned slot)
{
  char name[NAME_MAX];
  unsigned piece;
  if (zephyr->held == (int)slot) return 0;
  zephyr->held = zephyr->filling = -1;
  memset(zephyr->slot, 0xFF, sizeof zephyr->slot);
  for (piece = 0; piece < PIECES; ++piece) {
    const size_t at = (size_t)piece * AMP_ZEPHYR_PIECE;
    const size_t left = sizeof zephyr->slot - at;
    const size_t max = left < AMP_ZEPHYR_PIECE ? left : AMP_ZEPHYR_PIECE;
    const ssize_t found = get(piece_name(name, slot, piece), &zephyr->slot[at], max);
    if (found < 0) return failed(name, -1);
    if (piece == 0 && found == 0) break;
  }
  zephyr->held = (int)slot;
  return 0;
}

static int slot_read(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
{
  amp_zephyr *zephyr = user;
  if (hold(zephyr, slot) != 0) return -1;
  memcpy(bytes, &zephyr->slot[at], size);
  return 0;
}

static int slot_erase(void *user, unsigned slot)
{
  amp_zephyr *zephyr = user;
  zephyr->held = -1;
  zephyr->filling = (int)slot;
  zephyr->filled = 0;
  return erase_slot(slot);
}

static int slot_write(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
{
  amp_zephyr *zephyr = user;
  if (zephyr->filling != (int)slot || at != zephyr->filled || size > sizeof zephyr->slot - at) return -1;
  memcpy(&zephyr->slot[at], bytes, size);
  zephyr->filled += size;
  return 0;
}

static int slot_done(void *user, unsigned slot)
{
  amp_zephyr *zephyr = user;
  char name[NAME_MAX];
  size_t piece;
  if (zephyr->filling != (int)slot) return -1;
  zephyr->filling = -1;
  for (piece = (zephyr->filled + AMP_ZEPHYR_PIECE - 1) / AMP_ZEPHYR_PIECE; piece-- > 0;) {
    const size_t at = piece * AMP_ZEPHYR_PIECE;
    const size_t left = zephyr->filled - at;
    const size_t size = left < AMP_ZEPHYR_PIECE ? left : AMP_ZEPHYR_PIECE;
    if (set(piece_name(name, slot, (unsigned)piece), &zephyr->slot[at], size) != 0) return -1;
  }
  return 0;
}

static int mark_append(void *user, const uint8_t mark[AMP_MARK_SIZE])
{
  amp_zephyr *zephyr = user;
  char name[NAME_MAX];
  if (zephyr->marks >= CONFIG_AMPOULE_MARKS) return -1;
  if (set(mark_name(name, zephyr->marks), mark, AMP_MARK_SIZE) != 0) return -1;
  ++zephyr->marks;
  return zephyr->marks + MARKS_LEFT >= CONFIG_AMPOULE_MARKS ? AMP_PORT_FULL : 0;
}

static int mark_read(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
{
  amp_zephyr *zephyr = user;
  char name[NAME_MAX];
  ssize_t found;
  if (index >= MARK_NAMES) return AMP_PORT_END;
  found = get(mark_name(name, index), mark, AMP_MARK_SIZE);
  if (found == 0) return AMP_PORT_END;
  if (found != AMP_MARK_SIZE) return failed(name, (int)found);
  if (zephyr->marks <= index) zephyr->marks = (unsigned)index + 1;
  return 0;
}

/** From the last one down: what a power cut leaves are the first ones. */
static int marks_clear(void *user)
{
  amp_zephyr *zephyr = user;
  char name[NAME_MAX];
  for (; zephyr->marks > 0; --zephyr->marks) {
    if (erase(mark_name(name, zephyr->marks - 1)) != 0) return -1;
  }
  return 0;
}

static int keep_key(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  char name[NAME_MAX];
  (void)user;
  if (set(name_of(name, "storage_key"), storage_key, AMP_STORAGE_KEY_SIZE) != 0) return -1;
  return erase(name_of(name, "key"));
}

amp_status amp_zephyr_provision(const amp_identity *identity)
{
  char name[NAME_MAX];
  const size_t prefix_len = strlen(identity->prefix);
  uint8_t mark[AMP_MARK_SIZE];
  size_t index;
  int bad;
  if (identity->key_size != AMP_KEY_SIZE || prefix_len == 0 || prefix_len > AMP_TOPIC_MAX) return AMP_BAD_ARGUMENT;
  /* The keys go first and come last: half of one identity is none. */
  bad = erase(name_of(name, "storage_key")) || erase(name_of(name, "key")) || erase_slot(0) || erase_slot(1);
  for (index = 0; !bad && index < MARK_NAMES && get(mark_name(name, index), mark, sizeof mark) != 0; ++index) {
    bad = erase(name);
  }
  bad = bad || set(name_of(name, "realm"), identity->realm, AMP_ID_SIZE) ||
        set(name_of(name, "device"), identity->device, AMP_ID_SIZE) ||
        set(name_of(name, "prefix"), identity->prefix, prefix_len) ||
        set(name_of(name, "key"), identity->key, AMP_KEY_SIZE);
  return bad ? AMP_NOT_STORED : AMP_OK;
}

/** The storage key where there is one: then a K(0) beside it was about to go. Returns its size, or what get() does. */
static ssize_t get_key(uint8_t key[AMP_STORAGE_KEY_SIZE])
{
  char name[NAME_MAX];
  const ssize_t size = get(name_of(name, "storage_key"), key, AMP_STORAGE_KEY_SIZE);
  if (size == 0) return get(name_of(name, "key"), key, AMP_KEY_SIZE);
  /* Room for nothing: -1 if it is there. */
  if (size > 0 && get(name_of(name, "key"), key, 0) != 0) (void)erase(name);
  return size;
}

/** A part of the identity of min to max bytes. */
static amp_status get_part(const char *part, uint8_t *bytes, ssize_t min, size_t max)
{
  char name[NAME_MAX];
  const ssize_t size = get(name_of(name, part), bytes, max);
  if (size < 0) return AMP_NOT_STORED;
  return size < min ? AMP_BAD_RECORD : AMP_OK;
}

/** Fills in the identity. Only where no key is at all there is none: what cannot be read now may be there. */
static amp_status get_identity(amp_zephyr *zephyr, uint8_t realm[AMP_ID_SIZE], uint8_t device[AMP_ID_SIZE],
                               uint8_t key[AMP_STORAGE_KEY_SIZE], size_t *key_size)
{
  const ssize_t size = get_key(key);
  amp_status status;
  if (size < 0) return AMP_NOT_STORED;
  if (size == 0) return AMP_NO_IDENTITY;
  *key_size = (size_t)size;
  status = get_part("realm", realm, AMP_ID_SIZE, AMP_ID_SIZE);
  if (status == AMP_OK) status = get_part("device", device, AMP_ID_SIZE, AMP_ID_SIZE);
  if (status == AMP_OK) status = get_part("prefix", (uint8_t *)zephyr->prefix, 1, AMP_TOPIC_MAX);
  return status;
}

amp_status amp_zephyr_open(amp_zephyr *zephyr, const amp_port *engine)
{
  uint8_t realm[AMP_ID_SIZE], device[AMP_ID_SIZE], key[AMP_STORAGE_KEY_SIZE];
  amp_identity identity = {realm, device, key, 0, zephyr->prefix};
  amp_port port;
  amp_status status;
  memset(zephyr, 0, sizeof *zephyr);
  zephyr->held = zephyr->filling = -1;
  status = get_identity(zephyr, realm, device, key, &identity.key_size);
  memset(&port, 0, sizeof port);
  if (engine != NULL) port = *engine;
  port.user = zephyr;
  port.kind = AMP_STORAGE;
  port.slot_read = slot_read;
  port.slot_erase = slot_erase;
  port.slot_write = slot_write;
  port.slot_done = slot_done;
  port.mark_append = mark_append;
  port.mark_read = mark_read;
  port.marks_clear = marks_clear;
  port.keep_key = keep_key;
  if (status == AMP_OK) status = amp_open(&zephyr->device, &identity, &port);
  else LOG_ERR("no identity: %s", amp_status_name(status));
  memset(key, 0, sizeof key);
  __asm__ __volatile__("" : : "r"(key) : "memory");
  return status;
}
