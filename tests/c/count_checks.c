// SPDX-License-Identifier: Apache-2.0
/*
 * count_checks SHAPE CALLS: check a plan of so many calls, all sound, between
 * the two marks of py/tzml/bench/measure.h. Whoever writes a bundle chooses
 * the shape, so no shape may make the checks slow.
 *
 *	forward   each call reads what the one before it wrote, behind it
 *	backward  the same from the arena's end to its beginning
 *	growing   each call writes all that was written, and a little more
 *	scattered each call writes to a place of its own, in no order
 *	wide      each call has as many arguments as there may be
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <tzml/plan.h>

#include "measure.h"

#define BLOCK TZML_ALIGNMENT

enum shape { FORWARD, BACKWARD, GROWING, SCATTERED, WIDE, SHAPES };

static const char *const names[SHAPES] = { "forward", "backward", "growing",
					   "scattered", "wide" };

struct example {
	struct tzml_kernel_table *table; /* a kernel for each call */
	struct tzml_plan_header *plan;
	size_t plan_size;
	uint32_t calls;
	uint32_t arguments; /* of each call: reads, and one write */
};

/* What the last argument of a call, the one that it writes, is. */
static void choose_write(enum shape shape, uint32_t call, uint32_t calls,
			 struct tzml_argument *argument)
{
	argument->size = BLOCK;
	switch (shape) {
	case BACKWARD:
		argument->offset = (uint64_t)BLOCK * (calls - call);
		return;
	case GROWING:
		argument->offset = BLOCK;
		argument->size = (uint64_t)BLOCK * (call + 1);
		return;
	case SCATTERED:
		/* 40503 has no common factor with a power of two */
		argument->offset =
			(uint64_t)BLOCK * (1 + call * 40503u % calls);
		return;
	default:
		argument->offset = (uint64_t)BLOCK * (call + 1);
	}
}

static void make(struct example *e, enum shape shape)
{
	uint32_t total = e->calls * e->arguments;
	struct tzml_kernel_argument *expected = NULL;
	struct tzml_argument *arguments = NULL;
	struct tzml_kernel *kernels = NULL;
	struct tzml_place *places = NULL;
	struct tzml_call *calls = NULL;

	e->table = calloc(1, sizeof(*e->table) + e->calls * sizeof(*kernels) +
				     total * sizeof(*expected));
	kernels = (void *)(e->table + 1);
	expected = (void *)(kernels + e->calls);
	e->plan_size = sizeof(*e->plan) + 2 * sizeof(*places) +
		       e->calls * sizeof(*calls) + total * sizeof(*arguments);
	e->plan = calloc(1, e->plan_size);
	places = (void *)(e->plan + 1);
	calls = (void *)(places + 2);
	arguments = (void *)(calls + e->calls);
	if (!e->table || !e->plan)
		abort();
	e->table->kernel_count = e->calls;
	e->table->argument_count = total;
	memcpy(e->plan->magic, TZML_PLAN_MAGIC, sizeof(e->plan->magic));
	e->plan->size = e->plan_size;
	e->plan->port_count = 2;
	e->plan->call_count = e->calls;
	e->plan->argument_count = total;
	places[0].region = TZML_REGION_ARENA; /* the input, at 0 */
	places[1].region = TZML_REGION_ARENA;
	places[1].offset = BLOCK;
	for (uint32_t i = 0; i < e->calls; i++) {
		struct tzml_argument *own = arguments + i * e->arguments;
		struct tzml_argument *written = own + e->arguments - 1;

		calls[i].kernel = i;
		calls[i].argument_count = e->arguments;
		kernels[i].first_argument = i * e->arguments;
		kernels[i].argument_count = e->arguments;
		for (uint32_t j = 0; j < e->arguments; j++) {
			own[j].region = TZML_REGION_ARENA;
			own[j].size = BLOCK;
		}
		choose_write(shape, i, e->calls, written);
		if (i && (shape == FORWARD || shape == BACKWARD ||
			  shape == SCATTERED))
			own->offset = (own - 1)->offset;
		for (uint32_t j = 0; j < e->arguments; j++) {
			expected[i * e->arguments + j].size = own[j].size;
			expected[i * e->arguments + j].access =
				own + j == written ? TZML_WRITE : TZML_READ;
		}
	}
}

static enum tzml_status check(const struct example *e,
			      const struct tzml_layout *layout, void *scratch)
{
	const struct tzml_interface_header header = { .program_count = 1 };
	const struct tzml_tensor tensors[] = { { .size = BLOCK },
					       { .size = BLOCK } };
	const struct tzml_program program = { .input_count = 1,
					      .output_count = 1 };
	const struct tzml_kernels kernels = { .table = e->table };
	const uint32_t ports[] = { 0, 1 };
	const struct tzml_interface interface = {
		.header = &header,
		.programs = &program,
		.tensors = tensors,
		.ports = ports,
	};
	struct tzml_plan plan = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	prctl(MEASURE_BEGIN);
	status = tzml_plan_check(e->plan, e->plan_size, &interface, 0, layout,
				 &plan);
	if (!status)
		status = tzml_plan_check_calls(&plan, &interface, &kernels,
					       scratch);
	prctl(MEASURE_END);
	return status;
}

int main(int argc, char **argv)
{
	struct tzml_memory_header memory = { .size = sizeof(memory),
					     .arena_size = TZML_MAX_MEMORY };
	struct example e = { 0 };
	struct tzml_layout layout = { 0 };
	enum shape shape = FORWARD;
	void *scratch = NULL;

	while (argc == 3 && shape < SHAPES && strcmp(argv[1], names[shape]))
		shape++;
	if (argc != 3 || shape == SHAPES)
		return 2;
	e.calls = (uint32_t)strtoul(argv[2], NULL, 10);
	e.arguments = shape == WIDE ? TZML_MAX_CALL_ARGUMENTS : 2;
	make(&e, shape);
	memcpy(memory.magic, TZML_MEMORY_MAGIC, sizeof(memory.magic));
	scratch =
		malloc((2 + (size_t)e.calls * e.arguments) * TZML_CHECK_BYTES);
	if (!scratch || tzml_layout_check(&memory, sizeof(memory), &layout))
		return 1;
	printf("%zu bytes of plan\n", e.plan_size);
	return check(&e, &layout, scratch) ? 1 : 0;
}
