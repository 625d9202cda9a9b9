/* ESP-IDF as far as amp_esp.c needs it, on kv.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amp_esp.h"
#include "esp_log.h"
#include "esp_partition.h"
#include "kv.h"
#include "nvs_flash.h"
#include "platform.h"

static amp_esp esp;

const char *esp_err_to_name(esp_err_t code) { return code == ESP_OK ? "ESP_OK" : "an error"; }

void double_log(char level, const char *tag, const char *format, ...)
{
  va_list values;
  if (getenv("VERBOSE") == NULL) return;
  va_start(values, format);
  printf("%c %s: ", level, tag);
  vprintf(format, values);
  puts("");
  va_end(values);
}

SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t *memory)
{
  memory->taken = 0;
  return (SemaphoreHandle_t)memory;
}

/* One thread: what is taken twice would wait for ever. */
BaseType_t xSemaphoreTake(SemaphoreHandle_t mutex, TickType_t ticks)
{
  (void)ticks;
  if (((StaticSemaphore_t *)mutex)->taken++) abort();
  return pdTRUE;
}

BaseType_t xSemaphoreGive(SemaphoreHandle_t mutex)
{
  if (--((StaticSemaphore_t *)mutex)->taken) abort();
  return pdTRUE;
}

esp_err_t nvs_flash_init_partition(const char *label)
{
  return strcmp(label, CONFIG_AMP_NVS_PARTITION) == 0 ? ESP_OK : ESP_ERR_NVS_NOT_FOUND;
}

esp_err_t nvs_open_from_partition(const char *label, const char *name, nvs_open_mode_t mode, nvs_handle_t *handle)
{
  if (nvs_flash_init_partition(label) != ESP_OK || strcmp(name, "ampoule") != 0) return ESP_ERR_NVS_NOT_FOUND;
  if (mode != NVS_READWRITE) return ESP_FAIL;
  *handle = 7;
  return ESP_OK;
}

static void check(nvs_handle_t handle, const char *key)
{
  if (handle != 7 || strlen(key) > 15 || key[0] == 0) abort();
}

esp_err_t nvs_get_u32(nvs_handle_t handle, const char *key, uint32_t *value)
{
  check(handle, key);
  return kv_get(key, value, sizeof *value) == sizeof *value ? ESP_OK : ESP_ERR_NVS_NOT_FOUND;
}

esp_err_t nvs_get_blob(nvs_handle_t handle, const char *key, void *bytes, size_t *size)
{
  uint8_t value[KV_VALUE_MAX];
  long found;
  check(handle, key);
  if (kv_read_fails()) return ESP_FAIL;
  found = kv_get(key, value, sizeof value);
  if (found < 0) return ESP_ERR_NVS_NOT_FOUND;
  if ((size_t)found > *size) return ESP_ERR_NVS_INVALID_LENGTH;
  *size = (size_t)found;
  memcpy(bytes, value, *size);
  return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t handle, const char *key, const void *bytes, size_t size)
{
  check(handle, key);
  return kv_set(key, bytes, size) == 0 ? ESP_OK : ESP_ERR_NVS_NOT_ENOUGH_SPACE;
}

esp_err_t nvs_erase_key(nvs_handle_t handle, const char *key)
{
  uint8_t byte;
  check(handle, key);
  if (kv_get(key, &byte, 1) < 0) return ESP_ERR_NVS_NOT_FOUND;
  return kv_erase(key) == 0 ? ESP_OK : ESP_FAIL;
}

esp_err_t nvs_commit(nvs_handle_t handle)
{
  check(handle, "-");
  return kv_commit() == 0 ? ESP_OK : ESP_FAIL;
}

void nvs_close(nvs_handle_t handle) { check(handle, "-"); }

/* The module, where the engine is wasm3: a partition with whatever the program put there. */
const uint8_t *double_module;
size_t double_module_size;
static const esp_partition_t wasm = {0x190000, 0x10000, "wasm"};

const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype,
                                                const char *label)
{
  (void)subtype;
  return type == ESP_PARTITION_TYPE_DATA && strcmp(label, "wasm") == 0 && double_module != NULL ? &wasm : NULL;
}

esp_err_t esp_partition_mmap(const esp_partition_t *partition, size_t offset, size_t size,
                             esp_partition_mmap_memory_t memory, const void **out, esp_partition_mmap_handle_t *handle)
{
  if (partition != &wasm || offset != 0 || size > double_module_size || memory != ESP_PARTITION_MMAP_DATA) return ESP_FAIL;
  *out = double_module;
  *handle = 1;
  return ESP_OK;
}

void esp_partition_munmap(esp_partition_mmap_handle_t handle)
{
  if (handle != 1) abort();
}

void platform_provision(const amp_identity *identity)
{
  (void)kv_set("realm", identity->realm, AMP_ID_SIZE);
  (void)kv_set("device", identity->device, AMP_ID_SIZE);
  (void)kv_set("prefix", identity->prefix, strlen(identity->prefix));
  (void)kv_set("key", identity->key, identity->key_size);
}

amp_status platform_open(void) { return amp_esp_open(&esp); }

amp_context *platform_device(void) { return &esp.device; }

amp_esp *platform_esp(void);
amp_esp *platform_esp(void) { return &esp; }

int platform_key_is_gone(void)
{
  uint8_t key[AMP_STORAGE_KEY_SIZE];
  return kv_get("key", key, sizeof key) < 0 && kv_get("storage_key", key, sizeof key) == sizeof key;
}
