// SPDX-License-Identifier: Apache-2.0
/* Inferences of a model that is loaded. */
#include <string.h>
#include <tzml/model.h>

#include "want.h"

enum tzml_status tzml_model_start(struct tzml_model *model, const void *inputs,
				  size_t inputs_size)
{
	const struct tzml_plan *plan = &model->plan;
	uint8_t *arena = model->arena.data;
	const uint8_t *from = inputs;

	if (model->state != TZML_MODEL_READY &&
	    model->state != TZML_MODEL_RUNNING)
		return TZML_ERROR_STATE;
	if (inputs_size != plan->inputs_size)
		return TZML_ERROR_INPUT_SIZE;

	for (uint32_t i = 0; i < plan->header->input_count; i++) {
		memcpy(arena + plan->inputs[i].offset, from,
		       plan->inputs[i].size);
		from += plan->inputs[i].size;
	}
	memset(&model->position, 0, sizeof(model->position));
	/* what was half loaded for a run that is given up is not there */
	model->wanted = TZML_NO_SECTION;
	model->state = TZML_MODEL_RUNNING;
	return TZML_SUCCESS;
}

static void give_outputs(const struct tzml_model *model, uint8_t *to)
{
	const struct tzml_plan *plan = &model->plan;
	const uint8_t *arena = model->arena.data;

	for (uint32_t i = 0; i < plan->header->output_count; i++) {
		memcpy(to, arena + plan->outputs[i].offset,
		       plan->outputs[i].size);
		to += plan->outputs[i].size;
	}
}

enum tzml_status tzml_model_continue(struct tzml_model *model, void *outputs,
				     size_t outputs_size)
{
	const struct tzml_plan *plan = &model->plan;
	enum tzml_status status = TZML_SUCCESS;
	uint32_t chunk = TZML_NO_CHUNK;

	if (model->state != TZML_MODEL_RUNNING ||
	    model->wanted != TZML_NO_SECTION)
		return TZML_ERROR_STATE;
	if (outputs_size != plan->outputs_size)
		return TZML_ERROR_OUTPUT_SIZE;

	while (model->position.call < plan->header->call_count) {
		chunk = tzml_plan_missing_chunk(plan, &model->position,
						model->present.data);
		if (chunk != TZML_NO_CHUNK)
			return tzml_model_want_chunk(model, chunk);
		status =
			tzml_plan_call(plan, &model->kernels, model->arena.data,
				       model->weights.data, &model->position);
		if (status) {
			model->state = TZML_MODEL_READY;
			return status;
		}
	}
	give_outputs(model, outputs);
	model->state = TZML_MODEL_READY;
	return TZML_SUCCESS;
}
