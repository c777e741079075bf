// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/bundle.h>
#include <tzml/plan.h>

#include "check.h"

/* Size of one element, or zero for a dtype that does not exist. */
static uint64_t dtype_size(uint32_t dtype)
{
	switch (dtype) {
	case TZML_INT8:
	case TZML_UINT8:
	case TZML_BOOL:
		return 1;
	case TZML_FLOAT16:
	case TZML_INT16:
		return 2;
	case TZML_FLOAT32:
	case TZML_INT32:
		return 4;
	case TZML_INT64:
		return 8;
	default:
		return 0;
	}
}

/* Bytes of a tensor from its shape, or zero if they overflow or are none. */
static uint64_t tensor_bytes(const struct tzml_tensor *tensor)
{
	uint64_t bytes = dtype_size(tensor->dtype);

	if (tensor->dimension_count > TZML_MAX_DIMENSIONS)
		return 0;
	for (uint32_t i = 0; i < tensor->dimension_count; i++)
		if (__builtin_mul_overflow(bytes, tensor->dimensions[i],
					   &bytes))
			return 0;
	return bytes;
}

static bool tensor_is_sound(const struct tzml_tensor *tensor,
			    uint64_t arena_size)
{
	uint32_t used = tensor->dimension_count;

	return tensor_bytes(tensor) == tensor->size &&
	       in_range(tensor->offset, tensor->size, arena_size) &&
	       is_aligned(tensor->offset) && tensor->name[0] &&
	       !tensor->name[sizeof(tensor->name) - 1] &&
	       all_zero(tensor->dimensions + used,
			sizeof(uint32_t) * (TZML_MAX_DIMENSIONS - used)) &&
	       all_zero(tensor->reserved, sizeof(tensor->reserved));
}

/* Check `count` tensors and add up their sizes, which the arena limits. */
static bool tensors_are_sound(const struct tzml_tensor *tensors, uint32_t count,
			      uint64_t arena_size, uint64_t *total)
{
	*total = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!tensor_is_sound(tensors + i, arena_size))
			return false;
		*total += tensors[i].size;
	}
	return true;
}

static bool inputs_overlap(const struct tzml_plan *plan)
{
	const struct tzml_tensor *inputs = plan->inputs;

	for (uint32_t i = 0; i < plan->header->input_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (inputs[i].offset <
				    inputs[j].offset + inputs[j].size &&
			    inputs[j].offset <
				    inputs[i].offset + inputs[i].size)
				return true;
	return false;
}

static bool chunks_are_sound(const struct tzml_plan *plan)
{
	for (uint32_t i = 0; i < plan->header->chunk_count; i++)
		if (!in_range(plan->chunks[i].offset, plan->chunks[i].size,
			      plan->header->weights_size) ||
		    !is_aligned(plan->chunks[i].offset))
			return false;
	return true;
}

static bool argument_is_sound(const struct tzml_plan *plan,
			      const struct tzml_argument *argument)
{
	uint64_t limit = 0;

	switch (argument->region) {
	case TZML_REGION_ARENA:
		if (argument->chunk)
			return false;
		limit = plan->header->arena_size;
		break;
	case TZML_REGION_WEIGHTS:
		if (argument->chunk >= plan->header->chunk_count)
			return false;
		limit = plan->chunks[argument->chunk].size;
		break;
	default:
		return false;
	}
	return in_range(argument->offset, argument->size, limit) &&
	       is_aligned(argument->offset);
}

/* Two chunks that one call takes cannot lie in the same place. */
static bool chunks_can_meet(const struct tzml_plan *plan,
			    const struct tzml_argument *a,
			    const struct tzml_argument *b)
{
	return a->region != TZML_REGION_WEIGHTS ||
	       b->region != TZML_REGION_WEIGHTS || a->chunk == b->chunk ||
	       !tzml_chunks_overlap(plan->chunks + a->chunk,
				    plan->chunks + b->chunk);
}

static bool call_is_sound(const struct tzml_plan *plan,
			  const struct tzml_argument *arguments, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!argument_is_sound(plan, arguments + i))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (!chunks_can_meet(plan, arguments + i,
					     arguments + j))
				return false;
	}
	return true;
}

