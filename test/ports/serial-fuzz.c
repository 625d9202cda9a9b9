/* Gives a client packets of every type and any content, and bytes that are none; a sanitizer watches. */
#include "../../firmware/ports/serial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state = 1;
static amp_serial_client client;
static unsigned long messages, opened, sum;

static uint32_t random32(void)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static void ignore(void *context, uint8_t byte)
{
  (void)context;
  sum += byte;
}

static void to_client(void *context, uint8_t byte)
{
  (void)context;
  amp_serial_client_byte(&client, byte);
}

static void on_opened(void *context, int is_kept)
{
  (void)context;
  opened += 1 + (unsigned long)is_kept;
  sum += (unsigned long)amp_serial_subscribe(&client, "a/filter");
}

static int on_message(void *context, const char *topic, const uint8_t *payload, size_t len, int is_retained)
{
  size_t i;
  (void)context;
  ++messages;
  sum += strlen(topic) + (unsigned long)is_retained;
  for (i = 0; i < len; ++i) sum += payload[i];
  sum += (unsigned long)amp_serial_publish(&client, "a/topic", payload, len, (int)(random32() & 3));
  return random32() % 4 == 0;
}

int main(void)
{
  static const amp_serial_handlers handlers = {NULL, on_opened, on_message};
  static const char types[] = "oommmmcaOx";
  amp_serial_writer writer = {to_client, NULL, 0};
  /* On the heap, where one byte too far is seen. */
  uint8_t *in = (uint8_t *)malloc(400), *out = (uint8_t *)malloc(500), body[450];
  unsigned long i;
  if (in == NULL || out == NULL) return 2;
  amp_serial_client_init(&client, "device", in, 400, out, 500, ignore, NULL, &handlers);
  for (i = 0; i < 300000; ++i) {
    const size_t len = random32() % (random32() % 8 == 0 ? sizeof body : 40);
    size_t at;
    for (at = 0; at < len; ++at) body[at] = (uint8_t)(random32() % (at < 5 ? 8 : 256));
    amp_serial_begin(&writer, (uint8_t)types[random32() % 10]);
    amp_serial_write(&writer, body, len);
    amp_serial_end(&writer);
    for (at = random32() % 4; at > 0; --at) amp_serial_client_byte(&client, (uint8_t)random32());
    amp_serial_client_poll(&client, (uint32_t)i * 97);
  }
  free(in);
  free(out);
  printf("serial: %lu opened, %lu messages, %lu\n", opened, messages, sum % 10);
  return opened > 1000 && messages > 1000 ? 0 : 1;
}
