/* Ascon-AEAD128 of NIST SP 800-232 in straightforward C: what the modules are compared with. */
#ifndef NATIVE_ASCON_H
#define NATIVE_ASCON_H

#include <stdint.h>

/* Seals len bytes of text in place; writes 16 bytes at tag. Nothing may overlap. Any alignment. */
void native_seal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, uint32_t ad_len, uint8_t *text,
                 uint32_t len, uint8_t *tag);

/* Opens len bytes of text in place. 0, or 1 where the tag is wrong: then the text is zero. */
uint32_t native_open(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, uint32_t ad_len, uint8_t *text,
                     uint32_t len, const uint8_t *tag);

#endif
