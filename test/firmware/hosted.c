/*
 * Opens a module in wasm3 as a device does, and calls it: one command a line on stdin, one answer a line on stdout.
 *
 *   open <file>                   name of the status; the module's digest is taken for the expected one
 *   open-own <file>               the same with the digest of this build
 *   call <export> <a> <b>         the result, or TRAPPED; exports: channelPtr, channelId, tick, beacon
 *   memory                        bytes of linear memory
 *   sum                           of all of it
 *   heap <bytes>                  for the next open
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amp_core.h"
#include "amp_sha256.h"

static amp_core core;
static uint8_t module[65536];
#if defined(AMP_WASM3_FRUGAL)
#define HEAP_SIZE AMP_WASM3_FRUGAL_HEAP_SIZE
#else
#define HEAP_SIZE AMP_WASM3_HEAP_SIZE
#endif
static uint64_t heap[HEAP_SIZE / 8];
static size_t heap_size = HEAP_SIZE;
static jmp_buf trapped;

__attribute__((noreturn)) void amp_trap(void *instance)
{
  (void)instance;
  longjmp(trapped, 1);
}

static amp_status open_module(const char *path, int is_own)
{
  static uint8_t digest[32];
  amp_port port;
  FILE *file = fopen(path, "rb");
  if (file == NULL) exit(2);
  memset(&port, 0, sizeof port);
  port.module = module;
  port.module_size = fread(module, 1, sizeof module, file);
  fclose(file);
  amp_sha256(module, port.module_size, digest);
  if (!is_own) port.module_sha256 = digest;
  port.heap = (uint8_t *)heap;
  port.heap_size = heap_size;
  return amp_core_open(&core, &port);
}

static void call(const char *name, uint32_t a, uint32_t b)
{
  uint32_t result = 0;
  if (setjmp(trapped)) {
    puts("TRAPPED");
    return;
  }
  if (strcmp(name, "channelPtr") == 0) result = amp_core_channelPtr(&core, a);
  else if (strcmp(name, "channelId") == 0) result = amp_core_channelId(&core, a);
  else if (strcmp(name, "beacon") == 0) result = amp_core_beacon(&core, a, b);
  else if (strcmp(name, "tick") == 0) result = amp_core_tick(&core);
  else exit(3);
  printf("%lu\n", (unsigned long)result);
}

int main(void)
{
  char line[600], word[20], name[500];
  unsigned long a, b;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "open-own %499s", name) == 1) puts(amp_status_name(open_module(name, 1)));
    else if (sscanf(line, "open %499s", name) == 1) puts(amp_status_name(open_module(name, 0)));
    else if (sscanf(line, "call %19s %lu %lu", word, &a, &b) == 3) call(word, (uint32_t)a, (uint32_t)b);
    else if (sscanf(line, "heap %lu", &a) == 1) printf("%d\n", (heap_size = (size_t)a) <= sizeof heap);
    else if (strcmp(line, "memory\n") == 0) printf("%lu\n", (unsigned long)core.memory_size);
    else if (strcmp(line, "sum\n") == 0) {
      uint32_t sum = 0x811c9dc5u, i;
      for (i = 0; i < core.memory_size; ++i) sum = (sum ^ core.memory[i]) * 0x01000193u;
      printf("%lu\n", (unsigned long)sum);
    } else exit(4);
    fflush(stdout);
  }
  return 0;
}
