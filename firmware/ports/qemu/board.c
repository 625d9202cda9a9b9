/* What both machines share: the ring of received bytes, and picolibc's door to the world. */
#include "board.h"

#include <stdio.h>

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
