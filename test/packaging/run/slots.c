/*
 * Zephyr's slots: a write that is cut at any operation leaves the slot as it was, empty, or as it was to become, and a
 * read that fails is never taken for a device that was not provisioned.
 *
 *   slots <script>
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../firmware/zephyr/amp_zephyr.c"
#include "kv.h"
#include "script.h"

enum { SIZE = 1800, STEP = 600 };

static jmp_buf boot;
static amp_zephyr under_test;

void power_lost(void) { longjmp(boot, 1); }

static void fail(const char *what)
{
  printf("operation %lu, read %lu: %s\n", kv_ops, kv_reads, what);
  exit(1);
}

static void start(void)
{
  memset(&under_test, 0, sizeof under_test);
  under_test.held = under_test.filling = -1;
}

static int fill(uint8_t with, size_t size)
{
  uint8_t bytes[STEP];
  size_t at;
  memset(bytes, with, sizeof bytes);
  if (slot_erase(&under_test, 1) != 0) return -1;
  for (at = 0; at < size; at += STEP) {
    if (slot_write(&under_test, 1, at, bytes, STEP) != 0) return -1;
  }
  return slot_done(&under_test, 1);
}

static int is_all(uint8_t with, size_t size)
{
  uint8_t bytes[AMP_BLOB_MAX];
  size_t i;
  if (slot_read(&under_test, 1, 0, bytes, sizeof bytes) != 0) fail("the slot cannot be read");
  for (i = 0; i < sizeof bytes; ++i) {
    if (bytes[i] != (i < size ? with : 0xFF)) return 0;
  }
  return 1;
}

static void cut_slots(void)
{
  volatile unsigned long cut, operations = 1;
  for (cut = 1; cut <= operations; ++cut) {
    kv_reset((uint32_t)cut);
    start();
    if (fill(0x11, SIZE) != 0) fail("the first write");
    kv_ops = 0;
    kv_cut_at = cut;
    if (setjmp(boot) == 0) {
      if (fill(0x22, SIZE - STEP) != 0) fail("the second write");
      operations = 0;
    } else {
      operations = cut + 1;
    }
    kv_cut_at = 0;
    start();
    if (!is_all(0x11, SIZE) && !is_all(0, 0) && !is_all(0x22, SIZE - STEP)) fail("a slot is torn");
  }
  printf("%lu cuts\n", cut - 2);
}

static void fail_reads(void)
{
  unsigned long fails_at, reads;
  kv_reset(1);
  if (amp_zephyr_provision(&script_identity) != AMP_OK || amp_zephyr_open(&under_test, NULL) != AMP_OK) fail("a boot");
  kv_reads = 0;
  if (amp_zephyr_open(&under_test, NULL) != AMP_OK) fail("a second boot");
  reads = kv_reads;
  for (fails_at = 1; fails_at <= reads; ++fails_at) {
    kv_reads = 0;
    kv_read_fail_at = fails_at;
    if (amp_zephyr_open(&under_test, NULL) != AMP_NOT_STORED) fail("a read that failed is not NOT_STORED");
  }
  kv_read_fail_at = 0;
  if (amp_zephyr_open(&under_test, NULL) != AMP_OK) fail("the last boot");
  printf("%lu reads\n", reads);
}

/** A build with a lower limit than this many marks reads and clears them all. */
static void lower_limit(void)
{
  enum { STORED = CONFIG_AMPOULE_MARKS + 30 };
  uint8_t mark[AMP_MARK_SIZE];
  char name[NAME_MAX];
  size_t index;
  memset(mark, 0x33, sizeof mark);
  kv_reset(1);
  start();
  for (index = 0; index < STORED; ++index) (void)set(mark_name(name, index), mark, sizeof mark);
  for (index = 0; mark_read(&under_test, index, mark) == 0; ++index) continue;
  if (index != STORED) fail("marks were dropped");
  if (marks_clear(&under_test) != 0 || mark_read(&under_test, 0, mark) != AMP_PORT_END) fail("marks stay");
}

int main(int argc, char **argv)
{
  if (argc != 2) return 2;
  script_read(argv[1]);
  cut_slots();
  fail_reads();
  lower_limit();
  return 0;
}
