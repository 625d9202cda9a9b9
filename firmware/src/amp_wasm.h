/*
 * What a module compiled by scripts/aot.ts needs at run time: memory of a fixed size, checks, traps.
 *
 * Linear memory is an array inside the instance, of exactly the size that the module uses. Every access is checked
 * against it but those that scripts/reach.ts knows to be inside; a check on a constant address folds away. An access
 * outside, a division by zero and an `unreachable` end in amp_trap(), which does not return. Of the C library only
 * memcpy, memmove and memset are used, which GCC and clang want of every target.
 */
#ifndef AMP_WASM_H
#define AMP_WASM_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "amp_wasm.h: little-endian targets of GCC and clang only"
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/** Supplied by whoever uses the instance. The instance must not be entered again; its memory holds keys. */
__attribute__((noreturn)) void amp_trap(void *instance);

/* Set by the compiled module before this file is included: AMP_WASM_INSTANCE, its type, and AMP_WASM_SIZE. */

/*
 * The instance is an argument of each function. Where GCC makes code small it has a register for itself in place of that:
 * an entry keeps what was in there, which is its caller's. AMP_NO_REGISTER leaves it an argument. What GCC is told there
 * not to do makes this code larger (bench/mcu/README.md).
 */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE_SIZE__)
#pragma GCC optimize("no-tree-dominator-opts", "no-caller-saves", "no-move-loop-invariants", "no-schedule-insns2", \
                     "live-range-shrinkage")
#if defined(AMP_NO_REGISTER)
#elif defined(__arm__)
#define AMP_REGISTER "r4"
#elif defined(__riscv)
#define AMP_REGISTER "s1"
#endif
#endif

#if defined(AMP_REGISTER)
__extension__ register AMP_WASM_INSTANCE *instance __asm__(AMP_REGISTER);
#define AMP_SELF void
#define AMP_SELF_
#define AMP_ME
#define AMP_ME_
#define AMP_ENTER(self)                       \
  AMP_WASM_INSTANCE *const before = instance; \
  instance = (self)
#define AMP_LEAVE() instance = before
#else
#define AMP_SELF AMP_WASM_INSTANCE *instance
#define AMP_SELF_ AMP_WASM_INSTANCE *instance,
#define AMP_ME instance
#define AMP_ME_ instance,
#define AMP_ENTER(self) AMP_WASM_INSTANCE *const instance = (self)
#define AMP_LEAVE() ((void)0)
#endif

#define AMP_LIKELY(x) __builtin_expect(!!(x), 1)
#define AMP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define AMP_INLINE __attribute__((always_inline))

/** One place that calls amp_trap(), for all that jump there. */
__attribute__((noreturn, noinline, unused)) static void trap(AMP_SELF) { amp_trap(instance); }

/** Checks that `size` bytes at `at` are inside; size <= AMP_WASM_SIZE is a constant, so that nothing wraps. */
static inline AMP_INLINE void check(AMP_SELF_ u32 at, const u32 size)
{
  if (AMP_UNLIKELY(at > AMP_WASM_SIZE - size)) trap(AMP_ME);
}

/** An address through which later accesses go that have no check of their own. */
static inline AMP_INLINE u32 checked(AMP_SELF_ u32 at, const u32 size)
{
  check(AMP_ME_ at, size);
  return at;
}

/* With AMP_CHECK_ALL every access is checked, for tools that know the use of an address by its check. */
#if defined(AMP_CHECK_ALL)
#define AMP_CHECK_AT(at, size) check(AMP_ME_ at, size)
#else
#define AMP_CHECK_AT(at, size) ((void)0)
#endif

/* name_at() is for what was checked before, or is a constant. offset is one always. */
#define AMP_LOAD(name, stored, wide, result)                                                           \
  static inline AMP_INLINE result name##_at(AMP_SELF_ u32 at, const u32 offset)     \
  {                                                                                                    \
    stored value;                                                                                      \
    AMP_CHECK_AT(at, offset + (u32)sizeof value);                                                      \
    memcpy(&value, &instance->memory[at + offset], sizeof value);                                      \
    return (result)(wide)value;                                                                        \
  }                                                                                                    \
  static inline result name(AMP_SELF_ u32 at, const u32 offset)                     \
  {                                                                                                    \
    check(AMP_ME_ at, offset + (u32)sizeof(stored));                                                 \
    return name##_at(AMP_ME_ at, offset);                                                            \
  }

