// SPDX-License-Identifier: Apache-2.0
/* The secure world: the TA, over libteec. ta/include/tzml_ta.h is the protocol. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <tee_client_api.h>
#include <tzml_ta.h>

#include "session.h"

#define PIECE_SIZE (256 * 1024)

/* OP-TEE's statistics pseudo TA: lib/libutee/include/pta_stats.h */
#define PTA_STATS_UUID \
	{ 0xd96a5b40,  \
	  0xe2c7,      \
	  0xb1af,      \
	  { 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b } }
#define PTA_STATS_ALLOC	      1
#define PTA_STATS_POOL_TA_RAM 3

struct pta_stats_alloc {
	char description[32];
	uint64_t free2_sum;
	uint32_t allocated;
	uint32_t max_allocated;
	uint32_t size;
	uint32_t num_alloc_fail;
	uint32_t biggest_alloc_fail;
	uint32_t biggest_alloc_fail_used;
};

/* of OP-TEE's TEE_ERROR_*, those that libteec has no name for */
#define CORRUPT_OBJECT	      0xF0100001
#define STORAGE_NOT_AVAILABLE 0xF0100003
#define STORAGE_NO_SPACE      0xFFFF3041

struct tee_state {
	TEEC_Context context;
	TEEC_Session session;
	bool has_context;
	bool has_session;
	TEEC_SharedMemory piece; /* of the bundle */
	TEEC_SharedMemory inputs;
	TEEC_SharedMemory outputs;
	const struct bundle *bundle;
	uint32_t wanted; /* section the TA asks for */
	uint64_t pool_before;
};

/* OP-TEE's memory for TAs; all zero when OP-TEE lacks CFG_WITH_STATS. */
static void read_pool(TEEC_Context *context, bool reset_peak,
		      struct pta_stats_alloc *pool)
{
	const TEEC_UUID uuid = PTA_STATS_UUID;
	TEEC_Operation operation = { 0 };
	TEEC_Session session = { 0 };

	memset(pool, 0, sizeof(*pool));
	if (TEEC_OpenSession(context, &session, &uuid, TEEC_LOGIN_PUBLIC, NULL,
			     NULL, NULL))
		return;
	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_TEMP_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].value.a = PTA_STATS_POOL_TA_RAM;
	operation.params[0].value.b = reset_peak;
	operation.params[1].tmpref.buffer = pool;
	operation.params[1].tmpref.size = sizeof(*pool);
	if (TEEC_InvokeCommand(&session, PTA_STATS_ALLOC, &operation, NULL))
		memset(pool, 0, sizeof(*pool));
	TEEC_CloseSession(&session);
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1024 * 1024);
}

static enum tzml_status fail_memory(struct tee_state *state)
{
	struct pta_stats_alloc pool = { 0 };

	read_pool(&state->context, false, &pool);
	return fail(TZML_ERROR_MEMORY,
		    "%s wants %.2f MiB of secure memory besides the TA; "
		    "OP-TEE has %.2f MiB for all TAs, of which %.2f MiB are "
		    "in use",
		    state->bundle->name,
		    mib(state->bundle->header->secure_memory), mib(pool.size),
		    mib(state->pool_before));
}

/* The TA's own codes, and OP-TEE's as seen from outside of the TA. */
static enum tzml_status translate(struct tee_state *state, TEEC_Result result,
				  uint32_t origin)
{
	if (result == TEEC_SUCCESS)
		return TZML_SUCCESS;
	if (result == TEEC_ERROR_TARGET_DEAD)
		return fail(TZML_ERROR_TA_DEAD, NULL);
	if (result == TEEC_ERROR_OUT_OF_MEMORY ||
	    result == (uint32_t)TZML_ERROR_MEMORY)
		return fail_memory(state);
	if (result == CORRUPT_OBJECT)
		return fail(TZML_ERROR_STORAGE, NULL);
	if (result == STORAGE_NOT_AVAILABLE || result == STORAGE_NO_SPACE)
		return fail(TZML_ERROR_STORAGE_FULL, NULL);
	if (origin == TEEC_ORIGIN_TRUSTED_APP && result >> 8 == 0x545a4d)
		return fail(result, "%s", state->bundle->name);
	return fail(TZML_ERROR_TEE_FAILED, "result %#x from %s", result,
		    origin == TEEC_ORIGIN_TRUSTED_APP ? "the TA"
		    : origin == TEEC_ORIGIN_TEE	      ? "OP-TEE"
						      : "the driver");
}

