/* Ascon-p in C, for modules that import it. Back end wasm3 with AMP_ASCON_HOSTED only. */
#ifndef AMP_ASCON_P_H
#define AMP_ASCON_P_H

#include <stdint.h>

/** Bytes of a state. */
#define AMP_ASCON_STATE 40

/**
 * Applies Ascon-p (SP 800-232, section 3) to a state.
 *
 * @param state in and out: S0 to S4, little-endian, any alignment
 * @param rounds 0..12, the last ones; the standard has 8 and 12
 *
 * Time: depends on rounds alone.
 */
void amp_ascon_p(uint8_t state[AMP_ASCON_STATE], unsigned rounds);

/** 1 if amp_ascon_p() gives the known answers, with 12 and with 8 rounds, else 0. */
int amp_ascon_p_is_right(void);

#endif
