// SPDX-License-Identifier: Apache-2.0
/*
 * Entry points: programs that follow each other, each in its world. The values
 * that pass between them are tensors of the bundle's interface.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

/* The programs of the selected entry point: from `*first`, how many. */
static uint32_t programs_of(const struct tzml_session *session, uint32_t entry,
			    uint32_t *first)
{
	const struct tzml_interface *interface = &session->interface;
	uint32_t count = 0;

	*first = 0;
	for (uint32_t i = 0; i < interface->header->program_count; i++) {
		if (interface->programs[i].entry != entry)
			continue;
		if (!count)
			*first = i;
		count++;
	}
	return count;
}

const struct opened *world_of(const struct tzml_session *session,
			      uint32_t program)
{
	uint32_t worlds = session->interface.programs[program].worlds;

	for (size_t i = 0; i < 2; i++)
		if (session->worlds[i].state &&
		    session->worlds[i].world->bit & worlds)
			return session->worlds + i;
	return NULL;
}

struct port_sizes sizes_of(const struct tzml_interface *interface,
			   uint32_t program)
{
	const struct tzml_program *about = interface->programs + program;
	const uint32_t *ports = tzml_interface_ports(interface, program);

	return (struct port_sizes){
		.inputs = tzml_interface_bytes(interface, ports,
					       about->input_count),
		.outputs = tzml_interface_bytes(interface,
						ports + about->input_count,
						about->output_count),
	};
}

/* The tensors with a flag among some ports, in the order of their numbers. */
static uint32_t collect(const struct tzml_session *session, uint32_t entry,
			uint32_t flag, uint32_t *found)
{
	const struct tzml_interface *interface = &session->interface;
	bool used[TZML_MAX_TENSORS] = { false };
	uint32_t first = 0;
	uint32_t programs = programs_of(session, entry, &first);
	uint32_t count = 0;

	for (uint32_t i = first; i < first + programs; i++) {
		const struct tzml_program *program = interface->programs + i;
		const uint32_t *ports = tzml_interface_ports(interface, i);

		for (uint32_t j = 0;
		     j < program->input_count + program->output_count; j++)
			used[ports[j]] = true;
	}
	for (uint32_t i = 0; i < interface->header->tensor_count; i++)
		if (used[i] && interface->tensors[i].flags == flag)
			found[count++] = i;
	return count;
}

enum tzml_status select_entry(struct tzml_session *session, uint32_t entry)
{
	uint32_t first = 0;
	uint32_t programs = programs_of(session, entry, &first);

	if (!programs)
		return fail(TZML_ERROR_PROGRAM, "%s has no entry point %u",
			    session->bundle.name, entry);
	for (uint32_t i = first; i < first + programs; i++)
		if (!world_of(session, i))
			return fail(
				TZML_ERROR_PROGRAM,
				"%s: program %s runs only in the other "
				"world",
				session->bundle.name,
				session->interface.strings +
					session->interface.programs[i].name);
	session->entry = entry;
	session->most_samples = TZML_MAX_SAMPLES;
	session->input_count =
		collect(session, entry, TZML_TENSOR_INPUT, session->inputs);
	session->output_count =
		collect(session, entry, TZML_TENSOR_OUTPUT, session->outputs);
	return TZML_SUCCESS;
}

/* Where each tensor's value is while an entry point runs. */
struct values {
	const struct tzml_interface *interface;
	uint8_t *data[TZML_MAX_TENSORS];
};

/* Let tensors that lie back to back in `block` have their values there. */
static size_t place_values(struct values *values, const uint32_t *tensors,
			   uint32_t count, uint8_t *block)
{
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (block)
			values->data[tensors[i]] = block + size;
		size += values->interface->tensors[tensors[i]].size;
	}
	return size;
}

/*
 * Let what passes between programs have its values in `scratch`, one after the
 * other, and return their size. `block` becomes the most bytes that one of the
 * programs takes and gives.
 */
static size_t place_between(struct values *values, uint32_t first,
			    uint32_t programs, uint8_t *scratch, size_t *block)
{
	const struct tzml_interface *interface = values->interface;
	size_t size = 0;

	*block = 0;
	for (uint32_t i = first; i < first + programs; i++) {
		const struct tzml_program *program = interface->programs + i;
		const uint32_t *outputs = tzml_interface_ports(interface, i) +
					  program->input_count;
		struct port_sizes sizes = sizes_of(interface, i);

		if (sizes.inputs + sizes.outputs > *block)
			*block = sizes.inputs + sizes.outputs;
		for (uint32_t j = 0; j < program->output_count; j++) {
			if (interface->tensors[outputs[j]].flags)
				continue; /* the caller gets it */
			if (scratch)
				values->data[outputs[j]] = scratch + size;
			size += interface->tensors[outputs[j]].size;
		}
	}
	return size;
}

/*
 * Scratch memory stays from run to run: fresh pages would take more
 * instructions than some layers.
 */