static enum tzml_status invoke(struct tee_state *state, uint32_t command,
			       TEEC_Operation *operation)
{
	uint32_t origin = 0;
	TEEC_Result result = TEEC_InvokeCommand(&state->session, command,
						operation, &origin);

	return translate(state, result, origin);
}

/* Whether the TA is one that this library can talk to. */
static enum tzml_status ping(struct tee_state *state)
{
	struct tzml_ta_info info = { 0 };
	TEEC_Operation operation = { 0 };
	TEEC_Result result = TEEC_SUCCESS;
	uint32_t origin = 0;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = &info;
	operation.params[0].tmpref.size = sizeof(info);
	result = TEEC_InvokeCommand(&state->session, TZML_CMD_PING, &operation,
				    &origin);
	if (result == (uint32_t)TZML_ERROR_REQUEST)
		info.protocol = 1; /* which had no such command */
	else if (result)
		return translate(state, result, origin);
	if (info.protocol != TZML_TA_PROTOCOL)
		return fail(TZML_ERROR_PROTOCOL,
			    "the TA speaks version %u, libtzml version %u",
			    info.protocol, TZML_TA_PROTOCOL);
	return TZML_SUCCESS;
}

static enum tzml_status connect(struct tee_state *state)
{
	const TEEC_UUID uuid = TZML_TA_UUID;
	struct pta_stats_alloc pool = { 0 };
	TEEC_Result result = TEEC_SUCCESS;
	uint32_t origin = 0;

	if (TEEC_InitializeContext(NULL, &state->context))
		return fail(TZML_ERROR_NO_TEE, NULL);
	state->has_context = true;
	read_pool(&state->context, true, &pool);
	state->pool_before = pool.allocated;

	/*
	 * A power cut while OP-TEE made its first file leaves that file empty:
	 * OP-TEE removes it, but not before it has refused one session.
	 */
	for (int attempt = 0; attempt < 2; attempt++) {
		result = TEEC_OpenSession(&state->context, &state->session,
					  &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL,
					  &origin);
		if (result != CORRUPT_OBJECT)
			break;
	}
	if (result == TEEC_ERROR_ITEM_NOT_FOUND ||
	    result == TEEC_ERROR_SECURITY)
		return fail(TZML_ERROR_NO_TA, "result %#x", result);
	if (result)
		return translate(state, result, origin);
	state->has_session = true;
	return ping(state);
}

static enum tzml_status share(struct tee_state *state,
			      TEEC_SharedMemory *memory, size_t size,
			      uint32_t direction)
{
	memory->size = size;
	memory->flags = direction;
	if (TEEC_AllocateSharedMemory(&state->context, memory))
		return fail(TZML_ERROR_TEE_FAILED,
			    "no %zu bytes of shared memory", size);
	return TZML_SUCCESS;
}

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
	operation.params[1].memref.parent = &state->piece;
	operation.params[1].memref.size = size;
	status = invoke(state, TZML_CMD_LOAD, &operation);
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
				     state->piece.buffer, state->piece.size,
				     take_piece, state);
	}
	return status;
}

static enum tzml_status open_model(struct tee_state *state, uint32_t flags)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_VALUE_INPUT,
				 TEEC_VALUE_OUTPUT, TEEC_NONE);
	operation.params[0].tmpref.buffer = state->bundle->header;
	operation.params[0].tmpref.size = state->bundle->header_size;
	operation.params[1].value.a = flags;
	status = invoke(state, TZML_CMD_OPEN, &operation);
	state->wanted = operation.params[2].value.a;
	return status ? status : load(state);
}

/* libteec takes a block that was never shared for one with descriptor 0. */
static void unshare(TEEC_SharedMemory *memory)
{
	if (memory->buffer)
		TEEC_ReleaseSharedMemory(memory);
	memset(memory, 0, sizeof(*memory));
}

static void disconnect(struct tee_state *state)
{
	if (state->has_session)
		TEEC_CloseSession(&state->session);
	state->has_session = false;
	if (!state->has_context)
		return;
	unshare(&state->piece);
	unshare(&state->inputs);
	unshare(&state->outputs);
	TEEC_FinalizeContext(&state->context);
	state->has_context = false;
}

static enum tzml_status connect_and_open(struct tee_state *state,
					 uint32_t flags)
{
	enum tzml_status status = connect(state);

	if (!status)
		status =
			share(state, &state->piece, PIECE_SIZE, TEEC_MEM_INPUT);
	return status ? status : open_model(state, flags);
}

