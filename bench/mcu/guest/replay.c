/*
 * Does again what a device did: every call of the trace is a region, its result and the frame buffer are compared.
 * Lines out:
 *
 *     instance N      AOT: globals and memory of the module
 *     stack N         for each call: bytes that it used
 *     heap N          for each call in wasm3: bytes of its heap that were ever in use
 *
 * trace.h has the calls, and how the compiled module is called: CALLS(X) with X(number, call).
 */
#include <string.h>

#include "guest.h"
#include "module.h"
#include "trace.h"

enum { FRAME_MAX = 1024, ARGUMENTS_MAX = 6 };

static uint8_t *memory;

#ifdef AOT

static amp_core instance;

__attribute__((noreturn)) void amp_trap(void *which)
{
  (void)which;
  leave("trap");
}

static void start(void)
{
  put_number("instance", sizeof instance);
  amp_core_instantiate(&instance);
  memory = instance.memory;
}

#elif defined FIRMWARE

#include "core_wasm3.h"

static amp_core instance;
static uint64_t heap[HEAP_SIZE / 8];

__attribute__((noreturn)) void amp_trap(void *which)
{
  (void)which;
  leave("trap");
}

static void start(void)
{
  static const uint8_t digest[32] = MODULE_SHA256;
  amp_port port;
  memset(&port, 0, sizeof port);
  port.module = module_wasm;
  port.module_size = sizeof module_wasm;
  port.module_sha256 = digest;
  port.heap = (uint8_t *)heap;
  port.heap_size = sizeof heap;
  stack_paint();
  const uint8_t *sp = stack_pointer();
  BEGIN();
  const amp_status status = amp_core_open(&instance, &port);
  END();
  put_number("open-stack", stack_used(sp));
  if (status != AMP_OK) leave("no room, or another module");
  memory = amp_core_at(&instance, 0);
}

#else

#include "engine-wasm3.h"

static IM3Function functions[sizeof names / sizeof names[0]];

static void start(void)
{
  memory = wasm3_start(module_wasm, sizeof module_wasm, MODULE_MEMORY_SIZE);
}

static uint32_t call(unsigned number, const uint32_t *a, unsigned count)
{
  const void *arguments[ARGUMENTS_MAX];
  for (unsigned i = 0; i < count; ++i) arguments[i] = &a[i];
  /* Found when first called, as wasm3 compiles what it finds. */
  if (functions[number] == NULL) functions[number] = wasm3_find(names[number]);
  BEGIN();
  M3Result failure = m3_Call(functions[number], count, arguments);
  END();
  return wasm3_result(failure, functions[number]);
}

#endif

#if defined AOT || defined FIRMWARE

static uint32_t call(unsigned number, const uint32_t *a, unsigned count)
{
  uint32_t result = 0;
  (void)count;
  switch (number) {
#define ONE(NUMBER, CALL) \
  case NUMBER:            \
    BEGIN();              \
    result = CALL;        \
    END();                \
    break;
    CALLS(ONE)
  }
  return result;
}

#endif

static const uint8_t *at = trace;

static uint32_t u32(void)
{
  const uint32_t value = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
  at += 4;
  return value;
}

static uint32_t u16(void)
{
  const uint32_t value = at[0] | (uint32_t)at[1] << 8;
  at += 2;
  return value;
}

static void write(void)
{
  const uint32_t to = u16();
  const uint32_t len = u16();
  memcpy(memory + to, at, len);
  at += len;
}

static uint32_t checksum(const uint8_t *bytes)
{
  uint32_t sum = 0;
  for (unsigned i = 0; i < FRAME_MAX; ++i) sum = sum * 31 + bytes[i];
  return sum;
}

void guest(void)
{
  start();
  while (at < trace + sizeof trace) {
    uint32_t arguments[ARGUMENTS_MAX];
    const unsigned number = *at++;
    for (unsigned writes = *at++; writes != 0; --writes) write();
    const unsigned count = *at++;
    for (unsigned i = 0; i < count; ++i) arguments[i] = u32();
    stack_paint();
    const uint8_t *sp = stack_pointer();
    const uint32_t result = call(number, arguments, count);
    put_number("stack", stack_used(sp));
#ifdef WASM3
    put_number("heap", wasm3_heap());
#endif
    if (result != u32()) leave("another result");
    if (checksum(memory + FRAME_AT) != u32()) leave("another frame");
  }
  leave("ok");
}
