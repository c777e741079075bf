// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/plan.h>

#include "check.h"

/* Bytes of a region that is not the weights; 0 for one that does not exist. */
static uint64_t region_size(const struct tzml_layout *layout, uint32_t region)
{
	switch (region) {
	case TZML_REGION_ARENA:
		return layout->header->arena_size;
	case TZML_REGION_STATE:
		return layout->header->state_size;
	default:
		return 0;
	}
}

static bool place_is_sound(const struct tzml_layout *layout,
			   const struct tzml_place *place, uint64_t size)
{
	return in_range(place->offset, size,
			region_size(layout, place->region)) &&
	       is_aligned(place->offset) && !place->reserved;
}

static bool inputs_overlap(const struct tzml_place *a, uint64_t a_size,
			   const struct tzml_place *b, uint64_t b_size)
{
	return a->offset < b->offset + b_size && b->offset < a->offset + a_size;
}

/* Inputs lie in the arena, apart; outputs in the arena or the state. */
static bool places_are_sound(const struct tzml_plan *plan,
			     const struct tzml_interface *interface,
			     const struct tzml_layout *layout)
{
	const struct tzml_tensor *tensors = interface->tensors;

	for (uint32_t i = 0; i < plan->header->port_count; i++) {
		const struct tzml_place *place = plan->places + i;
		uint64_t size = tensors[plan->ports[i]].size;

		if (!place_is_sound(layout, place, size))
			return false;
		if (i >= plan->program->input_count)
			continue;
		if (place->region != TZML_REGION_ARENA)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (inputs_overlap(place, size, plan->places + j,
					   tensors[plan->ports[j]].size))
				return false;
	}
	return true;
}

static bool argument_is_sound(const struct tzml_layout *layout,
			      const struct tzml_argument *argument)
{
	uint64_t limit = region_size(layout, argument->region);

	if (argument->region == TZML_REGION_WEIGHTS) {
		if (argument->chunk >= layout->header->chunk_count)
			return false;
		limit = layout->chunks[argument->chunk].size;
	} else if (argument->chunk) {
		return false;
	}
	return in_range(argument->offset, argument->size, limit) &&
	       is_aligned(argument->offset);
}

/* Two chunks that one call takes cannot lie in the same place. */
static bool chunks_can_meet(const struct tzml_layout *layout,
			    const struct tzml_argument *a,
			    const struct tzml_argument *b)
{
	return a->region != TZML_REGION_WEIGHTS ||
	       b->region != TZML_REGION_WEIGHTS || a->chunk == b->chunk ||
	       !tzml_chunks_overlap(layout->chunks + a->chunk,
				    layout->chunks + b->chunk);
}

static bool call_is_sound(const struct tzml_layout *layout,
			  const struct tzml_argument *arguments, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!argument_is_sound(layout, arguments + i))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (!chunks_can_meet(layout, arguments + i,
					     arguments + j))
				return false;
	}
	return true;
}

/* The calls use up the argument table, each at most so many. */
static bool calls_are_sound(const struct tzml_plan *plan,
			    const struct tzml_layout *layout)
{
	uint32_t left = plan->header->argument_count;
	const struct tzml_argument *arguments = plan->arguments;

	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		uint32_t count = plan->calls[i].argument_count;

		if (count > TZML_MAX_CALL_ARGUMENTS || count > left ||
		    !call_is_sound(layout, arguments, count))
			return false;
		arguments += count;
		left -= count;
	}
	return !left;
}

/* Bytes that the counts, all within their limits, ask for. */
static uint64_t plan_bytes(const struct tzml_plan_header *header)
{
	return sizeof(*header) +
	       header->port_count * sizeof(struct tzml_place) +
	       header->call_count * sizeof(struct tzml_call) +
	       header->argument_count * sizeof(struct tzml_argument);
}

static enum tzml_status check_header(const struct tzml_plan_header *header,
				     size_t size,
				     const struct tzml_program *program)
{
	if (size < sizeof(*header) ||
	    memcmp(header->magic, TZML_PLAN_MAGIC, sizeof(header->magic)) ||
	    header->size != size ||
	    !all_zero(header->reserved, sizeof(header->reserved)))
		return TZML_ERROR_PLAN_MALFORMED;
	if (header->library >= TZML_MAX_LIBRARIES ||
	    header->call_count > TZML_MAX_PLAN_SIZE ||
	    header->argument_count > TZML_MAX_PLAN_SIZE)
		return TZML_ERROR_LIMIT;
	if (header->port_count !=
		    program->input_count + program->output_count ||
	    plan_bytes(header) != size)
		return TZML_ERROR_PLAN_MALFORMED;
	return TZML_SUCCESS;
}

enum tzml_status tzml_plan_check(const void *data, size_t size,
				 const struct tzml_interface *interface,
				 uint32_t program,
				 const struct tzml_layout *layout,
				 struct tzml_plan *plan)
{
	const struct tzml_plan_header *header = data;
	struct tzml_plan found = {
		.program = interface->programs + program,
		.ports = tzml_interface_ports(interface, program),
	};
	enum tzml_status status = check_header(header, size, found.program);

	if (status)
		return status;
	found.header = header;
	found.places = (const void *)(header + 1);
	found.calls = (const void *)(found.places + header->port_count);
	found.arguments = (const void *)(found.calls + header->call_count);
	found.inputs_size = tzml_interface_bytes(interface, found.ports,
						 found.program->input_count);
	found.outputs_size = tzml_interface_bytes(
		interface, found.ports + found.program->input_count,
		found.program->output_count);
	if (!places_are_sound(&found, interface, layout) ||
	    !calls_are_sound(&found, layout))
		return TZML_ERROR_PLAN_MALFORMED;
	*plan = found;
	return TZML_SUCCESS;
}

uint32_t tzml_plan_missing_chunk(const struct tzml_plan *plan,
				 const struct tzml_position *position,
				 const bool *present)
{
	const struct tzml_argument *arguments =
		plan->arguments + position->argument;
	uint32_t count = plan->calls[position->call].argument_count;

	for (uint32_t i = 0; i < count; i++)
		if (arguments[i].region == TZML_REGION_WEIGHTS &&
		    !present[arguments[i].chunk])
			return arguments[i].chunk;
	return TZML_NO_CHUNK;
}

static uint8_t *address_of(const struct tzml_layout *layout,
			   const struct tzml_argument *argument,
			   const struct tzml_regions *regions)
{
	switch (argument->region) {
	case TZML_REGION_ARENA:
		return regions->arena + argument->offset;
	case TZML_REGION_STATE:
		return regions->state + argument->offset;
	default:
		return regions->weights +
		       layout->chunks[argument->chunk].offset +
		       argument->offset;
	}
}

enum tzml_status tzml_plan_call(const struct tzml_plan *plan,
				const struct tzml_layout *layout,
				const struct tzml_kernels *kernels,
				const struct tzml_regions *regions,
				struct tzml_position *position)
{
	const struct tzml_argument *arguments =
		plan->arguments + position->argument;
	const struct tzml_call *call = plan->calls + position->call;
	void *pointers[TZML_MAX_CALL_ARGUMENTS] = { NULL };

	for (uint32_t i = 0; i < call->argument_count; i++)
		pointers[i] = address_of(layout, arguments + i, regions);
	if (kernels->call(call->kernel, pointers))
		return TZML_ERROR_KERNEL_FAILED;
	position->argument += call->argument_count;
	position->call++;
	return TZML_SUCCESS;
}
