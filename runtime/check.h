/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that several sections need. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tzml/format.h>

static inline bool all_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	uint8_t any = 0;

	for (size_t i = 0; i < size; i++)
		any |= bytes[i];
	return !any;
}

/* In a time that does not tell where two digests or tags differ. */
static inline bool is_equal(const void *a, const void *b, size_t size)
{
	const uint8_t *left = a;
	const uint8_t *right = b;
	uint8_t difference = 0;

	for (size_t i = 0; i < size; i++)
		difference |= left[i] ^ right[i];
	return !difference;
}

/* Zeros that the compiler cannot leave out because nobody reads them. */
static inline void wipe(void *data, size_t size)
{
	memset(data, 0, size);
	__asm__ volatile("" : : "r"(data) : "memory");
}

static inline bool is_aligned(uint64_t offset)
{
	return !(offset % TZML_ALIGNMENT);
}

/* Whether [offset, offset + size) is not empty and lies in [0, limit). */
static inline bool in_range(uint64_t offset, uint64_t size, uint64_t limit)
{
	return size && size <= limit && offset <= limit - size;
}

/* Whether bytes are UTF-8 that can be shown: without control characters. */
bool is_printable(const char *text, size_t size);

#endif /* CHECK_H */
