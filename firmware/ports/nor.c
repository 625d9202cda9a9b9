/* See nor.h. A head is a number and its complement: whatever part of it a power cut has programmed, it shows. */
#include "nor.h"

#include <string.h>

#define UNIT AMP_NOR_UNIT
#define RECORD ((uint32_t)AMP_MARK_SIZE + UNIT)

enum { SECTOR_IDENTITY = 0, SECTOR_SLOTS = 1, SECTOR_MARKS = 3 };

/* Offsets in the sector of the identity. */
enum {
  AT_REALM = 8,
  AT_DEVICE = 16,
  AT_KEY = 24,
  AT_PREFIX_LEN = 40,
  AT_PREFIX = 48,
  AT_STORAGE_KEYS = 112
};

/* A storage key and the unit that says it is whole. One that was cut off is left behind for the next try. */
enum { STORAGE_RECORD = AMP_STORAGE_KEY_SIZE + 8, STORAGE_TRIES = 16 };

static const uint8_t ZEROS[UNIT] = {0, 0, 0, 0, 0, 0, 0, 0};

static uint32_t address(const amp_nor *nor, uint32_t sector, uint32_t at)
{
  return nor->flash->base + sector * nor->flash->sector_size + at;
}

static int read(const amp_nor *nor, uint32_t sector, uint32_t at, uint8_t *out, uint32_t len)
{
  return nor->flash->read(nor->flash->context, address(nor, sector, at), out, len) == 0 ? AMP_NOR_OK : AMP_NOR_FAILED;
}

static int erase(const amp_nor *nor, uint32_t sector)
{
  return nor->flash->erase(nor->flash->context, address(nor, sector, 0)) == 0 ? AMP_NOR_OK : AMP_NOR_FAILED;
}

