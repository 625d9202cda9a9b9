/*
 * QEMU virt with a 32-bit RISC-V: RV32IMAC without an operating system, as an ESP32-C3 has it. Its second parallel NOR
 * flash (-drive if=pflash,unit=1) is the real thing: two 16-bit CFI chips side by side with Intel's commands, sectors
 * of 256 KiB, kept in a file.
 */
#include "board.h"

#include <string.h>

/* -march=rv32imac names the libraries to link; the assembler wants the control registers apart. */
__asm__(".option arch, +zicsr");

#define REGISTER(at) (*(volatile uint32_t *)(at))
#define BYTE(at) (*(volatile uint8_t *)(at))

#define UART_DATA BYTE(0x10000000u)
#define UART_IER BYTE(0x10000001u)
#define UART_FCR BYTE(0x10000002u)
#define UART_LCR BYTE(0x10000003u)
#define UART_LSR BYTE(0x10000005u)
enum { RX_READY = 1, TX_EMPTY = 0x20 };

enum { UART_IRQ = 10 };
#define PLIC_PRIORITY(irq) REGISTER(0x0c000000u + 4u * (irq))
#define PLIC_ENABLE REGISTER(0x0c002000u)
#define PLIC_THRESHOLD REGISTER(0x0c200000u)
#define PLIC_CLAIM REGISTER(0x0c200004u)

#define MTIMECMP_LOW REGISTER(0x02004000u)
#define MTIMECMP_HIGH REGISTER(0x02004004u)
#define MTIME_LOW REGISTER(0x0200bff8u)
#define MTIME_HIGH REGISTER(0x0200bffcu)

#define TEST REGISTER(0x00100000u)

enum { CLOCK_MHZ = 10, TICK_MS = 4 };
enum { MIE = 8, MTIE = 0x80, MEIE = 0x800 };

static volatile uint32_t milliseconds;

static void next_tick(void)
{
  const uint32_t low = MTIME_LOW + CLOCK_MHZ * 1000u * TICK_MS;
  const uint32_t high = MTIME_HIGH + (low < CLOCK_MHZ * 1000u * TICK_MS ? 1u : 0u);
  MTIMECMP_HIGH = 0xffffffffu;
  MTIMECMP_LOW = low;
  MTIMECMP_HIGH = high;
}

__attribute__((interrupt("machine"), aligned(4))) static void on_trap(void)
{
  uint32_t cause;
  __asm__ volatile("csrr %0, mcause" : "=r"(cause));
  if (cause == 0x80000007u) {
    milliseconds = milliseconds + TICK_MS;
    next_tick();
  } else if (cause == 0x8000000bu) {
    const uint32_t irq = PLIC_CLAIM;
    while ((UART_LSR & RX_READY) != 0) board_received(UART_DATA);
    PLIC_CLAIM = irq;
  } else {
    board_exit(99);
  }
}

void board_init(void)
{
  UART_LCR = 3;
  UART_FCR = 1;
  UART_IER = 1;
  PLIC_PRIORITY(UART_IRQ) = 1;
  PLIC_ENABLE = 1u << UART_IRQ;
  PLIC_THRESHOLD = 0;
  next_tick();
  __asm__ volatile("csrw mtvec, %0" ::"r"(on_trap));
  __asm__ volatile("csrs mie, %0" ::"r"(MTIE | MEIE));
  __asm__ volatile("csrs mstatus, %0" ::"r"(MIE) : "memory");
}

void board_put(void *context, uint8_t byte)
{
  (void)context;
  while ((UART_LSR & TX_EMPTY) == 0) continue;
  UART_DATA = byte;
}

uint32_t board_ms(void)
{
  return milliseconds;
}

void board_sleep(void)
{
  __asm__ volatile("csrc mstatus, %0" ::"r"(MIE) : "memory");
  if (board_is_idle()) __asm__ volatile("wfi" ::: "memory");
  __asm__ volatile("csrs mstatus, %0" ::"r"(MIE) : "memory");
}

void board_exit(int code)
{
  TEST = code == 0 ? 0x5555u : (uint32_t)code << 16 | 0x3333u;
  for (;;) continue;
}

/* Flash. Commands go to both chips at once. */

enum { FLASH = 0x22000000, SECTOR = 0x40000 };
enum {
  READ_ARRAY = 0x00ff00ff,
  CLEAR_STATUS = 0x00500050,
  PROGRAM = 0x00400040,
  ERASE = 0x00200020,
  CONFIRM = 0x00d000d0,
  READY = 0x00800080,
  FAILED = 0x003a003a
};

static void wait_us(uint32_t us)
{
  const uint32_t from = MTIME_LOW;
  while (MTIME_LOW - from < us * CLOCK_MHZ) continue;
}

/** Waits for both chips; back to reading. */
static int finish(uint32_t at)
{
  uint32_t status;
  do {
    status = REGISTER(at);
  } while ((status & READY) != READY);
  REGISTER(at) = CLEAR_STATUS;
  REGISTER(at) = READ_ARRAY;
  return (status & FAILED) == 0 ? 0 : 1;
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
    /* A chip can only clear bits; the emulated one would set them too. */
    word &= REGISTER(at + i);
    wait_us(BOARD_WORD_US);
    REGISTER(at + i) = PROGRAM;
    REGISTER(at + i) = word;
    if (finish(at + i) != 0) return 1;
  }
  return 0;
}

static int flash_erase(void *context, uint32_t at)
{
  (void)context;
  REGISTER(at) = ERASE;
  REGISTER(at) = CONFIRM;
  if (finish(at) != 0) return 1;
  wait_us(BOARD_ERASE_US);
  return 0;
}

const amp_nor_flash board_flash = {NULL, FLASH, SECTOR, flash_read, flash_program, flash_erase};
