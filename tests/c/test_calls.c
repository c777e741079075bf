// SPDX-License-Identifier: Apache-2.0
/*
 * Random plans and kernel libraries: the runtime says of their calls what a
 * checker says that keeps a note of every byte, and makes them on the right
 * pointers. Prints what differed, and exits 0 if nothing did.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random_plan.h"
#include "tap.h"

#define ROUNDS 12000

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

		if (example_make(&e)) {
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
		example_free(&e);
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
