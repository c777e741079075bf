// SPDX-License-Identifier: Apache-2.0
/* A plan's calls against the kernel library that they are made in. */
#include <tzml/plan.h>

#include "written.h"

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
		if (arguments[i].region == TZML_REGION_WEIGHTS)
			return false;
		for (uint32_t j = 0; j < count; j++)
			if (j != i && overlap(arguments + i, arguments + j))
				return false;
	}
	return true;
}

static enum tzml_status check_call(const struct tzml_call *call,
				   const struct tzml_argument *arguments,
				   const struct tzml_kernels *kernels)
{
	const struct tzml_kernel_argument *expected = NULL;

	if (call->kernel >= kernels->table->kernel_count)
		return TZML_ERROR_KERNEL_MISSING;
	if (call->argument_count !=
	    tzml_kernel(kernels->table, call->kernel)->argument_count)
		return TZML_ERROR_KERNEL_MISMATCH;
	expected = tzml_arguments_of(kernels, call->kernel);
	for (uint32_t i = 0; i < call->argument_count; i++)
		if (arguments[i].size != expected[i].size)
			return TZML_ERROR_KERNEL_MISMATCH;
	return writes_are_sound(arguments, expected, call->argument_count)
		       ? TZML_SUCCESS
		       : TZML_ERROR_KERNEL_MISMATCH;
}

static bool in_arena(const struct tzml_argument *argument)
{
	return argument->region == TZML_REGION_ARENA;
}

static uint64_t end_of(const struct tzml_argument *argument)
{
	return argument->offset + argument->size;
}

/* A port of the program in the form of an argument. */
static struct tzml_argument port_of(const struct tzml_plan *plan,
				    const struct tzml_interface *interface,
				    uint32_t port)
{
	return (struct tzml_argument){
		.region = plan->places[port].region,
		.offset = plan->places[port].offset,
		.size = interface->tensors[plan->ports[port]].size,
	};
}

/* Tell `written` of all intervals; the program's inputs are there already. */
static void know_operands(const struct tzml_plan *plan,
			  const struct tzml_interface *interface,
			  struct written *written)
{
	for (uint32_t i = 0; i < plan->header->port_count; i++) {
		struct tzml_argument port = port_of(plan, interface, i);

		if (in_arena(&port))
			written_know(written, port.offset, end_of(&port));
	}
	for (uint32_t i = 0; i < plan->header->argument_count; i++)
		if (in_arena(plan->arguments + i))
			written_know(written, plan->arguments[i].offset,
				     end_of(plan->arguments + i));
	written_sort(written);
	for (uint32_t i = 0; i < plan->program->input_count; i++) {
		struct tzml_argument port = port_of(plan, interface, i);

		written_add(written, port.offset, end_of(&port));
	}
}

/* Whether what a call reads was written; then, what it writes is. */
static bool reads_are_sound(const struct tzml_call *call,
			    const struct tzml_argument *arguments,
			    const struct tzml_kernel_argument *expected,
			    struct written *written)
{
	for (uint32_t i = 0; i < call->argument_count; i++)
		if (expected[i].access & TZML_READ && in_arena(arguments + i) &&
		    !written_has(written, arguments[i].offset,
				 end_of(arguments + i)))
			return false;
	for (uint32_t i = 0; i < call->argument_count; i++)
		if (expected[i].access & TZML_WRITE && in_arena(arguments + i))
			written_add(written, arguments[i].offset,
				    end_of(arguments + i));
	return true;
}

static bool writes_state(const struct tzml_call *call,
			 const struct tzml_argument *arguments,
			 const struct tzml_kernel_argument *expected)
{
	for (uint32_t i = 0; i < call->argument_count; i++)
		if (expected[i].access & TZML_WRITE &&
		    arguments[i].region == TZML_REGION_STATE)
			return true;
	return false;
}

/* What nothing wrote would be whatever an earlier run left there. */
static bool outputs_are_written(const struct tzml_plan *plan,
				const struct tzml_interface *interface,
				struct written *written)
{
	for (uint32_t i = plan->program->input_count;
	     i < plan->header->port_count; i++) {
		struct tzml_argument port = port_of(plan, interface, i);

		if (in_arena(&port) &&
		    !written_has(written, port.offset, end_of(&port)))
			return false;
	}
	return true;
}

enum tzml_status tzml_plan_check_calls(struct tzml_plan *plan,
				       const struct tzml_interface *interface,
				       const struct tzml_kernels *kernels,
				       void *scratch)
{
	const struct tzml_argument *arguments = plan->arguments;
	enum tzml_status status = TZML_SUCCESS;
	struct written written = { 0 };

	plan->writes_state = false;
	written_begin(&written, scratch, tzml_plan_operands(plan));
	know_operands(plan, interface, &written);
	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		const struct tzml_kernel_argument *expected = NULL;
		const struct tzml_call *call = plan->calls + i;

		status = check_call(call, arguments, kernels);
		if (status)
			return status;
		expected = tzml_arguments_of(kernels, call->kernel);
		if (!reads_are_sound(call, arguments, expected, &written))
			return TZML_ERROR_KERNEL_MISMATCH;
		if (writes_state(call, arguments, expected))
			plan->writes_state = true;
		arguments += call->argument_count;
	}
	return outputs_are_written(plan, interface, &written)
		       ? TZML_SUCCESS
		       : TZML_ERROR_KERNEL_MISMATCH;
}
