#ifndef PREFERENCES_H
#define PREFERENCES_H
#include <stddef.h>
#include <stdint.h>
class Preferences {
public:
  bool begin(const char *name, bool readOnly = false, const char *partition_label = NULL);
  bool isKey(const char *key);
  size_t getBytes(const char *key, void *bytes, size_t max);
  size_t putBytes(const char *key, const void *bytes, size_t size);
  bool remove(const char *key);
};
#endif
