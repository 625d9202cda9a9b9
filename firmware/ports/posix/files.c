/* See files.h. */
#define _POSIX_C_SOURCE 200809L
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A blob is asked for when there are so many marks, so that a start reads little. */
enum { MARKS_WANTED = 1024, IDENTITY_MAX = 4096 };

static void wipe(void *at, size_t size)
{
  memset(at, 0, size);
  /* The bytes are read by someone, as far as the compiler knows. */
  __asm__ __volatile__("" : : "r"(at) : "memory");
}

/* ---- Files ---- */

/** Path of a file in the directory; null if it is too long. */
static const char *path_of(const amp_files *files, const char *name, char path[AMP_FILES_PATH])
{
  const int length = snprintf(path, AMP_FILES_PATH, "%s/%s", files->dir, name);
  return length < 0 || length >= AMP_FILES_PATH ? NULL : path;
}

static int write_all(int file, const uint8_t *bytes, size_t size)
{
  while (size > 0) {
    const ssize_t written = write(file, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return -1;
    bytes += written;
    size -= (size_t)written;
  }
  return 0;
}

/** Makes names in the directory of a path durable. */
static int sync_directory(const char *path)
{
  const int dir = open(path, O_RDONLY | O_DIRECTORY);
  const int failed = dir < 0 || fsync(dir) != 0;
  if (dir >= 0) close(dir);
  return failed ? -1 : 0;
}

/** Ends a temporary file and gives it its name. */
static int finish(int file, const char *from, const char *to, const char *dir)
{
  const int failed = fsync(file) != 0;
  if (close(file) != 0 || failed || rename(from, to) != 0) return -1;
  return sync_directory(dir);
}

/* ---- Callbacks ---- */

static const char *slot_path(const amp_files *files, unsigned slot, int is_temporary, char path[AMP_FILES_PATH])
{
  char name[16];
  snprintf(name, sizeof name, "slot-%u%s", slot & 1u, is_temporary ? ".tmp" : "");
  return path_of(files, name, path);
}

static int slot_read(void *user, unsigned slot, size_t at, uint8_t *bytes, size_t size)
{
  char path[AMP_FILES_PATH];
  const char *name = slot_path((const amp_files *)user, slot, 0, path);
  const int file = name == NULL ? -1 : open(name, O_RDONLY);
  ssize_t length;
  memset(bytes, 0xff, size);
  if (file < 0) return name != NULL && errno == ENOENT ? 0 : -1;
  length = pread(file, bytes, size, (off_t)at);
  close(file);
  return length < 0 ? -1 : 0;
}

static int slot_erase(void *user, unsigned slot)
{
  amp_files *files = (amp_files *)user;
  char path[AMP_FILES_PATH];
  const char *name = slot_path(files, slot, 1, path);
  if (files->slot_file >= 0) close(files->slot_file);
  files->slot = slot;
  files->slot_file = name == NULL ? -1 : open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  return files->slot_file < 0 ? -1 : 0;
}

static int slot_write(void *user, unsigned slot, size_t at, const uint8_t *bytes, size_t size)
{
  const amp_files *files = (const amp_files *)user;
  if (files->slot_file < 0 || files->slot != slot || lseek(files->slot_file, 0, SEEK_CUR) != (off_t)at) return -1;
  return write_all(files->slot_file, bytes, size);
}

static int slot_done(void *user, unsigned slot)
{
  amp_files *files = (amp_files *)user;
  char from[AMP_FILES_PATH], to[AMP_FILES_PATH];
  const int file = files->slot_file;
  files->slot_file = -1;
  if (file < 0 || files->slot != slot) return -1;
  return finish(file, slot_path(files, slot, 1, from), slot_path(files, slot, 0, to), files->dir);
}

static int mark_append(void *user, const uint8_t mark[AMP_MARK_SIZE])
{
  amp_files *files = (amp_files *)user;
  char path[AMP_FILES_PATH];
  const char *name = path_of(files, "marks", path);
  const int file = name == NULL ? -1 : open(name, O_WRONLY | O_CREAT, 0600);
  int failed;
  if (file < 0) return -1;
  /* In its place: what a failed write has left there is written over. */
  failed = lseek(file, (off_t)(files->marks * AMP_MARK_SIZE), SEEK_SET) < 0 ||
           write_all(file, mark, AMP_MARK_SIZE) != 0 || fsync(file) != 0;
  if (close(file) != 0 || failed || (files->marks == 0 && sync_directory(files->dir) != 0)) return -1;
  ++files->marks;
  return files->marks >= MARKS_WANTED ? AMP_PORT_FULL : 0;
}

static int mark_read(void *user, size_t index, uint8_t mark[AMP_MARK_SIZE])
{
  const amp_files *files = (const amp_files *)user;
  char path[AMP_FILES_PATH];
  const char *name = path_of(files, "marks", path);
  ssize_t length;
  int file;
  if (index >= files->marks) return AMP_PORT_END;
  file = name == NULL ? -1 : open(name, O_RDONLY);
  if (file < 0) return -1;
  length = pread(file, mark, AMP_MARK_SIZE, (off_t)(index * AMP_MARK_SIZE));
  close(file);
  return length == AMP_MARK_SIZE ? 0 : -1;
}

static int marks_clear(void *user)
{
  amp_files *files = (amp_files *)user;
  char path[AMP_FILES_PATH];
  const char *name = path_of(files, "marks", path);
  if (name == NULL || (unlink(name) != 0 && errno != ENOENT)) return -1;
  files->marks = 0;
  return sync_directory(files->dir);
}

static void put_hex(char *text, const uint8_t *bytes, size_t size)
{
  size_t i;
  for (i = 0; i < size; ++i) snprintf(text + 2 * i, 3, "%02x", (unsigned)bytes[i]);
}

/** The identity file is written again with the storage key in place of K(0) (SPEC I-1). */
static int keep_key(void *user, const uint8_t storage_key[AMP_STORAGE_KEY_SIZE])
{
  amp_files *files = (amp_files *)user;
  char temporary[AMP_FILES_PATH], parent[AMP_FILES_PATH], text[1024];
  char realm[2 * AMP_ID_SIZE + 1], device[2 * AMP_ID_SIZE + 1], key[2 * AMP_STORAGE_KEY_SIZE + 1];
  const char *slash = strrchr(files->identity, '/');
  int length, file, failed;
  put_hex(realm, files->realm, sizeof files->realm);
  put_hex(device, files->device, sizeof files->device);
  put_hex(key, storage_key, AMP_STORAGE_KEY_SIZE);
  length = snprintf(text, sizeof text,
                    "{\n  \"ampoule\": 1,\n  \"realm\": \"%s\",\n  \"device\": \"%s\",\n  \"prefix\": \"%s\",\n"
                    "  \"storageKey\": \"%s\"\n}\n",
                    realm, device, files->prefix, key);
  wipe(key, sizeof key);
  snprintf(parent, sizeof parent, "%.*s", slash == NULL ? 1 : (int)(slash - files->identity) + 1,
           slash == NULL ? "." : files->identity);
  /* The path was measured by amp_files_open(). */
  snprintf(temporary, sizeof temporary, "%.*s.tmp", AMP_FILES_PATH - 16, files->identity);
  file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  failed = file < 0 || write_all(file, (const uint8_t *)text, (size_t)length) != 0;
  wipe(text, sizeof text);
  if (failed) {
    if (file >= 0) close(file);
    return -1;
  }
  return finish(file, temporary, files->identity, parent);
}

/* ---- Identity ---- */

/** Finds the string of a name in a flat JSON object; 0 if it is not there or has escapes. */
static size_t find_string(const char *text, const char *name, const char **value)
{
  char quoted[32];
  const char *at = text, *end;
  snprintf(quoted, sizeof quoted, "\"%s\"", name);
  /* The same word may be a value: a name is what a colon follows. */
  do {
    at = strstr(at, quoted);
    if (at == NULL) return 0;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n");
  } while (*at != ':');
  ++at;
  at += strspn(at, " \t\r\n");
  if (*at != '"') return 0;
  end = strchr(++at, '"');
  if (end == NULL || memchr(at, '\\', (size_t)(end - at)) != NULL) return 0;
  *value = at;
  return (size_t)(end - at);
}

static int digit(char c)
{
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/** Reads exactly size bytes of lower-case hex. */
static int find_hex(const char *text, const char *name, uint8_t *bytes, size_t size)
{
  const char *value = "";
  size_t i;
  if (find_string(text, name, &value) != 2 * size) return 0;
  for (i = 0; i < size; ++i) {
    const int high = digit(value[2 * i]), low = digit(value[2 * i + 1]);
    if (high < 0 || low < 0) return 0;
    bytes[i] = (uint8_t)(high << 4 | low);
  }
  return 1;
}

static const char *read_identity(amp_files *files)
{
  char text[IDENTITY_MAX];
  const char *value, *wrong = NULL;
  struct stat stat;
  size_t prefix_len;
  ssize_t length;
  /* State lies beside the file, and K(0) is overwritten in it, not in a link. */
  const int file = open(files->identity, O_RDONLY | O_NOFOLLOW);
  if (file < 0) return errno == ELOOP ? "the identity is a symbolic link: name the file" : "the identity file cannot be read";
  if (fstat(file, &stat) != 0 || (stat.st_mode & 077) != 0) wrong = "the identity file can be read by other users";
  length = wrong == NULL ? read(file, text, sizeof text - 1) : 0;
  close(file);
  if (wrong != NULL) return wrong;
  text[length > 0 ? length : 0] = 0;
  prefix_len = find_string(text, "prefix", &value);
  if (prefix_len > 0 && prefix_len < sizeof files->prefix) memcpy(files->prefix, value, prefix_len);
  if (find_hex(text, "storageKey", files->key, AMP_STORAGE_KEY_SIZE)) files->key_size = AMP_STORAGE_KEY_SIZE;
  else if (find_hex(text, "key", files->key, AMP_KEY_SIZE)) files->key_size = AMP_KEY_SIZE;
  if (files->prefix[0] == 0 || files->key_size == 0 || !find_hex(text, "realm", files->realm, AMP_ID_SIZE) ||
      !find_hex(text, "device", files->device, AMP_ID_SIZE)) {
    wrong = "that is not an identity file";
  }
  wipe(text, sizeof text);
  return wrong;
}

/** Makes the directory, locks it, and cuts off a mark that a power cut has left in part. */
static const char *open_directory(amp_files *files)
{
  char path[AMP_FILES_PATH];
  struct flock whole;
  struct stat stat;
  const char *name;
  if (mkdir(files->dir, 0700) != 0 && errno != EEXIST) return "the state directory cannot be made";
  name = path_of(files, "lock", path);
  files->lock = name == NULL ? -1 : open(name, O_RDWR | O_CREAT, 0600);
  memset(&whole, 0, sizeof whole);
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (files->lock < 0) return "the state directory cannot be used";
  if (fcntl(files->lock, F_SETLK, &whole) != 0) return "the state is in use by another process";
  name = path_of(files, "marks", path);
  if (name == NULL) return "the path is too long";
  if (lstat(name, &stat) != 0) return errno == ENOENT ? NULL : "the marks cannot be read";
  files->marks = (size_t)stat.st_size / AMP_MARK_SIZE;
  if (truncate(name, (off_t)(files->marks * AMP_MARK_SIZE)) != 0) return "the marks cannot be mended";
  return NULL;
}

/** Whether a host keeps state for this identity: two would seal the same positions. It looks for ours in the same way. */
static const char *check_other(const amp_files *files)
{
  char path[AMP_FILES_PATH];
  struct stat stat;
  snprintf(path, sizeof path, "%.*s.state", AMP_FILES_PATH - 16, files->identity);
  if (lstat(path, &stat) != 0 && errno == ENOENT) return NULL;
  return "the identity is in use by a host, which keeps its state in .state; provision another device";
}

const char *amp_files_open(amp_files *files, const char *path, amp_identity *identity, amp_port *port)
{
  const char *wrong;
  memset(files, 0, sizeof *files);
  memset(port, 0, sizeof *port);
  files->lock = files->slot_file = -1;
  if (snprintf(files->identity, sizeof files->identity, "%s", path) >= AMP_FILES_PATH - 16) return "the path is too long";
  snprintf(files->dir, sizeof files->dir, "%.*s.device", AMP_FILES_PATH - 16, path);
  wrong = read_identity(files);
  if (wrong == NULL) wrong = check_other(files);
  if (wrong == NULL) wrong = open_directory(files);
  if (wrong == NULL) wrong = check_other(files);
  /* Again: until the lock was taken another process could replace the key. */
  if (wrong == NULL) wrong = read_identity(files);
  if (wrong != NULL) {
    amp_files_close(files);
    return wrong;
  }
  identity->realm = files->realm;
  identity->device = files->device;
  identity->key = files->key;
  identity->key_size = files->key_size;
  identity->prefix = files->prefix;
  port->user = files;
  port->kind = AMP_STORAGE;
  port->slot_read = slot_read;
  port->slot_erase = slot_erase;
  port->slot_write = slot_write;
  port->slot_done = slot_done;
  port->mark_append = mark_append;
  port->mark_read = mark_read;
  port->marks_clear = marks_clear;
  port->keep_key = keep_key;
  return NULL;
}

void amp_files_close(amp_files *files)
{
  if (files->slot_file >= 0) close(files->slot_file);
  if (files->lock >= 0) close(files->lock);
  files->slot_file = files->lock = -1;
  wipe(files->key, sizeof files->key);
}
