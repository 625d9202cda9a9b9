/*
 * Looks for keys on the stack below the functions of firmware/ports/nor.c that have read them, compiled as firmware is:
 * with optimization, which drops a memset() that nobody reads.
 *
 * Prints what was found, or "clean". Usage: nor-residue
 */
#include "../../firmware/ports/nor.h"

#include <stdio.h>
#include <string.h>

enum { SECTOR = 2048, BELOW = 4096, PATTERN = 8 };

static uint8_t cells[AMP_NOR_SECTORS * SECTOR];
static int found_any;

static int chip_read(void *context, uint32_t at, uint8_t *out, uint32_t len)
{
  (void)context;
  memcpy(out, cells + at, len);
  return 0;
}

static int chip_program(void *context, uint32_t at, const uint8_t unit[AMP_NOR_UNIT])
{
  uint32_t i;
  (void)context;
  for (i = 0; i < AMP_NOR_UNIT; ++i) cells[at + i] &= unit[i];
  return 0;
}

static int chip_erase(void *context, uint32_t at)
{
  (void)context;
  memset(cells + at, 0xff, SECTOR);
  return 0;
}

static const amp_nor_flash CHIP = {0, 0, SECTOR, chip_read, chip_program, chip_erase};

/** Fills the stack that is called into next, or looks through it for 8 bytes of a key; both have the same frame. */
static __attribute__((noinline)) int stack(const uint8_t *key)
{
  volatile uint8_t below[BELOW];
  int found = 0;
  size_t i, k;
  if (key == NULL) {
    for (i = 0; i < sizeof below; ++i) below[i] = 0x5a;
    return 0;
  }
  for (i = 0; i + PATTERN <= sizeof below; ++i) {
    for (k = 0; k < PATTERN && below[i + k] == key[k]; ++k) continue;
    found += k == PATTERN;
  }
  return found;
}

static void report(const char *after, const uint8_t *key)
{
  if (stack(key) == 0) return;
  printf("a key stays after %s\n", after);
  found_any = 1;
}

int main(void)
{
  static amp_nor nor;
  static amp_nor_identity made, loaded;
  static amp_identity use;
  static uint8_t storage_key[AMP_STORAGE_KEY_SIZE];
  size_t i;
  memset(cells, 0xff, sizeof cells);
  for (i = 0; i < AMP_KEY_SIZE; ++i) made.key[i] = (uint8_t)(0xa0 + i);
  for (i = 0; i < sizeof storage_key; ++i) storage_key[i] = (uint8_t)(0xc0 + i);
  made.key_size = AMP_KEY_SIZE;
  strcpy(made.prefix, "ampoule");
  if (amp_nor_open(&nor, &CHIP) != AMP_NOR_OK) return 2;
  stack(NULL);
  if (amp_nor_identity_write(&nor, &made) != AMP_NOR_OK) return 2;
  report("amp_nor_identity_write()", made.key);
  stack(NULL);
  if (amp_nor_identity_load(&nor, &loaded, &use) != AMP_NOR_OK || loaded.key_size != AMP_KEY_SIZE) return 2;
  report("amp_nor_identity_load()", made.key);
  if (amp_nor_keep_key(&nor, storage_key) != AMP_NOR_OK) return 2;
  stack(NULL);
  if (amp_nor_keep_key(&nor, storage_key) != AMP_NOR_OK) return 2;
  report("amp_nor_keep_key()", storage_key);
  stack(NULL);
  if (amp_nor_open(&nor, &CHIP) != AMP_NOR_OK) return 2;
  report("amp_nor_open()", storage_key);
  if (!found_any) puts("clean");
  return found_any;
}
