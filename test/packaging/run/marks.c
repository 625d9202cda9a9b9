/* Marks in NVS: a build with a lower limit than this many marks reads and clears them all, and asks for a blob in time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../firmware/esp-idf/amp_esp.c"
#include "kv.h"

static amp_esp under_test;

void power_lost(void) { abort(); }

static void fail(const char *what)
{
  printf("%s\n", what);
  exit(1);
}

static void start(void)
{
  memset(&under_test, 0, sizeof under_test);
  under_test.held = under_test.filling = -1;
  under_test.nvs = 7;
}

/** Reads all marks there are, as a boot does; returns how many. */
static size_t read_all(void)
{
  uint8_t mark[AMP_MARK_SIZE];
  size_t index;
  start();
  for (index = 0;; ++index) {
    const int result = mark_read(&under_test, index, mark);
    if (result == AMP_PORT_END) return index;
    if (result != 0 || mark[0] != (uint8_t)index) fail("a mark cannot be read");
  }
}

static void lower_limit(size_t stored)
{
  uint8_t mark[AMP_MARK_SIZE];
  char name[4];
  size_t index;
  kv_reset(1);
  start();
  for (index = 0; index < stored; ++index) {
    memset(mark, (int)index & 255, sizeof mark);
    mark_name((unsigned)index, name);
    if (set(&under_test, name, mark, sizeof mark) != 0) fail("a mark cannot be stored");
  }
  if (read_all() != stored) fail("marks were dropped");
  if (stored >= CONFIG_AMP_MARKS && mark_append(&under_test, mark) == 0) fail("a mark beyond the limit is taken");
  if (marks_clear(&under_test) != 0 || read_all() != 0) fail("marks stay");
  for (index = 0; index < CONFIG_AMP_MARKS; ++index) {
    const int result = mark_append(&under_test, mark);
    if (result != (index + 1 + MARKS_LEFT >= CONFIG_AMP_MARKS ? AMP_PORT_FULL : 0)) fail("a blob is asked for too late");
  }
  if (mark_append(&under_test, mark) >= 0) fail("a mark beyond the limit is taken");
}

int main(void)
{
  lower_limit(CONFIG_AMP_MARKS + 30);
  lower_limit(MARK_NAMES);
  puts("all read, all cleared");
  return 0;
}
