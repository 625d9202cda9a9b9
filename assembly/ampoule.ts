/*
 * What a module asks of the one who runs it: nothing but the permutation, and that in the profile HOSTED alone.
 */

/**
 * Applies Ascon-p (SP 800-232, section 3) to a state.
 *
 * @param state in and out, 40 bytes aligned to 8: S0 to S4, little-endian
 * @param rounds 8 or 12
 */
export declare function ascon_p(state: usize, rounds: i32): void;
