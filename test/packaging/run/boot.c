/*
 * Boots a device from the CSV that `ampoule image` wrote for Espressif's generator, and tells its command topic.
 *
 *   boot <nvs.csv> [module]    the module in the partition wasm
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"
#include "platform.h"

void power_lost(void) { abort(); }

extern const uint8_t *double_module;
extern size_t double_module_size;

static void store(const char *name, const char *encoding, const char *value)
{
  uint8_t bytes[KV_VALUE_MAX];
  size_t size = 0;
  unsigned byte;
  uint32_t number;
  if (strcmp(encoding, "u32") == 0) {
    number = (uint32_t)strtoul(value, NULL, 10);
    (void)kv_set(name, &number, sizeof number);
  } else if (strcmp(encoding, "hex2bin") == 0) {
    for (; sscanf(value, "%2x", &byte) == 1; value += 2) bytes[size++] = (uint8_t)byte;
    (void)kv_set(name, bytes, size);
  } else {
    printf("unknown encoding %s\n", encoding);
    exit(1);
  }
}

static void read_module(const char *path)
{
  static uint8_t bytes[0x10000];
  FILE *file = fopen(path, "rb");
  if (file == NULL) exit(2);
  memset(bytes, 0xFF, sizeof bytes);
  if (fread(bytes, 1, sizeof bytes, file) == 0) exit(2);
  fclose(file);
  double_module = bytes;
  double_module_size = sizeof bytes;
}

int main(int argc, char **argv)
{
  static char text[2 * KV_VALUE_MAX];
  char name[32], encoding[16], value[2 * KV_VALUE_MAX], topic[AMP_TOPIC_MAX + 1];
  amp_status status;
  FILE *file;
  if (argc < 2 || (file = fopen(argv[1], "r")) == NULL) return 2;
  if (argc > 2) read_module(argv[2]);
  kv_reset(1);
  while (fgets(text, sizeof text, file) != NULL) {
    if (sscanf(text, "%31[^,],data,%15[^,],%4095s", name, encoding, value) == 3) store(name, encoding, value);
  }
  fclose(file);
  status = platform_open();
  if (status == AMP_OK) status = amp_subscription(platform_device(), 0, topic, sizeof topic);
  printf("%s\n", status == AMP_OK ? topic : amp_status_name(status));
  return 0;
}
