/* A store of named values that loses power: between any two operations, and with what was not committed half there. */
#ifndef KV_H
#define KV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest name: that of NVS is 15 characters, which nvs.c holds the glue to. */
#define KV_NAME_MAX 32
#define KV_VALUE_MAX 2048

/** Forgets everything. */
void kv_reset(uint32_t seed);
/** Returns the size of a value, -1 if there is none; copies at most max bytes. */
long kv_get(const char *name, void *bytes, size_t max);
/** Both return 0, or -1 if the operation is the one that fails. */
int kv_set(const char *name, const void *bytes, size_t size);
int kv_erase(const char *name);
int kv_commit(void);
/** The i-th value there is: its name, or null past the last one. */
const char *kv_name(size_t i);

/** Numbers the operations from 1 on: that one is cut by a power loss, or fails; 0 none. */
extern unsigned long kv_ops, kv_cut_at, kv_fail_at;
/** Counts what a double reads: true for the one that is to fail, from 1 on; 0 none. */
int kv_read_fails(void);
extern unsigned long kv_reads, kv_read_fail_at;
unsigned kv_random(unsigned below);

/** Does not return: the run goes on at the next boot. */
void power_lost(void);

#ifdef __cplusplus
}
#endif

#endif
