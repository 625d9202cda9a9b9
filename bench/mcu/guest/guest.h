/* What the programs on the emulated machines share: markers for count.c, a line out, the stack, the end. */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

#ifdef __riscv
#define BEGIN() __asm volatile("slti x0, x0, 1" ::: "memory")
#define END() __asm volatile("slti x0, x0, 2" ::: "memory")
#else
#define BEGIN() __asm volatile(".hword 0xBF80" ::: "memory")
#define END() __asm volatile(".hword 0xBF90" ::: "memory")
#endif

/* The program proper. */
void guest(void);

/* Bytes and numbers to the machine's first serial line. */
void put_text(const char *text);
void put_number(const char *name, uint32_t number);
void put_bytes(const char *name, const uint8_t *bytes, uint32_t len);

/* Ends the machine. A text other than "ok" is a failure. */
_Noreturn void leave(const char *verdict);

/* Paints what is free of the stack. */
void stack_paint(void);

/* Bytes that calls have used below the stack pointer sp since then. */
uint32_t stack_used(const uint8_t *sp);

static inline const uint8_t *stack_pointer(void)
{
  const uint8_t *sp;
#ifdef __riscv
  __asm volatile("mv %0, sp" : "=r"(sp));
#else
  __asm volatile("mov %0, sp" : "=r"(sp));
#endif
  return sp;
}

#endif
