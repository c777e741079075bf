// SPDX-License-Identifier: Apache-2.0
/*
 * The TA's memcpy and memset write what was asked for and nothing beside it.
 * Prints one TAP line a check, and exits 0 if all passed.
 */
#define memcpy ta_memcpy
#define memset ta_memset
#include "../../ta/memory.c"
#undef memcpy
#undef memset

#include "tap.h"

#define LONGEST 300
#define ROOM	(LONGEST + 2 * sizeof(word))

static const int bytes[] = { 0, 1, 0x80, 0xff, -2 };

static bool is_filled(const uint8_t *at, uint8_t byte, size_t size)
{
	while (size--)
		if (*at++ != byte)
			return false;
	return true;
}

/* All but [start, start + size) of `room` is 0x55. */
static bool is_kept(const uint8_t room[ROOM], size_t start, size_t size)
{
	return is_filled(room, 0x55, start) &&
	       is_filled(room + start + size, 0x55, ROOM - start - size);
}

static void try_copies(size_t to, size_t from)
{
	uint8_t source[ROOM], room[ROOM];
	bool copied = true, kept = true, told = true;

	for (size_t i = 0; i < ROOM; i++)
		source[i] = (uint8_t)(i * 7 + 1);
	for (size_t size = 0; size <= LONGEST; size++) {
		memset(room, 0x55, sizeof(room));
		told &= ta_memcpy(room + to, source + from, size) == room + to;
		copied &= !memcmp(room + to, source + from, size);
		kept &= is_kept(room, to, size);
	}
	check(copied && kept && told, "copies from %zu to %zu", from, to);
}

static void try_fills(size_t to, int byte)
{
	uint8_t room[ROOM];
	bool filled = true, kept = true, told = true;

	for (size_t size = 0; size <= LONGEST; size++) {
		memset(room, 0x55, sizeof(room));
		told &= ta_memset(room + to, byte, size) == room + to;
		filled &= is_filled(room + to, (uint8_t)byte, size);
		kept &= is_kept(room, to, size);
	}
	check(filled && kept && told, "fills of %d at %zu", byte, to);
}

int main(void)
{
	for (size_t to = 0; to < sizeof(word); to++) {
		for (size_t from = 0; from < sizeof(word); from++)
			try_copies(to, from);
		for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++)
			try_fills(to, bytes[i]);
	}
	return tap_end();
}
