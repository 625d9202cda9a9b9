#include "native-ascon.h"

#include <string.h>

typedef struct {
  uint64_t s[5];
} ascon_state;

enum { RATE = 16 };

static uint64_t rotr(uint64_t x, int n)
{
  return x >> n | x << (64 - n);
}

static uint64_t word(const uint8_t *bytes)
{
  uint64_t x;
  memcpy(&x, bytes, sizeof x);
  return x;
}

static void permute(ascon_state *state, unsigned rounds)
{
  uint64_t x0 = state->s[0];
  uint64_t x1 = state->s[1];
  uint64_t x2 = state->s[2];
  uint64_t x3 = state->s[3];
  uint64_t x4 = state->s[4];
  for (unsigned c = 0xf0 - (12 - rounds) * 0x0f; c != 0x3c; c -= 0x0f) {
    x2 ^= c;
    x0 ^= x4;
    x4 ^= x3;
    x2 ^= x1;
    const uint64_t t0 = x0 ^ (~x1 & x2);
    const uint64_t t1 = x1 ^ (~x2 & x3);
    const uint64_t t2 = x2 ^ (~x3 & x4);
    const uint64_t t3 = x3 ^ (~x4 & x0);
    const uint64_t t4 = x4 ^ (~x0 & x1);
    x0 = t0 ^ t4;
    x1 = t1 ^ t0;
    x2 = ~t2;
    x3 = t3 ^ t2;
    x4 = t4;
    x0 ^= rotr(x0, 19) ^ rotr(x0, 28);
    x1 ^= rotr(x1, 61) ^ rotr(x1, 39);
    x2 ^= rotr(x2, 1) ^ rotr(x2, 6);
    x3 ^= rotr(x3, 10) ^ rotr(x3, 17);
    x4 ^= rotr(x4, 7) ^ rotr(x4, 41);
  }
  state->s[0] = x0;
  state->s[1] = x1;
  state->s[2] = x2;
  state->s[3] = x3;
  state->s[4] = x4;
}

/* The bytes of a last block, 0..15, with the 1 that ends it. */
static void pad(uint8_t block[RATE], const uint8_t *bytes, uint32_t len)
{
  memset(block, 0, RATE);
  memcpy(block, bytes, len);
  block[len] = 1;
}

static void begin(ascon_state *state, const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, uint32_t ad_len)
{
  state->s[0] = 0x00001000808c0001;
  state->s[1] = word(key);
  state->s[2] = word(key + 8);
  state->s[3] = word(nonce);
  state->s[4] = word(nonce + 8);
  permute(state, 12);
  state->s[3] ^= word(key);
  state->s[4] ^= word(key + 8);
  if (ad_len != 0) {
    uint8_t block[RATE];
    for (; ad_len >= RATE; ad += RATE, ad_len -= RATE) {
      state->s[0] ^= word(ad);
      state->s[1] ^= word(ad + 8);
      permute(state, 8);
    }
    pad(block, ad, ad_len);
    state->s[0] ^= word(block);
    state->s[1] ^= word(block + 8);
    permute(state, 8);
  }
  state->s[4] ^= 0x8000000000000000;
}

static void finish(ascon_state *state, const uint8_t *key, uint8_t *tag)
{
  state->s[2] ^= word(key);
  state->s[3] ^= word(key + 8);
  permute(state, 12);
  state->s[3] ^= word(key);
  state->s[4] ^= word(key + 8);
  memcpy(tag, &state->s[3], 16);
}

void native_seal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, uint32_t ad_len, uint8_t *text,
                 uint32_t len, uint8_t *tag)
{
  ascon_state state;
  uint8_t block[RATE];
  begin(&state, key, nonce, ad, ad_len);
  for (; len >= RATE; text += RATE, len -= RATE) {
    state.s[0] ^= word(text);
    state.s[1] ^= word(text + 8);
    memcpy(text, state.s, RATE);
    permute(&state, 8);
  }
  pad(block, text, len);
  state.s[0] ^= word(block);
  state.s[1] ^= word(block + 8);
  memcpy(text, state.s, len);
  finish(&state, key, tag);
}

uint32_t native_open(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, uint32_t ad_len, uint8_t *text,
                     uint32_t len, const uint8_t *tag)
{
  ascon_state state;
  uint8_t block[RATE];
  uint8_t *const whole = text;
  const uint32_t whole_len = len;
  uint8_t computed[16];
  uint8_t difference = 0;
  begin(&state, key, nonce, ad, ad_len);
  for (; len >= RATE; text += RATE, len -= RATE) {
    const uint64_t c0 = word(text);
    const uint64_t c1 = word(text + 8);
    state.s[0] ^= c0;
    state.s[1] ^= c1;
    memcpy(text, state.s, RATE);
    state.s[0] = c0;
    state.s[1] = c1;
    permute(&state, 8);
  }
  memset(block, 0, RATE);
  memcpy(block, state.s, len);
  for (uint32_t i = 0; i < len; ++i) block[i] ^= text[i];
  memcpy(text, block, len);
  block[len] = 1;
  state.s[0] ^= word(block);
  state.s[1] ^= word(block + 8);
  finish(&state, key, computed);
  for (int i = 0; i < 16; ++i) difference |= (uint8_t)(computed[i] ^ tag[i]);
  if (difference == 0) return 0;
  memset(whole, 0, whole_len);
  return 1;
}
