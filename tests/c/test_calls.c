// SPDX-License-Identifier: Apache-2.0
/*
 * Random plans and kernel libraries: the runtime says of their calls what a
 * checker says that keeps a note of every byte, and makes them on the right
 * pointers. Prints what differed, and exits 0 if nothing did.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/plan.h>

#include "tap.h"

enum {
	ROUNDS = 12000,
	ARENA = 512,
	STATE = 192,
	CHUNK = 128,
	CHUNKS = 3,
	KERNELS = 5,
	CALLS = 4,
	PORTS = 3, /* inputs, and outputs */
};

struct kernel {
	uint32_t count;
	uint64_t sizes[TZML_MAX_CALL_ARGUMENTS];
	uint32_t accesses[TZML_MAX_CALL_ARGUMENTS];
};

/* A library, and a plan that mostly fits it. */
struct example {
	struct kernel kernels[KERNELS];
	uint32_t kernel_count;
	struct tzml_kernel_table *table;

	struct tzml_tensor tensors[2 * PORTS];
	uint32_t ports[2 * PORTS];
	struct tzml_program program;
	struct tzml_interface interface;
	struct tzml_interface_header interface_header;

	void *layout_data;
	struct tzml_layout layout;
	void *plan_data;
	struct tzml_plan plan;
};

static uint32_t below(uint32_t limit)
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
	uint32_t call_count = below(CALLS + 1);
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

static bool all(const bool *bytes, uint64_t offset, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++)
		if (!bytes[offset + i])
			return false;
	return true;
}

static bool share_a_byte(const struct tzml_argument *a,
			 const struct tzml_argument *b)
{
	for (uint64_t i = 0; i < a->size; i++)
		for (uint64_t j = 0; j < b->size; j++)
			if (a->region == b->region && a->chunk == b->chunk &&
			    a->offset + i == b->offset + j)
				return true;
	return false;
}

static enum tzml_status expected_of_call(const struct example *e,
					 const struct tzml_call *call,
					 const struct tzml_argument *arguments,
					 bool *written, bool *writes_state)
{
	const struct kernel *kernel = e->kernels + call->kernel;

	if (call->kernel >= e->kernel_count)
		return TZML_ERROR_KERNEL_MISSING;
	if (call->argument_count != kernel->count)
		return TZML_ERROR_KERNEL_MISMATCH;
	for (uint32_t i = 0; i < kernel->count; i++) {
		const struct tzml_argument *argument = arguments + i;

		if (argument->size != kernel->sizes[i])
			return TZML_ERROR_KERNEL_MISMATCH;
		if (kernel->accesses[i] & TZML_READ && argument->region == 1 &&
		    !all(written, argument->offset, argument->size))
			return TZML_ERROR_KERNEL_MISMATCH;
		if (!(kernel->accesses[i] & TZML_WRITE))
			continue;
		if (argument->region == 2)
			return TZML_ERROR_KERNEL_MISMATCH;
		for (uint32_t j = 0; j < kernel->count; j++)
			if (i != j && share_a_byte(argument, arguments + j))
				return TZML_ERROR_KERNEL_MISMATCH;
	}
	for (uint32_t i = 0; i < kernel->count; i++) {
		if (!(kernel->accesses[i] & TZML_WRITE))
			continue;
		if (arguments[i].region == 3)
			*writes_state = true;
		else
			memset(written + arguments[i].offset, 1,
			       arguments[i].size);
	}
	return TZML_SUCCESS;
}

static enum tzml_status expected_of(const struct example *e, bool *writes_state)
{
	const struct tzml_argument *arguments = e->plan.arguments;
	enum tzml_status status = TZML_SUCCESS;
	bool written[ARENA] = { false };

	*writes_state = false;
	for (uint32_t i = 0; i < e->program.input_count; i++)
		memset(written + e->plan.places[i].offset, 1,
		       e->tensors[e->ports[i]].size);
	for (uint32_t i = 0; i < e->plan.header->call_count; i++) {
		status = expected_of_call(e, e->plan.calls + i, arguments,
					  written, writes_state);
		if (status)
			return status;
		arguments += e->plan.calls[i].argument_count;
	}
	for (uint32_t i = e->program.input_count;
	     i < e->plan.header->port_count; i++)
		if (e->plan.places[i].region == 1 &&
		    !all(written, e->plan.places[i].offset,
			 e->tensors[e->ports[i]].size))
			return TZML_ERROR_KERNEL_MISMATCH;
	return TZML_SUCCESS;
}

