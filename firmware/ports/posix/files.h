/*
 * State of one device in a directory of a POSIX system, and its identity in the file that `ampoule provision` wrote.
 *
 * Slots are replaced by rename, marks appended, everything synced; a lock keeps a second process out, as two would
 * seal the same positions. A file system that lies about fsync() is not made up for.
 */
#ifndef AMP_FILES_H
#define AMP_FILES_H

#include "ampoule.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { AMP_FILES_PATH = 512, AMP_FILES_PREFIX = 256 };

typedef struct amp_files {
  char identity[AMP_FILES_PATH];
  char dir[AMP_FILES_PATH];
  int lock;
  /** Slot under way, and its temporary file; -1: none. */
  unsigned slot;
  int slot_file;
  size_t marks;
  uint8_t realm[AMP_ID_SIZE], device[AMP_ID_SIZE];
  uint8_t key[AMP_STORAGE_KEY_SIZE];
  size_t key_size;
  char prefix[AMP_FILES_PREFIX];
} amp_files;

/**
 * Reads the identity, opens `<path>.device/` beside it, and fills in what amp_open() needs.
 *
 * Returns null, or what is wrong: a static string; so it is if a host keeps `<path>.state` for this identity. *files
 * stays in use until amp_files_close().
 */
const char *amp_files_open(amp_files *files, const char *path, amp_identity *identity, amp_port *port);

/** Gives the lock back and forgets the key. */
void amp_files_close(amp_files *files);

#ifdef __cplusplus
}
#endif

#endif
