// SPDX-License-Identifier: Apache-2.0
#include "written.h"

void written_begin(struct written *written, void *scratch, uint32_t intervals)
{
	written->ends = scratch;
	written->next = (uint32_t *)(written->ends + 2 * (uint64_t)intervals);
	written->count = 0;
}

void written_know(struct written *written, uint64_t start, uint64_t end)
{
	written->ends[written->count++] = start;
	written->ends[written->count++] = end;
}

/* Let the number at `root` sink to its place in a heap of `count`. */
static void sink(uint64_t *heap, uint32_t count, uint32_t root)
{
	uint64_t number = heap[root];

	for (uint32_t child = 2 * root + 1; child < count;
	     child = 2 * root + 1) {
		if (child + 1 < count && heap[child] < heap[child + 1])
			child++;
		if (heap[child] <= number)
			break;
		heap[root] = heap[child];
		root = child;
	}
	heap[root] = number;
}

/* Heapsort: in place, without recursion, and no order makes it slow. */
static void sort(uint64_t *numbers, uint32_t count)
{
	for (uint32_t root = count / 2; root; root--)
		sink(numbers, count, root - 1);
	for (uint32_t last = count; last > 1; last--) {
		uint64_t largest = numbers[0];

		numbers[0] = numbers[last - 1];
		numbers[last - 1] = largest;
		sink(numbers, last - 1, 0);
	}
}

void written_sort(struct written *written)
{
	uint32_t count = 0;

	sort(written->ends, written->count);
	for (uint32_t i = 0; i < written->count; i++)
		if (!i || written->ends[i] != written->ends[i - 1])
			written->ends[count++] = written->ends[i];
	written->count = count;
	for (uint32_t i = 0; i < count; i++)
		written->next[i] = i;
}

/* The segment that begins at `end`, one of the known ends. */
static uint32_t segment_at(const struct written *written, uint64_t end)
{
	uint32_t first = 0;
	uint32_t last = written->count - 1;

	while (first < last) {
		uint32_t middle = first + (last - first) / 2;

		if (written->ends[middle] < end)
			first = middle + 1;
		else
			last = middle;
	}
	return first;
}

/* The first segment from this one on that was not written. */
static uint32_t unwritten_from(struct written *written, uint32_t segment)
{
	while (written->next[segment] != segment) {
		uint32_t after = written->next[written->next[segment]];

		written->next[segment] = after;
		segment = after;
	}
	return segment;
}

void written_add(struct written *written, uint64_t start, uint64_t end)
{
	uint32_t segment = unwritten_from(written, segment_at(written, start));
	uint32_t last = segment_at(written, end);

	while (segment < last) {
		written->next[segment] = segment + 1;
		segment = unwritten_from(written, segment + 1);
	}
}

bool written_has(struct written *written, uint64_t start, uint64_t end)
{
	return unwritten_from(written, segment_at(written, start)) >=
	       segment_at(written, end);
}
