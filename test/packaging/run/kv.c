#include "kv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 400 };

typedef struct value {
  int is_there;
  size_t size;
  uint8_t bytes[KV_VALUE_MAX];
} value;

typedef struct entry {
  char name[KV_NAME_MAX];
  int is_open; /* set or erased, and not committed */
  value now, durable;
} entry;

static entry entries[ENTRIES];
static size_t count;
static uint32_t state;
unsigned long kv_ops, kv_cut_at, kv_fail_at, kv_reads, kv_read_fail_at;

int kv_read_fails(void) { return ++kv_reads == kv_read_fail_at; }

unsigned kv_random(unsigned below)
{
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (state >> 8) % below;
}

void kv_reset(uint32_t seed)
{
  count = 0;
  state = seed * 2654435761u | 1u;
  kv_ops = kv_cut_at = kv_fail_at = kv_reads = kv_read_fail_at = 0;
}

static entry *find(const char *name)
{
  size_t i;
  for (i = 0; i < count; ++i)
    if (strcmp(entries[i].name, name) == 0) return &entries[i];
  if (count == ENTRIES || strlen(name) >= KV_NAME_MAX) {
    printf("no room for %s\n", name);
    exit(1);
  }
  memset(&entries[count], 0, sizeof entries[count]);
  strcpy(entries[count].name, name);
  return &entries[count++];
}

/** Before power is lost what is open becomes durable, or does not, each for itself. */
static int operation(void)
{
  size_t i;
  if (++kv_ops == kv_cut_at) {
    for (i = 0; i < count; ++i) {
      entry *e = &entries[i];
      if (!e->is_open) continue;
      e->is_open = 0;
      if (kv_random(2)) e->durable = e->now;
      else e->now = e->durable;
    }
    power_lost();
  }
  return kv_ops == kv_fail_at ? -1 : 0;
}

long kv_get(const char *name, void *bytes, size_t max)
{
  const entry *e = find(name);
  if (!e->now.is_there) return -1;
  memcpy(bytes, e->now.bytes, e->now.size < max ? e->now.size : max);
  return (long)e->now.size;
}

int kv_set(const char *name, const void *bytes, size_t size)
{
  entry *e = find(name);
  const value before = e->now;
  if (size > KV_VALUE_MAX) return -1;
  e->now.is_there = 1;
  e->now.size = size;
  memcpy(e->now.bytes, bytes, size);
  e->is_open = 1;
  if (operation() == 0) return 0;
  e->now = before;
  return -1;
}

int kv_erase(const char *name)
{
  entry *e = find(name);
  const value before = e->now;
  e->now.is_there = 0;
  e->is_open = 1;
  if (operation() == 0) return 0;
  e->now = before;
  return -1;
}

int kv_commit(void)
{
  size_t i;
  if (operation() != 0) return -1;
  for (i = 0; i < count; ++i) {
    entries[i].durable = entries[i].now;
    entries[i].is_open = 0;
  }
  return 0;
}

const char *kv_name(size_t i)
{
  size_t k;
  for (k = 0; k < count; ++k)
    if (entries[k].now.is_there && i-- == 0) return entries[k].name;
  return NULL;
}
