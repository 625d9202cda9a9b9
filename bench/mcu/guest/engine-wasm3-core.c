/* The file of wasm3 that has its heap, and a look into it. */
#include "m3_core.c"

#include "engine-wasm3.h"

/* What no allocation leaves behind: wasm3 zeroes what it allocates. */
enum { PAINT = 0x5a };

void wasm3_paint(void)
{
  memset(fixedHeap, PAINT, sizeof fixedHeap);
}

uint32_t wasm3_heap(void)
{
  uint32_t used = sizeof fixedHeap;
  while (used != 0 && fixedHeap[used - 1] == PAINT) --used;
  return used;
}
