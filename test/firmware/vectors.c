/*
 * Plays the vectors on the core of this build, whatever runs it: results and the whole of linear memory must be what
 * they were in V8, after every call (trace.ts). Needs the core's sources, not ampoule.c, and of the C library putchar().
 * Ends with the line "vectors: <n> passed, <n> failed".
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "amp_core.h"
#include "amp_vectors.h"

enum { END, BEGIN, PASSED, WRITE, CALL = 16, COUNTS = sizeof amp_vectors_counts };

static amp_core core;
static const uint8_t *at = amp_vectors;
static unsigned passed, failed;

#if defined(AMP_WASM3)
#include "amp_module.h"
#if defined(AMP_WASM3_FRUGAL)
#define HEAP_SIZE AMP_WASM3_FRUGAL_HEAP_SIZE
#else
#define HEAP_SIZE AMP_WASM3_HEAP_SIZE
#endif
static uint64_t heap[HEAP_SIZE / 8];
#endif

static void put(const char *text)
{
  for (; *text; ++text) putchar(*text);
}

static void put_number(uint32_t number)
{
  if (number >= 10) put_number(number / 10);
  putchar((int)('0' + number % 10));
}

static int end(void)
{
  put("vectors: ");
  put_number(passed);
  put(" passed, ");
  put_number(failed);
  put(" failed\n");
  return failed > 0 || passed == 0;
}

/** Tells of the first difference; what follows is mostly its consequence. */
static void fail(const char *what, unsigned which)
{
  static int is_told;
  if (is_told) return;
  is_told = 1;
  put("script ");
  put_number(passed + failed);
  put(", byte ");
  put_number((uint32_t)(at - amp_vectors));
  put(", export ");
  put_number(which);
  put(what);
}

/** Nothing in the vectors traps. */
__attribute__((noreturn)) void amp_trap(void *instance)
{
  (void)instance;
  fail(": trap\n", 0);
  ++failed;
  end();
  for (;;) {
#if defined(__unix__)
    __builtin_trap();
#endif
  }
}

static uint32_t number(void)
{
  const uint32_t value = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
  at += 4;
  return value;
}

static uint32_t checksum(void)
{
  uint32_t sum = 0x811c9dc5u, i;
  const uint8_t *const memory = amp_core_at(&core, 0);
  for (i = 0; i < AMP_VECTORS_MEMORY; ++i) sum = (sum ^ memory[i]) * 0x01000193u;
  return sum;
}

static amp_status begin(void)
{
  amp_port port;
  memset(&port, 0, sizeof port);
#if defined(AMP_WASM3)
  port.module = amp_module;
  port.module_size = sizeof amp_module;
  port.heap = (uint8_t *)heap;
  port.heap_size = sizeof heap;
#endif
  return amp_core_open(&core, &port);
}

/** Makes one call; returns whether it gave what it should. */
static int call(unsigned which)
{
  uint32_t args[8], result, wanted;
  unsigned i;
  for (i = 0; i < amp_vectors_counts[which]; ++i) args[i] = number();
  result = amp_vectors_call(&core, which, args);
  wanted = number();
  if (result != wanted) fail(": another result\n", which);
  if (checksum() == number()) return result == wanted;
  fail(": other memory\n", which);
  return 0;
}

int main(void)
{
  int is_good = 1;
  for (;;) {
    const unsigned op = *at++;
    if (op == END) return end();
    if (op == BEGIN) {
      if (begin() != AMP_OK) {
        fail(": cannot begin\n", 0);
        ++failed;
        return end();
      }
    } else if (op == PASSED) {
      if (is_good) ++passed;
      else ++failed;
      is_good = 1;
    } else if (op == WRITE) {
      const uint32_t to = (uint32_t)at[0] | (uint32_t)at[1] << 8, size = (uint32_t)at[2] | (uint32_t)at[3] << 8;
      memcpy(amp_core_at(&core, to), at + 4, size);
      at += 4 + size;
    } else if (op < CALL || op - CALL >= COUNTS) {
      return 2;
    } else if (!call(op - CALL)) {
      is_good = 0;
    }
  }
}
