// SPDX-License-Identifier: Apache-2.0
/*
 * Run a bundle's kernels as its plan says, without libtzml: on this machine for
 * their CPU time, or under QEMU's user emulation for their instructions.
 *
 * usage: run_plan REPEAT [INPUTS], in a folder with the files that kernels.py
 * writes. INPUTS has all inputs of each run, run by run; without, all runs are
 * alike.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "cpu_seconds.h"
#include "measure.h"

#define MAX_ARGUMENTS 64
#define ALIGNMENT     64

/* A kernel's argument: an offset in the arena or in the weights. */
struct argument {
	uint64_t offset;
	uint64_t in_weights;
};

/* Where an input lies in the arena. */
struct place {
	uint64_t offset;
	uint64_t size;
};

int32_t tzml_kernel_call(uint32_t kernel, void *const *arguments);

static void *load(const char *name, size_t *size)
{
	FILE *file = fopen(name, "rb");
	char *data = NULL;

	if (!file || fseek(file, 0, SEEK_END))
		abort();
	*size = ftell(file);
	rewind(file);
	data = aligned_alloc(ALIGNMENT, (*size / ALIGNMENT + 1) * ALIGNMENT);
	if (!data || fread(data, 1, *size, file) != *size)
		abort();
	fclose(file);
	return data;
}

static void run(const uint64_t *plan, char *arena, char *weights)
{
	uint64_t calls = *plan++;

	while (calls--) {
		void *pointers[MAX_ARGUMENTS];
		uint64_t kernel = *plan++;
		uint64_t count = *plan++;
		const struct argument *argument = (const void *)plan;

		if (count > MAX_ARGUMENTS)
			abort();
		for (uint64_t i = 0; i < count; i++, argument++)
			pointers[i] = (argument->in_weights ? weights : arena) +
				      argument->offset;
		if (tzml_kernel_call(kernel, pointers))
			abort();
		plan = (const void *)argument;
	}
}

/* Put the inputs in place; returns what follows them in `inputs`. */
static char *give(char *arena, const struct place *places, size_t count,
		  char *inputs, const char *given)
{
	for (size_t i = 0; i < count; i++) {
		const char *from = inputs ? inputs : given + places[i].offset;

		memcpy(arena + places[i].offset, from, places[i].size);
		if (inputs)
			inputs += places[i].size;
	}
	return inputs;
}

static void save(const char *name, const void *data, size_t size)
{
	FILE *file = fopen(name, "wb");

	if (!file || fwrite(data, 1, size, file) != size || fclose(file))
		abort();
}

int main(int argc, char **argv)
{
	size_t arena_size = 0, size = 0;
	char *given = load("arena.bin", &arena_size);
	char *arena = load("arena.bin", &arena_size);
	char *weights = load("weights.bin", &size);
	struct place *places = load("inputs.bin", &size);
	size_t count = size / sizeof(*places);
	uint64_t *plan = load("plan.bin", &size);
	char *inputs = argc > 2 ? load(argv[2], &size) : NULL;
	double best = 1e30;

	/* the first run is not counted: it fills caches and maps pages */
	run(plan, arena, weights);
	save("result.bin", arena, arena_size);
	for (int left = argc > 1 ? atoi(argv[1]) : 1; left; left--) {
		double begin = 0;
		double took = 0;

		/* the last run may have overwritten its inputs */
		inputs = give(arena, places, count, inputs, given);
		begin = cpu_seconds();
		prctl(MEASURE_BEGIN);
		run(plan, arena, weights);
		prctl(MEASURE_END);
		took = cpu_seconds() - begin;
		if (took < best)
			best = took;
	}
	printf("seconds %.9f\n", best);
	return 0;
}
