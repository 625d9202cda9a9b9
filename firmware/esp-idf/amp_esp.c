#include "amp_esp.h"

#include <string.h>

#include "esp_log.h"
#include "esp_partition.h"
#include "nvs_flash.h"

static const char TAG[] = "ampoule";
static const char NAMESPACE[] = "ampoule";
static const char *const SLOTS[2] = {"slot0", "slot1"};

/** A blob is asked for when so many marks are left free: those of messages under way still fit. */
#define MARKS_LEFT 8
/** Names there are for marks: a build with a lower limit reads all that an earlier one has stored. */
#define MARK_NAMES 256

static int failed(const char *what, esp_err_t error)
{
  ESP_LOGE(TAG, "%s: %s", what, esp_err_to_name(error));
  return -1;
}

/** "m00" to "mff". */
static void mark_name(unsigned index, char name[4])
{
  static const char digits[] = "0123456789abcdef";
  name[0] = 'm';
  name[1] = digits[index >> 4 & 15];
  name[2] = digits[index & 15];
  name[3] = 0;
}

/** Durable when it returns 0. */
static int set(amp_esp *esp, const char *name, const void *bytes, size_t size)
{
  esp_err_t error = nvs_set_blob(esp->nvs, name, bytes, size);
  if (error == ESP_OK) error = nvs_commit(esp->nvs);
  return error == ESP_OK ? 0 : failed(name, error);
}

static int erase(amp_esp *esp, const char *name)
{
  esp_err_t error = nvs_erase_key(esp->nvs, name);
  if (error == ESP_ERR_NVS_NOT_FOUND) return 0;
  if (error == ESP_OK) error = nvs_commit(esp->nvs);
  return error == ESP_OK ? 0 : failed(name, error);
}

/** The bytes of a slot in esp->slot, 0xFF behind them. */
static int hold(amp_esp *esp, unsigned slot)
{
  size_t size = sizeof esp->slot;
  esp_err_t error;
  if (esp->held == (int)slot) return 0;
  esp->held = esp->filling = -1;
  memset(esp->slot, 0xFF, sizeof esp->slot);
  error = nvs_get_blob(esp->nvs, SLOTS[slot], esp->slot, &size);
  if (error != ESP_OK && error != ESP_ERR_NVS_NOT_FOUND) return failed(SLOTS[slot], error);
  esp->held = (int)slot;
  return 0;
}

