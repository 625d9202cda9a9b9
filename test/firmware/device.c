/*
 * A device as a process: one command a line on stdin, one answer a line on stdout, bytes in hex, storage in files.
 *
 *   open <dir> <realm> <device> <prefix> <class> <boot nonce>    the key, or the storage key, is in <dir>/key
 *   protect <topic> <text> [will]     STATUS payload...
 *   receive <topic> <payload> <retained>    STATUS kind text generation step counter sender changed
 *   outgoing    STATUS topic payload
 *   subscription <index>    STATUS topic
 *   channel <topic>    STATUS id generation step from to frame_size text_max sender narrow
 *   hello    tick    close    STATUS
 *   cut <n> <bytes>    the n-th write from now on stops after so many bytes, and the process ends with 9
 *   fail <n>    the next n calls of the port fail
 *   room <wanted> <room>    marks from which a blob is asked for, and marks that fit
 *   stay <n>    the next n times marks cannot be cleared
 *   clock    microseconds of processor time so far
 *   zeros    bytes of the context, and of wasm3's heap, that are not zero
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ampoule.h"

#define NOTHING "-"

static amp_context device;
static char dir[512];
static long cut_at = -1, cut_bytes = 0, failures = 0;
static size_t marks_max = 40, marks_room = 48;
static long stays = 0;

static void fatal(const char *what)
{
  perror(what);
  exit(2);
}

static const char *path_of(const char *name)
{
  static char path[600];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return path;
}

/* ---- The port: files ---- */

static int fails(void)
{
  if (failures == 0) return 0;
  --failures;
  return 1;
}

static void write_at(const char *name, int flags, off_t at, const uint8_t *bytes, size_t size)
{
  const int file = open(path_of(name), O_WRONLY | O_CREAT | flags, 0600);
  const int is_cut = cut_at == 0;
  if (cut_at >= 0) --cut_at;
  if (is_cut && (size_t)cut_bytes < size) size = (size_t)cut_bytes;
  if (file < 0 || (size > 0 && pwrite(file, bytes, size, at) < 0)) {
    fatal(name);
  }
  close(file);
  if (is_cut) _exit(9);
}

static const char *slot_name(unsigned slot) { return slot ? "slot1" : "slot0"; }

