/*
 * State of one device in raw NOR flash: an identity, two blob slots and a log of marks (SPEC section 12).
 *
 * NOR flash is erased by sectors, to all ones, and programmed from one to zero. Power may fail inside of every
 * program and every erase; what was asked for is then done in part, in any order of bits. A bit that reads as one after
 * a cut must go on doing so: a sector that reads blank is not erased again. With such a chip this file keeps:
 *
 *   - what a call reported as stored is there after every later power cut;
 *   - a write that was cut off reads as never written, not as a lost write (SPEC T-8): no counters are skipped for it.
 *     Only where a cut erase leaves the head of a slot neither ones nor zeros it shows as damaged, and is a lost write;
 *   - what was stored and is damaged later shows as damaged.
 *
 * Five sectors from `base` on:
 *
 *   0      identity    head, identity, then the storage key, which overwrites K(0) with zeros in place
 *   1, 2   slots       head, blob; the head is programmed last, and to zeros before the sector is erased
 *   3, 4   marks       head, records of 48 + 8 bytes, the last 8 programmed last, head again. One sector is in use,
 *                      the one with the higher number in its head; whatever an erase that was cut off leaves in the
 *                      other one is not looked at
 *
 * Units of 8 bytes are programmed once, and once more to all zeros: that suits chips with an ECC over 8 bytes
 * (STM32L4, G4), those that allow two writes of a word (nRF52), and serial flash.
 */
#ifndef AMP_NOR_H
#define AMP_NOR_H

#include "ampoule.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AMP_NOR_UNIT 8u
#define AMP_NOR_SECTORS 5u
/** Smallest sector: a slot holds a head and the longest blob, AMP_BLOB_MAX. */
#define AMP_NOR_SECTOR_MIN 2048u
#define AMP_NOR_PREFIX_MAX 64u

/** The chip. Every function returns 0, or anything else when it failed; addresses and lengths are multiples of 8. */
typedef struct amp_nor_flash {
  void *context;
  /** Address of the first of AMP_NOR_SECTORS sectors. */
  uint32_t base;
  /** Bytes of a sector, at least AMP_NOR_SECTOR_MIN. Where the chip has smaller ones, erase() does several. */
  uint32_t sector_size;
  int (*read)(void *context, uint32_t at, uint8_t *out, uint32_t len);
  /** Clears bits; in flash when it returns. */
  int (*program)(void *context, uint32_t at, const uint8_t unit[AMP_NOR_UNIT]);
  /** Sets all bits of the sector that begins at `at`. */
  int (*erase)(void *context, uint32_t at);
} amp_nor_flash;

typedef struct amp_nor {
  const amp_nor_flash *flash;
  /** Sector of the marks in use and the number in its head; 0: none yet. */
  uint32_t marks_sector, marks_number;
  /** Records of that sector that are used, torn ones too. */
  uint32_t marks_end;
  /** 1 when marks cannot be told from damage: a broken one is reported. */
  uint8_t marks_lost;
  uint8_t slot;
  /** Where mark_read() goes on: the record behind the mark of the last index. */
  uint32_t read_index, read_cursor;
  /** Bytes written to `slot` since amp_nor_slot_begin(); 0: none begun. */
  uint32_t written;
} amp_nor;

typedef struct amp_nor_identity {
  uint8_t realm[AMP_ID_SIZE];
  uint8_t device[AMP_ID_SIZE];
  /** K(0), or the storage key once that is kept: key_size tells which. */
  uint8_t key[AMP_STORAGE_KEY_SIZE];
  uint32_t key_size;
  /** Prefix of control topics, ended by zero. */
  char prefix[AMP_NOR_PREFIX_MAX + 1];
} amp_nor_identity;

enum { AMP_NOR_OK = 0, AMP_NOR_END = 1, AMP_NOR_FULL = 2, AMP_NOR_FAILED = 3, AMP_NOR_BLANK = 4 };

/**
 * Looks at the flash and prepares *nor; to be called once at boot. `flash` stays in use.
 *
 * Returns AMP_NOR_OK or AMP_NOR_FAILED. Programs nothing but the end of an amp_nor_keep_key() that was cut off.
 */
int amp_nor_open(amp_nor *nor, const amp_nor_flash *flash);

/** Fills in storage class and callbacks of *port; the rest becomes zero. `nor` stays in use. */
void amp_nor_port(amp_nor *nor, amp_port *port);

/**
 * Reads the identity, and lets *use point into *identity, which must stay as it is (see amp_open()).
 *
 * AMP_NOR_OK; AMP_NOR_BLANK: never provisioned, or damaged; AMP_NOR_FAILED.
 */
int amp_nor_identity_load(amp_nor *nor, amp_nor_identity *identity, amp_identity *use);

/** Writes an identity with its K(0), as a factory does, and erases everything else. */
int amp_nor_identity_write(amp_nor *nor, const amp_nor_identity *identity);

/** Keeps the storage key and overwrites K(0) with zeros (SPEC I-1). AMP_NOR_OK or AMP_NOR_FAILED. */
int amp_nor_keep_key(amp_nor *nor, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE]);

/** Bytes in slot 0 or 1; 0: blank, or a write that was cut off. A damaged head gives the size of the whole slot. */
uint32_t amp_nor_slot_size(amp_nor *nor, uint8_t slot);

/** Reads bytes [at, at + len) of a slot. AMP_NOR_OK or AMP_NOR_FAILED, which it also is past the end of the sector. */
int amp_nor_slot_read(amp_nor *nor, uint8_t slot, uint32_t at, uint8_t *out, uint32_t len);

/**
 * Replaces a slot: begin, write in order in pieces of multiples of 8 bytes, end.
 *
 * AMP_NOR_OK, AMP_NOR_FULL (does not fit) or AMP_NOR_FAILED (also: out of order). From begin until end has returned
 * AMP_NOR_OK the slot reads as blank; the other slot is not touched.
 */
int amp_nor_slot_begin(amp_nor *nor, uint8_t slot);
int amp_nor_slot_write(amp_nor *nor, const uint8_t *bytes, uint32_t len);
int amp_nor_slot_end(amp_nor *nor);

/**
 * The next mark at or after *cursor, which begins at 0 and is moved on.
 *
 * AMP_NOR_OK; AMP_NOR_END: no more; AMP_NOR_FAILED. Records that were cut off are left out. Where the log is damaged as
 * a whole, one mark of zeros is given, which verifies nowhere: a broken one (SPEC T-8). Ones would be one that was cut off.
 */
int amp_nor_mark_next(amp_nor *nor, uint32_t *cursor, uint8_t mark[AMP_MARK_SIZE]);

/** Appends a mark, durable when it returns AMP_NOR_OK. AMP_NOR_FULL: store a blob and clear; AMP_NOR_FAILED. */
int amp_nor_mark_append(amp_nor *nor, const uint8_t mark[AMP_MARK_SIZE]);

/** Records that still fit. Store a blob in time: 0 refuses every message that needs a mark. */
uint32_t amp_nor_marks_left(const amp_nor *nor);

/** Begins the log anew, after both slots were stored. AMP_NOR_OK or AMP_NOR_FAILED: all marks are still there, or none. */
int amp_nor_marks_clear(amp_nor *nor);

#ifdef __cplusplus
}
#endif

#endif
