// SPDX-License-Identifier: Apache-2.0
/*
 * memcpy and memset in the place of OP-TEE's, which are built for size and go
 * byte by byte: streaming copies all weights in each inference, and what held
 * a record of a pipeline is wiped twice.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORDS 8 /* at once */

typedef uint64_t word __attribute__((may_alias));

static int are_aligned(const void *one, const void *other)
{
	return !(((uintptr_t)one | (uintptr_t)other) % sizeof(word));
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	if (are_aligned(source, target)) {
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

void *memset(void *to, int byte, size_t size)
{
	const word filled = (uint8_t)byte * (UINT64_MAX / UINT8_MAX);
	uint8_t *target = to;

	if (are_aligned(target, target)) {
		for (; size >= WORDS * sizeof(word);
		     size -= WORDS * sizeof(word)) {
			for (size_t i = 0; i < WORDS; i++)
				((word *)target)[i] = filled;
			target += WORDS * sizeof(word);
		}
	}
	while (size--)
		*target++ = byte;
	return to;
}
