// SPDX-License-Identifier: Apache-2.0
#include "live.h"

#include <string.h>

static void drop(struct tzml_live *live, uint32_t first, uint32_t count)
{
	live->count -= count;
	memmove(live->ranges + first, live->ranges + first + count,
		(live->count - first) * sizeof(*live->ranges));
}

/* Make room for a range before the one with that number, if there is any. */
static bool insert(struct tzml_live *live, uint32_t at)
{
	if (live->count == TZML_LIVE_RANGES)
		return false;
	memmove(live->ranges + at + 1, live->ranges + at,
		(live->count - at) * sizeof(*live->ranges));
	live->count++;
	return true;
}

/* Without room: let the nearer of two neighbours reach to the new range. */
static void join(struct tzml_live *live, uint32_t at, uint64_t start,
		 uint64_t end)
{
	struct tzml_range *before = at ? live->ranges + at - 1 : NULL;
	struct tzml_range *after = at < live->count ? live->ranges + at : NULL;

	if (before && (!after || start - before->end < after->start - end))
		before->end = end;
	else
		after->start = start;
}

void live_add(struct tzml_live *live, uint64_t start, uint64_t end)
{
	struct tzml_range *range = NULL;
	uint32_t first = 0;
	uint32_t last = 0;

	while (first < live->count && live->ranges[first].end < start)
		first++;
	for (last = first;
	     last < live->count && live->ranges[last].start <= end; last++) {
		if (live->ranges[last].start < start)
			start = live->ranges[last].start;
		if (live->ranges[last].end > end)
			end = live->ranges[last].end;
	}
	if (last > first) {
		drop(live, first, last - first - 1);
	} else if (!insert(live, first)) {
		join(live, first, start, end);
		return;
	}
	range = live->ranges + first;
	range->start = start;
	range->end = end;
}

void live_remove(struct tzml_live *live, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < live->count; i++) {
		struct tzml_range *range = live->ranges + i;

		if (range->end <= start || range->start >= end)
			continue;
		if (range->start < start && range->end > end) {
			if (insert(live, i + 1)) {
				range[1].start = end;
				range[1].end = range->end;
				range->end = start;
			}
			return;
		}
		if (range->start < start)
			range->end = start;
		else if (range->end > end)
			range->start = end;
		else
			drop(live, i--, 1);
	}
}

uint64_t live_size(const struct tzml_live *live)
{
	uint64_t size = 0;

	for (uint32_t i = 0; i < live->count; i++)
		size += tzml_align(live->ranges[i].end - live->ranges[i].start);
	return size;
}

void live_save(const struct tzml_live *live, const uint8_t *arena, uint8_t *to)
{
	for (uint32_t i = 0; i < live->count; i++) {
		const struct tzml_range *range = live->ranges + i;

		memcpy(to, arena + range->start, range->end - range->start);
		to += tzml_align(range->end - range->start);
	}
}

void live_restore(const struct tzml_live *live, uint8_t *arena,
		  const uint8_t *from)
{
	for (uint32_t i = 0; i < live->count; i++) {
		const struct tzml_range *range = live->ranges + i;

		memcpy(arena + range->start, from, range->end - range->start);
		from += tzml_align(range->end - range->start);
	}
}
