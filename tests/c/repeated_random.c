// SPDX-License-Identifier: Apache-2.0
/*
 * Random numbers that follow from the environment's SEED, for programs that are
 * linked with --wrap=RAND_bytes: what they write can then be compared byte by
 * byte (tools/mutate). No two of a run are alike.
 */
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int __wrap_RAND_bytes(unsigned char *data, int size);

int __wrap_RAND_bytes(unsigned char *data, int size)
{
	static uint64_t seed_and_counter[2];
	const char *seed = getenv("SEED");
	uint8_t digest[SHA256_DIGEST_LENGTH] = { 0 };

	seed_and_counter[0] = seed ? strtoull(seed, NULL, 10) : 0;
	for (int done = 0; done < size; done += sizeof(digest)) {
		int left = size - done;

		seed_and_counter[1]++;
		SHA256((const uint8_t *)seed_and_counter,
		       sizeof(seed_and_counter), digest);
		memcpy(data + done, digest,
		       left < (int)sizeof(digest) ? (size_t)left
						  : sizeof(digest));
	}
	return 1;
}
