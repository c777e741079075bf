// SPDX-License-Identifier: Apache-2.0
/*
 * memcpy in the place of OP-TEE's, which is built for size and goes byte by
 * byte: streaming copies all weights in each inference.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORDS 8 /* copied at once */

typedef uint64_t word __attribute__((may_alias));

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	if (!(((uintptr_t)source | (uintptr_t)target) % sizeof(word))) {
		for (; size >= WORDS * sizeof(word);
		     size -= WORDS * sizeof(word)) {
			for (size_t i = 0; i < WORDS; i++)
				((word *)target)[i] = ((const word *)source)[i];
			target += WORDS * sizeof(word);
			source += WORDS * sizeof(word);
		}
	}
	while (size--)
		*target++ = *source++;
	return to;
}
