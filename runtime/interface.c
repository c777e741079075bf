// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/interface.h>

#include "check.h"

/* A set of tensors; their number is limited. */
struct tensor_set {
	uint64_t words[TZML_MAX_TENSORS / 64];
};

static bool has(const struct tensor_set *set, uint32_t tensor)
{
	return set->words[tensor / 64] >> tensor % 64 & 1;
}

static void add(struct tensor_set *set, uint32_t tensor)
{
	set->words[tensor / 64] |= UINT64_C(1) << tensor % 64;
}

static void take_out(struct tensor_set *set, uint32_t tensor)
{
	set->words[tensor / 64] &= ~(UINT64_C(1) << tensor % 64);
}

uint64_t tzml_dtype_size(uint32_t dtype)
{
	switch (dtype) {
	case TZML_INT8:
	case TZML_UINT8:
	case TZML_BOOL:
		return 1;
	case TZML_FLOAT16:
	case TZML_INT16:
	case TZML_UINT16:
		return 2;
	case TZML_FLOAT32:
	case TZML_INT32:
	case TZML_UINT32:
		return 4;
	case TZML_INT64:
	case TZML_UINT64:
	case TZML_FLOAT64:
		return 8;
	default:
		return 0;
	}
}

/* Bytes of a tensor from its shape, or zero if they overflow or are none. */
static uint64_t tensor_bytes(const struct tzml_tensor *tensor)
{
	uint64_t bytes = tzml_dtype_size(tensor->dtype);

	for (uint32_t i = 0; i < tensor->dimension_count; i++)
		if (__builtin_mul_overflow(bytes, tensor->dimensions[i],
					   &bytes))
			return 0;
	return bytes;
}

static bool tensor_is_sound(const struct tzml_tensor *tensor)
{
	uint32_t used = tensor->dimension_count;

	return used <= TZML_MAX_DIMENSIONS && tensor->size &&
	       tensor->size <= TZML_MAX_MEMORY &&
	       tensor_bytes(tensor) == tensor->size &&
	       all_zero(tensor->dimensions + used,
			sizeof(uint32_t) * (TZML_MAX_DIMENSIONS - used)) &&
	       (tensor->flags <= TZML_TENSOR_OUTPUT ||
		tensor->flags == TZML_TENSOR_RANDOM) &&
	       !tensor->reserved;
}

/* Check a name, which begins where the one before it ends, and move `end`. */
static enum tzml_status check_name(const struct tzml_interface *interface,
				   uint32_t offset, uint32_t size,
				   uint32_t *end)
{
	uint32_t room = interface->header->strings_size;

	if (size > TZML_MAX_NAME_SIZE)
		return TZML_ERROR_LIMIT;
	/* `end` is at most `room` */
	if (!size || offset != *end || size >= room - offset ||
	    interface->strings[offset + size] ||
	    !is_printable(interface->strings + offset, size))
		return TZML_ERROR_INTERFACE_MALFORMED;
	*end = offset + size + 1;
	return TZML_SUCCESS;
}

static enum tzml_status check_program(const struct tzml_program *program)
{
	if (program->role < TZML_ROLE_INFER ||
	    program->role > TZML_ROLE_EVALUATE)
		return TZML_ERROR_UNSUPPORTED;
	if (program->input_count > TZML_MAX_PORTS ||
	    program->output_count > TZML_MAX_PORTS)
		return TZML_ERROR_LIMIT;
	if (!program->worlds || program->worlds > TZML_IN_BOTH ||
	    !program->input_count || !program->output_count ||
	    program->reserved)
		return TZML_ERROR_INTERFACE_MALFORMED;
	return TZML_SUCCESS;
}

/* Names, programs and tensors, each for itself; all names use up the strings. */
static enum tzml_status check_entries(const struct tzml_interface *interface)
{
	const struct tzml_interface_header *header = interface->header;
	enum tzml_status status = TZML_SUCCESS;
	uint32_t ports = 0;
	uint32_t end = 0;

	for (uint32_t i = 0; i < header->program_count; i++) {
		const struct tzml_program *program = interface->programs + i;

		status = check_name(interface, program->name,
				    program->name_size, &end);
		if (!status)
			status = check_program(program);
		if (status)
			return status;
		ports += program->input_count + program->output_count;
	}
	if (ports != header->port_count)
		return TZML_ERROR_INTERFACE_MALFORMED;
	for (uint32_t i = 0; i < header->tensor_count; i++) {
		const struct tzml_tensor *tensor = interface->tensors + i;

		status = check_name(interface, tensor->name, tensor->name_size,
				    &end);
		if (status)
			return status;
		if (!tzml_dtype_size(tensor->dtype))
			return TZML_ERROR_UNSUPPORTED;
		if (!tensor_is_sound(tensor))
			return TZML_ERROR_INTERFACE_MALFORMED;
	}
	for (uint32_t i = 0; i < ports; i++)
		if (interface->ports[i] >= header->tensor_count)
			return TZML_ERROR_INTERFACE_MALFORMED;
	return end == header->strings_size ? TZML_SUCCESS
					   : TZML_ERROR_INTERFACE_MALFORMED;
}

