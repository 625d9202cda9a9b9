// Preferences of an ESP32 as far as the library needs them, on kv.c.
#include <AmpouleArduino.h>
#include <stdlib.h>
#include <new>

#include "kv.h"
#include "platform.h"

static AmpoulePreferences storage;
static Ampoule device;

unsigned long millis() { return 0; }

bool Preferences::begin(const char *name, bool readOnly, const char *partition)
{
  return strlen(name) <= 15 && !readOnly && strcmp(partition, "ampoule") == 0;
}

static void check(const char *key)
{
  if (strlen(key) > 15) abort();
}

bool Preferences::isKey(const char *key)
{
  uint8_t byte;
  check(key);
  return kv_get(key, &byte, 1) >= 0;
}

size_t Preferences::getBytes(const char *key, void *bytes, size_t max)
{
  uint8_t value[KV_VALUE_MAX];
  check(key);
  if (kv_read_fails()) return 0;
  const long found = kv_get(key, value, sizeof value);
  if (found < 0 || static_cast<size_t>(found) > max) return 0;
  memcpy(bytes, value, static_cast<size_t>(found));
  return static_cast<size_t>(found);
}

size_t Preferences::putBytes(const char *key, const void *bytes, size_t size)
{
  check(key);
  return kv_set(key, bytes, size) == 0 && kv_commit() == 0 ? size : 0;
}

bool Preferences::remove(const char *key)
{
  check(key);
  return kv_erase(key) == 0 && kv_commit() == 0;
}

/* As `ampoule image` has it. */
void platform_provision(const amp_identity *identity)
{
  (void)kv_set("realm", identity->realm, AMP_ID_SIZE);
  (void)kv_set("device", identity->device, AMP_ID_SIZE);
  (void)kv_set("prefix", identity->prefix, strlen(identity->prefix));
  (void)kv_set("key", identity->key, identity->key_size);
}

amp_status platform_open(void)
{
  new (&storage) AmpoulePreferences();
  new (&device) Ampoule();
  if (!storage.begin("ampoule", "ampoule")) return AMP_NOT_STORED;
  return device.begin(storage.identity(), storage.port());
}

amp_context *platform_device(void) { return &device.context; }

int platform_key_is_gone(void)
{
  uint8_t key[AMP_STORAGE_KEY_SIZE];
  return kv_get("key", key, sizeof key) < 0 && kv_get("storage_key", key, sizeof key) == static_cast<long>(sizeof key);
}
