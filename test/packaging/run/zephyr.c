/* Zephyr's settings as far as amp_zephyr.c needs them, on kv.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zephyr/logging/log.h>
#include <zephyr/settings/settings.h>

#include "amp_zephyr.h"
#include "kv.h"
#include "platform.h"

static amp_zephyr zephyr;

void double_log(char level, const char *format, ...)
{
  va_list values;
  if (getenv("VERBOSE") == NULL) return;
  va_start(values, format);
  printf("%c ", level);
  vprintf(format, values);
  puts("");
  va_end(values);
}

/** Every operation is durable when it returns. */
int settings_save_one(const char *name, const void *bytes, size_t size)
{
  if (size > 256) abort();
  return kv_set(name, bytes, size) == 0 && kv_commit() == 0 ? 0 : -5;
}

int settings_delete(const char *name)
{
  uint8_t byte;
  if (kv_get(name, &byte, 1) < 0) return 0;
  return kv_erase(name) == 0 && kv_commit() == 0 ? 0 : -5;
}

static ssize_t read_value(void *arg, void *bytes, size_t size) { return kv_get(arg, bytes, size); }

int settings_load_subtree_direct(const char *subtree, settings_load_direct_cb cb, void *param)
{
  const size_t length = strlen(subtree);
  const char *name;
  size_t i;
  if (kv_read_fails()) return -5;
  for (i = 0; (name = kv_name(i)) != NULL; ++i) {
    uint8_t value[KV_VALUE_MAX];
    char copy[KV_NAME_MAX];
    if (strncmp(name, subtree, length) != 0 || (name[length] != 0 && name[length] != '/')) continue;
    strcpy(copy, name);
    if (cb(name[length] == 0 ? NULL : &name[length + 1], (size_t)kv_get(name, value, sizeof value), read_value, copy,
           param) != 0) {
      break;
    }
  }
  return 0;
}

void platform_provision(const amp_identity *identity)
{
  if (amp_zephyr_provision(identity) != AMP_OK) abort();
}

amp_status platform_open(void) { return amp_zephyr_open(&zephyr, NULL); }

amp_context *platform_device(void) { return &zephyr.device; }

int platform_key_is_gone(void)
{
  uint8_t key[AMP_STORAGE_KEY_SIZE];
  return kv_get("ampoule/key", key, sizeof key) < 0 && kv_get("ampoule/storage_key", key, sizeof key) == sizeof key;
}
