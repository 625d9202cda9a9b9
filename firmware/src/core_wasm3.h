/* The core in wasm3: see amp_core.h. */
#ifndef AMP_CORE_WASM3_H
#define AMP_CORE_WASM3_H

#include "amp_module_digest.h"
#include "ampoule.h"

/** Exports that give an address or size, which is asked for once. */
#define AMP_CORE_PLACES(X) X(buffers)

/** Other exports, with their parameters. */
#define AMP_CORE_CALLS(X)                                                                                     \
  X(channelPtr, 1) X(init, 2) X(discard, 0) X(protect, 6) X(unprotect, 4) X(beacon, 2) X(control, 2) X(answer, 2) \
  X(tick, 0) X(channelId, 1) AMP_CORE_STORAGE_CALLS(X)
#if defined(AMP_VOLATILE)
#define AMP_CORE_STORAGE_CALLS(X)
#else
#define AMP_CORE_STORAGE_CALLS(X)                                                                      \
  X(loadBegin, 0) X(loadNext, 0) X(loadMark, 0) X(loadEnd, 3) X(saveBegin, 0) X(saveNext, 0) X(stored, 0)
#endif

#define AMP_CORE_PLACE_NAME(name) AMP_CORE_PLACE_##name,
enum { AMP_CORE_PLACES(AMP_CORE_PLACE_NAME) AMP_CORE_PLACE_COUNT };
#define AMP_CORE_CALL_NAME(name, count) AMP_CORE_CALL_##name,
enum { AMP_CORE_CALLS(AMP_CORE_CALL_NAME) AMP_CORE_CALL_COUNT };

typedef struct amp_core {
  uint8_t *heap;
  size_t heap_size;
  uint8_t *memory;
  uint32_t memory_size;
  uint32_t places[AMP_CORE_PLACE_COUNT];
  /** wasm3's functions. */
  void *functions[AMP_CORE_CALL_COUNT];
  /** Where memory lies, behind what wasm3 puts before it. */
  uint64_t room[(AMP_MODULE_MEMORY + 7) / 8 + 3];
} amp_core;

/** AMP_OK, or AMP_BAD_MODULE. */
amp_status amp_core_open(amp_core *core, const amp_port *port);

/** Wipes what lies outside of the context. */
void amp_core_wipe(amp_core *core);

/** A place in linear memory; what lies outside is a trap. */
uint8_t *amp_core_at(amp_core *core, uint32_t at);

/** Calls an export with args; a trap in it ends in amp_trap(). */
uint32_t amp_core_call(amp_core *core, unsigned call, unsigned count, const uint32_t *args);

#define AMP_CORE_PLACE_FUNCTION(name) \
  static inline uint32_t amp_core_##name(const amp_core *core) { return core->places[AMP_CORE_PLACE_##name]; }
AMP_CORE_PLACES(AMP_CORE_PLACE_FUNCTION)

#define AMP_CORE_FUNCTION_0(name) \
  static inline uint32_t amp_core_##name(amp_core *core) { return amp_core_call(core, AMP_CORE_CALL_##name, 0, NULL); }
#define AMP_CORE_FUNCTION_1(name)                                   \
  static inline uint32_t amp_core_##name(amp_core *core, uint32_t a) \
  {                                                                 \
    return amp_core_call(core, AMP_CORE_CALL_##name, 1, &a);        \
  }
#define AMP_CORE_FUNCTION_2(name)                                               \
  static inline uint32_t amp_core_##name(amp_core *core, uint32_t a, uint32_t b) \
  {                                                                             \
    const uint32_t args[2] = {a, b};                                            \
    return amp_core_call(core, AMP_CORE_CALL_##name, 2, args);                  \
  }
#define AMP_CORE_FUNCTION_3(name)                                                           \
  static inline uint32_t amp_core_##name(amp_core *core, uint32_t a, uint32_t b, uint32_t c) \
  {                                                                                         \
    const uint32_t args[3] = {a, b, c};                                                     \
    return amp_core_call(core, AMP_CORE_CALL_##name, 3, args);                              \
  }
#define AMP_CORE_FUNCTION_4(name)                                                                       \
  static inline uint32_t amp_core_##name(amp_core *core, uint32_t a, uint32_t b, uint32_t c, uint32_t d) \
  {                                                                                                     \
    const uint32_t args[4] = {a, b, c, d};                                                              \
    return amp_core_call(core, AMP_CORE_CALL_##name, 4, args);                                          \
  }
#define AMP_CORE_FUNCTION_6(name)                                                                                    \
  static inline uint32_t amp_core_##name(amp_core *core, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, \
                                         uint32_t f)                                                                 \
  {                                                                                                                  \
    const uint32_t args[6] = {a, b, c, d, e, f};                                                                     \
    return amp_core_call(core, AMP_CORE_CALL_##name, 6, args);                                                       \
  }
#define AMP_CORE_FUNCTION(name, count) AMP_CORE_FUNCTION_##count(name)
AMP_CORE_CALLS(AMP_CORE_FUNCTION)

#endif