#define AMP_STORE(name, stored, wide)                                                                  \
  static inline AMP_INLINE void name##_at(AMP_SELF_ u32 at, const u32 offset, wide in) \
  {                                                                                                    \
    const stored value = (stored)in;                                                                   \
    AMP_CHECK_AT(at, offset + (u32)sizeof value);                                                      \
    memcpy(&instance->memory[at + offset], &value, sizeof value);                                      \
  }                                                                                                    \
  static inline void name(AMP_SELF_ u32 at, const u32 offset, wide in)              \
  {                                                                                                    \
    check(AMP_ME_ at, offset + (u32)sizeof(stored));                                                 \
    name##_at(AMP_ME_ at, offset, in);                                                               \
  }

AMP_LOAD(i32_load, u32, u32, u32)
AMP_LOAD(i32_load8_s, s8, s32, u32)
AMP_LOAD(i32_load8_u, u8, u32, u32)
AMP_LOAD(i32_load16_s, s16, s32, u32)
AMP_LOAD(i32_load16_u, u16, u32, u32)
AMP_LOAD(i64_load, u64, u64, u64)
AMP_LOAD(i64_load8_s, s8, s64, u64)
AMP_LOAD(i64_load8_u, u8, u64, u64)
AMP_LOAD(i64_load16_s, s16, s64, u64)
AMP_LOAD(i64_load16_u, u16, u64, u64)
AMP_LOAD(i64_load32_s, s32, s64, u64)
AMP_LOAD(i64_load32_u, u32, u64, u64)
AMP_STORE(i32_store, u32, u32)
AMP_STORE(i32_store8, u8, u32)
AMP_STORE(i32_store16, u16, u32)
AMP_STORE(i64_store, u64, u64)
AMP_STORE(i64_store8, u8, u64)
AMP_STORE(i64_store16, u16, u64)
AMP_STORE(i64_store32, u32, u64)

static inline void memory_fill(AMP_SELF_ u32 at, u32 value, u32 size)
{
  if (AMP_UNLIKELY(at > AMP_WASM_SIZE || size > AMP_WASM_SIZE - at)) trap(AMP_ME);
  memset(&instance->memory[at], (int)(value & 255u), size);
}

static inline void memory_copy(AMP_SELF_ u32 to, u32 from, u32 size)
{
  if (AMP_UNLIKELY(size > AMP_WASM_SIZE || to > AMP_WASM_SIZE - size || from > AMP_WASM_SIZE - size)) {
    trap(AMP_ME);
  }
  memmove(&instance->memory[to], &instance->memory[from], size);
}

static inline u32 I32_ROTL(u32 x, u32 n) { return x << (n & 31) | x >> (-n & 31); }
static inline u32 I32_ROTR(u32 x, u32 n) { return x >> (n & 31) | x << (-n & 31); }
static inline u64 I64_ROTL(u64 x, u64 n) { return x << (n & 63) | x >> (-n & 63); }
static inline u64 I64_ROTR(u64 x, u64 n) { return x >> (n & 63) | x << (-n & 63); }
static inline u32 I32_CLZ(u32 x) { return x ? (u32)__builtin_clz(x) : 32u; }
static inline u32 I32_CTZ(u32 x) { return x ? (u32)__builtin_ctz(x) : 32u; }
static inline u64 I64_CLZ(u64 x) { return x ? (u64)__builtin_clzll(x) : 64u; }
static inline u64 I64_CTZ(u64 x) { return x ? (u64)__builtin_ctzll(x) : 64u; }

/* For functions that have the instance. */
#define DIV_U(x, y) ((AMP_LIKELY(y) ? (void)0 : trap(AMP_ME)), (x) / (y))
#define REM_U(x, y) ((AMP_LIKELY(y) ? (void)0 : trap(AMP_ME)), (x) % (y))
#define UNREACHABLE trap(AMP_ME)

#endif
