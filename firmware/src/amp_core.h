/*
 * The seam between ampoule.c and the core: its exports as functions amp_core_<export>(), and where things lie in its
 * memory. The contracts are those of assembly/index.ts. One of two back ends stands behind it: the module as C
 * (amp_core_device*.c, written by scripts/aot.ts), or the module itself in wasm3 (core_wasm3.c).
 */
#ifndef AMP_CORE_SEAM_H
#define AMP_CORE_SEAM_H

#include "ampoule.h"

#if defined(AMP_WASM3)
#include "core_wasm3.h"
#else
#if defined(AMP_XOODYAK)
#include "amp_core_device.h"
#elif defined(AMP_VOLATILE)
#include "amp_core_device_ascon_volatile.h"
#else
#include "amp_core_device_ascon.h"
#endif

/** Begins the core anew, with nothing in it. The module is part of the program: nothing can be wrong with it. */
static inline amp_status amp_core_open(amp_core *core, const amp_port *port)
{
  (void)port;
  amp_core_instantiate(core);
  return AMP_OK;
}

/** All of it lies in the context. */
static inline void amp_core_wipe(amp_core *core) { (void)core; }

/** A place in linear memory. */
static inline uint8_t *amp_core_at(amp_core *core, uint32_t at) { return &core->memory[at]; }
#endif

enum {
  /* Of the frame buffer. */
  AT_CHUNK = 7,
  AT_WANT = 67,
  /* Behind buffers(). */
  AT_RECORD = AMP_FRAME_MAX,
  AT_OUT = AT_RECORD + AMP_MARK_SIZE,
  AT_ASK = AT_OUT + 20,
  AT_TOPIC = AT_ASK + 4,
  AT_STATE = AT_TOPIC + AMP_TOPIC_MAX,
  CONTROL_FRAME = 128,
  BLOB_CHUNK = 336,
  /* kind of answer. */
  HELLO = 0,
  ACK = 1,
  BEACON_SIZE = 25,
  /* Of what describes an opened frame. */
  OUT_PART = 0,
  OUT_LEN = 4,
  OUT_GENERATION = 8,
  OUT_STEP = 12,
  OUT_COUNTER = 14,
  OUT_SENDER = 16,
  /* Of the device's state. */
  STATE_DEVICE = 8,
  STATE_VERSION = 40,
  STATE_STORAGE_KEY = 112,
  /* Of a channel (SPEC T-4). */
  CH_GENERATION = 8,
  CH_STEP = 12,
  CH_FROM = 14,
  CH_TO = 18,
  CH_FORM = 20,
  CH_SIZE = 21,
  CH_FLAGS = 23,
  CH_SENDER = 24,
  CH_PREV_SIZE = 81,
  CH_PREV_COUNT = 82,
  CH_PREV_FLAGS = 83,
  FORM_SHORT_TAG = 16,
  FLAG_NARROW = 4,
  /* flags of unprotect. */
  FIRST = 1,
  FINAL = 2,
  STORED = 4,
  /* What the core asks for. */
  STORE_MARK = 2,
  STORE_BLOB = 3
};

#endif
