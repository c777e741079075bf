// SPDX-License-Identifier: Apache-2.0
/*
 * Requests that come again: whatever the plan, a budget pays for what is new,
 * and for nothing else.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "test_platform.h"

/* Runs of the budget that are used up. */
static uint64_t spent(const struct tzml_model *model)
{
	const struct test_context *context = model->context;

	return context->runs_spent - model->runs_left;
}

static bool answer(struct tzml_model *model, uint32_t program, uint8_t id,
		   const uint8_t *inputs, uint8_t *outputs,
		   const struct fuzzed *bundle)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	const uint8_t whole[TZML_REQUEST_SIZE] = { id };
	enum tzml_status status = tzml_model_start_request(
		model, program, whole, inputs, plan->inputs_size);

	return fuzz_finish(model, plan, status, outputs, bundle);
}

/* The requests of a budget that pays for new ones alone, and what they cost. */
static void repeat(struct tzml_model *model, uint32_t program, uint8_t *inputs,
		   uint8_t *outputs, const struct fuzzed *bundle)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	bool random = fuzz_has_random(model, plan);
	uint64_t before = spent(model);
	uint32_t count = 0;

	while (count < TZML_FREE_RUNS + 2 &&
	       answer(model, program, 1, inputs, outputs, bundle))
		count++;
	if (count < TZML_FREE_RUNS + 2)
		return;
	/* the first, and the one after its repetitions */
	if (spent(model) - before != (random ? count : 2))
		abort();
	before = spent(model);
	if (answer(model, program, 2, inputs, outputs, bundle) &&
	    spent(model) - before != 1)
		abort();
	before = spent(model);
	if (plan->inputs_size) {
		inputs[bundle->size % plan->inputs_size] ^= 1;
		if (answer(model, program, 2, inputs, outputs, bundle) &&
		    spent(model) - before != 1)
			abort();
	}
}

void fuzz_repeat(struct tzml_model *model, const struct fuzzed *bundle)
{
	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		const struct tzml_plan *plan = tzml_model_plan(model, i);
		uint8_t *inputs = NULL;
		uint8_t *outputs = NULL;

		if (model->state != TZML_MODEL_READY || !plan ||
		    model->state_memory.data || !model->granted ||
		    model->grant.query_budget == TZML_UNLIMITED)
			continue;
		inputs = calloc(1, plan->inputs_size + 1);
		outputs = malloc(plan->outputs_size + 1);
		if (inputs && outputs)
			repeat(model, i, inputs, outputs, bundle);
		free(inputs);
		free(outputs);
	}
}
