/*
 * An Ampoule device on ESP-IDF: identity and state in an NVS partition, and for the engine wasm3 the module in a flash
 * partition of its own. `ampoule image` writes what is flashed there.
 *
 * Namespace "ampoule" of the partition CONFIG_AMP_NVS_PARTITION:
 *   realm, device, prefix    bytes, written once
 *   key                      K(0), 16 bytes, until the device has a storage key
 *   storage_key              32 bytes, in its place from then on
 *   module_size (u32), module_sha256    what the partition CONFIG_AMP_WASM_PARTITION must hold
 *   slot0, slot1, m00...     state, sealed by the core
 *
 * NVS replaces a value in one step, and keeps the bytes of the old one in flash until it needs the page: for K(0) and
 * erased channel keys to be gone from flash as well, encrypt the partition. To do so initialise it with
 * nvs_flash_secure_init_partition() before amp_esp_open().
 */
#ifndef AMP_ESP_H
#define AMP_ESP_H

#include "ampoule.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "nvs.h"
#include "sdkconfig.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One device. Static: it is large. `device` may be used directly, with functions of ampoule.h, between lock and unlock. */
typedef struct amp_esp {
  amp_context device;

  /* The rest belongs to amp_esp.c. */
  SemaphoreHandle_t mutex;
  StaticSemaphore_t mutex_memory;
  nvs_handle_t nvs;
  uint32_t mapped;
  /** How many marks are stored, and which slot `slot` holds or is filled for; -1 none. */
  unsigned marks;
  int held;
  int filling;
  size_t filled;
  uint8_t slot[AMP_BLOB_MAX];
  uint8_t module_sha256[32];
  char prefix[AMP_TOPIC_MAX + 1];
#if defined(CONFIG_AMP_WASM3_FRUGAL)
  uint64_t heap[AMP_WASM3_FRUGAL_HEAP_SIZE / 8];
#elif defined(CONFIG_AMP_ENGINE_WASM3)
  uint64_t heap[AMP_WASM3_HEAP_SIZE / 8];
#endif
} amp_esp;

/**
 * Begins a device with what its NVS partition holds.
 *
 * @param esp out; static memory, zero before the first call
 * @returns AMP_OK; AMP_NO_IDENTITY: the partition has none, flash what `ampoule image` wrote; AMP_NOT_STORED: NVS
 *   failed, the log says how, and it may pass; AMP_BAD_MODULE: no module in flash that fits what NVS says of it; else as amp_open()
 *
 * Initialises the partition unless that was done; never erases it. After failure nothing stays open.
 */
AMP_MUST_CHECK amp_status amp_esp_open(amp_esp *esp);

/** Wipes the keys in memory and gives everything back. Not while another task uses it. */
void amp_esp_close(amp_esp *esp);

/** Around every use of esp->device where more than one task has the device. May not be held while the MQTT client is called. */
void amp_esp_lock(amp_esp *esp);
void amp_esp_unlock(amp_esp *esp);

#ifdef __cplusplus
}
#endif

#endif
