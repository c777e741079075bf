// SPDX-License-Identifier: Apache-2.0
/* A plan's calls against the kernel library that they are made in. */
#include <tzml/plan.h>

static const struct tzml_kernel_argument *
arguments_of(const struct tzml_kernels *kernels, uint32_t kernel)
{
	return tzml_kernel_arguments(kernels->table) +
	       tzml_kernel(kernels->table, kernel)->first_argument;
}

static bool overlap(const struct tzml_argument *a,
		    const struct tzml_argument *b)
{
	return a->region == b->region && a->chunk == b->chunk &&
	       a->offset < b->offset + b->size &&
	       b->offset < a->offset + a->size;
}

/* Kernels are compiled for arguments that do not alias what they write. */
static bool writes_are_sound(const struct tzml_argument *arguments,
			     const struct tzml_kernel_argument *expected,
			     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!(expected[i].access & TZML_WRITE))
			continue;
		if (arguments[i].region != TZML_REGION_ARENA)
			return false;
		for (uint32_t j = 0; j < count; j++)
			if (j != i && overlap(arguments + i, arguments + j))
				return false;
	}
	return true;
}

/*
 * How far from `end`, a place in the arena, the inputs or one argument that a
 * call writes go on without a gap; `end` if none of them does.
 */
static uint64_t written_from(const struct tzml_plan *plan,
			     const struct tzml_kernels *kernels, uint64_t end)
{
	const struct tzml_argument *arguments = plan->arguments;

	for (uint32_t i = 0; i < plan->header->input_count; i++)
		if (plan->inputs[i].offset <= end &&
		    plan->inputs[i].offset + plan->inputs[i].size > end)
			return plan->inputs[i].offset + plan->inputs[i].size;
	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		const struct tzml_call *call = plan->calls + i;
		const struct tzml_kernel_argument *expected =
			arguments_of(kernels, call->kernel);

		for (uint32_t j = 0; j < call->argument_count; j++)
			if (expected[j].access & TZML_WRITE &&
			    arguments[j].offset <= end &&
			    arguments[j].offset + arguments[j].size > end)
				return arguments[j].offset + arguments[j].size;
		arguments += call->argument_count;
	}
	return end;
}

/* What nothing writes would be whatever an earlier inference left there. */
static bool outputs_are_written(const struct tzml_plan *plan,
				const struct tzml_kernels *kernels)
{
	for (uint32_t i = 0; i < plan->header->output_count; i++) {
		const struct tzml_tensor *output = plan->outputs + i;
		uint64_t end = output->offset;

		while (end < output->offset + output->size) {
			uint64_t next = written_from(plan, kernels, end);

			if (next == end)
				return false;
			end = next;
		}
	}
	return true;
}

enum tzml_status tzml_plan_check_calls(const struct tzml_plan *plan,
				       const struct tzml_kernels *kernels)
{
	const struct tzml_argument *arguments = plan->arguments;

	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		const struct tzml_kernel_argument *expected = NULL;
		const struct tzml_call *call = plan->calls + i;

		if (call->kernel >= kernels->table->kernel_count)
			return TZML_ERROR_KERNEL_MISSING;
		expected = arguments_of(kernels, call->kernel);
		if (call->argument_count !=
		    tzml_kernel(kernels->table, call->kernel)->argument_count)
			return TZML_ERROR_KERNEL_MISMATCH;
		for (uint32_t j = 0; j < call->argument_count; j++)
			if (arguments[j].size != expected[j].size)
				return TZML_ERROR_KERNEL_MISMATCH;
		if (!writes_are_sound(arguments, expected,
				      call->argument_count))
			return TZML_ERROR_KERNEL_MISMATCH;
		arguments += call->argument_count;
	}
	return outputs_are_written(plan, kernels) ? TZML_SUCCESS
						  : TZML_ERROR_KERNEL_MISMATCH;
}
