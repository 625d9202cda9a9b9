/*
 * Power cuts inside every program and every erase of firmware/ports/nor.c, each torn in several ways, each followed
 * by a recovery that is cut once more. The chip is a strict one: units of 8 bytes are programmed when blank, or to
 * zeros, and anything else ends the run.
 *
 * Prints one line and ends with 0 if nothing was lost. Usage: nor-cuts [second cuts for each first one]
 */
#include "../../firmware/ports/nor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 2048, BASE = 4096, SIZE = AMP_NOR_SECTORS * SECTOR, BLOB = 1736, MODES = 6, ROUNDS = 3, MARKS = 40 };

/* The chip. */

static uint8_t cells[SIZE];
static long left; /* operations until the power fails; negative: never */
static int torn_mode, is_off;
static long operations;
static uint32_t random_state = 1;
static const char *violation;

static uint32_t random32(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

/** 1 if this operation is the one the power fails in. */
static int cut(void)
{
  ++operations;
  if (left < 0) return 0;
  if (left-- > 0) return 0;
  is_off = 1;
  return 1;
}

static int chip_read(void *context, uint32_t at, uint8_t *out, uint32_t len)
{
  (void)context;
  if (is_off) return 1;
  if (at < BASE || at - BASE > SIZE || len > SIZE - (at - BASE)) violation = "read outside";
  else memcpy(out, cells + (at - BASE), len);
  return 0;
}

static int chip_program(void *context, uint32_t at, const uint8_t unit[AMP_NOR_UNIT])
{
  uint8_t *cell = cells + (at - BASE);
  uint32_t i;
  int is_blank = 1, is_zeros = 1, is_cut;
  (void)context;
  if (is_off) return 1;
  if (at < BASE || at - BASE >= SIZE || at % AMP_NOR_UNIT != 0) {
    violation = "program outside";
    return 1;
  }
  for (i = 0; i < AMP_NOR_UNIT; ++i) {
    if (cell[i] != 0xff) is_blank = 0;
    if (unit[i] != 0) is_zeros = 0;
  }
  if (!is_blank && !is_zeros) violation = "programmed what is not blank";
  is_cut = cut();
  for (i = 0; i < AMP_NOR_UNIT; ++i) {
    uint8_t keep = 0; /* bits that are not reached */
    if (is_cut && torn_mode == 0) keep = 0xff;
    if (is_cut && torn_mode == 1 && i >= 4) keep = 0xff;
    if (is_cut && torn_mode == 2 && i < 4) keep = 0xff;
    if (is_cut && torn_mode == 3) keep = (uint8_t)random32();
    if (is_cut && torn_mode == 4) keep = (uint8_t)(random32() & random32() & random32());
    cell[i] &= (uint8_t)(unit[i] | keep);
  }
  return is_cut;
}

static int chip_erase(void *context, uint32_t at)
{
  uint8_t *cell = cells + (at - BASE);
  uint32_t i;
  int is_cut;
  (void)context;
  if (is_off) return 1;
  if (at < BASE || at - BASE >= SIZE || at % SECTOR != 0) {
    violation = "erase outside";
    return 1;
  }
  is_cut = cut();
  for (i = 0; i < SECTOR; ++i) {
    uint8_t erased = 0xff;
    if (is_cut && torn_mode == 0) erased = 0;
    if (is_cut && torn_mode == 1 && i >= SECTOR / 2) erased = 0;
    if (is_cut && torn_mode == 2 && i < SECTOR / 2) erased = 0;
    if (is_cut && torn_mode == 3) erased = (uint8_t)random32();
    /* Chips program everything to zero before they erase. */
    if (is_cut && torn_mode == 4 && i % 3 != 0) cell[i] = 0;
    if (is_cut && torn_mode == 4) erased = 0;
    cell[i] |= erased;
  }
  return is_cut;
}

static const amp_nor_flash CHIP = {0, BASE, SECTOR, chip_read, chip_program, chip_erase};

/* What must be there. */

typedef struct model {
  uint32_t blobs[2]; /* number of the blob in a slot; 0: blank */
  uint32_t marks[MARKS + 8];
  uint32_t mark_count;
  int has_storage_key;
  /* What was under way when the power failed. */
  enum { NOTHING, BEGIN_SLOT, END_SLOT, MARK, CLEAR, KEEP } busy;
  uint32_t busy_slot, busy_number;
} model;

static uint32_t next_number;
static uint8_t buffer[SECTOR];

static void fill(uint8_t *bytes, uint32_t len, uint32_t number)
{
  uint32_t i, x = number * 2654435761u + 1;
  for (i = 0; i < len; ++i) {
    x = x * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(x >> 24);
  }
  memcpy(bytes, &number, 4);
}

static int is_filled(const uint8_t *bytes, uint32_t len)
{
  static uint8_t expected[SECTOR];
  uint32_t number;
  memcpy(&number, bytes, 4);
  fill(expected, len, number);
  return memcmp(expected, bytes, len) == 0;
}

static int put_slot(amp_nor *nor, model *m, uint32_t slot)
{
  const uint32_t number = ++next_number;
  uint32_t i;
  fill(buffer, BLOB, number);
  m->busy = BEGIN_SLOT;
  m->busy_slot = slot;
  m->busy_number = number;
  if (amp_nor_slot_begin(nor, (uint8_t)slot) != AMP_NOR_OK) return 0;
  m->blobs[slot] = 0;
  for (i = 0; i < BLOB; i += 56) {
    if (amp_nor_slot_write(nor, buffer + i, BLOB - i < 56 ? BLOB - i : 56) != AMP_NOR_OK) return 0;
  }
  m->busy = END_SLOT;
  if (amp_nor_slot_end(nor) != AMP_NOR_OK) return 0;
  m->blobs[slot] = number;
  m->busy = NOTHING;
  return 1;
}

static int put_mark(amp_nor *nor, model *m)
{
  const uint32_t number = ++next_number;
  fill(buffer, AMP_MARK_SIZE, number);
  m->busy = MARK;
  m->busy_number = number;
  if (amp_nor_mark_append(nor, buffer) != AMP_NOR_OK) return 0;
  m->marks[m->mark_count++] = number;
  m->busy = NOTHING;
  return 1;
}

static int put_clear(amp_nor *nor, model *m)
{
  m->busy = CLEAR;
  if (amp_nor_marks_clear(nor) != AMP_NOR_OK) return 0;
  m->mark_count = 0;
  m->busy = NOTHING;
  return 1;
}

static const uint8_t KEYS[32] = {9, 8, 7, 6, 5, 4, 3, 2, 1};

static int put_key(amp_nor *nor, model *m)
{
  m->busy = KEEP;
  if (amp_nor_keep_key(nor, KEYS) != AMP_NOR_OK) return 0;
  m->has_storage_key = 1;
  m->busy = NOTHING;
  return 1;
}

/** A life: both slots, marks until the log is full, again and again. Ends early when the power fails. */
static void live(amp_nor *nor, model *m, int rounds)
{
  int round;
  for (round = 0; round < rounds; ++round) {
    const uint32_t first = m->blobs[0] == 0 ? 0 : 1;
    /* A slot that may be torn comes first. */
    if (!put_slot(nor, m, first) || !put_slot(nor, m, 1 - first) || !put_clear(nor, m)) return;
    if (!put_key(nor, m)) return;
    while (amp_nor_marks_left(nor) > 0 && m->mark_count < MARKS) {
      if (!put_mark(nor, m)) return;
    }
  }
}

static const char *check_slot(amp_nor *nor, model *m, uint32_t slot)
{
  const uint32_t size = amp_nor_slot_size(nor, (uint8_t)slot);
  const int is_busy = (m->busy == BEGIN_SLOT || m->busy == END_SLOT) && m->busy_slot == slot;
  uint32_t number = 0;
  if (size != 0 && amp_nor_slot_read(nor, (uint8_t)slot, 0, buffer, size) != AMP_NOR_OK) return "a slot is not readable";
  if (size == BLOB && is_filled(buffer, BLOB)) memcpy(&number, buffer, 4);
  if (!is_busy) return number == m->blobs[slot] && (number != 0) == (size != 0) ? NULL : "a slot has changed";
  /* Under way: the old blob until its head goes, then blank, then the new one. */
  if (number == 0 && size == BLOB) return "half a blob counts as whole";
  if (number != 0 && number != m->blobs[slot] && !(m->busy == END_SLOT && number == m->busy_number)) return "a stray blob";
  if (number != m->blobs[slot] && m->busy == BEGIN_SLOT && number != 0) return "a blob came early";
  /* A head that is torn shows as damage, which is a lost write: only one operation in hundreds may end so. */
  m->blobs[slot] = number;
  return NULL;
}

static const char *check_marks(amp_nor *nor, model *m)
{
  uint32_t cursor = 0, count = 0, found[MARKS + 8];
  for (;;) {
    const int status = amp_nor_mark_next(nor, &cursor, buffer);
    if (status == AMP_NOR_END) break;
    if (status != AMP_NOR_OK) return "the marks are not readable";
    if (!is_filled(buffer, AMP_MARK_SIZE)) return "a torn mark counts";
    if (count == MARKS + 8) return "too many marks";
    memcpy(&found[count++], buffer, 4);
  }
  if (m->busy == CLEAR && count == 0) m->mark_count = 0;
  if (count == m->mark_count + 1 && m->busy == MARK && found[count - 1] == m->busy_number) {
    m->marks[m->mark_count++] = m->busy_number;
  }
  if (count != m->mark_count) return "a mark is lost";
  return memcmp(found, m->marks, count * sizeof found[0]) == 0 ? NULL : "a mark has changed";
}

static const char *check_identity(amp_nor *nor, model *m)
{
  static const uint8_t none[AMP_KEY_SIZE];
  amp_nor_identity identity;
  amp_identity use;
  int is_kept;
  if (amp_nor_identity_load(nor, &identity, &use) != AMP_NOR_OK) return "no identity";
  if (memcmp(use.realm, "realm__1", 8) != 0 || memcmp(use.device, "device_1", 8) != 0) return "another identity";
  if (strcmp(use.prefix, "ampoule") != 0) return "another prefix";
  is_kept = use.key_size == AMP_STORAGE_KEY_SIZE;
  if (is_kept != m->has_storage_key && m->busy != KEEP) return "a storage key came or went";
  if (memcmp(use.key, is_kept ? KEYS : (const uint8_t *)"0123456789abcdef", use.key_size) != 0) return "half a key";
  if (is_kept && memcmp(cells + 24, none, sizeof none) != 0) return "K(0) stays";
  m->has_storage_key = is_kept;
  return NULL;
}

static const char *check(amp_nor *nor, model *m)
{
  const char *wrong = violation;
  if (wrong == NULL && amp_nor_open(nor, &CHIP) != AMP_NOR_OK) wrong = "it does not open";
  if (wrong == NULL) wrong = check_slot(nor, m, 0);
  if (wrong == NULL) wrong = check_slot(nor, m, 1);
  if (wrong == NULL && m->blobs[0] == 0 && m->blobs[1] == 0 && m->mark_count > 0) wrong = "both slots are gone";
  if (wrong == NULL) wrong = check_marks(nor, m);
  if (wrong == NULL) wrong = check_identity(nor, m);
  m->busy = NOTHING;
  return wrong;
}

static void provision(amp_nor *nor, model *m)
{
  amp_nor_identity identity;
  memset(cells, 0, sizeof cells);
  memset(m, 0, sizeof *m);
  memset(&identity, 0, sizeof identity);
  memcpy(identity.realm, "realm__1", 8);
  memcpy(identity.device, "device_1", 8);
  memcpy(identity.key, "0123456789abcdef", 16);
  identity.key_size = AMP_KEY_SIZE;
  strcpy(identity.prefix, "ampoule");
  is_off = 0;
  left = -1;
  next_number = 0;
  violation = NULL;
  if (amp_nor_open(nor, &CHIP) != AMP_NOR_OK || amp_nor_identity_write(nor, &identity) != AMP_NOR_OK) {
    violation = "it cannot be provisioned";
  }
}

/** How a mark ends that was cut off (SPEC T-8). */
static const uint8_t ONES[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/** Flips every bit of both slots and the marks of a full life: nothing that is damaged may read as never written. */
static const char *damage(void)
{
  amp_nor nor;
  model m;
  uint32_t bit, cursor, marks;
  provision(&nor, &m);
  live(&nor, &m, ROUNDS);
  for (bit = SECTOR * 8; bit < SIZE * 8; ++bit) {
    cells[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (amp_nor_open(&nor, &CHIP) != AMP_NOR_OK) return "it does not open";
    if (amp_nor_slot_size(&nor, 0) == 0 || amp_nor_slot_size(&nor, 1) == 0) return "a damaged slot reads as blank";
    marks = cursor = 0;
    while (amp_nor_mark_next(&nor, &cursor, buffer) == AMP_NOR_OK) ++marks;
    if (marks != m.mark_count) return "marks came or went";
    cells[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  for (bit = 0; bit < 64; ++bit) {
    /* Both heads of both sectors of marks: which one counts cannot be known any more. */
    for (cursor = 3 * SECTOR; cursor < SIZE; cursor += SECTOR) {
      cells[cursor + bit / 8] ^= (uint8_t)(1u << bit % 8);
      cells[cursor + SECTOR - 8 + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    if (amp_nor_open(&nor, &CHIP) != AMP_NOR_OK || !nor.marks_lost) return "a log without heads is not missed";
    marks = 0;
    if (amp_nor_mark_next(&nor, &marks, buffer) != AMP_NOR_OK) return "a log without heads has no mark to tell of it";
    if (memcmp(buffer + AMP_MARK_SIZE - 8, ONES, 8) == 0) return "a log without heads reads as a mark that was cut off";
    for (cursor = 3 * SECTOR; cursor < SIZE; cursor += SECTOR) {
      cells[cursor + bit / 8] ^= (uint8_t)(1u << bit % 8);
      cells[cursor + SECTOR - 8 + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
  }
  return check(&nor, &m);
}

int main(int argc, char **argv)
{
  const long seconds = argc > 1 ? strtol(argv[1], NULL, 10) : 2;
  amp_nor nor;
  model m;
  long total, cuts = 0, first, second;
  const char *wrong;
  provision(&nor, &m);
  operations = 0;
  live(&nor, &m, ROUNDS);
  total = operations;
  wrong = check(&nor, &m);
  for (first = 0; first < total && wrong == NULL; ++first) {
    for (torn_mode = 0; torn_mode < MODES && wrong == NULL; ++torn_mode) {
      provision(&nor, &m);
      left = first;
      live(&nor, &m, ROUNDS);
      is_off = 0;
      ++cuts;
      wrong = check(&nor, &m);
      for (second = 0; second < seconds && wrong == NULL; ++second) {
        /* The recovery begins with the slots, where most operations are; half of the cuts are early ones. */
        left = (long)(random32() % (second % 2 == 0 ? 40u : 900u));
        live(&nor, &m, 1);
        is_off = 0;
        ++cuts;
        wrong = check(&nor, &m);
      }
      left = -1;
      if (wrong == NULL) live(&nor, &m, 1);
      if (wrong == NULL && m.busy != NOTHING) wrong = "it does not recover";
      if (wrong == NULL) wrong = check(&nor, &m);
    }
  }
  if (wrong == NULL) wrong = damage();
  if (wrong != NULL) {
    printf("nor: FAILED after %ld cuts, operation %ld, mode %d: %s\n", cuts, first, torn_mode, wrong);
    return 1;
  }
  printf("nor: %ld cuts in %ld operations, nothing lost\n", cuts, total);
  return 0;
}
