#ifndef STDIO_H
#define STDIO_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
int snprintf(char *to, size_t max, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __cplusplus
}
#endif
#endif