static int slot_read(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
{
  amp_esp *esp = user;
  if (hold(esp, slot) != 0) return -1;
  memcpy(bytes, &esp->slot[at], size);
  return 0;
}

/** What NVS holds stays until slot_done() replaces it in one step. */
static int slot_erase(void *user, unsigned slot)
{
  amp_esp *esp = user;
  esp->held = -1;
  esp->filling = (int)slot;
  esp->filled = 0;
  return 0;
}

static int slot_write(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
{
  amp_esp *esp = user;
  if (esp->filling != (int)slot || at != esp->filled || size > sizeof esp->slot - at) return -1;
  memcpy(&esp->slot[at], bytes, size);
  esp->filled += size;
  return 0;
}

static int slot_done(void *user, unsigned slot)
{
  amp_esp *esp = user;
  if (esp->filling != (int)slot) return -1;
  esp->filling = -1;
  return set(esp, SLOTS[slot], esp->slot, esp->filled);
}

static int mark_append(void *user, const uint8_t mark[AMP_MARK_SIZE])
{
  amp_esp *esp = user;
  char name[4];
  if (esp->marks >= CONFIG_AMP_MARKS) return -1;
  mark_name(esp->marks, name);
  if (set(esp, name, mark, AMP_MARK_SIZE) != 0) return -1;
  ++esp->marks;
  return esp->marks + MARKS_LEFT >= CONFIG_AMP_MARKS ? AMP_PORT_FULL : 0;
}

static int mark_read(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
{
  amp_esp *esp = user;
  size_t size = AMP_MARK_SIZE;
  char name[4];
  esp_err_t error;
  if (index >= MARK_NAMES) return AMP_PORT_END;
  mark_name((unsigned)index, name);
  error = nvs_get_blob(esp->nvs, name, mark, &size);
  if (error == ESP_ERR_NVS_NOT_FOUND) return AMP_PORT_END;
  if (error != ESP_OK || size != AMP_MARK_SIZE) return failed(name, error);
  if (esp->marks <= index) esp->marks = (unsigned)index + 1;
  return 0;
}

/** From the last one down: what a power cut leaves are the first ones. */
static int marks_clear(void *user)
{
  amp_esp *esp = user;
  char name[4];
  for (; esp->marks > 0; --esp->marks) {
    mark_name(esp->marks - 1, name);
    if (erase(esp, name) != 0) return -1;
  }
  return 0;
}

static int keep_key(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  amp_esp *esp = user;
  if (set(esp, "storage_key", storage_key, AMP_STORAGE_KEY_SIZE) != 0) return -1;
  return erase(esp, "key");
}

/** AMP_OK; AMP_NO_IDENTITY: there is no such value; AMP_BAD_RECORD: of another size; AMP_NOT_STORED: NVS failed. */
static amp_status get(amp_esp *esp, const char *name, uint8_t *bytes, size_t size)
{
  size_t found = size;
  const esp_err_t error = nvs_get_blob(esp->nvs, name, bytes, &found);
  if (error == ESP_ERR_NVS_NOT_FOUND) return AMP_NO_IDENTITY;
  if (error == ESP_ERR_NVS_INVALID_LENGTH || (error == ESP_OK && found != size)) return AMP_BAD_RECORD;
  if (error == ESP_OK) return AMP_OK;
  (void)failed(name, error);
  return AMP_NOT_STORED;
}

/** The storage key where there is one: then a K(0) beside it was about to go. */
static amp_status get_key(amp_esp *esp, uint8_t key[AMP_STORAGE_KEY_SIZE], size_t *size)
{
  amp_status status = get(esp, "storage_key", key, AMP_STORAGE_KEY_SIZE);
  *size = AMP_STORAGE_KEY_SIZE;
  if (status == AMP_OK) (void)erase(esp, "key");
  if (status != AMP_NO_IDENTITY) return status;
  *size = AMP_KEY_SIZE;
  return get(esp, "key", key, AMP_KEY_SIZE);
}

/** Of any length that fits, esp->prefix being zero. */
static amp_status get_prefix(amp_esp *esp)
{
  size_t size = sizeof esp->prefix - 1;
  const esp_err_t error = nvs_get_blob(esp->nvs, "prefix", esp->prefix, &size);
  if (error == ESP_ERR_NVS_NOT_FOUND) return AMP_NO_IDENTITY;
  return error == ESP_OK ? AMP_OK : AMP_NOT_STORED;
}

#ifdef CONFIG_AMP_ENGINE_WASM3
/** Maps the module from flash; the library compares its digest. */
static amp_status map_module(amp_esp *esp, amp_port *port)
{
  const esp_partition_t *partition =
    esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, CONFIG_AMP_WASM_PARTITION);
  uint32_t size;
  const void *module;
  if (partition == NULL || nvs_get_u32(esp->nvs, "module_size", &size) != ESP_OK ||
      get(esp, "module_sha256", esp->module_sha256, sizeof esp->module_sha256) != AMP_OK || size > partition->size) {
    ESP_LOGE(TAG, "no partition " CONFIG_AMP_WASM_PARTITION ", or nothing about it in NVS");
    return AMP_BAD_MODULE;
  }
  if (esp_partition_mmap(partition, 0, size, ESP_PARTITION_MMAP_DATA, &module, &esp->mapped) != ESP_OK) {
    ESP_LOGE(TAG, "the module cannot be mapped");
    return AMP_BAD_MODULE;
  }
  port->module = module;
  port->module_size = size;
  port->module_sha256 = esp->module_sha256;
  port->heap = (uint8_t *)esp->heap;
  port->heap_size = sizeof esp->heap;
  return AMP_OK;
}
#endif

static amp_status open_nvs(amp_esp *esp)
{
  esp_err_t error = nvs_flash_init_partition(CONFIG_AMP_NVS_PARTITION);
  if (error == ESP_OK) {
    error = nvs_open_from_partition(CONFIG_AMP_NVS_PARTITION, NAMESPACE, NVS_READWRITE, &esp->nvs);
  }
  if (error == ESP_OK) return AMP_OK;
  (void)failed("partition " CONFIG_AMP_NVS_PARTITION, error);
  esp->nvs = 0;
  return AMP_NOT_STORED;
}

/** With NVS open. The identity is copied by amp_open(), but for the prefix. */
static amp_status open_device(amp_esp *esp)
{
  uint8_t realm[AMP_ID_SIZE], device[AMP_ID_SIZE], key[AMP_STORAGE_KEY_SIZE];
  amp_identity identity = {realm, device, key, 0, esp->prefix};
  amp_port port;
  amp_status status;
  memset(&port, 0, sizeof port);
  memset(esp->prefix, 0, sizeof esp->prefix);
  status = get_key(esp, key, &identity.key_size);
  if (status == AMP_OK) status = get(esp, "realm", realm, sizeof realm);
  if (status == AMP_OK) status = get(esp, "device", device, sizeof device);
  if (status == AMP_OK) status = get_prefix(esp);
  if (status == AMP_NO_IDENTITY) {
    ESP_LOGE(TAG, "no identity in partition " CONFIG_AMP_NVS_PARTITION ": flash what `ampoule image` wrote");
  }
  port.user = esp;
  port.kind = AMP_STORAGE;
  port.slot_read = slot_read;
  port.slot_erase = slot_erase;
  port.slot_write = slot_write;
  port.slot_done = slot_done;
  port.mark_append = mark_append;
  port.mark_read = mark_read;
  port.marks_clear = marks_clear;
  port.keep_key = keep_key;
#ifdef CONFIG_AMP_ENGINE_WASM3
  if (status == AMP_OK) status = map_module(esp, &port);
#endif
  if (status == AMP_OK) status = amp_open(&esp->device, &identity, &port);
  memset(key, 0, sizeof key);
  __asm__ __volatile__("" : : "r"(key) : "memory");
  return status;
}

amp_status amp_esp_open(amp_esp *esp)
{
  amp_status status;
  memset(esp, 0, sizeof *esp);
  esp->held = esp->filling = -1;
  esp->mutex = xSemaphoreCreateMutexStatic(&esp->mutex_memory);
  status = open_nvs(esp);
  if (status == AMP_OK) status = open_device(esp);
  if (status != AMP_OK) {
    ESP_LOGE(TAG, "no device: %s", amp_status_name(status));
    amp_esp_close(esp);
  }
  return status;
}

void amp_esp_close(amp_esp *esp)
{
  amp_close(&esp->device);
  if (esp->nvs != 0) nvs_close(esp->nvs);
  if (esp->mapped != 0) esp_partition_munmap(esp->mapped);
  esp->nvs = 0;
  esp->mapped = 0;
}

void amp_esp_lock(amp_esp *esp) { (void)xSemaphoreTake(esp->mutex, portMAX_DELAY); }

void amp_esp_unlock(amp_esp *esp) { (void)xSemaphoreGive(esp->mutex); }
