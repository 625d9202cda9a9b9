/* See serial.h and SERIAL.md. */
#include "serial.h"

#include <string.h>

enum { END = 0xc0, ESC = 0xdb, ESC_END = 0xdc, ESC_ESC = 0xdd };
enum { CRC_SIZE = 2, VERSION = 0, OPEN_MS = 1000, REPEAT_MS = 2000 };

static uint16_t crc16(uint16_t crc, uint8_t byte)
{
  int bit;
  crc = (uint16_t)(crc ^ byte);
  for (bit = 0; bit < 8; ++bit) crc = (uint16_t)((crc & 1u) != 0 ? (crc >> 1) ^ 0x8408u : crc >> 1);
  return crc;
}

static uint16_t load16(const uint8_t *bytes)
{
  return (uint16_t)(bytes[0] | (uint16_t)(bytes[1] << 8));
}

static void store16(uint8_t *bytes, size_t value)
{
  bytes[0] = (uint8_t)value;
  bytes[1] = (uint8_t)(value >> 8);
}

/* Packets. */

/** Ends a packet; returns its length without the check, or 0. */
static size_t finish(amp_serial_reader *reader)
{
  const size_t length = reader->length;
  const int is_bad = reader->is_bad != 0 || reader->is_escaped != 0 || length <= CRC_SIZE;
  uint16_t crc = 0xffff;
  size_t i;
  reader->length = 0;
  reader->is_bad = reader->is_escaped = 0;
  if (is_bad) return 0;
  for (i = 0; i < length - CRC_SIZE; ++i) crc = crc16(crc, reader->buffer[i]);
  crc = (uint16_t)~crc;
  return crc == load16(reader->buffer + i) ? i : 0;
}

size_t amp_serial_read(amp_serial_reader *reader, uint8_t byte)
{
  if (byte == END) return finish(reader);
  if (reader->is_escaped != 0) {
    reader->is_escaped = 0;
    if (byte == ESC_END) byte = END;
    else if (byte == ESC_ESC) byte = ESC;
    else reader->is_bad = 1;
  } else if (byte == ESC) {
    reader->is_escaped = 1;
    return 0;
  }
  if (reader->length == reader->size) reader->is_bad = 1;
  else reader->buffer[reader->length++] = byte;
  return 0;
}

static void put_escaped(amp_serial_writer *writer, uint8_t byte)
{
  if (byte == END || byte == ESC) {
    writer->put(writer->context, ESC);
    byte = byte == END ? ESC_END : ESC_ESC;
  }
  writer->put(writer->context, byte);
}

void amp_serial_begin(amp_serial_writer *writer, uint8_t type)
{
  writer->crc = 0xffff;
  writer->put(writer->context, END);
  amp_serial_write(writer, &type, 1);
}

void amp_serial_write(amp_serial_writer *writer, const void *bytes, size_t len)
{
  const uint8_t *at = (const uint8_t *)bytes;
  size_t i;
  for (i = 0; i < len; ++i) {
    writer->crc = crc16(writer->crc, at[i]);
    put_escaped(writer, at[i]);
  }
}

void amp_serial_end(amp_serial_writer *writer)
{
  const uint16_t crc = (uint16_t)~writer->crc;
  put_escaped(writer, (uint8_t)crc);
  put_escaped(writer, (uint8_t)(crc >> 8));
  writer->put(writer->context, END);
}

void amp_serial_log(amp_serial_writer *writer, const char *text)
{
  amp_serial_begin(writer, 'L');
  amp_serial_write(writer, text, strlen(text));
  amp_serial_end(writer);
}

/* The client. */

static void send_open(amp_serial_client *client)
{
  uint8_t head[3];
  head[0] = VERSION;
  store16(head + 1, client->reader.size);
  amp_serial_begin(&client->writer, 'O');
  amp_serial_write(&client->writer, head, sizeof head);
  amp_serial_write(&client->writer, client->id, strlen(client->id));
  amp_serial_end(&client->writer);
  client->sent_at = client->now;
}

/** Sends the first packet of the outbox. */
static void send_first(amp_serial_client *client)
{
  const size_t len = load16(client->outbox);
  amp_serial_begin(&client->writer, client->outbox[2]);
  amp_serial_write(&client->writer, client->outbox + 3, len - 1);
  amp_serial_end(&client->writer);
  client->sent_at = client->now;
}

static void drop_first(amp_serial_client *client)
{
  const size_t len = 2 + (size_t)load16(client->outbox);
  client->outbox_used -= len;
  memmove(client->outbox, client->outbox + len, client->outbox_used);
  if (client->outbox_used > 0) send_first(client);
}

void amp_serial_client_init(amp_serial_client *client, const char *id, uint8_t *in, size_t in_size, uint8_t *out,
                            size_t out_size, amp_serial_put put, void *put_context,
                            const amp_serial_handlers *handlers)
{
  memset(client, 0, sizeof *client);
  client->id = id;
  client->reader.buffer = in;
  client->reader.size = in_size > 0xffff ? 0xffff : in_size;
  client->outbox = out;
  client->outbox_size = out_size;
  client->writer.put = put;
  client->writer.context = put_context;
  client->handlers = *handlers;
  send_open(client);
}

static uint16_t take_seq(amp_serial_client *client)
{
  const uint16_t seq = client->next_seq;
  client->next_seq = (uint16_t)(seq == 0xffff ? 1 : seq + 1);
  return seq;
}

