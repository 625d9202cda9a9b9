/*
 * What the two emulated machines give a program; m3.c and rv32.c implement it. main() begins with everything up, stdout
 * goes to the serial line, and the emulator ends with what main() returns.
 */
#ifndef BOARD_H
#define BOARD_H

#include "nor.h"

#include <stdint.h>

/** Sends a byte, waiting for its turn; context is not used. */
void board_put(void *context, uint8_t byte);

/** A byte that came, or -1. Up to BOARD_RING bytes wait. */
int board_get(void);

#define BOARD_RING 4096u

/** Milliseconds since the start, in steps of a few. */
uint32_t board_ms(void);

/** Sleeps until a byte came or a few milliseconds are over. */
void board_sleep(void);

/** The flash that outlives the emulator, slow as a real one: 20 us a word, 20 ms a sector. */
extern const amp_nor_flash board_flash;

/** Bytes of stack that main() and what it called have used at most so far. */
uint32_t board_stack_used(void);

/** Ends the emulator with a code of 0 to 127. */
__attribute__((noreturn)) void board_exit(int code);

/* For the implementations. */

/** Serial line, its receive interrupt, and the clock. */
void board_init(void);

/** Takes a byte from the interrupt handler; the last one is lost when the ring is full. */
void board_received(uint8_t byte);

/** 1 while nothing waits. */
int board_is_idle(void);

#define BOARD_WORD_US 20u
#define BOARD_ERASE_US 20000u

#endif
