// SPDX-License-Identifier: Apache-2.0
/*
 * Ranges of what is needed, against one mark a byte. Prints one TAP line a
 * check, and exits 0 if all passed.
 */
#include <stdlib.h>

#include "live.h"
#include "tap.h"

#define BYTES 512

static bool is_marked(const struct tzml_live *live, uint64_t byte)
{
	for (uint32_t i = 0; i < live->count; i++)
		if (live->ranges[i].start <= byte && byte < live->ranges[i].end)
			return true;
	return false;
}

static bool is_sorted(const struct tzml_live *live)
{
	for (uint32_t i = 0; i < live->count; i++)
		if (live->ranges[i].start >= live->ranges[i].end ||
		    (i && live->ranges[i - 1].end >= live->ranges[i].start))
			return false;
	return live->count <= TZML_LIVE_RANGES;
}

/* How often the ranges are what they have to be; `more` is where they have more. */
static uint32_t try_ranges(uint32_t steps, uint64_t longest, uint32_t *more)
{
	struct tzml_live live = { 0 };
	bool marks[BYTES] = { false };
	uint32_t right = 0;

	for (uint32_t i = 0; i < steps; i++) {
		uint64_t start = (uint64_t)rand() % (BYTES - longest);
		uint64_t end = start + 1 + (uint64_t)rand() % longest;
		bool adds = rand() % 2;
		bool missing = false;
		bool exceeds = false;

		(adds ? live_add : live_remove)(&live, start, end);
		for (uint64_t j = start; j < end; j++)
			marks[j] = adds;
		for (uint64_t j = 0; j < BYTES; j++) {
			missing = missing || (marks[j] && !is_marked(&live, j));
			exceeds = exceeds || (!marks[j] && is_marked(&live, j));
		}
		right += !missing && is_sorted(&live);
		*more += exceeds;
		if (exceeds) { /* go on from what it thinks */
			for (uint64_t j = 0; j < BYTES; j++)
				marks[j] = is_marked(&live, j);
		}
	}
	return right;
}

static void test_random_ranges(void)
{
	uint32_t more = 0;

	srand(15);
	check(try_ranges(20000, 200, &more) == 20000 && !more,
	      "few ranges have exactly what is needed");
	check(try_ranges(20000, 8, &more) == 20000 && more > 100,
	      "many have at least that");
}

/* As many ranges as there may be: 10 bytes of each 100 from 1000 on. */
static struct tzml_live full(void)
{
	struct tzml_live live = { 0 };

	for (uint64_t i = 0; i < TZML_LIVE_RANGES; i++)
		live_add(&live, 1000 + 100 * i, 1010 + 100 * i);
	return live;
}

/* Whether a range that is added to the full ones makes that range of one. */
static bool joins(uint64_t start, uint64_t end, uint32_t range,
		  uint64_t new_start, uint64_t new_end)
{
	struct tzml_live live = full();

	live_add(&live, start, end);
	for (uint32_t i = 0; i < TZML_LIVE_RANGES; i++) {
		uint64_t first = i == range ? new_start : 1000 + 100 * i;
		uint64_t last = i == range ? new_end : 1010 + 100 * i;

		if (live.ranges[i].start != first || live.ranges[i].end != last)
			return false;
	}
	return live.count == TZML_LIVE_RANGES;
}

static void test_full(void)
{
	struct tzml_live live = full();

	check(live.count == TZML_LIVE_RANGES, "all ranges are used");
	check(joins(1120, 1130, 1, 1100, 1130) &&
		      joins(1180, 1190, 2, 1180, 1210) &&
		      joins(1150, 1160, 2, 1150, 1210),
	      "without room the nearer neighbour takes more, or the later");
	check(joins(900, 910, 0, 900, 1010) &&
		      joins(2550, 2560, 15, 2500, 2560),
	      "at the ends, the only one does");
	live_remove(&live, 1204, 1206);
	check(live.ranges[2].start == 1200 && live.ranges[2].end == 1210 &&
		      live.count == TZML_LIVE_RANGES,
	      "nor is a range parted");
}

static void test_copies(void)
{
	struct tzml_live live = { 0 };
	uint8_t arena[BYTES];
	uint8_t other[BYTES] = { 0 };
	uint8_t kept[64 + 128] = { 0 };
	uint32_t same = 0;

	for (int i = 0; i < BYTES; i++)
		arena[i] = (uint8_t)(i * 7 + 1);
	live_add(&live, 64, 100);
	live_add(&live, 192, 320);
	live_add(&live, 448, 512);
	live_remove(&live, 448, 512);
	check(live_size(&live) == 64 + 128, "each range takes whole lines");
	live_save(&live, arena, kept);
	live_restore(&live, other, kept);
	for (uint64_t i = 0; i < BYTES; i++)
		same += other[i] == (is_marked(&live, i) ? arena[i] : 0);
	check(same == BYTES, "what was kept comes back, and nothing else");
}

int main(void)
{
	test_random_ranges();
	test_full();
	test_copies();
	return tap_end();
}
