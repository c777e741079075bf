// SPDX-License-Identifier: Apache-2.0
/*
 * Runs of several samples. A plan's calls are cut where a run has to wait for
 * a chunk of weights: each piece is run for all samples before the next chunk
 * is loaded. In between, what a sample still needs of the arena is kept apart.
 */
#include <string.h>
#include <tzml/model.h>

#include "grant.h"
#include "live.h"
#include "load.h"
#include "run.h"

static void go_to_next(const struct tzml_plan *plan,
		       struct tzml_position *position)
{
	position->argument += plan->calls[position->call].argument_count;
	position->call++;
}

/* Load, in thought, what the call at `position` takes; whether it has to. */
static bool load_for_call(const struct tzml_model *model,
			  const struct tzml_plan *plan,
			  const struct tzml_position *position, bool *present)
{
	const struct tzml_layout *layout = &model->layout;
	uint32_t chunk = TZML_NO_CHUNK;
	bool waits = false;

	while ((chunk = tzml_plan_missing_chunk(plan, position, present)) !=
	       TZML_NO_CHUNK) {
		tzml_forget_overlapped(layout, chunk, present);
		present[chunk] = true;
		waits = true;
	}
	return waits;
}

/*
 * Where a run that begins now waits for chunks, and its beginning: how many
 * stops that are, which are written to `stops` unless it is NULL.
 */
static uint32_t find_stops(const struct tzml_model *model,
			   const struct tzml_plan *plan,
			   struct tzml_stop *stops)
{
	struct tzml_position position = { 0 };
	bool present[TZML_MAX_SECTIONS];
	uint32_t count = 1; /* the beginning, zero as it was allocated */

	memcpy(present, model->present, model->layout.header->chunk_count);
	for (; position.call < plan->header->call_count;
	     go_to_next(plan, &position)) {
		if (!load_for_call(model, plan, &position, present) ||
		    !position.call)
			continue;
		if (stops)
			stops[count].position = position;
		count++;
	}
	return count;
}

/* What is read after the last call. */
static void add_outputs(const struct tzml_model *model,
			const struct tzml_plan *plan, struct tzml_live *live)
{
	for (uint32_t i = plan->program->input_count;
	     i < plan->header->port_count; i++) {
		const struct tzml_place *place = plan->places + i;

		if (place->region == TZML_REGION_ARENA)
			live_add(
				live, place->offset,
				place->offset +
					model->interface.tensors[plan->ports[i]]
						.size);
	}
}

/*
 * From what is needed after a call to what is needed before it. Of what the
 * call takes, that is only what it reads.
 */
static void step_back(struct tzml_live *live,
		      const struct tzml_argument *arguments,
		      const struct tzml_kernel_argument *expected,
		      uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (arguments[i].region == TZML_REGION_ARENA)
			live_remove(live, arguments[i].offset,
				    arguments[i].offset + arguments[i].size);
	for (uint32_t i = 0; i < count; i++)
		if (arguments[i].region == TZML_REGION_ARENA &&
		    expected[i].access & TZML_READ)
			live_add(live, arguments[i].offset,
				 arguments[i].offset + arguments[i].size);
}

/* What a sample needs at each stop but the first, and at most. */
static uint64_t find_live(const struct tzml_model *model,
			  const struct tzml_plan *plan, struct tzml_stop *stops,
			  uint32_t count)
{
	const struct tzml_kernels *kernels =
		model->libraries + plan->header->library;
	const struct tzml_argument *arguments =
		plan->arguments + plan->header->argument_count;
	struct tzml_live live = { 0 };
	uint64_t most = 0;

	add_outputs(model, plan, &live);
	for (uint32_t i = plan->header->call_count; count > 1 && i--;) {
		const struct tzml_call *call = plan->calls + i;

		arguments -= call->argument_count;
		step_back(&live, arguments,
			  tzml_arguments_of(kernels, call->kernel),
			  call->argument_count);
		if (stops[count - 1].position.call != i)
			continue;
		stops[--count].live = live;
		if (live_size(&live) > most)
			most = live_size(&live);
	}
	return most;
}

/* Memory for all that samples have between stops. */
static enum tzml_status make_room(struct tzml_model *model,
				  const struct tzml_plan *plan,
				  uint32_t samples)
{
	struct tzml_batch *batch = &model->batch;
	enum tzml_status status = TZML_SUCCESS;

	batch->stop_count = find_stops(model, plan, NULL);
	status = tzml_block_allocate(model, &batch->stops,
				     batch->stop_count *
					     sizeof(struct tzml_stop));
	if (status)
		return status;
	find_stops(model, plan, batch->stops.data);
	batch->slot =
		find_live(model, plan, batch->stops.data, batch->stop_count);
	return batch->slot ? tzml_block_allocate(model, &batch->parked,
						 samples * batch->slot)
			   : TZML_SUCCESS;
}