static enum tzml_status reserve_scratch(struct tzml_session *session,
					size_t size)
{
	if (size <= session->scratch_size)
		return TZML_SUCCESS;
	free(session->scratch);
	session->scratch_size = 0;
	session->scratch = malloc(size);
	if (!session->scratch)
		return fail(TZML_ERROR_MEMORY, NULL);
	session->scratch_size = size;
	return TZML_SUCCESS;
}

void free_scratch(struct tzml_session *session)
{
	free(session->scratch); /* wiped after each run */
}

/* Copy between ports' values and a block that has them back to back. */
static void copy_ports(struct values *values, const uint32_t *ports,
		       uint32_t count, uint8_t *block, bool to_block)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct tzml_tensor *tensor =
			values->interface->tensors + ports[i];
		uint8_t *value = values->data[ports[i]];

		if (tensor->flags == TZML_TENSOR_RANDOM)
			continue; /* the world has its own */
		memcpy(to_block ? block : value, to_block ? value : block,
		       tensor->size);
		block += tensor->size;
	}
}

/* Run a program in its world, and count that. */
static enum tzml_status run_in_world(struct tzml_session *session,
				     uint32_t number,
				     const struct request_id *request,
				     const void *inputs, size_t inputs_size,
				     void *outputs, size_t outputs_size)
{
	const struct opened *opened = world_of(session, number);
	uint64_t start = now();
	enum tzml_status status =
		opened->world->run(opened->state, number, request, inputs,
				   inputs_size, outputs, outputs_size);

	if (!status) {
		session->runs[number].count++;
		session->runs[number].nanoseconds += now() - start;
	}
	return status;
}

static enum tzml_status run_program(struct tzml_session *session,
				    uint32_t number,
				    const struct request_id *request,
				    struct values *values, uint8_t *block)
{
	const struct tzml_interface *interface = &session->interface;
	const struct tzml_program *program = interface->programs + number;
	const uint32_t *ports = tzml_interface_ports(interface, number);
	const uint32_t *outputs = ports + program->input_count;
	struct port_sizes sizes = sizes_of(interface, number);
	enum tzml_status status = TZML_SUCCESS;

	copy_ports(values, ports, program->input_count, block, true);
	status = run_in_world(session, number, request, block, sizes.inputs,
			      block + sizes.inputs, sizes.outputs);
	if (!status)
		copy_ports(values, outputs, program->output_count,
			   block + sizes.inputs, false);
	return status;
}

/* Whether the inputs of a program, but for random ones, are the caller's. */
static bool takes_inputs(const struct tzml_session *session,
			 const uint32_t *ports, uint32_t count)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (session->interface.tensors[ports[i]].flags ==
		    TZML_TENSOR_RANDOM)
			continue;
		if (found == session->input_count ||
		    ports[i] != session->inputs[found++])
			return false;
	}
	return found == session->input_count;
}

/* Whether the caller's tensors are a program's ports, in the same order. */
static bool is_direct(const struct tzml_session *session, uint32_t program)
{
	const uint32_t *ports =
		tzml_interface_ports(&session->interface, program);
	const struct tzml_program *about =
		session->interface.programs + program;

	return takes_inputs(session, ports, about->input_count) &&
	       about->output_count == session->output_count &&
	       !memcmp(ports + session->input_count, session->outputs,
		       session->output_count * sizeof(*ports));
}

bool has_one_program(const struct tzml_session *session, uint32_t *program)
{
	return programs_of(session, session->entry, program) == 1 &&
	       is_direct(session, *program);
}

enum tzml_status run_entry(struct tzml_session *session,
			   const struct request_id *request, const void *inputs,
			   size_t inputs_size, void *outputs,
			   size_t outputs_size)
{
	struct values values = { .interface = &session->interface };
	enum tzml_status status = TZML_SUCCESS;
	uint32_t first = 0;
	uint32_t programs = programs_of(session, session->entry, &first);
	size_t between = 0, block = 0;
	size_t expected = place_values(&values, session->inputs,
				       session->input_count, NULL);

	if (inputs_size != expected)
		return fail(TZML_ERROR_INPUT_SIZE, "%zu bytes instead of %zu",
			    inputs_size, expected);
	expected = place_values(&values, session->outputs,
				session->output_count, outputs);
	if (outputs_size != expected)
		return fail(TZML_ERROR_OUTPUT_SIZE, "%zu bytes instead of %zu",
			    outputs_size, expected);
	if (programs == 1 && is_direct(session, first))
		return run_in_world(session, first, request, inputs,
				    inputs_size, outputs, outputs_size);
	/* inputs are only read: no program gives an input tensor */
	place_values(&values, session->inputs, session->input_count,
		     (uint8_t *)inputs);
	between = place_between(&values, first, programs, NULL, &block);
	status = reserve_scratch(session, between + block);
	if (status)
		return status;
	place_between(&values, first, programs, session->scratch, &block);
	for (uint32_t i = first; !status && i < first + programs; i++)
		status = run_program(session, i, request, &values,
				     session->scratch + between);
	explicit_bzero(session->scratch, between + block);
	return status;
}
