// SPDX-License-Identifier: Apache-2.0
/*
 * Several samples at once: whatever the plan, each gets the bits that it gets
 * alone. What a sample needs at a stop is found from a plan that was only
 * checked, so this is where a mistake shows.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define SAMPLES 3

/* Inputs without NaN, whose first kernel would fail; each sample's are others. */
static void fill(uint8_t *inputs, size_t size)
{
	for (size_t i = 0; i < size; i++)
		inputs[i] = (uint8_t)(i * 29 + i / 64 + i / 1024) & 0x3f;
}

bool fuzz_has_random(const struct tzml_model *model,
		     const struct tzml_plan *plan)
{
	for (uint32_t i = 0; i < plan->program->input_count; i++)
		if (model->interface.tensors[plan->ports[i]].flags ==
		    TZML_TENSOR_RANDOM)
			return true;
	return false;
}

static bool run_alone(struct tzml_model *model, uint32_t program,
		      const uint8_t *inputs, uint8_t *outputs,
		      const struct fuzzed *bundle)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	enum tzml_status status =
		tzml_model_start(model, program, inputs, plan->inputs_size);

	return fuzz_finish(model, plan, status, outputs, bundle);
}

static bool run_together(struct tzml_model *model, uint32_t program,
			 const uint8_t *inputs, uint8_t *outputs,
			 const struct fuzzed *bundle)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	size_t inputs_size = SAMPLES * plan->inputs_size;
	size_t outputs_size = SAMPLES * plan->outputs_size;
	enum tzml_status status = tzml_batch_start(model, program, SAMPLES);

	if (!status &&
	    (tzml_batch_continue(model, inputs, inputs_size - 1, outputs,
				 outputs_size) != TZML_ERROR_INPUT_SIZE ||
	     tzml_batch_continue(model, inputs, inputs_size, outputs,
				 outputs_size + 1) != TZML_ERROR_OUTPUT_SIZE))
		abort();
	while (!status && tzml_model_running(model)) {
		status = tzml_batch_continue(model, inputs, inputs_size,
					     outputs, outputs_size);
		if (!status)
			status = fuzz_load(model, bundle);
	}
	if (!status && tzml_model_running(model))
		abort();
	return !status;
}

static void compare(struct tzml_model *model, uint32_t program,
		    const struct fuzzed *bundle, uint8_t *inputs,
		    uint8_t *alone, uint8_t *together)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	bool same = !fuzz_has_random(model, plan);
	uint32_t count = 0;

	if (plan->writes_state) {
		if (!tzml_batch_start(model, program, SAMPLES))
			abort();
		return;
	}
	fill(inputs, SAMPLES * plan->inputs_size);
	while (count < SAMPLES &&
	       run_alone(model, program, inputs + count * plan->inputs_size,
			 alone + count * plan->outputs_size, bundle))
		count++;
	if (model->state == TZML_MODEL_CLOSED)
		return;
	if (run_together(model, program, inputs, together, bundle) && same &&
	    count == SAMPLES &&
	    memcmp(alone, together, SAMPLES * plan->outputs_size))
		abort();
	if (model->batch.samples || model->batch.stops.data ||
	    model->batch.parked.data)
		abort();
}

void fuzz_batch(struct tzml_model *model, const struct fuzzed *bundle)
{
	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		const struct tzml_plan *plan = tzml_model_plan(model, i);
		uint8_t *inputs = NULL;
		uint8_t *alone = NULL;
		uint8_t *together = NULL;

		if (model->state != TZML_MODEL_READY || !plan)
			continue;
		inputs = malloc(SAMPLES * plan->inputs_size + 1);
		alone = malloc(SAMPLES * plan->outputs_size + 1);
		together = malloc(SAMPLES * plan->outputs_size + 1);
		if (inputs && alone && together)
			compare(model, i, bundle, inputs, alone, together);
		free(inputs);
		free(alone);
		free(together);
	}
	if (model->state == TZML_MODEL_READY &&
	    tzml_batch_start(model, TZML_MAX_PROGRAMS, 1) != TZML_ERROR_PROGRAM)
		abort();
}
