/*
 * An Ampoule device on Zephyr: identity and state in the settings subsystem, whatever its back end stores in.
 *
 * Below "ampoule/":
 *   realm, device, prefix    what amp_zephyr_provision() was given
 *   key                      K(0), 16 bytes, until the device has a storage key
 *   storage_key              32 bytes, in its place from then on
 *   s0/..., s1/..., m/...    state, sealed by the core: two slots in pieces, and marks
 *
 * A back end on flash keeps the bytes of deleted values until it erases their sector.
 */
#ifndef AMP_ZEPHYR_H
#define AMP_ZEPHYR_H

#include "ampoule.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Back ends take values of 256 bytes; a slot is cut into pieces. */
#define AMP_ZEPHYR_PIECE 240

/** One device. Static: it is large. `device` is for the functions of ampoule.h, from one thread at a time. */
typedef struct amp_zephyr {
  amp_context device;

  /* The rest belongs to amp_zephyr.c. */
  unsigned marks;
  /** Which slot `slot` holds or is filled for; -1 none. */
  int held;
  int filling;
  size_t filled;
  uint8_t slot[AMP_BLOB_MAX];
  char prefix[AMP_TOPIC_MAX + 1];
} amp_zephyr;

/**
 * Stores an identity, once, for example from the shell of a factory image. What was stored of another one goes.
 *
 * @param identity in, with K(0)
 * @returns AMP_OK, AMP_BAD_ARGUMENT: its key is no K(0), or its prefix too long; AMP_NOT_STORED: call it again
 *
 * The identity is whole or absent: the key is stored last.
 */
AMP_MUST_CHECK amp_status amp_zephyr_provision(const amp_identity *identity);

/**
 * Begins a device with what is stored. settings_subsys_init() comes first.
 *
 * @param zephyr out; static memory
 * @param engine null; with the engine wasm3, where module and heap are, see amp_port: its other fields are not used
 * @returns AMP_OK; AMP_NO_IDENTITY: there is no key at all, the only case to provision in; AMP_NOT_STORED: the settings
 *   failed, which may pass; AMP_BAD_RECORD: a key without the rest; else as amp_open()
 */
AMP_MUST_CHECK amp_status amp_zephyr_open(amp_zephyr *zephyr, const amp_port *engine);

#ifdef __cplusplus
}
#endif

#endif
