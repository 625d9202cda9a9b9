/*
 * QEMU mps2-an385: a Cortex-M3 of Arm's prototyping board (AN385). The machine has no flash that outlives it; its
 * PSRAM can be a file (-machine memory-backend), and this driver lets it behave like flash: words go from one to zero
 * one by one, sectors of 4 KiB to ones, each in its time. Whenever the emulator is killed, the file holds what was
 * reached.
 */
#include "board.h"

#include <string.h>

#define REGISTER(at) (*(volatile uint32_t *)(at))

#define UART_DATA REGISTER(0x40004000u)
#define UART_STATE REGISTER(0x40004004u)
#define UART_CTRL REGISTER(0x40004008u)
#define UART_INTCLEAR REGISTER(0x4000400cu)
#define UART_BAUDDIV REGISTER(0x40004010u)
enum { TX_FULL = 1, RX_FULL = 2, TX_ENABLE = 1, RX_ENABLE = 2, RX_INTERRUPT = 8, RX_CLEAR = 2 };

#define TIMER_CTRL REGISTER(0x40000000u)
#define TIMER_VALUE REGISTER(0x40000004u)
#define TIMER_RELOAD REGISTER(0x40000008u)
#define SYSTICK_CSR REGISTER(0xe000e010u)
#define SYSTICK_RVR REGISTER(0xe000e014u)
#define SYSTICK_CVR REGISTER(0xe000e018u)
#define NVIC_ENABLE REGISTER(0xe000e100u)

enum { CLOCK_MHZ = 25, TICK_MS = 4 };

static volatile uint32_t milliseconds;

/* Vectors. */

extern uint8_t __stack[];
void _start(void);

static void fault(void)
{
  board_exit(99);
}

static void on_tick(void)
{
  milliseconds = milliseconds + TICK_MS;
}

static void on_uart(void)
{
  UART_INTCLEAR = RX_CLEAR;
  while ((UART_STATE & RX_FULL) != 0) board_received((uint8_t)UART_DATA);
}

typedef void (*vector)(void);

/* Takes the place of picolibc's, which has no interrupts of devices. */
extern const vector __interrupt_vector[17];
__attribute__((section(".init"), aligned(128), used)) const vector __interrupt_vector[17] = {
    (vector)(uintptr_t)__stack, _start, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, on_tick,
    on_uart,
};

/* Board. */

void board_init(void)
{
  UART_BAUDDIV = CLOCK_MHZ * 1000000u / 115200u;
  UART_CTRL = TX_ENABLE | RX_ENABLE | RX_INTERRUPT;
  TIMER_RELOAD = 0xffffffffu;
  TIMER_VALUE = 0xffffffffu;
  TIMER_CTRL = 1;
  SYSTICK_RVR = CLOCK_MHZ * 1000u * TICK_MS - 1;
  SYSTICK_CVR = 0;
  SYSTICK_CSR = 7;
  NVIC_ENABLE = 1;
}

void board_put(void *context, uint8_t byte)
{
  (void)context;
  while ((UART_STATE & TX_FULL) != 0) continue;
  UART_DATA = byte;
}

uint32_t board_ms(void)
{
  return milliseconds;
}

void board_sleep(void)
{
  __asm__ volatile("cpsid i" ::: "memory");
  if (board_is_idle()) __asm__ volatile("wfi" ::: "memory");
  __asm__ volatile("cpsie i" ::: "memory");
}

void board_exit(int code)
{
  /* Semihosting: SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit. */
  const uint32_t block[2] = {0x20026u, (uint32_t)code};
  register uint32_t r0 __asm__("r0") = 0x20;
  register const uint32_t *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
  for (;;) continue;
}

/* Flash. */

enum { FLASH = 0x21000000, SECTOR = 4096 };

static void wait_us(uint32_t us)
{
  const uint32_t from = TIMER_VALUE;
  while (from - TIMER_VALUE < us * CLOCK_MHZ) continue;
}

static int flash_read(void *context, uint32_t at, uint8_t *out, uint32_t len)
{
  (void)context;
  memcpy(out, (const void *)at, len);
  return 0;
}

static int flash_program(void *context, uint32_t at, const uint8_t unit[AMP_NOR_UNIT])
{
  uint32_t i, word;
  (void)context;
  for (i = 0; i < AMP_NOR_UNIT; i += 4) {
    memcpy(&word, unit + i, 4);
    wait_us(BOARD_WORD_US);
    REGISTER(at + i) = REGISTER(at + i) & word;
  }
  return 0;
}

static int flash_erase(void *context, uint32_t at)
{
  uint32_t i;
  (void)context;
  for (i = 0; i < SECTOR; i += 4) {
    wait_us(BOARD_ERASE_US / (SECTOR / 4));
    REGISTER(at + i) = 0xffffffffu;
  }
  return 0;
}

const amp_nor_flash board_flash = {NULL, FLASH, SECTOR, flash_read, flash_program, flash_erase};
