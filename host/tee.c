// SPDX-License-Identifier: Apache-2.0
/* The secure world: the TA, over libteec. ta/include/tzml_ta.h is the protocol. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "digest.h"

/* Larger than any header with its section table. */
#define PIECE_SIZE (256 * 1024)

_Static_assert(sizeof(struct tzml_header) +
			       TZML_MAX_SECTIONS *
				       sizeof(struct tzml_section) <=
		       PIECE_SIZE,
	       "a header fits");

struct tee_state {
	struct connection *connection;
	const struct bundle *bundle;
	const struct stage_begin *begin;
	struct grant grant;
	uint32_t wanted; /* section the TA asks for */
	bool running;	 /* chunks are loaded in a run, where nothing waits */
};

static enum tzml_status take_piece(void *opaque, uint32_t section,
				   uint64_t offset, size_t size)
{
	TEEC_Operation operation = { 0 };
	struct tee_state *state = opaque;
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_PARTIAL_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].value.a = section;
	operation.params[0].value.b = (uint32_t)offset;
	operation.params[1].memref.parent = &state->connection->piece;
	operation.params[1].memref.size = size;
	/* a library may have to be installed: that takes the supplicant */
	status = state->running
			 ? connection_invoke_directly(state->connection,
						      TZML_CMD_LOAD, &operation)
			 : connection_invoke(state->connection, TZML_CMD_LOAD,
					     &operation);
	state->wanted = operation.params[2].value.a;
	return status;
}

/* Load whatever the TA asks for. */
static enum tzml_status load(struct tee_state *state)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && state->wanted != TZML_TA_READY) {
		/* the TA checked the section table, we did not */
		if (state->wanted >= state->bundle->header->section_count)
			return fail(TZML_ERROR_TEE_FAILED,
				    "the TA asked for section %u",
				    state->wanted);
		status = bundle_read(state->bundle, state->wanted,
				     state->connection->piece.buffer,
				     state->connection->piece.size, take_piece,
				     state);
	}
	return status;
}

static enum tzml_status give_grant(struct tee_state *state)
{
	TEEC_SharedMemory *piece = &state->connection->piece;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (!bundle_is_sealed(state->bundle) || !state->bundle->grants_size)
		return TZML_SUCCESS;
	status = connection_read_device(state->connection);
	/* without a key any grant will do: it is refused with the reason */
	if (status == TZML_ERROR_NO_SUPPLICANT)
		return status;
	state->grant = choose_grant(state->bundle,
				    state->connection->answer.device.point);
	if (state->grant.size > piece->size)
		return fail(TZML_ERROR_GRANT_MALFORMED, "%zu bytes",
			    state->grant.size);
	memcpy(piece->buffer, state->grant.data, state->grant.size);
	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_INPUT, TEEC_VALUE_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = piece;
	operation.params[0].memref.size = state->grant.size;
	status = connection_invoke(state->connection, TZML_CMD_GRANT,
				   &operation);
	state->wanted = operation.params[1].value.a;
	return status;
}

static enum tzml_status open_model(struct tee_state *state, uint32_t flags)
{
	TEEC_SharedMemory *piece = &state->connection->piece;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_INPUT, TEEC_VALUE_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	memcpy(piece->buffer, state->bundle->header,
	       state->bundle->header_size);
	operation.params[0].memref.parent = piece;
	operation.params[0].memref.size = state->bundle->header_size;
	operation.params[1].value.a = flags;
	status =
		connection_invoke(state->connection, TZML_CMD_OPEN, &operation);
	state->wanted = operation.params[2].value.a;
	if (!status)
		status = give_grant(state);
	return status ? status : load(state);
}

/* Make the session's key before anything is loaded into the TA. */
static enum tzml_status begin_stage(struct tee_state *state)
{
	struct connection *connection = state->connection;
	struct tzml_evidence *evidence = state->begin->evidence;
	enum tzml_status status = TZML_SUCCESS;

	if (!(connection->features & TZML_TA_FEATURE_STAGES))
		return fail(TZML_ERROR_PROTOCOL,
			    "the TA is older than libtzml, and cannot be a "
			    "stage of a pipeline");
	status = connection_ask(connection, TZML_CMD_STAGE, state->begin->nonce,
				TZML_CHALLENGE_SIZE, sizeof(*evidence));
	if (!status)
		memcpy(evidence, connection->outputs.buffer, sizeof(*evidence));
	return status;
}

