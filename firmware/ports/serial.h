/*
 * The serial line to `ampoule bridge`: packets (SERIAL.md), and the client of them that a device needs. No clock, no
 * heap, no UART: bytes and milliseconds come in, bytes go out by a function.
 */
#ifndef AMP_SERIAL_H
#define AMP_SERIAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest topic, client id included, of the client below. */
#define AMP_SERIAL_TOPIC_MAX 255u

/** Reader of packets; buffer and size are set by the caller, everything else is zero at first. */
typedef struct amp_serial_reader {
  uint8_t *buffer;
  size_t size;
  size_t length;
  uint8_t is_escaped;
  /** The packet under way is too long or wrongly escaped. */
  uint8_t is_bad;
} amp_serial_reader;

/**
 * Takes one byte from the line.
 *
 * Returns the length of the packet that it completes, type and body at reader->buffer, or 0. The packet stays until the
 * next call. Time depends on the bytes of the line alone.
 */
size_t amp_serial_read(amp_serial_reader *reader, uint8_t byte);

/** Sends one byte; waits while the line is busy. */
typedef void (*amp_serial_put)(void *context, uint8_t byte);

/** Writer of one packet at a time: begin, any number of pieces, end. */
typedef struct amp_serial_writer {
  amp_serial_put put;
  void *context;
  uint16_t crc;
} amp_serial_writer;

void amp_serial_begin(amp_serial_writer *writer, uint8_t type);
void amp_serial_write(amp_serial_writer *writer, const void *bytes, size_t len);
void amp_serial_end(amp_serial_writer *writer);

/** Sends a line for people, `len` bytes at most 255. No key, no text of a channel. */
void amp_serial_log(amp_serial_writer *writer, const char *text);

/* The client. */

typedef struct amp_serial_client amp_serial_client;

typedef struct amp_serial_handlers {
  void *context;
  /** The bridge is at the broker: subscribe now. is_kept: the broker kept the session, and its queue comes first. */
  void (*opened)(void *context, int is_kept);
  /**
   * A message came. `topic` ends with zero; both stay until this returns. Returns 0 when it is dealt with and stored, or
   * anything else to get it again. It may call amp_serial_publish().
   */
  int (*message)(void *context, const char *topic, const uint8_t *payload, size_t len, int is_retained);
} amp_serial_handlers;

struct amp_serial_client {
  amp_serial_reader reader;
  amp_serial_writer writer;
  amp_serial_handlers handlers;
  const char *id;
  /** Packets that wait for their answer, whole, one after the other, each behind its length(2). */
  uint8_t *outbox;
  size_t outbox_size, outbox_used;
  uint32_t sent_at, now;
  uint16_t next_seq, heard_seq;
  uint8_t is_open;
};

enum { AMP_SERIAL_QOS1 = 1, AMP_SERIAL_RETAIN = 2 };

/**
 * Begins. `id` stays in use, 1 to 64 bytes. `in` holds the longest packet taken, `out` the packets not yet answered;
 * both stay in use.
 */
void amp_serial_client_init(amp_serial_client *client, const char *id, uint8_t *in, size_t in_size, uint8_t *out,
                            size_t out_size, amp_serial_put put, void *put_context,
                            const amp_serial_handlers *handlers);

/** Takes a byte from the line; calls handlers. */
void amp_serial_client_byte(amp_serial_client *client, uint8_t byte);

/** To be called often; `now` are milliseconds of any clock that goes up and may wrap. Sends what is due. */
void amp_serial_client_poll(amp_serial_client *client, uint32_t now);

/**
 * Sends a payload; with AMP_SERIAL_QOS1 it is kept and repeated until the broker has it.
 *
 * Returns 0, or 1 if there is no room in the outbox now, or 2 if the line is not open.
 */
int amp_serial_publish(amp_serial_client *client, const char *topic, const uint8_t *payload, size_t len, int flags);

/** Bytes free in the outbox; a publish with QoS 1 takes 10 and topic and payload. */
size_t amp_serial_room(const amp_serial_client *client);

/** Subscribes with QoS 1. Returns as amp_serial_publish(). */
int amp_serial_subscribe(amp_serial_client *client, const char *filter);

#ifdef __cplusplus
}
#endif

#endif