static int slot_read(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
{
  const int file = open(path_of(slot_name(slot)), O_RDONLY);
  (void)user;
  if (fails()) return -1;
  memset(bytes, 0xff, size);
  if (file < 0) return 0;
  if (pread(file, bytes, size, (off_t)at) < 0) fatal("slot");
  close(file);
  return 0;
}

static int slot_erase(void *user, unsigned slot)
{
  (void)user;
  if (fails()) return -1;
  write_at(slot_name(slot), O_TRUNC, 0, NULL, 0);
  return 0;
}

static int slot_write(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
{
  (void)user;
  if (fails()) return -1;
  write_at(slot_name(slot), 0, (off_t)at, bytes, size);
  return 0;
}

static int slot_done(void *user, unsigned slot)
{
  (void)user, (void)slot;
  return fails();
}

static size_t marks_count(void)
{
  FILE *file = fopen(path_of("marks"), "rb");
  long size;
  if (file == NULL) return 0;
  fseek(file, 0, SEEK_END);
  size = ftell(file);
  fclose(file);
  return (size_t)size / AMP_MARK_SIZE;
}

static int mark_append(void *user, const uint8_t mark[AMP_MARK_SIZE])
{
  (void)user;
  if (fails()) return -1;
  if (marks_count() >= marks_room) return -1;
  /* Over a torn one, if there is one. */
  write_at("marks", 0, (off_t)(marks_count() * AMP_MARK_SIZE), mark, AMP_MARK_SIZE);
  return marks_count() >= marks_max ? AMP_PORT_FULL : 0;
}

static int mark_read(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
{
  const int file = open(path_of("marks"), O_RDONLY);
  ssize_t got = 0;
  (void)user;
  if (fails()) return -1;
  if (file >= 0) {
    got = pread(file, mark, AMP_MARK_SIZE, (off_t)(index * AMP_MARK_SIZE));
    close(file);
  }
  return got == AMP_MARK_SIZE ? 0 : AMP_PORT_END;
}

static int marks_clear(void *user)
{
  (void)user;
  if (fails() || stays-- > 0) return -1;
  stays = 0;
  write_at("marks", O_TRUNC, 0, NULL, 0);
  return 0;
}

static int keep_key(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  char made[600];
  (void)user;
  if (fails()) return -1;
  write_at("key.new", O_TRUNC, 0, storage_key, AMP_STORAGE_KEY_SIZE);
  snprintf(made, sizeof made, "%s", path_of("key.new"));
  return rename(made, path_of("key"));
}

/* ---- Hex ---- */

static size_t from_hex(const char *hex, uint8_t *bytes, size_t max)
{
  size_t len = 0;
  unsigned byte;
  if (strcmp(hex, NOTHING) == 0) return 0;
  for (; sscanf(hex, "%2x", &byte) == 1 && len < max; hex += 2) bytes[len++] = (uint8_t)byte;
  if (*hex) exit(3);
  return len;
}

static void put_hex(const uint8_t *bytes, size_t len)
{
  size_t i;
  putchar(' ');
  if (len == 0) fputs(NOTHING, stdout);
  for (i = 0; i < len; ++i) printf("%02x", bytes[i]);
}

/** After a refusal nothing of it may be left. */
static void check_zero(const void *bytes, size_t size)
{
  size_t i;
  for (i = 0; i < size; ++i) {
    if (((const uint8_t *)bytes)[i]) exit(4);
  }
}

/* ---- Commands ---- */

#ifdef AMP_WASM3
#include "amp_module.h"
#if defined(AMP_WASM3_FRUGAL)
#define HEAP_SIZE AMP_WASM3_FRUGAL_HEAP_SIZE
#else
#define HEAP_SIZE AMP_WASM3_HEAP_SIZE
#endif
static uint64_t heap[HEAP_SIZE / 8];
#endif

static amp_status open_device(char **words)
{
  static uint8_t realm[AMP_ID_SIZE], id[AMP_ID_SIZE], key[AMP_STORAGE_KEY_SIZE], nonce[AMP_BOOT_NONCE_SIZE];
  static char prefix[300];
  amp_identity identity;
  amp_port port;
  FILE *file;
  memset(&port, 0, sizeof port);
  port.kind = (amp_class)atoi(words[5]);
  snprintf(dir, sizeof dir, "%s", words[1]);
  snprintf(prefix, sizeof prefix, "%s", words[4]);
  from_hex(words[2], realm, sizeof realm);
  from_hex(words[3], id, sizeof id);
  if (port.kind == AMP_STORAGE) {
    port.slot_read = slot_read;
    port.slot_erase = slot_erase;
    port.slot_write = slot_write;
    port.slot_done = slot_done;
    port.mark_append = mark_append;
    port.mark_read = mark_read;
    port.marks_clear = marks_clear;
    port.keep_key = keep_key;
  }
  if (from_hex(words[6], nonce, sizeof nonce) > 0) port.boot_nonce = nonce;
#ifdef AMP_WASM3
  port.module = amp_module;
  port.module_size = sizeof amp_module;
  port.heap = (uint8_t *)heap;
  port.heap_size = sizeof heap;
#endif
  file = fopen(path_of("key"), "rb");
  if (file == NULL) fatal("key");
  identity.realm = realm;
  identity.device = id;
  identity.key = key;
  identity.key_size = fread(key, 1, sizeof key, file);
  identity.prefix = prefix;
  fclose(file);
  return amp_open(&device, &identity, &port);
}

static amp_status protect(char **words, uint8_t *in, uint8_t *out, size_t max)
{
  const size_t len = from_hex(words[2], in, max);
  const int is_will = words[3] && strcmp(words[3], "will") == 0;
  amp_sealed sealed;
  size_t at;
  amp_status status;
  memset(&sealed, 0xa5, sizeof sealed);
  status = (is_will ? amp_protect_will : amp_protect)(&device, words[1], in, len, out, max, &sealed);
  printf("%s", amp_status_name(status));
  if (status != AMP_OK) check_zero(out, max);
  if (status != AMP_OK && status != AMP_NO_SPACE) check_zero(&sealed, sizeof sealed);
  if (status == AMP_OK) {
    for (at = 0; at < sealed.len; at += sealed.payload_len) put_hex(out + at, sealed.payload_len);
  }
  return status;
}

static void receive(char **words, uint8_t *in, uint8_t *out, size_t max)
{
  const size_t len = from_hex(words[2], in, max);
  amp_received got;
  const amp_status status = amp_receive(&device, words[1], in, len, atoi(words[3]), out, max, &got);
  printf("%s %d", amp_status_name(status), (int)got.kind);
  put_hex(out, status == AMP_OK ? got.len : 0);
  printf(" %lu %u %u %u %u %u %u", (unsigned long)got.generation, got.step, got.counter, got.sender, got.changed,
         got.part, got.is_last);
  if (status != AMP_OK) check_zero(out, max);
}

static unsigned count_others(void)
{
  const uint8_t *bytes = (const uint8_t *)&device;
  unsigned found = 0;
  size_t i;
  for (i = 0; i < sizeof device; ++i) found += bytes[i] != 0;
#ifdef AMP_WASM3
  bytes = (const uint8_t *)heap;
  for (i = 0; i < sizeof heap; ++i) found += bytes[i] != 0;
#endif
  return found;
}

static void run(char **words)
{
  static uint8_t in[70000], out[70000];
  uint8_t payload[AMP_REPLY_SIZE];
  char topic[AMP_TOPIC_MAX + 1];
  const char *name = words[0];
  amp_status status = AMP_OK;
  if (strcmp(name, "protect") == 0) {
    protect(words, in, out, sizeof out);
  } else if (strcmp(name, "receive") == 0) {
    receive(words, in, out, sizeof out);
  } else if (strcmp(name, "outgoing") == 0) {
    memset(payload, 0xa5, sizeof payload);
    status = amp_outgoing(&device, topic, sizeof topic, payload);
    printf("%s", amp_status_name(status));
    if (status != AMP_OK) check_zero(payload, sizeof payload);
    if (status == AMP_OK) printf(" %s", topic), put_hex(payload, sizeof payload);
  } else if (strcmp(name, "subscription") == 0) {
    status = amp_subscription(&device, (unsigned)atoi(words[1]), topic, sizeof topic);
    printf("%s %s", amp_status_name(status), status == AMP_OK ? topic : NOTHING);
  } else if (strcmp(name, "channel") == 0) {
    amp_channel ch;
    memset(&ch, 0xa5, sizeof ch);
    status = amp_channel_of(&device, words[1], &ch);
    printf("%s", amp_status_name(status));
    if (status != AMP_OK) check_zero(&ch, sizeof ch);
    if (status == AMP_OK) {
      put_hex(ch.id, sizeof ch.id);
      printf(" %lu %u %u %u %u %u %u %u", (unsigned long)ch.generation, ch.step, ch.from, ch.to, ch.frame_size,
             ch.text_max, ch.sender, ch.is_narrow);
    }
  } else {
    if (strcmp(name, "open") == 0) status = open_device(words);
    else if (strcmp(name, "hello") == 0) amp_hello(&device);
    else if (strcmp(name, "tick") == 0) status = amp_tick(&device);
    else if (strcmp(name, "close") == 0) amp_close(&device);
    else if (strcmp(name, "cut") == 0) cut_at = atol(words[1]), cut_bytes = atol(words[2]);
    else if (strcmp(name, "clock") == 0) printf("%.0f ", 1e6 * (double)clock() / CLOCKS_PER_SEC);
    else if (strcmp(name, "zeros") == 0) printf("%u ", count_others());
    else if (strcmp(name, "fail") == 0) failures = atol(words[1]);
    else if (strcmp(name, "room") == 0) marks_max = (size_t)atol(words[1]), marks_room = (size_t)atol(words[2]);
    else if (strcmp(name, "stay") == 0) stays = atol(words[1]);
    else exit(5);
    printf("%s", amp_status_name(status));
  }
  putchar('\n');
  fflush(stdout);
}

int main(void)
{
  static char line[150000];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *words[8] = {0};
    size_t count = 0;
    char *word = strtok(line, " \n");
    for (; word != NULL && count < 7; word = strtok(NULL, " \n")) words[count++] = word;
    if (count > 0) run(words);
  }
  amp_close(&device);
  return 0;
}