static enum tzml_status connect_and_open(struct tee_state *state,
					 uint32_t flags)
{
	enum tzml_status status =
		connection_open(&state->connection, state->bundle->name,
				state->bundle->header->secure_memory);

	if (!status && state->begin->nonce)
		status = begin_stage(state);
	if (!status)
		status = connection_share(state->connection,
					  &state->connection->piece, PIECE_SIZE,
					  TEEC_MEM_INPUT);
	return status ? status : open_model(state, flags);
}

static enum tzml_status tee_open(void **result, const struct bundle *bundle,
				 const struct stage_begin *begin)
{
	struct tee_state *state = NULL;
	enum tzml_status status = TZML_SUCCESS;

	state = calloc(1, sizeof(*state));
	if (!state)
		return fail(TZML_ERROR_MEMORY, NULL);
	*result = state;
	state->bundle = bundle;
	state->begin = begin;

	status = connect_and_open(state, 0);
	if (status == TZML_ERROR_TA_DEAD || status == TZML_ERROR_STORAGE) {
		/*
		 * OP-TEE ends a TA that opens a library which is not there,
		 * or leaves it unable to open that library again.
		 * Somebody may have emptied secure storage: install again.
		 */
		connection_close(state->connection);
		status = connect_and_open(state, TZML_OPEN_REINSTALL);
	}
	return status;
}

static enum tzml_status tee_reserve(void *opaque, size_t inputs_size,
				    size_t outputs_size)
{
	struct tee_state *state = opaque;
	struct connection *connection = state->connection;
	enum tzml_status status = connection_share(
		connection, &connection->inputs, inputs_size, TEEC_MEM_INPUT);

	return status ? status
		      : connection_share(connection, &connection->outputs,
					 outputs_size, TEEC_MEM_OUTPUT);
}

/* A run: its commands, and where the TA reads from and writes to. */
struct run {
	uint32_t start;
	uint32_t go_on;
	uint32_t value;	  /* type of the third parameter of `start` */
	uint32_t program; /* if it is an input, too */
	uint32_t samples; /* of a run of several, which goes on with both */
	const struct request_id *request; /* NULL: it has no id */
	TEEC_SharedMemory *in;
	size_t in_size;
	TEEC_SharedMemory *out;
	size_t out_size;
};

static enum tzml_status start_run(struct tee_state *state,
				  const struct run *run)
{
	TEEC_Operation operation = { 0 };
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_PARTIAL_INPUT, TEEC_MEMREF_PARTIAL_OUTPUT,
		run->value,
		run->request ? TEEC_MEMREF_PARTIAL_INPUT : TEEC_NONE);
	operation.params[0].memref.parent = run->in;
	operation.params[0].memref.size = run->in_size;
	operation.params[1].memref.parent = run->out;
	operation.params[1].memref.size = run->out_size;
	operation.params[2].value.a = run->program;
	operation.params[2].value.b = run->samples;
	if (run->request) {
		if (!digest_of(run->request->data, run->request->size, digest))
			return fail(TZML_ERROR_MEMORY, NULL);
		/* nothing is loaded before the TA has read it */
		memcpy(state->connection->piece.buffer, digest,
		       TZML_REQUEST_SIZE);
		operation.params[3].memref.parent = &state->connection->piece;
		operation.params[3].memref.size = TZML_REQUEST_SIZE;
	}
	/* a budget is kept in storage: that takes the supplicant */
	status = has_budget(state->grant)
			 ? connection_invoke(state->connection, run->start,
					     &operation)
			 : connection_invoke_directly(state->connection,
						      run->start, &operation);
	state->wanted = operation.params[2].value.a;
	return status;
}

static enum tzml_status continue_samples(struct tee_state *state,
					 const struct run *run)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_INPUT,
						TEEC_MEMREF_PARTIAL_OUTPUT,
						TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].memref.parent = run->in;
	operation.params[0].memref.size = run->in_size;
	operation.params[1].memref.parent = run->out;
	operation.params[1].memref.size = run->out_size;
	status = connection_invoke_directly(state->connection, run->go_on,
					    &operation);
	state->wanted = operation.params[2].value.a;
	return status;
}

