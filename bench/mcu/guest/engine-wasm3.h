/* One module in wasm3, with its heap in one array and a linear memory of exactly the size the module uses. */
#ifndef ENGINE_WASM3_H
#define ENGINE_WASM3_H

#include <stdint.h>

#include "wasm3.h"

/* Loads the module; returns its linear memory. Whatever fails ends the machine. */
uint8_t *wasm3_start(const uint8_t *wasm, uint32_t size, uint32_t memory_size);

IM3Function wasm3_find(const char *name);

/* The result of a call that was one; ends the machine if `failure` says what went wrong. */
uint32_t wasm3_result(M3Result failure, IM3Function function);

/* Paints the heap; then tells how many bytes of it were ever in use. */
void wasm3_paint(void);
uint32_t wasm3_heap(void);

#endif
