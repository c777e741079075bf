/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of the arena were written so far. All intervals that will be
 * asked for are known ahead: their ends cut the arena into segments, each of
 * which is written as a whole or not at all.
 *
 *	written_begin(&written, scratch);
 *	written_know(&written, start, end);	for each interval
 *	written_sort(&written);
 *	written_add(&written, start, end);
 *	... written_has(&written, start, end) ...
 *
 * Takes time in the order of n log n: the segments that were not written yet
 * are sets of one that point to the next such segment (union-find).
 */
#ifndef WRITTEN_H
#define WRITTEN_H

#include <stdbool.h>
#include <stdint.h>

struct written {
	uint64_t *ends; /* of intervals; sorted, each once */
	uint32_t *next; /* of each segment: one that may be unwritten */
	uint32_t count;
};

/* `scratch` is aligned to 8 and has TZML_CHECK_BYTES for each interval. */
void written_begin(struct written *written, void *scratch, uint32_t intervals);
void written_know(struct written *written, uint64_t start, uint64_t end);
void written_sort(struct written *written);

/* Intervals that are known. */
void written_add(struct written *written, uint64_t start, uint64_t end);
bool written_has(struct written *written, uint64_t start, uint64_t end);

#endif /* WRITTEN_H */
