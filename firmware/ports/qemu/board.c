/* What both machines share: the ring of received bytes, and picolibc's door to the world. */
#include "board.h"

#include <stdio.h>

/* The stack goes from __stack, of picolibc.ld, down to __stack_low, of scripts/ports.ts. */
extern uint32_t __stack[], __stack_low[];

enum { UNUSED = 0x5aa55aa5, FRAME_WORDS = 32 };

__attribute__((constructor)) static void start(void)
{
  uint32_t *here = (uint32_t *)__builtin_frame_address(0) - FRAME_WORDS;
  while (here > __stack_low) *--here = UNUSED;
  board_init();
}

uint32_t board_stack_used(void)
{
  const uint32_t *at = __stack_low;
  while (at < __stack && *at == UNUSED) ++at;
  return (uint32_t)((const uint8_t *)__stack - (const uint8_t *)at);
}

static volatile uint8_t ring[BOARD_RING];
static volatile uint32_t head, tail;

void board_received(uint8_t byte)
{
  if (head - tail == BOARD_RING) return;
  ring[head % BOARD_RING] = byte;
  head = head + 1;
}

int board_get(void)
{
  int byte;
  if (board_is_idle()) return -1;
  byte = ring[tail % BOARD_RING];
  tail = tail + 1;
  return byte;
}

int board_is_idle(void)
{
  return head == tail;
}

static int put(char byte, FILE *file)
{
  (void)file;
  board_put(NULL, (uint8_t)byte);
  return 0;
}

static FILE line = FDEV_SETUP_STREAM(put, NULL, NULL, _FDEV_SETUP_WRITE);

FILE *const stdin = &line;
FILE *const stdout = &line;
FILE *const stderr = &line;

__attribute__((noreturn)) void _exit(int code)
{
  board_exit(code);
}
