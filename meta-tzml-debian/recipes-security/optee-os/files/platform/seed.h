/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_SEED_H
#define TZML_SEED_H

#include <stdint.h>

#define SEED_WORDS 8 /* 256 bits */

/* The machine's source, as it is called in image.json. */
extern const char seed_source[];

/* Read the seed from the machine's source. Panics if there is none. */
void seed_read(uint32_t seed[SEED_WORDS]);

#endif /* TZML_SEED_H */
