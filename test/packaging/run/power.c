/*
 * Power cuts: the recorded life is lived with the power lost at the first operation of the store, at the second, and so
 * on, and begun anew after each; then the same with operations that fail. No position may be sealed twice, no message be
 * taken twice, every boot must succeed, and in the end the device must seal and read.
 *
 *   power <script> <seed>
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"
#include "platform.h"
#include "script.h"

enum { HEADER = 6, WIRE_MAX = 4000, LIVES = 4 };

static jmp_buf boot;
static struct {
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t header[HEADER];
} wire[WIRE_MAX];
static size_t on_wire;
/** How often each line was taken as a text. */
static unsigned taken[400];
static unsigned long run_number;

static void fail(const char *what)
{
  printf("run %lu, cut at %lu, failure at %lu, operation %lu: %s\n", run_number, kv_cut_at, kv_fail_at, kv_ops, what);
  exit(1);
}

void power_lost(void) { longjmp(boot, 1); }

static void sealed(const char *topic, const uint8_t *frame)
{
  size_t i;
  for (i = 0; i < on_wire; ++i) {
    if (strcmp(wire[i].topic, topic) == 0 && memcmp(wire[i].header, frame, HEADER) == 0) fail("a position twice");
  }
  if (on_wire == WIRE_MAX) fail("the wire is full");
  strcpy(wire[on_wire].topic, topic);
  memcpy(wire[on_wire++].header, frame, HEADER);
}

static void answer(void)
{
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t reply[AMP_REPLY_SIZE];
  while (amp_outgoing(platform_device(), topic, sizeof topic, reply) == AMP_OK) continue;
}

/** Lives the script; returns 1 if the last line of each kind came true. */
static int live(void)
{
  static uint8_t text[AMP_FRAME_MAX], payload[AMP_FRAME_MAX];
  int can_seal = 0;
  size_t i;
  amp_status status = platform_open();
  if (status != AMP_OK) {
    if (kv_fail_at != 0 && kv_ops >= kv_fail_at && status == AMP_NOT_STORED) return 0;
    fail(amp_status_name(status));
  }
  amp_hello(platform_device());
  answer();
  for (i = 0; i < script_lines; ++i) {
    const line *l = &script[i];
    if (l->verb == 's') {
      amp_sealed out;
      status = amp_protect(platform_device(), l->topic, l->bytes, l->size, payload, sizeof payload, &out);
      can_seal = status == AMP_OK;
      if (can_seal) sealed(l->topic, payload);
    } else {
      amp_received received;
      status = amp_receive(platform_device(), l->topic, l->bytes, l->size, 0, text, sizeof text, &received);
      if (status == AMP_OK && received.kind == AMP_TEXT && ++taken[i] > 1) fail("a message twice");
    }
    answer();
  }
  return can_seal;
}

static void begin(uint32_t seed)
{
  kv_reset(seed);
  platform_provision(&script_identity);
  if (kv_commit() != 0) fail("provisioning");
  kv_ops = 0;
  on_wire = 0;
  memset(taken, 0, sizeof taken);
}

/** Texts that nobody got. */
static unsigned long lost(unsigned long all)
{
  size_t i;
  for (i = 0; i < script_lines; ++i) all -= taken[i];
  return all;
}

int main(int argc, char **argv)
{
  volatile unsigned long operations, reads, texts = 0, cut, most = 0;
  volatile unsigned cuts;
  volatile uint32_t seed;
  size_t i;
  if (argc != 3) return 2;
  seed = (uint32_t)strtoul(argv[2], NULL, 10);
  script_read(argv[1]);

  begin(seed);
  if (!live()) fail("the device cannot seal");
  if (!platform_key_is_gone()) fail("K(0) is still there");
  operations = kv_ops;
  for (i = 0; i < script_lines; ++i) texts += taken[i];
  if (texts == 0) fail("no text was read");

  for (cut = 1; cut <= operations; ++cut) {
    ++run_number;
    begin(seed + (uint32_t)cut);
    cuts = 0;
    kv_cut_at = cut;
    /* Each boot after the first may lose power again, soon. */
    if (setjmp(boot) != 0) kv_cut_at = ++cuts < LIVES && kv_random(2) ? kv_ops + 1 + kv_random(16) : 0;
    if (!live()) fail("the device cannot seal any more");
    if (cuts == 0) fail("there was no cut");
    if (!platform_key_is_gone()) fail("K(0) is still there");
    /* With marks of one message each, a cut costs what was under way, and a lost write one more. */
    if (lost(texts) > 3 * cuts) fail("messages were lost");
    if (lost(texts) > most) most = lost(texts);
  }

  for (cut = 1; cut <= operations; ++cut) {
    ++run_number;
    begin(seed);
    kv_fail_at = cut;
    (void)live();
    kv_fail_at = 0;
    if (!live()) fail("the device cannot seal after a failure");
  }
  /* A read that fails may pass: nobody may take it for a device that has no identity, or has lost its state. */
  kv_reads = 0;
  if (platform_open() != AMP_OK) fail("the device does not open");
  reads = kv_reads;
  for (cut = 1; cut <= reads; ++cut) {
    amp_status status;
    ++run_number;
    kv_reads = 0;
    kv_read_fail_at = cut;
    status = platform_open();
    if (status != AMP_OK && status != AMP_NOT_STORED && status != AMP_BAD_ARGUMENT) fail(amp_status_name(status));
  }
  kv_read_fail_at = 0;
  if (platform_open() != AMP_OK) fail("the device does not open any more");
  printf("%lu operations, %lu texts, at most %lu lost, %lu reads\n", operations, texts, most, reads);
  return 0;
}