/* The calls use up the argument table, each at most so many. */
static bool calls_are_sound(const struct tzml_plan *plan)
{
	const struct tzml_argument *arguments = plan->arguments;
	uint64_t used = 0;

	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		const struct tzml_call *call = plan->calls + i;

		if (call->argument_count > TZML_MAX_CALL_ARGUMENTS ||
		    !all_zero(call->reserved, sizeof(call->reserved)))
			return false;
		used += call->argument_count;
	}
	if (used != plan->header->argument_count)
		return false;

	for (uint32_t i = 0; i < plan->header->call_count; i++) {
		if (!call_is_sound(plan, arguments,
				   plan->calls[i].argument_count))
			return false;
		arguments += plan->calls[i].argument_count;
	}
	return true;
}

/* Bytes that the counts, all within their limits, ask for. */
static uint64_t plan_bytes(const struct tzml_plan_header *header)
{
	uint64_t tensors = header->input_count + header->output_count;

	return sizeof(*header) +
	       header->chunk_count * sizeof(struct tzml_chunk) +
	       tensors * sizeof(struct tzml_tensor) +
	       header->call_count * sizeof(struct tzml_call) +
	       header->argument_count * sizeof(struct tzml_argument);
}

static void lay_out(const struct tzml_plan_header *header,
		    struct tzml_plan *plan)
{
	plan->header = header;
	plan->chunks = (const void *)(header + 1);
	plan->inputs = (const void *)(plan->chunks + header->chunk_count);
	plan->outputs = plan->inputs + header->input_count;
	plan->calls = (const void *)(plan->outputs + header->output_count);
	plan->arguments = (const void *)(plan->calls + header->call_count);
}

enum tzml_status tzml_plan_check(const void *data, size_t size,
				 struct tzml_plan *plan)
{
	const struct tzml_plan_header *header = data;

	memset(plan, 0, sizeof(*plan));
	if (size < sizeof(*header) || size > TZML_MAX_PLAN_SIZE ||
	    memcmp(header->magic, TZML_PLAN_MAGIC, sizeof(header->magic)) ||
	    header->version != TZML_PLAN_VERSION || header->size != size ||
	    !all_zero(header->reserved, sizeof(header->reserved)))
		return TZML_ERROR_PLAN_MALFORMED;
	if (header->input_count > TZML_MAX_TENSORS ||
	    header->output_count > TZML_MAX_TENSORS ||
	    header->chunk_count > TZML_MAX_SECTIONS ||
	    header->call_count > TZML_MAX_PLAN_SIZE ||
	    header->argument_count > TZML_MAX_PLAN_SIZE ||
	    header->arena_size > TZML_MAX_MEMORY ||
	    header->weights_size > TZML_MAX_MEMORY)
		return TZML_ERROR_LIMIT;

	if (plan_bytes(header) != size || !header->input_count ||
	    !header->output_count || !header->arena_size ||
	    !is_aligned(header->arena_size) ||
	    !is_aligned(header->weights_size))
		return TZML_ERROR_PLAN_MALFORMED;

	lay_out(header, plan);
	if (!chunks_are_sound(plan) ||
	    !tensors_are_sound(plan->inputs, header->input_count,
			       header->arena_size, &plan->inputs_size) ||
	    !tensors_are_sound(plan->outputs, header->output_count,
			       header->arena_size, &plan->outputs_size) ||
	    inputs_overlap(plan) || !calls_are_sound(plan))
		return TZML_ERROR_PLAN_MALFORMED;
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

static uint8_t *place_of(const struct tzml_plan *plan,
			 const struct tzml_argument *argument, uint8_t *arena,
			 uint8_t *weights)
{
	if (argument->region == TZML_REGION_ARENA)
		return arena + argument->offset;
	return weights + plan->chunks[argument->chunk].offset +
	       argument->offset;
}

enum tzml_status tzml_plan_call(const struct tzml_plan *plan,
				const struct tzml_kernels *kernels,
				uint8_t *arena, uint8_t *weights,
				struct tzml_position *position)
{
	const struct tzml_argument *arguments =
		plan->arguments + position->argument;
	const struct tzml_call *call = plan->calls + position->call;
	void *pointers[TZML_MAX_CALL_ARGUMENTS] = { NULL };

	for (uint32_t i = 0; i < call->argument_count; i++)
		pointers[i] = place_of(plan, arguments + i, arena, weights);
	if (kernels->call(call->kernel, pointers))
		return TZML_ERROR_KERNEL_FAILED;
	position->argument += call->argument_count;
	position->call++;
	return TZML_SUCCESS;
}
