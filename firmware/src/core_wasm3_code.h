/*
 * Code of a module in a small room, for AMP_WASM3_FRUGAL: a part of core_wasm3.c, behind wasm3's headers. A function is
 * compiled when it is called; where there is no room for it others go that are not being executed. What the module knows
 * lies in its linear memory and globals: nothing is lost but time.
 *
 * The room is divided in units, and each knows whose it is. wasm3 compiles into pages, several for a function: what one
 * does not need of them is given back. Nothing here is shared by two devices.
 */
#ifndef CORE_WASM3_CODE_H
#define CORE_WASM3_CODE_H

enum {
  UNIT = 64,
  /* Of a page, where so many are free. */
  UNITS_PAGE = 12,
  /* A unit's owner is a byte: the number of a function, and 1; 0: none. */
  FUNCTIONS_MAX = 254,
  /* In a first page wasm3 leaves two fields to us: usageCount says how often the function is being executed, */
  /* sequence whether it was called since it was last looked at. */
  CALLED = 1
};

typedef struct code_room {
  uint8_t *owners;
  uint8_t *units;
  uint32_t unit_count;
  /** Whose code is being compiled. */
  uint8_t owner;
  /** First page of each function, or null. */
  IM3CodePage first[1];
} code_room;

static code_room *room_of(IM3Runtime runtime) { return (code_room *)runtime->userdata; }

/** Makes a room of all that is left of the heap. 0: nothing is, or there are too many functions. */
static int room_begin(IM3Module module)
{
  const IM3Runtime runtime = module->runtime;
  code_room *room;
  size_t left;
  if (module->numFunctions > FUNCTIONS_MAX) return 0;
  room = (code_room *)heap_take(sizeof *room + module->numFunctions * sizeof room->first[0]);
  if (room == NULL) return 0;
  left = (size_t)(heap.end - heap.at);
  room->unit_count = left < UNIT ? 0 : (uint32_t)((left - UNIT) / (UNIT + 1));
  room->units = heap.at;
  room->owners = heap.at + room->unit_count * (size_t)UNIT;
  memset(room->owners, 0, room->unit_count);
  heap.at = heap.end;
  runtime->userdata = room;
  /* What was compiled while the module was loaded stays where it is. */
  runtime->pagesOpen = runtime->pagesFull = runtime->environment->pagesReleased = NULL;
  return 1;
}

static uint32_t units_of(uint32_t lines)
{
  return (uint32_t)((offsetof(M3CodePage, code) + lines * sizeof(code_t) + UNIT - 1) / UNIT);
}

/** A page of so many lines at least for wasm3's compiler, or null. */
static IM3CodePage room_take(IM3Runtime runtime, uint32_t lines)
{
  code_room *const room = room_of(runtime);
  uint32_t at = 0, count = 0, run = 0, i;
  IM3CodePage page;
  if (room == NULL) return NewCodePage(lines);
  for (i = 0; i < room->unit_count; ++i) {
    run = room->owners[i] == 0 ? run + 1 : 0;
    if (run > count) {
      count = run;
      at = i + 1 - run;
    }
  }
  if (count < units_of(lines)) return NULL;
  if (count > UNITS_PAGE && units_of(lines) <= UNITS_PAGE) count = UNITS_PAGE;
  memset(&room->owners[at], room->owner, count);
  page = (IM3CodePage)(void *)(room->units + at * (size_t)UNIT);
  memset(page, 0, sizeof page->info);
  page->info.numLines = (uint32_t)((count * (size_t)UNIT - offsetof(M3CodePage, code)) / sizeof(code_t));
  return page;
}

/** Gives back what pages have beyond their code. */
static void room_trim(code_room *room, IM3CodePage page)
{
  for (; page != NULL; page = page->info.next) {
    const uint32_t at = (uint32_t)((size_t)((uint8_t *)page - room->units) / UNIT);
    const uint32_t used = page->info.lineIndex == 0 ? 0 : units_of(page->info.lineIndex);
    memset(&room->owners[at + used], 0, units_of(page->info.numLines) - used);
  }
}

/** Takes from functions that are not being executed, and were not called since the last time if `is_all` is 0. */
static void room_evict(IM3Module module, int is_all)
{
  code_room *const room = room_of(module->runtime);
  uint32_t i;
  for (i = 0; i < module->numFunctions; ++i) {
    const IM3CodePage page = room->first[i];
    if (page == NULL || page->info.usageCount != 0) continue;
    if (is_all || page->info.sequence != CALLED) room->first[i] = NULL;
    else page->info.sequence = 0;
  }
  for (i = 0; i < room->unit_count; ++i) {
    const uint8_t owner = room->owners[i];
    if (owner != 0 && room->first[owner - 1] == NULL) room->owners[i] = 0;
  }
}

/** First page of a function that is compiled now; or null, and then it may have units that room_evict() takes. */
static IM3CodePage room_compile(IM3Function function)
{
  const IM3Module module = function->module;
  const IM3Runtime runtime = module->runtime;
  code_room *const room = room_of(runtime);
  const uint32_t number = (uint32_t)(function - module->functions);
  room->owner = (uint8_t)(number + 1);
  if (CompileFunction(function) == m3Err_none) {
    const uint8_t *const code = (const uint8_t *)function->compiled;
    room_trim(room, runtime->pagesOpen);
    room_trim(room, runtime->pagesFull);
    room->first[number] = (IM3CodePage)(void *)(uintptr_t)(code - offsetof(M3CodePage, code));
  }
  runtime->pagesOpen = runtime->pagesFull = NULL;
  /* For wasm3 it is never compiled: whoever calls it asks code_of(). */
  function->compiled = NULL;
  return room->first[number];
}

/** First page of a function's code, compiled if need be; null if it does not fit beside what is being executed. */
static IM3CodePage code_of(IM3Function function)
{
  const IM3Module module = function->module;
  IM3CodePage page = room_of(module->runtime)->first[function - module->functions];
  if (page == NULL) page = room_compile(function);
  if (page == NULL) {
    room_evict(module, 0);
    page = room_compile(function);
  }
  if (page == NULL) {
    room_evict(module, 1);
    page = room_compile(function);
  }
  if (page != NULL) page->info.sequence = CALLED;
  return page;
}

/** Keeps the constants of a function behind its code. */
static void *code_constants(IM3Compilation o, const void *from, size_t size)
{
  const uint32_t lines = (uint32_t)((size + sizeof(code_t) - 1) / sizeof(code_t));
  const int is_here = NumFreeLines(o->page) >= lines;
  const IM3CodePage page = is_here ? o->page : AcquireCodePageWithCapacity(o->runtime, lines);
  void *constants;
  if (page == NULL) return NULL;
  constants = &page->code[page->info.lineIndex];
  page->info.lineIndex += lines;
  memcpy(constants, from, size);
  if (!is_here) ReleaseCodePage(o->runtime, page);
  return constants;
}

/** As wasm3's op_Call, of a function that has code only as long as there is room for it. */
d_m3Op(CallKept)
{
  const IM3Function function = immediate(IM3Function);
  const i32 offset = immediate(i32);
  const IM3Memory memory = m3MemInfo(_mem);
  const IM3CodePage page = code_of(function);
  m3ret_t failure = m3Err_mallocFailedCodePage;
  if (page != NULL) {
    ++page->info.usageCount;
    failure = Call(page->code, _sp + offset, _mem, d_m3OpDefaultArgs);
    --page->info.usageCount;
  }
  _mem = memory->mallocated;
  if (failure != m3Err_none) forwardTrap(failure);
  nextOp();
}

#endif
