// SPDX-License-Identifier: Apache-2.0
/*
 * Measure kernels that compute the same, one after the other: their CPU time on
 * this machine, or under QEMU's user emulation their instructions.
 *
 * usage: run_candidates REPEAT, with the table that candidates.py writes;
 * prints the least time of REPEAT calls for each
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "candidates.h"
#include "cpu_seconds.h"
#include "measure.h"

#define ALIGNMENT 64

static void *zeros(size_t size)
{
	size_t rounded = (size / ALIGNMENT + 1) * ALIGNMENT;
	void *memory = aligned_alloc(ALIGNMENT, rounded);

	if (!memory)
		abort();
	return memset(memory, 0, rounded);
}

static double measure(const struct candidate *candidate, int repeat)
{
	void *arguments[MAX_ARGUMENTS];
	double best = 1e30;

	for (size_t i = 0; i < candidate->count; i++)
		arguments[i] = zeros(candidate->sizes[i]);
	while (repeat--) {
		double begin = cpu_seconds();
		double took = 0;

		prctl(MEASURE_BEGIN);
		if (candidate->call(arguments))
			abort();
		prctl(MEASURE_END);
		took = cpu_seconds() - begin;
		if (took < best)
			best = took;
	}
	for (size_t i = 0; i < candidate->count; i++)
		free(arguments[i]);
	return best;
}

int main(int argc, char **argv)
{
	int repeat = argc > 1 ? atoi(argv[1]) : 1;

	for (size_t i = 0; i < candidate_count; i++)
		printf("seconds %.9f\n", measure(&candidates[i], repeat));
	return 0;
}
