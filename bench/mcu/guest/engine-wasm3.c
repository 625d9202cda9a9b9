#include "engine-wasm3.h"

#include "guest.h"
#include "m3_env.h"

/* Bytes of wasm3's own stack, where locals and arguments of the module lie. */
enum { STACK_SIZE = 2048 };

static IM3Runtime runtime;

static void must(M3Result failure)
{
  if (failure) leave(failure);
}

#ifdef HOSTED
#include "amp_ascon_p.h"

static m3ApiRawFunction(ascon_p)
{
  m3ApiGetArg(uint32_t, state)
  m3ApiGetArg(uint32_t, rounds)
  (void)_ctx;
  if ((uint64_t)state + AMP_ASCON_STATE > m3_GetMemorySize(runtime)) m3ApiTrap(m3Err_trapOutOfBoundsMemoryAccess);
  amp_ascon_p((uint8_t *)_mem + state, rounds);
  m3ApiSuccess();
}
#endif

uint8_t *wasm3_start(const uint8_t *wasm, uint32_t size, uint32_t memory_size)
{
  wasm3_paint();
  IM3Environment environment = m3_NewEnvironment();
  runtime = m3_NewRuntime(environment, STACK_SIZE, NULL);
  if (runtime == NULL) leave("no room for the runtime");
  runtime->memoryLimit = memory_size;
  IM3Module module;
  must(m3_ParseModule(environment, &module, wasm, size));
  must(m3_LoadModule(runtime, module));
#ifdef HOSTED
  must(m3_LinkRawFunction(module, "ampoule", "ascon_p", "v(ii)", ascon_p));
#endif
  uint32_t got;
  uint8_t *memory = m3_GetMemory(runtime, &got, 0);
  if (got != memory_size) leave("another size of memory");
  return memory;
}

IM3Function wasm3_find(const char *name)
{
  IM3Function function;
  must(m3_FindFunction(&function, runtime, name));
  return function;
}

uint32_t wasm3_result(M3Result failure, IM3Function function)
{
  must(failure);
  uint32_t result = 0;
  if (m3_GetRetCount(function) == 1) must(m3_GetResultsV(function, &result));
  return result;
}
