#include "guest.h"

#include <stddef.h>

extern uint8_t stack_low[];

/* Nothing that runs leaves these bytes behind in bulk. */
#define PAINT 0x5a17c0deu

#ifdef __riscv

#define UART (*(volatile uint8_t *)0x10000000)
#define FINISHER (*(volatile uint32_t *)0x00100000)

__attribute__((naked, section(".start"), used)) void start(void)
{
  __asm volatile(
      ".option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n"
      " la sp, stack_high\n call guest\n");
}

static void put(char c)
{
  UART = (uint8_t)c;
}

static _Noreturn void power_off(void)
{
  FINISHER = 0x5555;
  for (;;) continue;
}

#else

#define UART_DATA (*(volatile uint32_t *)0x40004000)
#define UART_CONTROL (*(volatile uint32_t *)0x40004008)
#define UART_DIVIDER (*(volatile uint32_t *)0x40004010)

extern uint8_t stack_high[];

static void fault(void)
{
  leave("fault");
}

static void start(void)
{
  UART_DIVIDER = 16;
  UART_CONTROL = 1;
  guest();
  leave("returned");
}

__attribute__((section(".start"), used)) static const struct {
  uint8_t *stack;
  void (*vector[15])(void);
} vectors = {stack_high, {start, fault, fault, fault, fault, fault}};

static void put(char c)
{
  UART_DATA = (uint32_t)c;
}

/* Semihosting: SYS_EXIT, ADP_Stopped_ApplicationExit. */
static _Noreturn void power_off(void)
{
  __asm volatile("mov r0, #0x18\n ldr r1, =0x20026\n bkpt 0xab" ::: "r0", "r1", "memory");
  for (;;) continue;
}

#endif

void put_text(const char *text)
{
  while (*text) put(*text++);
}

void put_number(const char *name, uint32_t number)
{
  char digits[11];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) != 0);
  put_text(name);
  put_text(" ");
  put_text(digits + at);
  put_text("\n");
}

void put_bytes(const char *name, const uint8_t *bytes, uint32_t len)
{
  static const char digits[] = "0123456789abcdef";
  put_text(name);
  put_text(" ");
  for (uint32_t i = 0; i < len; ++i) {
    put(digits[bytes[i] >> 4]);
    put(digits[bytes[i] & 15]);
  }
  put_text("\n");
}

_Noreturn void leave(const char *verdict)
{
  put_text(verdict);
  put_text("\n");
  power_off();
}

/* A failed assertion or abort() of a library. */
_Noreturn void _exit(int code);
_Noreturn void _exit(int code)
{
  (void)code;
  leave("exit");
}

/* Above, this function's own frame begins. */
static const uint32_t *paint_end;

__attribute__((noinline)) void stack_paint(void)
{
  uint32_t *word = (uint32_t *)(void *)stack_low;
  uint32_t *const end = (uint32_t *)(uintptr_t)stack_pointer();
  while (word < end) *(volatile uint32_t *)word++ = PAINT;
  paint_end = end;
}

__attribute__((noinline)) uint32_t stack_used(const uint8_t *sp)
{
  const uint32_t *word = (const uint32_t *)(void *)stack_low;
  while (word < paint_end && *word == PAINT) ++word;
  return (uint32_t)(sp - (const uint8_t *)word);
}
