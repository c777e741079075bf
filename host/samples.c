// SPDX-License-Identifier: Apache-2.0
/* Runs of several samples: host/include/tzml.h says what they do. */
#include "session.h"

/* One by one: a model of several programs, or one whose world takes no more. */
static enum tzml_status run_each(struct tzml_session *session, uint32_t samples,
				 const uint8_t *inputs, size_t input_size,
				 uint8_t *outputs, size_t output_size)
{
	enum tzml_status status = TZML_SUCCESS;

	for (uint32_t i = 0; !status && i < samples; i++)
		status = run_entry(session, NULL, inputs + i * input_size,
				   input_size, outputs + i * output_size,
				   output_size);
	return status;
}

/* Let the world run some samples of a program at once, and count that. */
static enum tzml_status run_some(struct tzml_session *session, uint32_t program,
				 uint32_t samples, const uint8_t *inputs,
				 size_t input_size, uint8_t *outputs,
				 size_t output_size)
{
	const struct opened *opened = world_of(session, program);
	uint64_t start = now();
	enum tzml_status status = opened->world->run_samples(
		opened->state, program, samples, inputs, samples * input_size,
		outputs, samples * output_size);

	if (!status) {
		session->runs[program].count += samples;
		session->runs[program].nanoseconds += now() - start;
	}
	return status;
}

/*
 * As many samples at once as the world takes: fewer from now on, where it has
 * no memory for so many.
 */
static enum tzml_status run_together(struct tzml_session *session,
				     uint32_t program, uint32_t samples,
				     const uint8_t *inputs, size_t input_size,
				     uint8_t *outputs, size_t output_size)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && samples) {
		uint32_t count = samples < session->most_samples
					 ? samples
					 : session->most_samples;

		if (count == 1)
			break;
		status = run_some(session, program, count, inputs, input_size,
				  outputs, output_size);
		if (status == TZML_ERROR_MEMORY || status == TZML_ERROR_BUSY) {
			session->most_samples = count / 2;
			status = TZML_SUCCESS;
		} else if (status == TZML_ERROR_BATCH_PROGRAM) {
			session->most_samples = 1;
			status = TZML_SUCCESS;
		} else {
			samples -= count;
			inputs += count * input_size;
			outputs += count * output_size;
		}
	}
	return status ? status
		      : run_each(session, samples, inputs, input_size, outputs,
				 output_size);
}

/* Whether `size` is so many times `one`. */
static bool is_times(size_t size, uint32_t count, size_t one)
{
	size_t product = 0;

	return !__builtin_mul_overflow(one, (size_t)count, &product) &&
	       product == size;
}

uint32_t tzml_run_samples(struct tzml_session *session, uint32_t samples,
			  const void *inputs, size_t inputs_size, void *outputs,
			  size_t outputs_size, uint64_t *nanoseconds)
{
	const struct tzml_interface *interface = &session->interface;
	size_t input_size = tzml_interface_bytes(interface, session->inputs,
						 session->input_count);
	size_t output_size = tzml_interface_bytes(interface, session->outputs,
						  session->output_count);
	uint64_t start = now();
	enum tzml_status status = TZML_SUCCESS;
	uint32_t program = 0;

	if (!is_times(inputs_size, samples, input_size))
		return fail(TZML_ERROR_INPUT_SIZE,
			    "%zu bytes instead of %u times %zu", inputs_size,
			    samples, input_size);
	if (!is_times(outputs_size, samples, output_size))
		return fail(TZML_ERROR_OUTPUT_SIZE,
			    "%zu bytes instead of %u times %zu", outputs_size,
			    samples, output_size);
	status = has_one_program(session, &program)
			 ? run_together(session, program, samples, inputs,
					input_size, outputs, output_size)
			 : run_each(session, samples, inputs, input_size,
				    outputs, output_size);
	if (nanoseconds)
		*nanoseconds = now() - start;
	return status;
}
