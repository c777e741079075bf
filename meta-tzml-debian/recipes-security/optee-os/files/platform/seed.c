// SPDX-License-Identifier: Apache-2.0
/*
 * The first seed of OP-TEE's generator of random numbers.
 *
 * Of itself, OP-TEE seeds it with the time since power-on: whoever knows how
 * long this machine takes to boot computes its keys. Here it gets 256 bits of
 * the machine's source, or OP-TEE does not start.
 */
#include <crypto/crypto.h>
#include <kernel/panic.h>
#include <kernel/tee_time.h>
#include <string_ext.h>
#include <tee/tee_cryp_utl.h>
#include <trace.h>

#include "seed.h"

/* A source that repeats itself is broken: by chance it does in 2^29 boots. */
static bool repeats(const uint32_t seed[SEED_WORDS])
{
	for (size_t i = 1; i < SEED_WORDS; i++)
		if (seed[i] == seed[i - 1])
			return true;
	return false;
}

void plat_rng_init(void)
{
	struct {
		uint32_t seed[SEED_WORDS];
		TEE_Time time;
	} data = {};

	seed_read(data.seed);
	if (repeats(data.seed))
		panic("the source of random numbers repeats itself");
	if (tee_time_get_sys_time(&data.time) ||
	    crypto_rng_init(&data, sizeof(data)))
		panic("the generator of random numbers does not start");
	memzero_explicit(&data, sizeof(data));
	IMSG("Random numbers are seeded from: %s", seed_source);
}
