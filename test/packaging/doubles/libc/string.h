/* For compilers that come without a C library, such as xtensa-lx106-elf-gcc on Debian. */
#ifndef STRING_H
#define STRING_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
void *memchr(const void *bytes, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
char *strcpy(char *to, const char *from);
char *strncat(char *to, const char *from, size_t max);
int strcmp(const char *a, const char *b);
size_t strlen(const char *text);
int strncmp(const char *a, const char *b, size_t size);
#ifdef __cplusplus
}
#endif
#endif
