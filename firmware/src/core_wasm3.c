/*
 * Back end wasm3: the module as bytes, run by the interpreter. wasm3 0.5.0 is compiled here as one translation unit,
 * unchanged; scripts/wasm3-source.ts brings its sources. It allocates while a device is opened and never later, from
 * the heap of the port: so amp_open() is the one function that two threads must not be in at a time. All code is compiled
 * then; with AMP_WASM3_FRUGAL only what is called, again and again if need be (core_wasm3_code.h).
 */
#if defined(AMP_WASM3)

#include "core_wasm3.h"

#include <stdlib.h>
#include <string.h>

#include "amp_ascon_p.h"
#include "amp_module_digest.h"
#include "amp_sha256.h"

#if defined(AMP_ASCON_HOSTED) && (defined(AMP_XOODYAK) || defined(AMP_VOLATILE))
#error "the module that imports Ascon-p has no Xoodyak, and has storage"
#endif

__attribute__((noreturn)) void amp_trap(void *instance);

/* ---- A heap that is only filled: the last block can grow or go, others stay. Each has its size before it. ---- */

static struct heap {
  uint8_t *at;
  uint8_t *end;
  /** The last block, or null. */
  uint8_t *last;
  /** For linear memory, which lies in the context. */
  void *room;
  size_t room_size;
} heap;

static void *room_for(size_t size) { return size <= heap.room_size ? heap.room : NULL; }

enum { HEAP_ALIGN = 8 };

static void *heap_take(size_t size)
{
  uint8_t *const block = heap.at + HEAP_ALIGN;
  size = (size + HEAP_ALIGN - 1) & ~(size_t)(HEAP_ALIGN - 1);
  if (heap.at == NULL || (size_t)(heap.end - heap.at) < HEAP_ALIGN || (size_t)(heap.end - block) < size) return NULL;
  memcpy(heap.at, &size, sizeof size);
  memset(block, 0, size);
  heap.at = block + size;
  heap.last = block;
  return block;
}

static void heap_give(void *block)
{
  if (block == NULL || block != heap.last) return;
  heap.at = heap.last - HEAP_ALIGN;
  heap.last = NULL;
}

static void *heap_again(void *block, size_t size)
{
  size_t old = 0;
  void *again;
  if (block == NULL) return heap_take(size);
  memcpy(&old, (uint8_t *)block - HEAP_ALIGN, sizeof old);
  if (size <= old) return block;
  if (block == heap.last) {
    /* In place: what it held is put back over the zeros. */
    size_t i;
    uint8_t *const bytes = (uint8_t *)block;
    if ((size_t)(heap.end - bytes) < size + HEAP_ALIGN) return NULL;
    size = (size + HEAP_ALIGN - 1) & ~(size_t)(HEAP_ALIGN - 1);
    for (i = old; i < size; ++i) bytes[i] = 0;
    memcpy(bytes - HEAP_ALIGN, &size, sizeof size);
    heap.at = bytes + size;
    return block;
  }
  again = heap_take(size);
  if (again != NULL) memcpy(again, block, old);
  return again;
}

/* ---- wasm3 ---- */

#define calloc(count, size) heap_take((size_t)(count) * (size))
#define realloc(block, size) heap_again(block, size)
#define free(block) heap_give((void *)(block))

/* The core has no floating point, and its functions are small. */
#define d_m3HasFloat 0
#define d_m3VerboseErrorMessages 0
#if defined(AMP_WASM3_FRUGAL)
/* Of the one page that loading takes; and what one function can have of constants and names. */
#define d_m3CodePageAlignSize 256
#define d_m3MaxConstantTableSize 48
#define d_m3MaxDuplicateFunctionImpl 2
#endif
#ifndef d_m3CodePageAlignSize
#define d_m3CodePageAlignSize 1024
#endif
#ifndef d_m3MaxFunctionStackHeight
#define d_m3MaxFunctionStackHeight 160
#endif

#define M3_IMPLEMENT_ERROR_STRINGS
#include "wasm3.h"

