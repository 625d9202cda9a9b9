/*
 * The permutation of firmware/src/amp_ascon_p.c by itself: lines of rounds, alignment and a state in hex; answers are
 * states. What lies around a state must stay as it is. Under clang's memory sanitizer a state counts as never written:
 * what would depend on it is an error.
 */
#include <stdio.h>
#include <string.h>

#include "amp_ascon_p.h"

#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define HIDE(at, size) __msan_poison(at, size)
#define SHOW(at, size) __msan_unpoison(at, size)
#endif
#endif
#ifndef HIDE
#define HIDE(at, size) (void)(at)
#define SHOW(at, size) (void)(at)
#endif

enum { FENCE = 8 };

int main(void)
{
  unsigned rounds, align, byte, i;
  if (!amp_ascon_p_is_right()) return 1;
  while (scanf("%u %u ", &rounds, &align) == 2) {
    uint8_t room[FENCE + 8 + AMP_ASCON_STATE + FENCE];
    uint8_t *const state = room + FENCE + align;
    memset(room, 0xa5, sizeof room);
    for (i = 0; i < AMP_ASCON_STATE; ++i) {
      if (scanf("%2x", &byte) != 1) return 2;
      state[i] = (uint8_t)byte;
    }
    HIDE(state, AMP_ASCON_STATE);
    amp_ascon_p(state, rounds);
    SHOW(state, AMP_ASCON_STATE);
    for (i = 0; i < AMP_ASCON_STATE; ++i) printf("%02x", state[i]);
    putchar('\n');
    memset(state, 0xa5, AMP_ASCON_STATE);
    for (i = 0; i < sizeof room; ++i)
      if (room[i] != 0xa5) return 3;
  }
  return 0;
}