static enum tzml_status continue_run(struct tee_state *state,
				     const struct run *run)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (run->samples)
		return continue_samples(state, run);
	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_OUTPUT, TEEC_VALUE_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = run->out;
	operation.params[0].memref.size = run->out_size;
	status = connection_invoke_directly(state->connection, run->go_on,
					    &operation);
	state->wanted = operation.params[1].value.a;
	return status;
}

static enum tzml_status run(struct tee_state *state, const struct run *run,
			    const void *inputs, void *outputs)
{
	enum tzml_status status = TZML_SUCCESS;

	memcpy(run->in->buffer, inputs, run->in_size);
	state->running = true;
	status = start_run(state, run);
	while (!status && state->wanted != TZML_TA_READY) {
		status = load(state);
		if (!status)
			status = continue_run(state, run);
	}
	if (!status)
		memcpy(outputs, run->out->buffer, run->out_size);
	return status;
}

static enum tzml_status tee_run(void *opaque, uint32_t program,
				const struct request_id *request,
				const void *inputs, size_t inputs_size,
				void *outputs, size_t outputs_size)
{
	struct tee_state *state = opaque;
	/* without a budget it would change nothing; an older TA counts it */
	bool may_repeat =
		request && has_budget(state->grant) &&
		state->connection->features & TZML_TA_FEATURE_REQUESTS;
	const struct run clear = {
		.start = may_repeat ? TZML_CMD_RUN_REQUEST : TZML_CMD_RUN,
		.request = may_repeat ? request : NULL,
		.go_on = TZML_CMD_CONTINUE,
		.value = TEEC_VALUE_INOUT,
		.program = program,
		.in = &state->connection->inputs,
		.in_size = inputs_size,
		.out = &state->connection->outputs,
		.out_size = outputs_size,
	};

	return run(state, &clear, inputs, outputs);
}

/* Make the memory for several samples larger if it has to be. */
static enum tzml_status share_more(struct connection *connection,
				   TEEC_SharedMemory *memory, size_t size,
				   uint32_t direction)
{
	if (memory->buffer && memory->size >= size)
		return TZML_SUCCESS;
	return connection_share(connection, memory, size, direction)
		       ? TZML_ERROR_MEMORY
		       : TZML_SUCCESS;
}

static enum tzml_status tee_run_samples(void *opaque, uint32_t program,
					uint32_t samples, const void *inputs,
					size_t inputs_size, void *outputs,
					size_t outputs_size)
{
	struct tee_state *state = opaque;
	struct connection *connection = state->connection;
	const struct run several = {
		.start = TZML_CMD_RUN_BATCH,
		.go_on = TZML_CMD_CONTINUE_BATCH,
		.value = TEEC_VALUE_INOUT,
		.program = program,
		.samples = samples,
		.in = &connection->samples_in,
		.in_size = inputs_size,
		.out = &connection->samples_out,
		.out_size = outputs_size,
	};
	enum tzml_status status = TZML_SUCCESS;

	/* an older TA takes none at once, whatever the program */
	if (!(connection->features & TZML_TA_FEATURE_BATCHES))
		return fail(TZML_ERROR_BATCH_PROGRAM, NULL);
	status = share_more(connection, &connection->samples_in, inputs_size,
			    TEEC_MEM_INPUT);
	if (!status)
		status = share_more(connection, &connection->samples_out,
				    outputs_size, TEEC_MEM_OUTPUT);
	return status ? status : run(state, &several, inputs, outputs);
}

static enum tzml_status tee_join(void *opaque, const void *release, size_t size,
				 struct tzml_record_sizes *sizes)
{
	struct tee_state *state = opaque;
	struct connection *connection = state->connection;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (size > connection->piece.size)
		return fail(TZML_ERROR_RELEASE_MALFORMED, "%zu bytes", size);
	memcpy(connection->piece.buffer, release, size);
	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_INPUT, TEEC_VALUE_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = &connection->piece;
	operation.params[0].memref.size = size;
	status = connection_invoke(connection, TZML_CMD_JOIN, &operation);
	if (status)
		return status;
	sizes->taken = operation.params[1].value.a;
	sizes->given = operation.params[1].value.b;
	status = connection_share(connection, &connection->record, sizes->taken,
				  TEEC_MEM_INPUT);
	return status ? status
		      : connection_share(connection, &connection->given,
					 sizes->given, TEEC_MEM_OUTPUT);
}

