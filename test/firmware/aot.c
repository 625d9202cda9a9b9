/*
 * Drives the known-answer module as C: reads one line for each call, "export argument...", writes what came back.
 * "poke at hex" and "peek at size" reach memory; a trap is answered by "trap", and the instance begins anew.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amp_kat.h"

static amp_kat kat;
static jmp_buf begin;

void amp_trap(void *instance)
{
  (void)instance;
  longjmp(begin, 1);
}

static void poke(uint32_t at, const char *hex)
{
  unsigned byte;
  for (; sscanf(hex, "%2x", &byte) == 1; hex += 2) kat.memory[at++] = (uint8_t)byte;
  puts("ok");
}

static void peek(uint32_t at, uint32_t size)
{
  for (; size > 0; --size) printf("%02x", kat.memory[at++]);
  puts("");
}

static void answer(const char *name, const uint32_t *a, const char *hex)
{
  if (!strcmp(name, "poke")) poke(a[0], hex);
  else if (!strcmp(name, "peek")) peek(a[0], a[1]);
  else if (!strcmp(name, "areaPtr")) printf("%u\n", (unsigned)amp_kat_areaPtr(&kat));
  else if (!strcmp(name, "asconP")) amp_kat_asconP(&kat, a[0], a[1]), puts("ok");
  else if (!strcmp(name, "xoodoo12")) amp_kat_xoodoo12(&kat, a[0]), puts("ok");
  else if (!strcmp(name, "asconHash256")) amp_kat_asconHash256(&kat, a[0], a[1], a[2]), puts("ok");
  else if (!strcmp(name, "xoodyakHash")) amp_kat_xoodyakHash(&kat, a[0], a[1], a[2], a[3]), puts("ok");
  else if (!strcmp(name, "seal")) amp_kat_seal(&kat, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]), puts("ok");
  else exit(2);
}

int main(void)
{
  static char line[65536], name[32], hex[32768];
  amp_kat_instantiate(&kat);
  while (fgets(line, sizeof line, stdin) != NULL) {
    uint32_t a[9] = {0};
    int used = 0;
    const char *rest;
    size_t i;
    if (sscanf(line, "%31s%n", name, &used) != 1) return 2;
    rest = line + used;
    if (!strcmp(name, "poke")) {
      if (sscanf(rest, "%u %32767s", &a[0], hex) != 2) return 2;
    } else {
      for (i = 0; i < 9 && sscanf(rest, "%u%n", &a[i], &used) == 1; ++i) rest += used;
    }
    if (setjmp(begin)) {
      amp_kat_instantiate(&kat);
      puts("trap");
    } else {
      answer(name, a, hex);
    }
  }
  return 0;
}