void tzml_batch_end(struct tzml_model *model)
{
	tzml_block_release(model, &model->batch.parked);
	tzml_block_release(model, &model->batch.stops);
	memset(&model->batch, 0, sizeof(model->batch));
}

/* Whether samples are apart: nothing of one is left for another. */
static bool is_apart(const struct tzml_plan *plan)
{
	return !plan->writes_state &&
	       (plan->program->role == TZML_ROLE_INFER ||
		plan->program->role == TZML_ROLE_EVALUATE);
}

enum tzml_status tzml_batch_start(struct tzml_model *model, uint32_t program,
				  uint32_t samples)
{
	const struct tzml_plan *plan = NULL;
	enum tzml_status status = tzml_admit_run(model, program, false, &plan);

	if (status)
		return status;
	if (!samples || samples > TZML_MAX_SAMPLES)
		return TZML_ERROR_LIMIT;
	if (!is_apart(plan))
		return TZML_ERROR_BATCH_PROGRAM;
	status = make_room(model, plan, samples);
	/* of all samples, before there is an answer to any */
	if (!status)
		status = tzml_spend_runs(model, program, samples);
	if (status) {
		tzml_batch_end(model);
		return status;
	}
	model->batch.samples = samples;
	model->program = program;
	model->state = TZML_MODEL_RUNNING;
	return TZML_SUCCESS;
}

/* Run a sample from this stop to the next, or to the end. */
static enum tzml_status run_sample(struct tzml_model *model,
				   const struct tzml_plan *plan,
				   uint32_t sample, const uint8_t *inputs,
				   uint8_t *outputs)
{
	struct tzml_batch *batch = &model->batch;
	const struct tzml_stop *stop = batch->stops.data;
	bool last = batch->stop + 1 == batch->stop_count;
	uint8_t *parked = batch->parked.data;
	enum tzml_status status = TZML_SUCCESS;
	uint32_t end = plan->header->call_count;

	stop += batch->stop;
	if (!last)
		end = stop[1].position.call;
	if (parked)
		parked += sample * batch->slot;
	if (batch->stop)
		live_restore(&stop->live, model->arena.data, parked);
	else
		status = tzml_place_inputs(model, plan, inputs);
	model->position = stop->position;
	while (!status && model->position.call < end)
		status = tzml_make_call(model, plan);
	if (status)
		return status;
	if (last)
		tzml_give_outputs(model, plan, outputs);
	else
		live_save(&stop[1].live, model->arena.data, parked);
	return TZML_SUCCESS;
}

/* The chunk to wait for at this stop. */
static uint32_t missing_chunk(const struct tzml_model *model,
			      const struct tzml_plan *plan)
{
	const struct tzml_stop *stops = model->batch.stops.data;
	const struct tzml_position *position =
		&stops[model->batch.stop].position;

	return position->call < plan->header->call_count
		       ? tzml_plan_missing_chunk(plan, position, model->present)
		       : TZML_NO_CHUNK;
}

enum tzml_status tzml_batch_continue(struct tzml_model *model,
				     const void *inputs, size_t inputs_size,
				     void *outputs, size_t outputs_size)
{
	const struct tzml_plan *plan = model->plans + model->program;
	struct tzml_batch *batch = &model->batch;
	enum tzml_status status = TZML_SUCCESS;
	const uint8_t *from = inputs;
	uint8_t *to = outputs;

	if (model->state != TZML_MODEL_RUNNING || !batch->samples ||
	    model->wanted != TZML_NO_SECTION)
		return TZML_ERROR_STATE;
	if (inputs_size != batch->samples * plan->inputs_size)
		return TZML_ERROR_INPUT_SIZE;
	if (outputs_size != batch->samples * plan->outputs_size)
		return TZML_ERROR_OUTPUT_SIZE;

	for (; batch->stop < batch->stop_count; batch->stop++) {
		uint32_t chunk = missing_chunk(model, plan);

		if (chunk != TZML_NO_CHUNK)
			return tzml_want_chunk(model, chunk);
		for (uint32_t i = 0; !status && i < batch->samples; i++)
			status = run_sample(model, plan, i,
					    from + i * plan->inputs_size,
					    to + i * plan->outputs_size);
		if (status)
			break;
	}
	tzml_batch_end(model);
	model->state = TZML_MODEL_READY;
	return status;
}