static enum tzml_status tee_run_record(void *opaque, const void *record,
				       size_t size, void *given,
				       size_t given_size)
{
	struct tee_state *state = opaque;
	struct connection *connection = state->connection;
	const struct run sealed = {
		.start = TZML_CMD_RUN_RECORD,
		.go_on = TZML_CMD_CONTINUE_RECORD,
		.value = TEEC_VALUE_OUTPUT,
		.in = &connection->record,
		.in_size = size,
		.out = &connection->given,
		.out_size = given_size,
	};

	if (!connection->record.buffer)
		return fail(TZML_ERROR_NOT_RELEASED, "%s", state->bundle->name);
	if (size != connection->record.size)
		return fail(TZML_ERROR_RECORD_MALFORMED,
			    "%zu bytes instead of %zu", size,
			    connection->record.size);
	if (given_size != connection->given.size)
		return fail(TZML_ERROR_OUTPUT_SIZE, "%zu bytes instead of %zu",
			    given_size, connection->given.size);
	return run(state, &sealed, record, given);
}

static enum tzml_status tee_reset(void *opaque)
{
	struct tee_state *state = opaque;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_VALUE_OUTPUT, TEEC_NONE,
						TEEC_NONE, TEEC_NONE);
	status = connection_invoke_directly(state->connection, TZML_CMD_RESET,
					    &operation);
	state->wanted = operation.params[0].value.a;
	return status ? status : load(state);
}

static enum tzml_status tee_save(void *opaque, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 uint8_t *checkpoint, size_t size)
{
	struct tee_state *state = opaque;

	return connection_save(state->connection, flags, note, checkpoint,
			       size);
}

static enum tzml_status tee_confirm(void *opaque)
{
	struct tee_state *state = opaque;

	return connection_confirm(state->connection);
}

static enum tzml_status tee_restore(void *opaque, const uint8_t *checkpoint,
				    size_t size)
{
	struct tee_state *state = opaque;

	return connection_restore(state->connection, checkpoint, size);
}

static enum tzml_status tee_memory(void *opaque, struct tzml_memory *memory)
{
	struct tzml_ta_memory own = { 0 };
	struct pool pool = { 0 };
	struct tee_state *state = opaque;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = &own;
	operation.params[0].tmpref.size = sizeof(own);
	status = connection_invoke_directly(state->connection, TZML_CMD_MEMORY,
					    &operation);
	if (status)
		return status;
	memory->arena = own.arena;
	memory->weights = own.weights;
	memory->state = own.state;
	memory->tables = own.tables;
	memory->mapped = own.mapped;
	memory->mapped_peak = own.mapped_peak;

	status =
		connection_read_pool(state->connection, POOL_TAS, false, &pool);
	if (status)
		return status;
	memory->pool_size = pool.size;
	memory->pool_used = pool.used;
	memory->pool_peak = pool.peak;
	memory->pool_before = state->connection->tas.used;
	status = connection_read_pool(state->connection, POOL_HEAP, false,
				      &pool);
	memory->heap_size = pool.size;
	memory->heap_used = pool.used;
	return status;
}

static struct grant tee_grant(void *opaque)
{
	const struct tee_state *state = opaque;

	return state->grant;
}

static bool tee_takes_clear(void *opaque)
{
	const struct tee_state *state = opaque;

	return state->connection->features & TZML_TA_FEATURE_CLEAR;
}

static void tee_close(void *opaque)
{
	struct tee_state *state = opaque;

	connection_close(state->connection);
	free(state);
}

const struct world tee_world = {
	.bit = TZML_IN_TEE,
	.open = tee_open,
	.reserve = tee_reserve,
	.run = tee_run,
	.run_samples = tee_run_samples,
	.join = tee_join,
	.run_record = tee_run_record,
	.reset = tee_reset,
	.save = tee_save,
	.confirm = tee_confirm,
	.restore = tee_restore,
	.memory = tee_memory,
	.grant = tee_grant,
	.takes_clear = tee_takes_clear,
	.close = tee_close,
};