#include "m3_env.h"
#include "m3_exec_defs.h"
/* memory.grow always answers -1. */
#define ResizeMemory(RUNTIME, PAGES) m3Err_wasmMemoryOverflow
#include "m3_exec.h"
#undef ResizeMemory
#include "m3_bind.c"
#include "m3_code.c"
#include "m3_core.c"
#if defined(AMP_WASM3_FRUGAL)
#include "core_wasm3_code.h"
/* Every call asks for the code of what it calls; constants lie behind the code. */
#define op_Compile op_CallKept
#define m3_CopyMem(from, size) code_constants(o, from, size)
#endif
#include "m3_compile.c"
#undef op_Compile
#undef m3_CopyMem
#if defined(AMP_WASM3_FRUGAL)
#define NewCodePage(lines) room_take(i_runtime, lines)
#endif
#include "m3_emit.c"
/* The one thing that is allocated there in this way is linear memory, once. */
#define m3_Realloc(block, size, old) ((void)(block), (void)(old), room_for(size))
#include "m3_env.c"
#undef m3_Realloc
#undef NewCodePage
#include "m3_exec.c"
#include "m3_function.c"
#include "m3_module.c"
/* It goes through functions for which there was no memory, and nothing is freed here one by one. */
#define m3_FreeModule(module) (void)(module)
#include "m3_parse.c"
#undef m3_FreeModule

#undef calloc
#undef realloc
#undef free

/** wasm3's own stack, in bytes. */
#ifndef AMP_WASM3_STACK
#if defined(AMP_WASM3_FRUGAL)
#define AMP_WASM3_STACK 1792
#else
#define AMP_WASM3_STACK 4096
#endif
#endif

static int is_expected(const amp_port *port)
{
  static const uint8_t of_this_build[32] = AMP_MODULE_SHA256;
  const uint8_t *const expected = port->module_sha256 != NULL ? port->module_sha256 : of_this_build;
  uint8_t digest[32];
  if (port->module == NULL || port->heap == NULL || port->module_size > UINT32_MAX) return 0;
  amp_sha256(port->module, port->module_size, digest);
  return memcmp(digest, expected, sizeof digest) == 0;
}

#if defined(AMP_ASCON_HOSTED)

/** Longest that the standard has. */
enum { ROUNDS_MAX = 12 };

/** What assembly/ampoule.ts declares. Nothing that a module passes makes it reach outside of linear memory, or stay. */
static m3ApiRawFunction(ascon_p)
{
  m3ApiGetArg(uint32_t, state)
  m3ApiGetArg(uint32_t, rounds)
  (void)_ctx;
  if ((uint64_t)state + AMP_ASCON_STATE > m3_GetMemorySize(runtime)) m3ApiTrap(m3Err_trapOutOfBoundsMemoryAccess);
  if (rounds > ROUNDS_MAX) m3ApiTrap(m3Err_trapAbort);
  amp_ascon_p((uint8_t *)m3ApiOffsetToPtr(state), rounds);
  m3ApiSuccess();
}

#endif

/** Gives a module the permutation, if it wants it and there is one. What imports anything else is refused. */
static M3Result link_imports(IM3Module module)
{
  uint32_t i;
#if defined(AMP_ASCON_HOSTED)
  const M3Result result = m3_LinkRawFunction(module, "ampoule", "ascon_p", "v(ii)", ascon_p);
  if (result != m3Err_none && result != m3Err_functionLookupFailed) return result;
#endif
  for (i = 0; i < module->numFuncImports; ++i)
    if (module->functions[i].compiled == NULL) return m3Err_functionImportMissing;
  for (i = 0; i < module->numGlobals; ++i)
    if (module->globals[i].imported) return m3Err_functionImportMissing;
  return module->memoryImported ? m3Err_functionImportMissing : m3Err_none;
}

#if defined(AMP_WASM3_FRUGAL)

static void *find(IM3Runtime runtime, const char *name) { return v_FindFunction(runtime->modules, name); }

/** Every function is compiled once: one that cannot be, or is too large for the room, is refused here and not later. */
static M3Result prepare(IM3Module module)
{
  uint32_t i;
  if (!room_begin(module)) return m3Err_mallocFailed;
  for (i = module->numFuncImports; i < module->numFunctions; ++i)
    if (code_of(&module->functions[i]) == NULL) return m3Err_mallocFailedCodePage;
  return m3Err_none;
}

