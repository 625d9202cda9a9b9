#if defined(AMP_WASM3) && defined(AMP_ASCON_HOSTED)

#include "amp_ascon_p.h"

#include <string.h>

enum { END = 0x3c, STEP = 0x0f };

static uint64_t rotr(uint64_t x, unsigned n) { return x >> n | x << (64 - n); }

void amp_ascon_p(uint8_t state[AMP_ASCON_STATE], unsigned rounds)
{
  uint64_t s[5], x0, x1, x2, x3, x4;
  unsigned constant;
  memcpy(s, state, sizeof s);
  x0 = s[0];
  x1 = s[1];
  x2 = s[2];
  x3 = s[3];
  x4 = s[4];
  for (constant = END + rounds * STEP; constant != END; constant -= STEP) {
    uint64_t t3;
    /* 3.2 and 3.3. Where x1 is 1, the new x0 is the old one, and so on. */
    x2 ^= constant ^ x1;
    x0 ^= x4;
    x4 ^= x3;
    t3 = x0 & ~x4;
    x0 ^= x2 & ~x1;
    x2 ^= x4 & ~x3;
    x4 ^= x1 & ~x0;
    x1 ^= x3 & ~x2;
    x3 ^= t3;
    x1 ^= x0;
    x3 ^= x2;
    x0 ^= x4;
    x2 = ~x2;
    /* 3.4 */
    x0 ^= rotr(x0, 19) ^ rotr(x0, 28);
    x1 ^= rotr(x1, 61) ^ rotr(x1, 39);
    x2 ^= rotr(x2, 1) ^ rotr(x2, 6);
    x3 ^= rotr(x3, 10) ^ rotr(x3, 17);
    x4 ^= rotr(x4, 7) ^ rotr(x4, 41);
  }
  s[0] = x0;
  s[1] = x1;
  s[2] = x2;
  s[3] = x3;
  s[4] = x4;
  memcpy(state, s, sizeof s);
}

int amp_ascon_p_is_right(void)
{
  /* SP 800-232, 5.1: the initial value of Ascon-Hash256, and its state after 12 rounds; then after 8 more. */
  static const uint64_t after_12[5] = {0x9b1e5494e934d681, 0x4bc3a01e333751d2, 0xae65396c6b34b81a,
                                       0x3c7fd4a4d56a4db3, 0x1a5c464906c5976d};
  static const uint64_t after_20[5] = {0xd4f9f98d33f22c23, 0x105d8af159a8f929, 0x1ec3a5269f917a36,
                                       0x597aa43ef3cdee8f, 0xf4c8486fd0a956b2};
  /* The compiler may not know it: it would do the rounds itself. */
  static const volatile uint64_t initial = 0x0000080100cc0002;
  uint64_t s[5] = {0, 0, 0, 0, 0};
  uint8_t state[AMP_ASCON_STATE];
  s[0] = initial;
  memcpy(state, s, sizeof s);
  amp_ascon_p(state, 12);
  if (memcmp(state, after_12, sizeof state) != 0) return 0;
  amp_ascon_p(state, 8);
  return memcmp(state, after_20, sizeof state) == 0;
}

#else
typedef int amp_ascon_p_is_not_needed;
#endif
