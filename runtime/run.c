// SPDX-License-Identifier: Apache-2.0
/* Runs of a model that is loaded. */
#include <string.h>
#include <tzml/model.h>
#include <tzml/policy.h>

#include "check.h"
#include "checkpoint.h"
#include "grant.h"
#include "load.h"
#include "noise.h"
#include "repeat.h"
#include "run.h"

/*
 * Give up a run that is under way. What was half loaded for it is not there;
 * what it had changed of the state is lost.
 */
static void give_up(struct tzml_model *model)
{
	if (model->state == TZML_MODEL_RUNNING && model->position.call &&
	    model->plans[model->program].writes_state)
		model->state_lost = true;
	tzml_batch_end(model);
	model->wanted = TZML_NO_SECTION;
	model->sealed_run = false;
	model->state = TZML_MODEL_READY;
}

/*
 * Add the noise of a private model to its sums, before an update sees them. A
 * run that is given up then leaves sums that have noise, and nothing else.
 */
static enum tzml_status add_noise(struct tzml_model *model)
{
	const struct tzml_memory_header *memory = model->layout.header;
	uint8_t *state = model->state_memory.data;
	enum tzml_status status = TZML_SUCCESS;
	struct tzml_noise noise;

	tzml_noise_begin(&noise, memory->deviation, model->platform->random,
			 model->context);
	status = tzml_noise_add(&noise, (int32_t *)(state + memory->sums),
				memory->sum_count);
	wipe(&noise, sizeof(noise));
	model->state_lost = model->state_lost || status;
	return status;
}

static bool can_start(const struct tzml_model *model)
{
	return model->state == TZML_MODEL_READY ||
	       model->state == TZML_MODEL_RUNNING;
}

/* Whether the grant lets outputs leave this way. */
static bool may_leave(const struct tzml_model *model, bool sealed)
{
	return sealed || !model->granted ||
	       model->grant.output_policy != TZML_OUTPUT_SEALED;
}

enum tzml_status tzml_admit_run(struct tzml_model *model, uint32_t program,
				bool sealed, const struct tzml_plan **plan)
{
	if (!can_start(model))
		return TZML_ERROR_STATE;
	give_up(model);
	tzml_end_transfer(model);
	*plan = tzml_model_plan(model, program);
	if (!*plan)
		return TZML_ERROR_PROGRAM;
	if (model->state_lost)
		return TZML_ERROR_STATE_LOST;
	return may_leave(model, sealed) ? TZML_SUCCESS
					: TZML_ERROR_OUTPUT_POLICY;
}

enum tzml_status tzml_place_inputs(struct tzml_model *model,
				   const struct tzml_plan *plan,
				   const uint8_t *from)
{
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *arena = model->arena.data;

	for (uint32_t i = 0; !status && i < plan->program->input_count; i++) {
		const struct tzml_tensor *tensor =
			model->interface.tensors + plan->ports[i];
		uint8_t *to = arena + plan->places[i].offset;

		if (tensor->flags == TZML_TENSOR_RANDOM) {
			status = model->platform->random(model->context, to,
							 tensor->size);
			continue;
		}
		memcpy(to, from, tensor->size);
		from += tensor->size;
	}
	return status;
}

/* Take the run from the budget, unless it was there before. */
static enum tzml_status spend(struct tzml_model *model, uint32_t program,
			      bool sealed, const struct tzml_request *request)
{
	bool again = false;
	enum tzml_status status =
		tzml_find_request(model, program, sealed, request, &again);

	return status ? status : tzml_spend_runs(model, program, !again);
}

static enum tzml_status start(struct tzml_model *model, uint32_t program,
			      const void *inputs, size_t inputs_size,
			      bool sealed, const struct tzml_request *request)
{
	const struct tzml_plan *plan = NULL;
	enum tzml_status status = tzml_admit_run(model, program, sealed, &plan);

	if (status)
		return status;
	if (inputs_size != plan->inputs_size)
		return TZML_ERROR_INPUT_SIZE;
	/* first, since whether it counts depends on what was copied */
	status = tzml_place_inputs(model, plan, inputs);
	if (!status)
		status = spend(model, program, sealed, request);
	if (!status && plan->program->role == TZML_ROLE_UPDATE &&
	    model->layout.header->deviation)
		status = add_noise(model);
	if (status)
		return status;
	memset(&model->position, 0, sizeof(model->position));
	model->program = program;
	model->sealed_run = sealed;
	model->state = TZML_MODEL_RUNNING;
	return TZML_SUCCESS;
}

