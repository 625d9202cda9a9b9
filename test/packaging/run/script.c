#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

line script[400];
size_t script_lines;
amp_identity script_identity;

static uint8_t realm[AMP_ID_SIZE], device[AMP_ID_SIZE], key[AMP_KEY_SIZE];
static char prefix[AMP_TOPIC_MAX + 1];

static size_t unhex(const char *text, uint8_t *bytes, size_t max)
{
  size_t size = 0;
  unsigned byte;
  for (; sscanf(text, "%2x", &byte) == 1; text += 2) {
    if (size == max) exit(2);
    bytes[size++] = (uint8_t)byte;
  }
  return size;
}

void script_read(const char *path)
{
  static char words[4][2 * AMP_CONTROL_MAX + 16];
  static char text[4 * AMP_CONTROL_MAX];
  FILE *file = fopen(path, "r");
  if (file == NULL) exit(2);
  while (fgets(text, sizeof text, file) != NULL) {
    line *l = &script[script_lines];
    if (sscanf(text, "identity %s %s %s %256s", words[0], words[1], words[2], prefix) == 4) {
      unhex(words[0], realm, sizeof realm);
      unhex(words[1], device, sizeof device);
      unhex(words[2], key, sizeof key);
      continue;
    }
    if (script_lines == sizeof script / sizeof script[0]) exit(2);
    if (sscanf(text, "%15s %256s %s", words[0], l->topic, words[1]) != 3) exit(2);
    l->verb = words[0][0];
    l->size = unhex(words[1], l->bytes, sizeof l->bytes);
    ++script_lines;
  }
  fclose(file);
  script_identity.realm = realm;
  script_identity.device = device;
  script_identity.key = key;
  script_identity.key_size = sizeof key;
  script_identity.prefix = prefix;
}