static enum tzml_status tee_open(void **result, const struct bundle *bundle)
{
	struct tee_state *state = NULL;
	enum tzml_status status = TZML_SUCCESS;

	state = calloc(1, sizeof(*state));
	if (!state)
		return fail(TZML_ERROR_MEMORY, NULL);
	*result = state;
	state->bundle = bundle;

	status = connect_and_open(state, 0);
	if (status == TZML_ERROR_TA_DEAD || status == TZML_ERROR_STORAGE) {
		/*
		 * OP-TEE ends a TA that opens a library which is not there,
		 * or leaves it unable to open that library again.
		 * Somebody may have emptied secure storage: install again.
		 */
		disconnect(state);
		status = connect_and_open(state, TZML_OPEN_REINSTALL);
	}
	return status;
}

static enum tzml_status tee_reserve(void *opaque, size_t inputs_size,
				    size_t outputs_size)
{
	struct tee_state *state = opaque;
	enum tzml_status status =
		share(state, &state->inputs, inputs_size, TEEC_MEM_INPUT);

	return status ? status
		      : share(state, &state->outputs, outputs_size,
			      TEEC_MEM_OUTPUT);
}

static enum tzml_status start_run(struct tee_state *state, uint32_t program,
				  size_t inputs_size, size_t outputs_size)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_INPUT,
						TEEC_MEMREF_PARTIAL_OUTPUT,
						TEEC_VALUE_INOUT, TEEC_NONE);
	operation.params[0].memref.parent = &state->inputs;
	operation.params[0].memref.size = inputs_size;
	operation.params[1].memref.parent = &state->outputs;
	operation.params[1].memref.size = outputs_size;
	operation.params[2].value.a = program;
	status = invoke(state, TZML_CMD_RUN, &operation);
	state->wanted = operation.params[2].value.a;
	return status;
}

static enum tzml_status continue_run(struct tee_state *state,
				     size_t outputs_size)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_PARTIAL_OUTPUT, TEEC_VALUE_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = &state->outputs;
	operation.params[0].memref.size = outputs_size;
	status = invoke(state, TZML_CMD_CONTINUE, &operation);
	state->wanted = operation.params[1].value.a;
	return status;
}

static enum tzml_status tee_run(void *opaque, uint32_t program,
				const void *inputs, size_t inputs_size,
				void *outputs, size_t outputs_size)
{
	struct tee_state *state = opaque;
	enum tzml_status status = TZML_SUCCESS;

	memcpy(state->inputs.buffer, inputs, inputs_size);
	status = start_run(state, program, inputs_size, outputs_size);
	while (!status && state->wanted != TZML_TA_READY) {
		status = load(state);
		if (!status)
			status = continue_run(state, outputs_size);
	}
	if (!status)
		memcpy(outputs, state->outputs.buffer, outputs_size);
	return status;
}

static enum tzml_status tee_reset(void *opaque)
{
	struct tee_state *state = opaque;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_VALUE_OUTPUT, TEEC_NONE,
						TEEC_NONE, TEEC_NONE);
	status = invoke(state, TZML_CMD_RESET, &operation);
	state->wanted = operation.params[0].value.a;
	return status ? status : load(state);
}

static enum tzml_status tee_memory(void *opaque, struct tzml_memory *memory)
{
	struct tzml_ta_memory own = { 0 };
	struct pta_stats_alloc pool = { 0 };
	struct tee_state *state = opaque;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = &own;
	operation.params[0].tmpref.size = sizeof(own);
	status = invoke(state, TZML_CMD_MEMORY, &operation);
	if (status)
		return status;
	memory->arena = own.arena;
	memory->weights = own.weights;
	memory->state = own.state;
	memory->tables = own.tables;
	memory->mapped = own.mapped;
	memory->mapped_peak = own.mapped_peak;

	read_pool(&state->context, false, &pool);
	memory->pool_size = pool.size;
	memory->pool_used = pool.allocated;
	memory->pool_peak = pool.max_allocated;
	memory->pool_before = state->pool_before;
	return TZML_SUCCESS;
}

static void tee_close(void *opaque)
{
	struct tee_state *state = opaque;

	disconnect(state);
	free(state);
}

const struct world tee_world = {
	.bit = TZML_IN_TEE,
	.open = tee_open,
	.reserve = tee_reserve,
	.run = tee_run,
	.reset = tee_reset,
	.memory = tee_memory,
	.close = tee_close,
};