/* What the last kernel call was. */
static uint32_t called;
static void *copies[TZML_MAX_CALL_ARGUMENTS];

static int32_t note_call(uint32_t kernel, void *const *arguments)
{
	called = kernel;
	memcpy(copies, arguments, sizeof(copies));
	return 0;
}

/* Whether each call is made, with the pointers that its arguments are. */
static bool calls_are_made(const struct example *e)
{
	uint8_t memory[3] = { 0 }; /* only its addresses are looked at */
	const struct tzml_regions regions = {
		.arena = memory,
		.weights = memory + 1,
		.state = memory + 2,
	};
	const struct tzml_kernels kernels = { e->table, note_call };
	const struct tzml_argument *argument = e->plan.arguments;
	struct tzml_position position = { 0 };

	for (uint32_t i = 0; i < e->plan.header->call_count; i++) {
		const struct tzml_call *call = e->plan.calls + i;

		if (position.call != i ||
		    tzml_plan_call(&e->plan, &e->layout, &kernels, &regions,
				   &position) ||
		    called != call->kernel)
			return false;
		for (uint32_t j = 0; j < call->argument_count;
		     j++, argument++) {
			uintptr_t at = argument->offset;

			if (argument->region == 2)
				at += e->layout.chunks[argument->chunk].offset;
			at += (uintptr_t)memory + argument->region - 1;
			if ((uintptr_t)copies[j] != at)
				return false;
		}
	}
	return true;
}

/* Whether the first chunk is named that a call takes and that is not there. */
static bool missing_chunks_are_named(const struct example *e)
{
	bool *present = malloc(CHUNKS * sizeof(*present));
	struct tzml_position position = { 0 };
	bool right = true;

	for (uint32_t i = 0; i < CHUNKS; i++)
		present[i] = below(2);
	for (; position.call < e->plan.header->call_count; position.call++) {
		uint32_t count = e->plan.calls[position.call].argument_count;
		uint32_t expected = TZML_NO_CHUNK;

		for (uint32_t i = count; i; i--) {
			const struct tzml_argument *argument =
				e->plan.arguments + position.argument + i - 1;

			if (argument->region == 2 && !present[argument->chunk])
				expected = argument->chunk;
		}
		right &= tzml_plan_missing_chunk(&e->plan, &position,
						 present) == expected;
		position.argument += count;
	}
	free(present);
	return right;
}

int main(void)
{
	unsigned int wrong = 0, unmade = 0, misnamed = 0;
	unsigned int sound = 0, unsound = 0, missing = 0, stateful = 0;

	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		struct example e = { 0 };

		make_library(&e);
		make_layout(&e);
		make_interface(&e);
		if (make_plan(&e)) {
			const struct tzml_kernels kernels = { e.table, NULL };
			bool writes_state = false;
			enum tzml_status expected =
				expected_of(&e, &writes_state);
			void *scratch = malloc(tzml_plan_operands(&e.plan) *
					       TZML_CHECK_BYTES);
			enum tzml_status status = tzml_plan_check_calls(
				&e.plan, &e.interface, &kernels, scratch);

			free(scratch);
			wrong += status != expected;
			wrong += !status && e.plan.writes_state != writes_state;
			sound += !expected;
			stateful += !expected && writes_state;
			unsound += expected == TZML_ERROR_KERNEL_MISMATCH;
			missing += expected == TZML_ERROR_KERNEL_MISSING;
			misnamed += !missing_chunks_are_named(&e);
			if (!expected)
				unmade += !calls_are_made(&e);
		}
		free(e.table);
		free(e.layout_data);
		free(e.plan_data);
	}
	check(!wrong, "%u of %u sound, %u unsound and %u missing wrong", wrong,
	      sound, unsound, missing);
	check(!unmade && sound > 200, "%u of %u sound plans run wrongly",
	      unmade, sound);
	check(!misnamed, "%u plans with missing chunks", misnamed);
	check(stateful > 20 && unsound > 200 && missing > 20,
	      "%u change the state", stateful);
	return tap_end();
}
