/*
 * Plays a transcript (transcript.ts) over the module as C, under clang's memory sanitizer: secret bytes are marked as
 * never written, so that a branch, an address or a division that depends on one is an error. Public again is what the
 * transcript says, at the store it names. Prints the number of calls.
 */
#include <sanitizer/msan_interface.h>
#include <stdio.h>
#include <stdlib.h>

#include "module.h"
#include "watch.h"

enum { RANGES = 256, ARGS = 10 };

static amp_core core;
static struct { unsigned store, at, size; } ranges[RANGES];
static unsigned range_count, stores;

/** A watched address was written (watch.h). */
void ct_stored(void)
{
  for (unsigned i = 0; i < range_count; ++i) {
    if (ranges[i].store == stores) __msan_unpoison(&core.memory[ranges[i].at], ranges[i].size);
  }
  ++stores;
}

void amp_trap(void *instance)
{
  (void)instance;
  fputs("trap\n", stderr);
  exit(3);
}

static void fail(const char *what)
{
  fprintf(stderr, "transcript: %s\n", what);
  exit(2);
}

static unsigned number(void)
{
  unsigned value;
  if (scanf("%u", &value) != 1) fail("a number is missing");
  return value;
}

static void poke(void)
{
  unsigned at = number(), byte;
  getchar();
  while (scanf("%2x", &byte) == 1) {
    if (at >= sizeof core.memory) fail("outside of memory");
    core.memory[at++] = (uint8_t)byte;
    const int next = getchar();
    ungetc(next, stdin);
    if (next == '\n') return;
  }
}

int main(void)
{
  char what;
  unsigned call = 0, calls = 0, args[ARGS] = {0};
  while (scanf(" %c", &what) == 1) {
    if (what == 'i') {
      __msan_unpoison(&core, sizeof core);
      amp_core_instantiate(&core);
    } else if (what == 'p') {
      poke();
    } else if (what == 'l') {
      const unsigned at = number(), size = number(), label = number();
      if (label == 1) __msan_poison(&core.memory[at], size);
      else __msan_unpoison(&core.memory[at], size);
    } else if (what == 'c') {
      call = number();
      const unsigned count = number();
      for (unsigned i = 0; i < count; ++i) args[i] = number();
      range_count = stores = 0;
    } else if (what == 's') {
      if (range_count == RANGES) fail("too many ranges");
      ranges[range_count].store = number();
      ranges[range_count].at = number();
      ranges[range_count++].size = number();
    } else if (what == 'e') {
      const unsigned expected = number();
      if (ct_call(&core, call, args) != expected) {
        fprintf(stderr, "call %u (number %u): another result than %u\n", calls, call, expected);
        return 1;
      }
      ++calls;
    }
  }
  printf("%u\n", calls);
  return 0;
}
