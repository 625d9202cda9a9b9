/*
 * A device that lives on a serial line: it publishes how it is, takes orders, and obeys the key server.
 *
 * Its identity and its state are in flash (nor.h), put there by scripts/nor-image.ts; its broker is behind
 * `ampoule bridge` (serial.h). With the id 0011223344556677 it publishes on plant/0011223344556677/live and takes
 * orders from plant/0011223344556677/orders. It answers an order with "took <order>"; nothing but a sealed payload
 * leaves it.
 */
#include "ampoule.h"
#include "board.h"
#include "nor.h"
#include "serial.h"

#include <stdio.h>
#include <string.h>

#ifdef AMP_WASM3
#include "amp_module.h"
static uint64_t heap[AMP_WASM3_HEAP_SIZE / 8];
#endif

#ifndef LIVE_MS
#define LIVE_MS 1000u
#endif

enum { TICK_MS = 5000, QUIET_MS = 400, TEXT_MAX = 512, PAYLOAD_MAX = 2048, ID_SIZE = 2 * AMP_ID_SIZE };

static amp_context device;
static amp_nor flash;
static amp_serial_client line;
static char id[ID_SIZE + 1];
static char live_topic[64], orders_topic[64];
static uint8_t text[TEXT_MAX], payload[PAYLOAD_MAX];
static uint8_t line_in[AMP_CONTROL_MAX + AMP_TOPIC_MAX + 16], line_out[4096];

/** Subscriptions and a hello are due at subscribe_at. */
static int must_subscribe;
static uint32_t subscribe_at;
static unsigned long published, taken;

static void log_status(const char *what, amp_status status)
{
  char said[64];
  snprintf(said, sizeof said, "%s %s", what, amp_status_name(status));
  amp_serial_log(&line.writer, said);
}

/** Seals and publishes; returns 0 when it is on its way. */
static int publish(const char *said, size_t len)
{
  amp_sealed sealed;
  amp_status status;
  size_t at;
  if (line.is_open == 0 || amp_serial_room(&line) < sizeof payload / 2) return 1;
  status = amp_protect(&device, live_topic, (const uint8_t *)said, len, payload, sizeof payload, &sealed);
  if (status != AMP_OK) {
    log_status("not published:", status);
    return 1;
  }
  for (at = 0; at < sealed.len; at += sealed.payload_len) {
    if (amp_serial_publish(&line, live_topic, payload + at, sealed.payload_len, AMP_SERIAL_QOS1) != 0) return 1;
  }
  return 0;
}

/** Sends what the key server is to hear. */
static void answer(void)
{
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t reply[AMP_REPLY_SIZE];
  while (amp_serial_room(&line) > sizeof topic + sizeof reply + 16 && line.is_open != 0) {
    if (amp_outgoing(&device, topic, sizeof topic, reply) != AMP_OK) return;
    if (amp_serial_publish(&line, topic, reply, sizeof reply, AMP_SERIAL_QOS1) != 0) return;
  }
}

static void subscribe(void)
{
  char topic[AMP_TOPIC_MAX + 1];
  unsigned i;
  (void)amp_serial_subscribe(&line, orders_topic);
  for (i = 0; i < AMP_SUBSCRIPTIONS; ++i) {
    if (amp_subscription(&device, i, topic, sizeof topic) == AMP_OK) (void)amp_serial_subscribe(&line, topic);
  }
}

static void on_opened(void *context, int is_kept)
{
  (void)context;
  /* What the broker has kept comes first: a beacon read before it would erase the keys of older frames. */
  must_subscribe = 2;
  subscribe_at = board_ms() + (is_kept != 0 ? QUIET_MS : 0);
}

static int on_message(void *context, const char *topic, const uint8_t *bytes, size_t len, int is_retained)
{
  amp_received received;
  const amp_status status = amp_receive(&device, topic, bytes, len, is_retained, text, sizeof text, &received);
  (void)context;
  if (must_subscribe != 0) subscribe_at = board_ms() + QUIET_MS;
  if (status == AMP_NOT_STORED || status == AMP_BUSY) return 1;
  if (status != AMP_OK) {
    if (status != AMP_REFLECTED) log_status("refused:", status);
  } else if (received.kind == AMP_TEXT) {
    char said[TEXT_MAX + 8];
    const int said_len = snprintf(said, sizeof said, "took %.*s", (int)received.len, (const char *)text);
    ++taken;
    (void)publish(said, (size_t)said_len);
  }
  if (received.changed != 0 && must_subscribe == 0) {
    must_subscribe = 1;
    subscribe_at = board_ms();
  }
  answer();
  return 0;
}

/** Tells when more stack was used than ever before. */
static void log_stack(void)
{
  static uint32_t told;
  char said[32];
  if (board_stack_used() <= told) return;
  told = board_stack_used();
  snprintf(said, sizeof said, "stack: %lu bytes", (unsigned long)told);
  amp_serial_log(&line.writer, said);
}

static void live(void)
{
  uint32_t told_at = board_ms(), ticked_at = board_ms();
  for (;;) {
    const uint32_t now = board_ms();
    int byte;
    while ((byte = board_get()) >= 0) amp_serial_client_byte(&line, (uint8_t)byte);
    amp_serial_client_poll(&line, now);
    if (line.is_open != 0 && must_subscribe != 0 && (int32_t)(now - subscribe_at) >= 0) {
      subscribe();
      if (must_subscribe == 2) amp_hello(&device);
      must_subscribe = 0;
      answer();
    }
    if (now - ticked_at >= TICK_MS) {
      ticked_at = now;
      (void)amp_tick(&device);
      answer();
      log_stack();
    }
    if (now - told_at >= LIVE_MS && must_subscribe == 0) {
      char said[64];
      const int said_len = snprintf(said, sizeof said, "live %lu, took %lu", published, taken);
      told_at = now;
      if (publish(said, (size_t)said_len) == 0) ++published;
    }
    board_sleep();
  }
}

int main(void)
{
  static amp_nor_identity identity;
  static const amp_serial_handlers handlers = {NULL, on_opened, on_message};
  amp_identity use;
  amp_port port;
  amp_status status;
  size_t i;
  if (amp_nor_open(&flash, &board_flash) != AMP_NOR_OK) return 2;
  if (amp_nor_identity_load(&flash, &identity, &use) != AMP_NOR_OK) {
    printf("not provisioned\n");
    return 3;
  }
  for (i = 0; i < AMP_ID_SIZE; ++i) snprintf(id + 2 * i, 3, "%02x", identity.device[i]);
  snprintf(live_topic, sizeof live_topic, "plant/%s/live", id);
  snprintf(orders_topic, sizeof orders_topic, "plant/%s/orders", id);
  amp_nor_port(&flash, &port);
#ifdef AMP_WASM3
  port.module = amp_module;
  port.module_size = sizeof amp_module;
  port.heap = (uint8_t *)heap;
  port.heap_size = sizeof heap;
#endif
  status = amp_open(&device, &use, &port);
  memset(identity.key, 0, sizeof identity.key);
  amp_serial_client_init(&line, id, line_in, sizeof line_in, line_out, sizeof line_out, board_put, NULL, &handlers);
  log_status("opened:", status);
  if (status != AMP_OK) return 4;
  live();
}
