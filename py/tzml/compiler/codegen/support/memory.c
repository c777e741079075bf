// SPDX-License-Identifier: Apache-2.0
/* LLVM makes loops into these; a kernel library brings them itself. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

typedef uint64_t word __attribute__((may_alias, aligned(1)));

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	for (; size >= sizeof(word); size -= sizeof(word)) {
		*(word *)target = *(const word *)source;
		target += sizeof(word);
		source += sizeof(word);
	}
	while (size--)
		*target++ = *source++;
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	const uint8_t *source = from;
	uint8_t *target = to;

	if (target <= source || target >= source + size) {
		for (size_t i = 0; i < size; i++)
			target[i] = source[i];
	} else {
		while (size--)
			target[size] = source[size];
	}
	return to;
}

void *memset(void *to, int value, size_t size)
{
	uint8_t *target = to;

	while (size--)
		*target++ = (uint8_t)value;
	return to;
}
