/* Reads a serial line on stdin and writes each packet it finds to stdout, as a packet again. */
#include "../../firmware/ports/serial.h"

#include <stdio.h>

static void put(void *context, uint8_t byte)
{
  (void)context;
  putchar(byte);
}

int main(void)
{
  static uint8_t buffer[600];
  amp_serial_reader reader = {buffer, sizeof buffer, 0, 0, 0};
  amp_serial_writer writer = {put, NULL, 0};
  int byte;
  while ((byte = getchar()) != EOF) {
    const size_t length = amp_serial_read(&reader, (uint8_t)byte);
    if (length == 0) continue;
    amp_serial_begin(&writer, buffer[0]);
    amp_serial_write(&writer, buffer + 1, length - 1);
    amp_serial_end(&writer);
  }
  return 0;
}