/** Programs and reads back: a worn cell must not pass for a stored one. */
static int program(const amp_nor *nor, uint32_t sector, uint32_t at, const uint8_t *bytes, uint32_t len)
{
  uint32_t i;
  uint8_t held[UNIT];
  for (i = 0; i < len; i += UNIT) {
    if (nor->flash->program(nor->flash->context, address(nor, sector, at + i), bytes + i) != 0) return AMP_NOR_FAILED;
    if (read(nor, sector, at + i, held, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
    if (memcmp(held, bytes + i, UNIT) != 0) return AMP_NOR_FAILED;
  }
  return AMP_NOR_OK;
}

static int all(const uint8_t unit[UNIT], uint8_t value)
{
  uint32_t i;
  for (i = 0; i < UNIT; ++i) {
    if (unit[i] != value) return 0;
  }
  return 1;
}

/** AMP_NOR_BLANK if [at, at + len) is all ones; AMP_NOR_OK if not. */
static int look(const amp_nor *nor, uint32_t sector, uint32_t at, uint32_t len)
{
  uint8_t unit[UNIT];
  uint32_t i;
  for (i = 0; i < len; i += UNIT) {
    if (read(nor, sector, at + i, unit, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
    if (!all(unit, 0xff)) return AMP_NOR_OK;
  }
  return AMP_NOR_BLANK;
}

static uint32_t load32(const uint8_t *bytes)
{
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store32(uint8_t *bytes, uint32_t value)
{
  bytes[0] = (uint8_t)value;
  bytes[1] = (uint8_t)(value >> 8);
  bytes[2] = (uint8_t)(value >> 16);
  bytes[3] = (uint8_t)(value >> 24);
}

static int write_head(const amp_nor *nor, uint32_t sector, uint32_t at, uint32_t number)
{
  uint8_t head[UNIT];
  store32(head, number);
  store32(head + 4, ~number);
  return program(nor, sector, at, head, UNIT);
}

enum { HEAD_NONE, HEAD_GOOD, HEAD_DAMAGED };

/** Reads a head; HEAD_NONE if it is all ones or all zeros. -1: the flash failed. */
static int read_head(const amp_nor *nor, uint32_t sector, uint32_t at, uint32_t *number)
{
  uint8_t head[UNIT];
  *number = 0;
  if (read(nor, sector, at, head, UNIT) != AMP_NOR_OK) return -1;
  if (all(head, 0xff) || all(head, 0)) return HEAD_NONE;
  if (load32(head) != (uint32_t)~load32(head + 4)) return HEAD_DAMAGED;
  *number = load32(head);
  return HEAD_GOOD;
}

/** Erases a sector unless it is blank: a power cut between erase and use costs no second erase. */
static int make_blank(const amp_nor *nor, uint32_t sector)
{
  const int found = look(nor, sector, 0, nor->flash->sector_size);
  if (found == AMP_NOR_BLANK) return AMP_NOR_OK;
  return found == AMP_NOR_OK ? erase(nor, sector) : found;
}

/** Overwrites what the compiler may not take for unused. */
static void wipe(void *at, size_t size)
{
  memset(at, 0, size);
  __asm__ __volatile__("" : : "r"(at) : "memory");
}

/* Identity. */

/** Reads the storage key. AMP_NOR_OK; AMP_NOR_BLANK: none is kept, and *at is where one may be written; AMP_NOR_FAILED. */
static int find_storage_key(const amp_nor *nor, uint8_t key[AMP_STORAGE_KEY_SIZE], uint32_t *at)
{
  uint32_t i;
  for (i = 0; i < STORAGE_TRIES; ++i) {
    int found;
    *at = AT_STORAGE_KEYS + i * STORAGE_RECORD;
    found = look(nor, SECTOR_IDENTITY, *at + AMP_STORAGE_KEY_SIZE, UNIT);
    if (found == AMP_NOR_OK) return read(nor, SECTOR_IDENTITY, *at, key, AMP_STORAGE_KEY_SIZE);
    if (found == AMP_NOR_BLANK) found = look(nor, SECTOR_IDENTITY, *at, AMP_STORAGE_KEY_SIZE);
    if (found != AMP_NOR_OK) return found;
  }
  return AMP_NOR_FAILED;
}

/** Overwrites K(0), unless that is done. */
static int overwrite_key(const amp_nor *nor)
{
  uint32_t i;
  uint8_t held[UNIT];
  for (i = 0; i < AMP_KEY_SIZE; i += UNIT) {
    if (read(nor, SECTOR_IDENTITY, AT_KEY + i, held, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
    if (all(held, 0)) continue;
    if (program(nor, SECTOR_IDENTITY, AT_KEY + i, ZEROS, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
  }
  return AMP_NOR_OK;
}

int amp_nor_keep_key(amp_nor *nor, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  uint8_t held[AMP_STORAGE_KEY_SIZE];
  uint32_t at;
  const int found = find_storage_key(nor, held, &at);
  wipe(held, sizeof held);
  if (found == AMP_NOR_FAILED) return AMP_NOR_FAILED;
  if (found == AMP_NOR_BLANK) {
    if (program(nor, SECTOR_IDENTITY, at, storage_key, AMP_STORAGE_KEY_SIZE) != AMP_NOR_OK) return AMP_NOR_FAILED;
    if (program(nor, SECTOR_IDENTITY, at + AMP_STORAGE_KEY_SIZE, ZEROS, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
  }
  return overwrite_key(nor);
}

/** Ends a amp_nor_keep_key() that was cut off after the storage key was kept. */
static int finish_keep_key(const amp_nor *nor)
{
  uint8_t held[AMP_STORAGE_KEY_SIZE];
  uint32_t at, version;
  int found;
  if (read_head(nor, SECTOR_IDENTITY, 0, &version) != HEAD_GOOD) return AMP_NOR_OK;
  found = find_storage_key(nor, held, &at);
  wipe(held, sizeof held);
  return found == AMP_NOR_OK ? overwrite_key(nor) : AMP_NOR_OK;
}

int amp_nor_identity_load(amp_nor *nor, amp_nor_identity *identity, amp_identity *use)
{
  uint8_t flat[AT_STORAGE_KEYS];
  uint32_t version, prefix_len, at;
  int found;
  const int head = read_head(nor, SECTOR_IDENTITY, 0, &version);
  memset(identity, 0, sizeof *identity);
  if (head < 0 || read(nor, SECTOR_IDENTITY, 0, flat, sizeof flat) != AMP_NOR_OK) return AMP_NOR_FAILED;
  prefix_len = load32(flat + AT_PREFIX_LEN);
  if (head != HEAD_GOOD || version != 1 || prefix_len == 0 || prefix_len > AMP_NOR_PREFIX_MAX) {
    wipe(flat, sizeof flat);
    return AMP_NOR_BLANK;
  }
  found = find_storage_key(nor, identity->key, &at);
  if (found == AMP_NOR_FAILED) {
    wipe(flat, sizeof flat);
    return AMP_NOR_FAILED;
  }
  if (found == AMP_NOR_BLANK) memcpy(identity->key, flat + AT_KEY, AMP_KEY_SIZE);
  identity->key_size = found == AMP_NOR_BLANK ? AMP_KEY_SIZE : AMP_STORAGE_KEY_SIZE;
  memcpy(identity->realm, flat + AT_REALM, AMP_ID_SIZE);
  memcpy(identity->device, flat + AT_DEVICE, AMP_ID_SIZE);
  memcpy(identity->prefix, flat + AT_PREFIX, prefix_len);
  wipe(flat, sizeof flat);
  use->realm = identity->realm;
  use->device = identity->device;
  use->key = identity->key;
  use->key_size = identity->key_size;
  use->prefix = identity->prefix;
  return AMP_NOR_OK;
}

int amp_nor_identity_write(amp_nor *nor, const amp_nor_identity *identity)
{
  uint8_t flat[AT_STORAGE_KEYS];
  uint32_t sector;
  int status;
  const size_t prefix_len = strlen(identity->prefix);
  if (identity->key_size != AMP_KEY_SIZE || prefix_len == 0 || prefix_len > AMP_NOR_PREFIX_MAX) return AMP_NOR_FAILED;
  for (sector = 0; sector < AMP_NOR_SECTORS; ++sector) {
    if (make_blank(nor, sector) != AMP_NOR_OK) return AMP_NOR_FAILED;
  }
  memset(flat, 0, sizeof flat);
  memcpy(flat + AT_REALM, identity->realm, AMP_ID_SIZE);
  memcpy(flat + AT_DEVICE, identity->device, AMP_ID_SIZE);
  memcpy(flat + AT_KEY, identity->key, AMP_KEY_SIZE);
  store32(flat + AT_PREFIX_LEN, (uint32_t)prefix_len);
  memcpy(flat + AT_PREFIX, identity->prefix, prefix_len);
  status = program(nor, SECTOR_IDENTITY, UNIT, flat + UNIT, sizeof flat - UNIT);
  wipe(flat, sizeof flat);
  if (status != AMP_NOR_OK || write_head(nor, SECTOR_IDENTITY, 0, 1) != AMP_NOR_OK) return AMP_NOR_FAILED;
  return amp_nor_open(nor, nor->flash);
}

/* Marks. */

/** The head stands twice, at both ends of the sector: damage to one must not bring the marks of before back. */
static uint32_t mark_capacity(const amp_nor *nor)
{
  return (nor->flash->sector_size - 2 * UNIT) / RECORD;
}

static int read_marks_head(const amp_nor *nor, uint32_t sector, uint32_t *number)
{
  const int head = read_head(nor, sector, 0, number);
  return head == HEAD_GOOD ? head : read_head(nor, sector, nor->flash->sector_size - UNIT, number);
}

/** Finds the end of the log: behind the last record that is not blank. */
static int find_end(amp_nor *nor)
{
  nor->marks_end = mark_capacity(nor);
  while (nor->marks_end > 0) {
    const int found = look(nor, nor->marks_sector, UNIT + (nor->marks_end - 1) * RECORD, RECORD);
    if (found == AMP_NOR_OK) break;
    if (found != AMP_NOR_BLANK) return found;
    --nor->marks_end;
  }
  return AMP_NOR_OK;
}

int amp_nor_open(amp_nor *nor, const amp_nor_flash *flash)
{
  uint32_t sector;
  memset(nor, 0, sizeof *nor);
  nor->flash = flash;
  if (flash->sector_size < AMP_NOR_SECTOR_MIN || flash->sector_size % UNIT != 0) return AMP_NOR_FAILED;
  if (finish_keep_key(nor) != AMP_NOR_OK) return AMP_NOR_FAILED;
  for (sector = SECTOR_MARKS; sector < AMP_NOR_SECTORS; ++sector) {
    uint32_t number;
    const int head = read_marks_head(nor, sector, &number);
    if (head < 0) return AMP_NOR_FAILED;
    if (head == HEAD_GOOD && number > nor->marks_number) {
      nor->marks_number = number;
      nor->marks_sector = sector;
    }
  }
  if (nor->marks_number != 0) return find_end(nor);
  /* Only the very first head may be missing, and then nothing stands behind it. */
  for (sector = SECTOR_MARKS; sector < AMP_NOR_SECTORS; ++sector) {
    const int found = look(nor, sector, UNIT, flash->sector_size - 2 * UNIT);
    if (found == AMP_NOR_FAILED) return AMP_NOR_FAILED;
    if (found == AMP_NOR_OK) nor->marks_lost = 1;
  }
  return AMP_NOR_OK;
}

int amp_nor_mark_next(amp_nor *nor, uint32_t *cursor, uint8_t mark[AMP_MARK_SIZE])
{
  uint8_t kept[UNIT];
  if (nor->marks_lost != 0 && *cursor == 0) {
    *cursor = 1;
    memset(mark, 0, AMP_MARK_SIZE);
    return AMP_NOR_OK;
  }
  while (*cursor < nor->marks_end) {
    const uint32_t at = UNIT + (*cursor)++ * RECORD;
    if (read(nor, nor->marks_sector, at + AMP_MARK_SIZE, kept, UNIT) != AMP_NOR_OK) return AMP_NOR_FAILED;
    /* Cut off in its last unit, the mark is whole, and counts: a limit that is too high harms nobody. */
    if (!all(kept, 0xff)) return read(nor, nor->marks_sector, at, mark, AMP_MARK_SIZE);
  }
  return AMP_NOR_END;
}

/** Puts the other sector in use. Its head decides: before it the old marks count, after it none. */
static int begin_marks(amp_nor *nor)
{
  const uint32_t next = nor->marks_sector == SECTOR_MARKS ? SECTOR_MARKS + 1 : SECTOR_MARKS;
  const uint32_t before = nor->marks_sector;
  if (make_blank(nor, next) != AMP_NOR_OK) return AMP_NOR_FAILED;
  if (write_head(nor, next, 0, nor->marks_number + 1) != AMP_NOR_OK) return AMP_NOR_FAILED;
  nor->marks_sector = next;
  nor->marks_number += 1;
  nor->marks_end = 0;
  nor->marks_lost = 0;
  if (write_head(nor, next, nor->flash->sector_size - UNIT, nor->marks_number) != AMP_NOR_OK) return AMP_NOR_FAILED;
  /* Soon, so that there is nothing old to take for the log; if it fails, it is done before the next use. */
  return before == 0 || erase(nor, before) == AMP_NOR_OK ? AMP_NOR_OK : AMP_NOR_FAILED;
}

int amp_nor_mark_append(amp_nor *nor, const uint8_t mark[AMP_MARK_SIZE])
{
  uint32_t at;
  if (nor->marks_lost != 0) return AMP_NOR_FAILED;
  if (nor->marks_number == 0 && begin_marks(nor) != AMP_NOR_OK) return AMP_NOR_FAILED;
  if (nor->marks_end == mark_capacity(nor)) return AMP_NOR_FULL;
  /* A record that fails is left behind: what is torn cannot be programmed again. */
  at = UNIT + nor->marks_end++ * RECORD;
  if (program(nor, nor->marks_sector, at, mark, AMP_MARK_SIZE) != AMP_NOR_OK) return AMP_NOR_FAILED;
  return program(nor, nor->marks_sector, at + AMP_MARK_SIZE, ZEROS, UNIT);
}

uint32_t amp_nor_marks_left(const amp_nor *nor)
{
  return mark_capacity(nor) - nor->marks_end;
}

int amp_nor_marks_clear(amp_nor *nor)
{
  if (nor->marks_end == 0 && nor->marks_lost == 0) return AMP_NOR_OK;
  return begin_marks(nor);
}

/* Slots. */

static uint32_t slot_capacity(const amp_nor *nor)
{
  return nor->flash->sector_size - UNIT;
}

uint32_t amp_nor_slot_size(amp_nor *nor, uint8_t slot)
{
  uint32_t len;
  const int head = read_head(nor, SECTOR_SLOTS + (uint32_t)slot, 0, &len);
  if (head == HEAD_NONE) return 0;
  if (head == HEAD_GOOD && len != 0 && len % UNIT == 0 && len <= slot_capacity(nor)) return len;
  return slot_capacity(nor);
}

int amp_nor_slot_read(amp_nor *nor, uint8_t slot, uint32_t at, uint8_t *out, uint32_t len)
{
  const uint32_t capacity = slot_capacity(nor);
  if (slot > 1 || at > capacity || len > capacity - at) return AMP_NOR_FAILED;
  return read(nor, SECTOR_SLOTS + (uint32_t)slot, UNIT + at, out, len);
}

int amp_nor_slot_begin(amp_nor *nor, uint8_t slot)
{
  uint32_t len;
  const uint32_t sector = SECTOR_SLOTS + (uint32_t)slot;
  if (slot > 1) return AMP_NOR_FAILED;
  nor->written = 0;
  if (read_head(nor, sector, 0, &len) != HEAD_NONE && program(nor, sector, 0, ZEROS, UNIT) != AMP_NOR_OK) {
    return AMP_NOR_FAILED;
  }
  if (make_blank(nor, sector) != AMP_NOR_OK) return AMP_NOR_FAILED;
  nor->slot = slot;
  nor->written = UNIT;
  return AMP_NOR_OK;
}

int amp_nor_slot_write(amp_nor *nor, const uint8_t *bytes, uint32_t len)
{
  if (nor->written == 0 || len % UNIT != 0) return AMP_NOR_FAILED;
  if (len > nor->flash->sector_size - nor->written) return AMP_NOR_FULL;
  if (program(nor, SECTOR_SLOTS + (uint32_t)nor->slot, nor->written, bytes, len) != AMP_NOR_OK) {
    nor->written = 0;
    return AMP_NOR_FAILED;
  }
  nor->written += len;
  return AMP_NOR_OK;
}

int amp_nor_slot_end(amp_nor *nor)
{
  const uint32_t len = nor->written - UNIT;
  if (nor->written <= UNIT) return AMP_NOR_FAILED;
  nor->written = 0;
  return write_head(nor, SECTOR_SLOTS + (uint32_t)nor->slot, 0, len);
}


/* The callbacks of amp_port. */

/** Records that are kept free: a blob is asked for before the log is full. */
enum { MARKS_MARGIN = 8 };

static int port_slot_read(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
{
  amp_nor *nor = (amp_nor *)user;
  const size_t held = amp_nor_slot_size(nor, (uint8_t)slot);
  const size_t there = at >= held ? 0 : held - at < size ? held - at : size;
  memset(bytes, 0xff, size);
  return there == 0 ? AMP_NOR_OK : amp_nor_slot_read(nor, (uint8_t)slot, (uint32_t)at, bytes, (uint32_t)there);
}

static int port_slot_erase(void *user, unsigned slot)
{
  return amp_nor_slot_begin((amp_nor *)user, (uint8_t)slot);
}

static int port_slot_write(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
{
  amp_nor *nor = (amp_nor *)user;
  if (slot != nor->slot || at + UNIT != nor->written) return AMP_NOR_FAILED;
  return amp_nor_slot_write(nor, bytes, (uint32_t)size);
}

static int port_slot_done(void *user, unsigned slot)
{
  amp_nor *nor = (amp_nor *)user;
  return slot == nor->slot ? amp_nor_slot_end(nor) : AMP_NOR_FAILED;
}

static int port_mark_append(void *user, const uint8_t mark[AMP_MARK_SIZE])
{
  amp_nor *nor = (amp_nor *)user;
  const int status = amp_nor_mark_append(nor, mark);
  if (status != AMP_NOR_OK) return AMP_NOR_FAILED;
  return amp_nor_marks_left(nor) < MARKS_MARGIN ? AMP_PORT_FULL : 0;
}

static int port_mark_read(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
{
  amp_nor *nor = (amp_nor *)user;
  int status;
  if (index == 0 || index != nor->read_index) nor->read_index = nor->read_cursor = 0;
  do {
    status = amp_nor_mark_next(nor, &nor->read_cursor, mark);
    if (status != AMP_NOR_OK) break;
  } while (nor->read_index++ < index);
  return status == AMP_NOR_END ? AMP_PORT_END : status;
}

static int port_marks_clear(void *user)
{
  return amp_nor_marks_clear((amp_nor *)user);
}

static int port_keep_key(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  return amp_nor_keep_key((amp_nor *)user, storage_key);
}

void amp_nor_port(amp_nor *nor, amp_port *port)
{
  memset(port, 0, sizeof *port);
  port->user = nor;
  port->kind = AMP_STORAGE;
  port->slot_read = port_slot_read;
  port->slot_erase = port_slot_erase;
  port->slot_write = port_slot_write;
  port->slot_done = port_slot_done;
  port->mark_append = port_mark_append;
  port->mark_read = port_mark_read;
  port->marks_clear = port_marks_clear;
  port->keep_key = port_keep_key;
}
