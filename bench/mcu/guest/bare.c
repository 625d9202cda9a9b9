/*
 * Seals and opens messages with one engine, each call a region. Lines out:
 *
 *     stack N         bytes that the call used
 *     sealed HEX      the end of the ciphertext, and the tag
 *     heap N          wasm3 only: bytes of its heap that were ever in use
 */
#include <string.h>

#include "guest.h"

enum { KEY = 0, NONCE = 16, AD = 32, AD_SIZE = 8, TEXT = 48, TAG_SIZE = 16 };

/* The first pair of calls is cold: wasm3 compiles in it. */
static const uint32_t lengths[] = {16, 1024, 16};

static uint8_t *area;

#if defined NATIVE

#include "native-ascon.h"

static uint8_t buffer[1280];

static void start(void)
{
  area = buffer;
}

static void seal(uint32_t len)
{
  BEGIN();
  native_seal(area + KEY, area + NONCE, area + AD, AD_SIZE, area + TEXT, len, area + TEXT + len);
  END();
}

static uint32_t open(uint32_t len)
{
  BEGIN();
  uint32_t status = native_open(area + KEY, area + NONCE, area + AD, AD_SIZE, area + TEXT, len, area + TEXT + len);
  END();
  return status;
}

#elif defined AOT

#include "module.h"

static amp_core instance;
static uint32_t at;

__attribute__((noreturn)) void amp_trap(void *which)
{
  (void)which;
  leave("trap");
}

static void start(void)
{
  amp_core_instantiate(&instance);
  at = amp_core_areaPtr(&instance);
  area = instance.memory + at;
}

static void seal(uint32_t len)
{
  BEGIN();
  amp_core_seal(&instance, at + KEY, at + NONCE, at + AD, AD_SIZE, at + TEXT, len, at + TEXT + len);
  END();
}

static uint32_t open(uint32_t len)
{
  BEGIN();
  uint32_t status =
      amp_core_open(&instance, at + KEY, at + NONCE, at + AD, AD_SIZE, at + TEXT, len, at + TEXT + len);
  END();
  return status;
}

#else

#include "engine-wasm3.h"
#include "module.h"

static IM3Function functions[2];
static uint32_t at;

static void start(void)
{
  uint8_t *memory = wasm3_start(module_wasm, sizeof module_wasm, MODULE_MEMORY_SIZE);
  IM3Function area_ptr = wasm3_find("areaPtr");
  at = wasm3_result(m3_Call(area_ptr, 0, NULL), area_ptr);
  area = memory + at;
  functions[0] = wasm3_find("seal");
  functions[1] = wasm3_find("open");
}

static uint32_t call(IM3Function function, uint32_t len)
{
  const uint32_t numbers[] = {at + KEY, at + NONCE, at + AD, AD_SIZE, at + TEXT, len, at + TEXT + len};
  const void *arguments[7];
  for (int i = 0; i < 7; ++i) arguments[i] = &numbers[i];
  BEGIN();
  M3Result failure = m3_Call(function, 7, arguments);
  END();
  return wasm3_result(failure, function);
}

static void seal(uint32_t len)
{
  call(functions[0], len);
}

static uint32_t open(uint32_t len)
{
  return call(functions[1], len);
}

#endif

void guest(void)
{
  start();
  for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
    const uint32_t len = lengths[i];
    for (uint32_t k = 0; k < TEXT + len; ++k) area[k] = (uint8_t)k;
    stack_paint();
    const uint8_t *sp = stack_pointer();
    seal(len);
    put_number("stack", stack_used(sp));
    put_bytes("sealed", area + TEXT + len - 16, 16 + TAG_SIZE);
    stack_paint();
    if (open(len) != 0) leave("refused");
    put_number("stack", stack_used(sp));
    for (uint32_t k = 0; k < TEXT + len; ++k)
      if (area[k] != (uint8_t)k) leave("another text");
  }
#ifdef WASM3
  put_number("heap", wasm3_heap());
#endif
  leave("ok");
}
