/* SHA-256 (FIPS 180-4), for the digest of a module that is not part of the program. Back end wasm3 only. */
#ifndef AMP_SHA256_H
#define AMP_SHA256_H

#include <stddef.h>
#include <stdint.h>

/** Digest of len bytes. Overlap: none. Time depends on len. */
void amp_sha256(const uint8_t *bytes, size_t len, uint8_t digest[32]);

#endif
