/* Declarations of Zephyr that glue and sample use, in our own words. */
#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef struct {
  int64_t ticks;
} k_timeout_t;
#define K_SECONDS(s) ((k_timeout_t){(int64_t)(s) * 1000})
int64_t k_uptime_get(void);
int32_t k_sleep(k_timeout_t timeout);
#endif