enum tzml_status tzml_model_start(struct tzml_model *model, uint32_t program,
				  const void *inputs, size_t inputs_size)
{
	return start(model, program, inputs, inputs_size, false, NULL);
}

enum tzml_status tzml_model_start_request(struct tzml_model *model,
					  uint32_t program,
					  const uint8_t id[TZML_REQUEST_SIZE],
					  const void *inputs,
					  size_t inputs_size)
{
	struct tzml_request request = { 0 };

	memcpy(request.id, id, sizeof(request.id));
	return start(model, program, inputs, inputs_size, false, &request);
}

enum tzml_status tzml_start_sealed(struct tzml_model *model, uint32_t program,
				   const struct tzml_request *request,
				   const void *inputs, size_t inputs_size)
{
	return start(model, program, inputs, inputs_size, true, request);
}

void tzml_give_outputs(const struct tzml_model *model,
		       const struct tzml_plan *plan, uint8_t *to)
{
	const struct tzml_grant *grant = &model->grant;
	const uint8_t *arena = model->arena.data;
	const uint8_t *state = model->state_memory.data;

	for (uint32_t i = plan->program->input_count;
	     i < plan->header->port_count; i++) {
		const struct tzml_place *place = plan->places + i;
		const struct tzml_tensor *tensor =
			model->interface.tensors + plan->ports[i];
		const uint8_t *region =
			place->region == TZML_REGION_ARENA ? arena : state;
		struct tzml_tensor given = { 0 };

		tzml_policy_shape(grant->output_policy, grant->policy_argument,
				  tensor, &given);
		tzml_policy_apply(grant->output_policy, grant->policy_argument,
				  tensor, region + place->offset, to);
		to += given.size;
	}
}

enum tzml_status tzml_make_call(struct tzml_model *model,
				const struct tzml_plan *plan)
{
	const struct tzml_regions regions = {
		.arena = model->arena.data,
		.weights = model->weights.data,
		.state = model->state_memory.data,
	};
	enum tzml_status status = tzml_plan_call(
		plan, &model->layout, model->libraries + plan->header->library,
		&regions, &model->position);

	if (status) {
		model->state_lost = model->state_lost || plan->writes_state;
		model->state = TZML_MODEL_READY;
	}
	return status;
}

static enum tzml_status go_on(struct tzml_model *model, void *outputs,
			      size_t outputs_size, bool sealed)
{
	const struct tzml_plan *plan = model->plans + model->program;
	enum tzml_status status = TZML_SUCCESS;
	uint32_t chunk = TZML_NO_CHUNK;

	if (model->state != TZML_MODEL_RUNNING || model->sealed_run != sealed ||
	    model->batch.samples || model->wanted != TZML_NO_SECTION)
		return TZML_ERROR_STATE;
	if (outputs_size != plan->outputs_size)
		return TZML_ERROR_OUTPUT_SIZE;

	while (model->position.call < plan->header->call_count) {
		chunk = tzml_plan_missing_chunk(plan, &model->position,
						model->present);
		if (chunk != TZML_NO_CHUNK)
			return tzml_want_chunk(model, chunk);
		status = tzml_make_call(model, plan);
		if (status)
			return status;
	}
	tzml_give_outputs(model, plan, outputs);
	tzml_know_request(model);
	if (plan->program->role == TZML_ROLE_UPDATE)
		model->updates++;
	model->state = TZML_MODEL_READY;
	return TZML_SUCCESS;
}

enum tzml_status tzml_model_continue(struct tzml_model *model, void *outputs,
				     size_t outputs_size)
{
	return go_on(model, outputs, outputs_size, false);
}

enum tzml_status tzml_continue_sealed(struct tzml_model *model, void *outputs,
				      size_t outputs_size)
{
	return go_on(model, outputs, outputs_size, true);
}

enum tzml_status tzml_model_reset(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;

	if (!can_start(model))
		return TZML_ERROR_STATE;
	give_up(model);
	tzml_end_transfer(model);
	model->updates = 0;
	model->checkpoint = 0;
	model->round = 0;
	if (model->state_memory.data)
		memset(model->state_memory.data, 0, model->state_memory.size);
	model->state_lost = false;
	model->state = TZML_MODEL_LOADING;
	status = tzml_load_state(model, 0);
	if (status)
		tzml_model_close(model);
	return status;
}
