#if defined(AMP_WASM3)

#include "amp_sha256.h"

#include <string.h>

static const uint32_t K[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, unsigned n) { return x >> n | x << (32 - n); }

static void block(uint32_t h[8], const uint8_t *bytes)
{
  uint32_t w[16], v[8];
  unsigned i;
  memcpy(v, h, sizeof v);
  for (i = 0; i < 64; ++i) {
    uint32_t t1, t2;
    uint32_t *const at = &w[i & 15];
    if (i < 16) {
      *at = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 | (uint32_t)bytes[4 * i + 2] << 8 |
            bytes[4 * i + 3];
    } else {
      const uint32_t a = w[(i - 15) & 15], b = w[(i - 2) & 15];
      *at += w[(i - 7) & 15] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + *at;
    t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    memmove(v + 1, v, 7 * sizeof v[0]);
    v[4] += t1;
    v[0] = t1 + t2;
  }
  for (i = 0; i < 8; ++i) h[i] += v[i];
}

void amp_sha256(const uint8_t *bytes, size_t len, uint8_t digest[32])
{
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  const uint64_t bits = (uint64_t)len << 3;
  uint8_t last[64];
  unsigned i;
  for (; len >= 64; len -= 64, bytes += 64) block(h, bytes);
  memset(last, 0, sizeof last);
  if (len > 0) memcpy(last, bytes, len);
  last[len] = 0x80;
  if (len >= 56) {
    block(h, last);
    memset(last, 0, sizeof last);
  }
  for (i = 0; i < 8; ++i) last[63 - i] = (uint8_t)(bits >> (8 * i));
  block(h, last);
  for (i = 0; i < 32; ++i) digest[i] = (uint8_t)(h[i >> 2] >> (24 - 8 * (i & 3)));
}

#else
typedef int amp_sha256_is_not_needed;
#endif