/** Numbers what waits for the bridge that has just opened; subscriptions are made anew. */
static void renumber(amp_serial_client *client)
{
  size_t from = 0, to = 0;
  while (from < client->outbox_used) {
    const size_t len = 2 + (size_t)load16(client->outbox + from);
    if (client->outbox[from + 2] == 'P') {
      memmove(client->outbox + to, client->outbox + from, len);
      store16(client->outbox + to + 3, take_seq(client));
      to += len;
    }
    from += len;
  }
  client->outbox_used = to;
}

static void take_opened(amp_serial_client *client, const uint8_t *body, size_t len)
{
  if (len < 2 || body[0] != VERSION) return;
  client->next_seq = 1;
  client->heard_seq = 0;
  client->is_open = 1;
  renumber(client);
  if (client->outbox_used > 0) send_first(client);
  client->handlers.opened(client->handlers.context, body[1] & 1);
}

static void take_done(amp_serial_client *client, const uint8_t *body, size_t len)
{
  if (len < 3 || client->outbox_used == 0) return;
  if (load16(client->outbox + 3) == load16(body)) drop_first(client);
}

static void send_taken(amp_serial_client *client, uint16_t seq)
{
  uint8_t body[2];
  store16(body, seq);
  amp_serial_begin(&client->writer, 'A');
  amp_serial_write(&client->writer, body, sizeof body);
  amp_serial_end(&client->writer);
}

static void take_message(amp_serial_client *client, const uint8_t *body, size_t len)
{
  char topic[AMP_SERIAL_TOPIC_MAX + 1];
  size_t topic_len;
  uint16_t seq;
  int is_new;
  if (len < 5) return;
  seq = load16(body);
  topic_len = load16(body + 3);
  if (topic_len > len - 5) return;
  is_new = (body[2] & 1) == 0 || seq != client->heard_seq;
  /* A topic that is too long is none of ours; it is taken so that it does not come again. */
  if (is_new && topic_len <= AMP_SERIAL_TOPIC_MAX) {
    const uint8_t *payload = body + 5 + topic_len;
    const int is_retained = body[2] >> 1 & 1;
    memcpy(topic, body + 5, topic_len);
    topic[topic_len] = 0;
    if (client->handlers.message(client->handlers.context, topic, payload, len - 5 - topic_len, is_retained) != 0) return;
  }
  if ((body[2] & 1) == 0) return;
  client->heard_seq = seq;
  send_taken(client, seq);
}

void amp_serial_client_byte(amp_serial_client *client, uint8_t byte)
{
  const size_t length = amp_serial_read(&client->reader, byte);
  const uint8_t *body = client->reader.buffer + 1;
  if (length == 0) return;
  switch (client->reader.buffer[0]) {
    case 'o':
      take_opened(client, body, length - 1);
      break;
    case 'c':
      client->is_open = 0;
      send_open(client);
      break;
    case 'a':
      take_done(client, body, length - 1);
      break;
    case 'm':
      if (client->is_open != 0) take_message(client, body, length - 1);
      break;
    default:
      break;
  }
}

void amp_serial_client_poll(amp_serial_client *client, uint32_t now)
{
  client->now = now;
  if (client->is_open == 0) {
    if ((uint32_t)(now - client->sent_at) >= OPEN_MS) send_open(client);
  } else if (client->outbox_used > 0 && (uint32_t)(now - client->sent_at) >= REPEAT_MS) {
    send_first(client);
  }
}

/** Appends a packet of the three pieces behind type and seq to the outbox; sends it if it is the first. */
static int enqueue(amp_serial_client *client, uint8_t type, const uint8_t *head, size_t head_len, const char *name,
                   size_t name_len, const uint8_t *payload, size_t len) {
  const size_t body = 3 + head_len + name_len + len;
  uint8_t *at = client->outbox + client->outbox_used;
  if (client->is_open == 0) return 2;
  if (body > 0xffff || body + 2 > client->outbox_size - client->outbox_used) return 1;
  store16(at, body);
  at[2] = type;
  store16(at + 3, take_seq(client));
  memcpy(at + 5, head, head_len);
  memcpy(at + 5 + head_len, name, name_len);
  if (len > 0) memcpy(at + 5 + head_len + name_len, payload, len);
  client->outbox_used += body + 2;
  if (at == client->outbox) send_first(client);
  return 0;
}

int amp_serial_publish(amp_serial_client *client, const char *topic, const uint8_t *payload, size_t len, int flags)
{
  const size_t topic_len = strlen(topic);
  uint8_t head[5];
  if (topic_len > AMP_SERIAL_TOPIC_MAX) return 1;
  store16(head, 0);
  head[2] = (uint8_t)(flags & (AMP_SERIAL_QOS1 | AMP_SERIAL_RETAIN));
  store16(head + 3, topic_len);
  if ((flags & AMP_SERIAL_QOS1) != 0) {
    return enqueue(client, 'P', head + 2, 3, topic, topic_len, payload, len);
  }
  if (client->is_open == 0) return 2;
  amp_serial_begin(&client->writer, 'P');
  amp_serial_write(&client->writer, head, sizeof head);
  amp_serial_write(&client->writer, topic, topic_len);
  amp_serial_write(&client->writer, payload, len);
  amp_serial_end(&client->writer);
  return 0;
}

int amp_serial_subscribe(amp_serial_client *client, const char *filter)
{
  const uint8_t qos = 1;
  return enqueue(client, 'S', &qos, 1, filter, strlen(filter), NULL, 0);
}

size_t amp_serial_room(const amp_serial_client *client)
{
  return client->outbox_size - client->outbox_used;
}
