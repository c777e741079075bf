// SPDX-License-Identifier: Apache-2.0
#include "random_plan.h"

#include <stdlib.h>
#include <string.h>

uint32_t below(uint32_t limit)
{
	return (uint32_t)rand() % limit;
}

static void make_library(struct example *e)
{
	struct tzml_kernel_argument *arguments = NULL;
	struct tzml_kernel *kernels = NULL;
	uint32_t total = 0;

	e->kernel_count = 1 + below(KERNELS);
	for (uint32_t i = 0; i < e->kernel_count; i++) {
		struct kernel *kernel = e->kernels + i;

		kernel->count = below(20) ? below(4) : TZML_MAX_CALL_ARGUMENTS;
		for (uint32_t j = 0; j < kernel->count; j++) {
			kernel->sizes[j] =
				1 + below(kernel->count > 4 ? 8 : 128);
			kernel->accesses[j] =
				kernel->count > 4 ? TZML_READ : 1 + below(3);
		}
		total += kernel->count;
	}
	e->table = calloc(1, sizeof(*e->table) +
				     e->kernel_count * sizeof(*kernels) +
				     total * sizeof(*arguments));
	e->table->kernel_count = e->kernel_count;
	e->table->argument_count = total;
	kernels = (void *)(e->table + 1);
	arguments = (void *)(kernels + e->kernel_count);
	for (uint32_t i = 0, first = 0; i < e->kernel_count; i++) {
		kernels[i].first_argument = first;
		kernels[i].argument_count = e->kernels[i].count;
		for (uint32_t j = 0; j < e->kernels[i].count; j++) {
			arguments[first].size = e->kernels[i].sizes[j];
			arguments[first++].access = e->kernels[i].accesses[j];
		}
	}
}

/* Chunks side by side, but the last two may share a place. */
static void make_layout(struct example *e)
{
	const size_t size = sizeof(struct tzml_memory_header) +
			    CHUNKS * sizeof(struct tzml_chunk);
	struct tzml_memory_header *header = calloc(1, size);
	struct tzml_chunk *chunks = (void *)(header + 1);

	memcpy(header->magic, TZML_MEMORY_MAGIC, sizeof(header->magic));
	header->size = size;
	header->chunk_count = CHUNKS;
	header->arena_size = ARENA;
	header->weights_size = CHUNKS * CHUNK;
	header->state_size = STATE;
	for (uint32_t i = 0; i < CHUNKS; i++) {
		chunks[i].size = CHUNK;
		chunks[i].offset = CHUNK * (i == 2 && below(4) ? 1 : i);
	}
	e->layout_data = header;
	if (tzml_layout_check(header, size, &e->layout))
		abort();
}

static void make_interface(struct example *e)
{
	e->program.input_count = 1 + below(PORTS);
	e->program.output_count = 1 + below(PORTS);
	for (uint32_t i = 0; i < 2 * PORTS; i++) {
		e->ports[i] = 2 * PORTS - 1 - i;
		e->tensors[e->ports[i]].size =
			1 + below(i < e->program.input_count ? 200 : 70);
	}
	if (e->filled) {
		e->program.input_count = 1;
		e->tensors[e->ports[0]].size = ARENA;
	}
	e->interface_header.program_count = 1;
	e->interface.header = &e->interface_header;
	e->interface.programs = &e->program;
	e->interface.tensors = e->tensors;
	e->interface.ports = e->ports;
}

static struct tzml_argument make_argument(uint64_t size)
{
	static const uint32_t regions[] = { 1, 1, 1, 1, 2, 3 };
	static const uint64_t sizes[] = { 0, ARENA, CHUNK, STATE };
	struct tzml_argument argument = { .size = size };

	argument.region = regions[below(6)];
	if (argument.region == TZML_REGION_WEIGHTS)
		argument.chunk = below(CHUNKS);
	argument.offset =
		below(sizes[argument.region] / TZML_ALIGNMENT) * TZML_ALIGNMENT;
	if (argument.offset + size > sizes[argument.region])
		argument.offset = 0;
	return argument;
}

/* Whether the plan is one that is sound by itself. */
static bool make_plan(struct example *e)
{
	struct tzml_argument arguments[CALLS * TZML_MAX_CALL_ARGUMENTS];
	uint32_t ports = e->program.input_count + e->program.output_count;
	struct tzml_plan_header *header = NULL;
	struct tzml_call calls[CALLS];
	uint32_t call_count = below((e->filled ? CALLS : FEW_CALLS) + 1);
	struct tzml_place *places = NULL;
	uint32_t total = 0;
	size_t size = 0;

	for (uint32_t i = 0; i < call_count; i++) {
		uint32_t number = below(e->kernel_count + !below(20));
		const struct kernel *kernel =
			e->kernels + number % e->kernel_count;

		calls[i].kernel = number;
		calls[i].argument_count = kernel->count;
		if (kernel->count && !below(30))
			calls[i].argument_count--;
		for (uint32_t j = 0; j < calls[i].argument_count; j++)
			arguments[total++] =
				make_argument(kernel->sizes[j] + !below(60));
	}
	size = sizeof(*header) + ports * sizeof(*places) +
	       call_count * sizeof(*calls) + total * sizeof(*arguments);
	header = calloc(1, size);
	memcpy(header->magic, TZML_PLAN_MAGIC, sizeof(header->magic));
	header->size = size;
	header->library = below(TZML_MAX_LIBRARIES);
	header->port_count = ports;
	header->call_count = call_count;
	header->argument_count = total;
	places = (void *)(header + 1);
	for (uint32_t i = 0; i < ports; i++) {
		places[i].region =
			i >= e->program.input_count && !below(5) ? 3 : 1;
		places[i].offset =
			below(places[i].region == 3 ? 2 : 7) * TZML_ALIGNMENT;
	}
	if (e->filled)
		places[0].offset = 0;
	/* outputs that nothing writes are sound where an input lies */
	for (uint32_t i = e->program.input_count; i < ports; i++)
		if (below(2))
			places[i] = places[0];
	memcpy(places + ports, calls, call_count * sizeof(*calls));
	memcpy((uint8_t *)(places + ports) + call_count * sizeof(*calls),
	       arguments, total * sizeof(*arguments));
	e->plan_data = header;
	return !tzml_plan_check(header, size, &e->interface, 0, &e->layout,
				&e->plan);
}

bool example_make(struct example *e)
{
	make_library(e);
	make_layout(e);
	make_interface(e);
	return make_plan(e);
}

void example_free(struct example *e)
{
	free(e->table);
	free(e->layout_data);
	free(e->plan_data);
}