static bool names_differ(const struct tzml_interface *interface)
{
	const struct tzml_program *programs = interface->programs;
	const struct tzml_tensor *tensors = interface->tensors;
	const char *strings = interface->strings;

	for (uint32_t i = 0; i < interface->header->program_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (!strcmp(strings + programs[i].name,
				    strings + programs[j].name))
				return false;
	for (uint32_t i = 0; i < interface->header->tensor_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (!strcmp(strings + tensors[i].name,
				    strings + tensors[j].name))
				return false;
	return true;
}

/* Entry points are numbered without gaps; each has one role. */
static bool entry_follows(const struct tzml_program *program,
			  const struct tzml_program *previous)
{
	if (!previous)
		return !program->entry;
	if (program->entry == previous->entry)
		return program->role == previous->role;
	return program->entry == previous->entry + 1;
}

/* Whether a tensor comes from outside of all programs. */
static bool is_given(const struct tzml_tensor *tensor)
{
	return tensor->flags == TZML_TENSOR_INPUT ||
	       tensor->flags == TZML_TENSOR_RANDOM;
}

static bool is_between(const struct tzml_interface *interface, uint32_t tensor)
{
	return !interface->tensors[tensor].flags;
}

/* What was made and what is waited for, from the first program to the last. */
struct flow {
	struct tensor_set taken;
	struct tensor_set given;
	struct tensor_set made;	   /* in this entry point */
	struct tensor_set waiting; /* for a later program of it */
};

static bool program_fits(const struct tzml_interface *interface,
			 const struct tzml_program *program,
			 const uint32_t *ports, struct flow *flow)
{
	const struct tzml_tensor *tensors = interface->tensors;
	const uint32_t *outputs = ports + program->input_count;
	struct tensor_set seen = { 0 };

	for (uint32_t i = 0; i < program->input_count; i++) {
		if (has(&seen, ports[i]))
			return false;
		if (!is_given(tensors + ports[i]) &&
		    !has(&flow->made, ports[i]))
			return false;
		add(&seen, ports[i]);
		add(&flow->taken, ports[i]);
		take_out(&flow->waiting, ports[i]);
	}
	for (uint32_t i = 0; i < program->output_count; i++) {
		if (is_given(tensors + outputs[i]) ||
		    has(&flow->made, outputs[i]))
			return false;
		add(&flow->made, outputs[i]);
		add(&flow->given, outputs[i]);
		if (is_between(interface, outputs[i]))
			add(&flow->waiting, outputs[i]);
	}
	return true;
}

/*
 * What a program takes, the caller or an earlier program of the entry point
 * gives; and nothing passes between programs in vain.
 */
static bool programs_fit(const struct tzml_interface *interface)
{
	const struct tzml_interface_header *header = interface->header;
	const struct tzml_program *previous = NULL;
	const uint32_t *ports = interface->ports;
	struct flow flow = { 0 };

	for (uint32_t i = 0; i < header->program_count; i++) {
		const struct tzml_program *program = interface->programs + i;

		if (!entry_follows(program, previous))
			return false;
		if (previous && program->entry != previous->entry) {
			if (!all_zero(&flow.waiting, sizeof(flow.waiting)))
				return false;
			memset(&flow.made, 0, sizeof(flow.made));
		}
		if (!program_fits(interface, program, ports, &flow))
			return false;
		ports += program->input_count + program->output_count;
		previous = program;
	}
	for (uint32_t i = 0; i < header->tensor_count; i++) {
		bool is_input = is_given(interface->tensors + i);

		if (!has(is_input ? &flow.taken : &flow.given, i))
			return false;
	}
	return all_zero(&flow.waiting, sizeof(flow.waiting));
}

/* Bytes that the counts, all within their limits, ask for. */
static uint64_t interface_bytes(const struct tzml_interface_header *header)
{
	return sizeof(*header) +
	       header->program_count * sizeof(struct tzml_program) +
	       header->tensor_count * sizeof(struct tzml_tensor) +
	       header->port_count * sizeof(uint32_t) + header->strings_size;
}

static enum tzml_status check_header(const struct tzml_interface_header *header,
				     size_t size)
{
	if (size < sizeof(*header) ||
	    memcmp(header->magic, TZML_INTERFACE_MAGIC,
		   sizeof(header->magic)) ||
	    header->size != size ||
	    !all_zero(header->reserved, sizeof(header->reserved)))
		return TZML_ERROR_INTERFACE_MALFORMED;
	if (header->program_count > TZML_MAX_PROGRAMS ||
	    header->tensor_count > TZML_MAX_TENSORS ||
	    header->port_count > TZML_MAX_PROGRAMS * 2 * TZML_MAX_PORTS ||
	    header->strings_size > TZML_MAX_INTERFACE_SIZE)
		return TZML_ERROR_LIMIT;
	if (interface_bytes(header) != size || !header->program_count)
		return TZML_ERROR_INTERFACE_MALFORMED;
	return TZML_SUCCESS;
}

enum tzml_status tzml_interface_check(const void *data, size_t size,
				      struct tzml_interface *interface)
{
	const struct tzml_interface_header *header = data;
	struct tzml_interface found = { .header = header };
	enum tzml_status status = check_header(header, size);

	if (status)
		return status;
	found.programs = (const void *)(header + 1);
	found.tensors = (const void *)(found.programs + header->program_count);
	found.ports = (const void *)(found.tensors + header->tensor_count);
	found.strings = (const void *)(found.ports + header->port_count);

	status = check_entries(&found);
	if (status)
		return status;
	if (!names_differ(&found) || !programs_fit(&found))
		return TZML_ERROR_INTERFACE_MALFORMED;
	*interface = found;
	return TZML_SUCCESS;
}

const uint32_t *tzml_interface_ports(const struct tzml_interface *interface,
				     uint32_t program)
{
	const uint32_t *ports = interface->ports;

	for (uint32_t i = 0; i < program; i++)
		ports += interface->programs[i].input_count +
			 interface->programs[i].output_count;
	return ports;
}

uint64_t tzml_interface_bytes(const struct tzml_interface *interface,
			      const uint32_t *ports, uint32_t count)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++)
		if (interface->tensors[ports[i]].flags != TZML_TENSOR_RANDOM)
			bytes += interface->tensors[ports[i]].size;
	return bytes;
}