static M3Result run(IM3Function function, unsigned count, const uint32_t *args, uint32_t *result)
{
  const IM3Runtime runtime = function->module->runtime;
  uint64_t *const stack = (uint64_t *)runtime->stack;
  IM3CodePage page;
  M3Result failure;
  unsigned i;
  if (function->funcType->numArgs != count || function->funcType->numRets != 1) return m3Err_argumentCountMismatch;
  page = code_of(function);
  if (page == NULL) return m3Err_mallocFailedCodePage;
  for (i = 0; i < count; ++i) memcpy(&stack[1 + i], &args[i], sizeof args[i]);
  ++page->info.usageCount;
  failure = (M3Result)Call(page->code, (m3stack_t)stack, runtime->memory.mallocated, d_m3OpDefaultArgs);
  --page->info.usageCount;
  memcpy(result, stack, sizeof *result);
  return failure;
}

#else

static void *find(IM3Runtime runtime, const char *name)
{
  IM3Function function;
  return m3_FindFunction(&function, runtime, name) == m3Err_none ? function : NULL;
}

static M3Result prepare(IM3Module module) { return m3_CompileModule(module); }

static M3Result run(IM3Function function, unsigned count, const uint32_t *args, uint32_t *result)
{
  const void *pointers[6];
  const void *results[1];
  M3Result failure;
  unsigned i;
  results[0] = result;
  for (i = 0; i < count; ++i) pointers[i] = &args[i];
  failure = m3_Call(function, count, pointers);
  return failure != m3Err_none ? failure : m3_GetResults(function, 1, results);
}

#endif

/** Loads the module; null if it cannot be had. */
static IM3Runtime load_module(const amp_port *port)
{
  IM3Environment environment = m3_NewEnvironment();
  IM3Runtime runtime = environment ? m3_NewRuntime(environment, AMP_WASM3_STACK, NULL) : NULL;
  IM3Module module;
  if (runtime == NULL) return NULL;
  runtime->memoryLimit = (AMP_MODULE_MEMORY + 7u) & ~7u;
  if (m3_ParseModule(environment, &module, port->module, (uint32_t)port->module_size) != m3Err_none) return NULL;
  if (m3_LoadModule(runtime, module) != m3Err_none) return NULL;
  if (link_imports(module) != m3Err_none) return NULL;
  return prepare(module) == m3Err_none ? runtime : NULL;
}

amp_status amp_core_open(amp_core *core, const amp_port *port)
{
  static const char *const calls[] = {
#define CALL_NAME(name, count) #name,
    AMP_CORE_CALLS(CALL_NAME)};
  static const char *const places[] = {
#define PLACE_NAME(name) #name,
    AMP_CORE_PLACES(PLACE_NAME)};
  IM3Runtime runtime;
  unsigned i;
#if defined(AMP_ASCON_HOSTED)
  if (!amp_ascon_p_is_right()) return AMP_BAD_PERMUTATION;
#endif
  if (!is_expected(port)) return AMP_BAD_MODULE;
  heap.at = port->heap;
  heap.end = port->heap + port->heap_size;
  heap.last = NULL;
  heap.room = core->room;
  heap.room_size = sizeof core->room;
  memset(core->room, 0, sizeof core->room);
  core->heap = port->heap;
  core->heap_size = port->heap_size;
  runtime = load_module(port);
  if (runtime == NULL) return AMP_BAD_MODULE;
  core->memory = m3_GetMemory(runtime, &core->memory_size, 0);
  for (i = 0; i < AMP_CORE_PLACE_COUNT; ++i) {
    core->functions[0] = find(runtime, places[i]);
    if (core->functions[0] == NULL) return AMP_BAD_MODULE;
    core->places[i] = amp_core_call(core, 0, 0, NULL);
  }
  for (i = 0; i < AMP_CORE_CALL_COUNT; ++i) {
    core->functions[i] = find(runtime, calls[i]);
    if (core->functions[i] == NULL) return AMP_BAD_MODULE;
  }
  return AMP_OK;
}

uint8_t *amp_core_at(amp_core *core, uint32_t at)
{
  /* The largest thing that is looked at from here is a frame. */
  if (at > core->memory_size) amp_trap(core);
  return core->memory + at;
}

uint32_t amp_core_call(amp_core *core, unsigned call, unsigned count, const uint32_t *args)
{
  IM3Function function = (IM3Function)core->functions[call];
  uint32_t result = 0;
  if (run(function, count, args, &result) != m3Err_none) amp_trap(core);
  return result;
}

void amp_core_wipe(amp_core *core)
{
  if (core->heap == NULL) return;
  memset(core->heap, 0, core->heap_size);
  __asm__ __volatile__("" : : "r"(core->heap) : "memory");
}

#else
typedef int amp_core_wasm3_is_not_needed;
#endif
