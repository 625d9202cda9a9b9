/*
 * A recorded life of a device, from a file:
 *   identity <realm> <device> <key> <prefix>
 *   receive <topic> <payload>
 *   seal <topic> <text>
 * with bytes in hex.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "ampoule.h"

typedef struct line {
  char verb;
  char topic[AMP_TOPIC_MAX + 1];
  uint8_t bytes[AMP_CONTROL_MAX];
  size_t size;
} line;

extern line script[];
extern size_t script_lines;
extern amp_identity script_identity;

/** Ends the program if the file is not as it should be. */
void script_read(const char *path);

#endif
