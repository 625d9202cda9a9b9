/* What each platform's double gives to the programs here. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include "ampoule.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Puts an identity with K(0) where the platform keeps it. */
void platform_provision(const amp_identity *identity);
/** Boots: nothing but what is stored is known. */
amp_status platform_open(void);
amp_context *platform_device(void);
/** 1 if K(0) is gone and the storage key is in its place, where the platform can do that. */
int platform_key_is_gone(void);

#ifdef __cplusplus
}
#endif

#endif
