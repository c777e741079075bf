// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "connection.h"

/* OP-TEE's statistics pseudo TA: lib/libutee/include/pta_stats.h */
#define PTA_STATS_UUID \
	{ 0xd96a5b40,  \
	  0xe2c7,      \
	  0xb1af,      \
	  { 0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b } }
#define PTA_STATS_ALLOC 1

/* of OP-TEE's TEE_ERROR_*, those that libteec has no name for */
#define CORRUPT_OBJECT	      0xF0100001
#define STORAGE_NOT_AVAILABLE 0xF0100003
#define STORAGE_NO_SPACE      0xFFFF3041

/*
 * What OP-TEE's heap has for all sessions, and for each: lab/test_sessions.py
 * measures it.
 */
#define HEAP_FOR_ALL	 (24 * 1024)
#define HEAP_FOR_SESSION 6752

/* The guarded calls */

static void invoke(struct connection *connection, TEEC_Session *session,
		   uint32_t command)
{
	connection->result = TEEC_InvokeCommand(
		session, command, &connection->operation, &connection->origin);
}

static void call_command(void *context)
{
	struct connection *connection = context;

	invoke(connection, &connection->session, connection->command);
}

/* Open a session, and ask what the TA is. */
static void call_open(void *context)
{
	const TEEC_UUID uuid = TZML_TA_UUID;
	struct connection *connection = context;

	connection->result = TEEC_OpenSession(
		&connection->context, &connection->session, &uuid,
		TEEC_LOGIN_PUBLIC, NULL, NULL, &connection->origin);
	if (connection->result)
		return;
	connection->has_session = true;
	memset(&connection->answer, 0, sizeof(connection->answer));
	connection->operation = (TEEC_Operation){
		.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT,
					       TEEC_NONE, TEEC_NONE, TEEC_NONE),
	};
	connection->operation.params[0].tmpref.buffer = &connection->answer.ta;
	connection->operation.params[0].tmpref.size =
		sizeof(connection->answer.ta);
	invoke(connection, &connection->session, TZML_CMD_PING);
}

/* Ask for statistics; the operation has the pool. */
static void call_statistics(void *context)
{
	const TEEC_UUID uuid = PTA_STATS_UUID;
	struct connection *connection = context;
	TEEC_Operation *operation = &connection->operation;
	TEEC_Session session = { 0 };

	connection->result =
		TEEC_OpenSession(&connection->context, &session, &uuid,
				 TEEC_LOGIN_PUBLIC, NULL, NULL, NULL);
	if (connection->result)
		return;
	operation->paramTypes =
		TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_TEMP_OUTPUT,
				 TEEC_NONE, TEEC_NONE);
	operation->params[1].tmpref.buffer = &connection->answer.pool;
	operation->params[1].tmpref.size = sizeof(connection->answer.pool);
	invoke(connection, &session, PTA_STATS_ALLOC);
	TEEC_CloseSession(&session);
}

enum tzml_status connection_read_pool(struct connection *connection,
				      enum pool_kind kind, bool reset_peak,
				      struct pool *pool)
{
	enum tzml_status status = TZML_SUCCESS;

	memset(pool, 0, sizeof(*pool));
	memset(&connection->operation, 0, sizeof(connection->operation));
	connection->operation.params[0].value.a = kind;
	connection->operation.params[0].value.b = reset_peak;
	status = guard_call(&connection->guard, call_statistics, connection);
	if (status || connection->result)
		return status;
	pool->size = connection->answer.pool.size;
	pool->used = connection->answer.pool.allocated;
	pool->peak = connection->answer.pool.max_allocated;
	pool->failures = connection->answer.pool.num_alloc_fail;
	return TZML_SUCCESS;
}

/* Failures */

static double kib(uint64_t bytes)
{
	return (double)bytes / 1024;
}

static double mib(uint64_t bytes)
{
	return (double)bytes / (1024 * 1024);
}

/*
 * The pages of TAs are all in use, or too few for this model in any case. If
 * they are not, it was Linux that gave none for messages to tee-supplicant.
 */
static enum tzml_status fail_memory(struct connection *connection)
{
	uint64_t wanted = connection->secure_memory;
	struct pool *before = &connection->tas;
	struct pool tas = { 0 };

	if (!connection_read_pool(connection, POOL_TAS, false, &tas) &&
	    tas.size && !tas.failures && tas.peak + wanted <= tas.size)
		return fail(TZML_ERROR_BUSY,
			    "no shared memory for OP-TEE to ask "
			    "tee-supplicant; %.2f of %.2f MiB of secure memory "
			    "are in use",
			    mib(tas.used), mib(tas.size));
	if (!before->size)
		return fail(TZML_ERROR_MEMORY,
			    "%s wants %.2f MiB of secure memory, and OP-TEE "
			    "does not say how much it has; if another model is "
			    "open, close it",
			    connection->about, mib(wanted));
	return fail(wanted <= before->size ? TZML_ERROR_BUSY
					   : TZML_ERROR_MEMORY,
		    "%s wants %.2f MiB of secure memory; OP-TEE has %.2f MiB "
		    "for all TAs, of which %.2f MiB were in use",
		    connection->about, mib(wanted), mib(before->size),
		    mib(before->used));
}

/*
 * Whether OP-TEE's core had no memory since this connection was opened. It
 * answers with many codes then, most of which are of something else. When it
 * has none now, there are no statistics either.
 */
static bool heap_was_short(struct connection *connection)
{
	struct pool heap = { 0 };

	if (!connection->heap.size ||
	    connection_read_pool(connection, POOL_HEAP, false, &heap))
		return false;
	if (!heap.size)
		heap = connection->heap;
	else if (heap.failures == connection->heap.failures)
		return false;
	fail(TZML_ERROR_BUSY,
	     "%.0f of %.0f KiB of OP-TEE's heap are in use; it carries about "
	     "%llu sessions (CFG_CORE_HEAP_SIZE)",
	     kib(heap.used), kib(heap.size),
	     heap.size < HEAP_FOR_ALL
		     ? 0ULL
		     : (unsigned long long)(heap.size - HEAP_FOR_ALL) /
			       HEAP_FOR_SESSION);
	return true;
}

/* Codes that OP-TEE and the TA also give when they find no memory. */
static bool may_be_memory(TEEC_Result result)
{
	switch (result) {
	case CORRUPT_OBJECT:
	case TEEC_ERROR_COMMUNICATION:
	case TEEC_ERROR_GENERIC:
	case TEEC_ERROR_OUT_OF_MEMORY:
	case TEEC_ERROR_SECURITY:
	case TEEC_ERROR_TARGET_DEAD:
	case TZML_ERROR_KERNELS_REFUSED:
	case TZML_ERROR_MEMORY:
	case TZML_ERROR_PLATFORM:
	case TZML_ERROR_STORAGE:
	case TZML_ERROR_STORAGE_FULL:
		return true;
	default:
		return false;
	}
}

/* The TA's own codes, and OP-TEE's as seen from outside of the TA. */
static enum tzml_status translate(struct connection *connection,
				  TEEC_Result result, uint32_t origin)
{
	if (result == TEEC_SUCCESS)
		return TZML_SUCCESS;
	if (may_be_memory(result) && heap_was_short(connection))
		return TZML_ERROR_BUSY;
	if (result == TEEC_ERROR_TARGET_DEAD)
		return fail(TZML_ERROR_TA_DEAD, NULL);
	if (result == TEEC_ERROR_OUT_OF_MEMORY ||
	    result == (uint32_t)TZML_ERROR_MEMORY)
		return fail_memory(connection);
	if (result == CORRUPT_OBJECT)
		return fail(TZML_ERROR_STORAGE, NULL);
	if (result == STORAGE_NOT_AVAILABLE || result == STORAGE_NO_SPACE)
		return fail(TZML_ERROR_STORAGE_FULL, NULL);
	if (origin == TEEC_ORIGIN_TRUSTED_APP && result >> 8 == 0x545a4d)
		return fail(result, "%s", connection->about);
	return fail(TZML_ERROR_TEE_FAILED, "result %#x from %s", result,
		    origin == TEEC_ORIGIN_TRUSTED_APP ? "the TA"
		    : origin == TEEC_ORIGIN_TEE	      ? "OP-TEE"
						      : "the driver");
}

enum tzml_status connection_invoke(struct connection *connection,
				   uint32_t command, TEEC_Operation *operation)
{
	enum tzml_status status = TZML_SUCCESS;

	connection->command = command;
	connection->operation = *operation;
	status = guard_call(&connection->guard, call_command, connection);
	if (status)
		return status;
	*operation = connection->operation;
	return translate(connection, connection->result, connection->origin);
}

enum tzml_status connection_invoke_directly(struct connection *connection,
					    uint32_t command,
					    TEEC_Operation *operation)
{
	uint32_t origin = 0;
	TEEC_Result result = TEEC_InvokeCommand(&connection->session, command,
						operation, &origin);

	return translate(connection, result, origin);
}

enum tzml_status connection_read_device(struct connection *connection)
{
	TEEC_Operation operation = { 0 };

	memset(&connection->answer, 0, sizeof(connection->answer));
	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].tmpref.buffer = &connection->answer.device;
	operation.params[0].tmpref.size = sizeof(connection->answer.device);
	return connection_invoke(connection, TZML_CMD_DEVICE, &operation);
}

/* libteec takes a block that was never shared for one with descriptor 0. */
static void release(TEEC_SharedMemory *memory)
{
	if (memory->buffer)
		TEEC_ReleaseSharedMemory(memory);
	memset(memory, 0, sizeof(*memory));
}

enum tzml_status connection_share(struct connection *connection,
				  TEEC_SharedMemory *memory, size_t size,
				  uint32_t direction)
{
	release(memory);
	memory->size = size;
	memory->flags = direction;
	if (!TEEC_AllocateSharedMemory(&connection->context, memory))
		return TZML_SUCCESS;
	if (heap_was_short(connection))
		return TZML_ERROR_BUSY;
	return fail(TZML_ERROR_TEE_FAILED, "no %zu bytes of shared memory",
		    size);
}

/* Opening and closing */

/* What the TA said of itself: is it one that this library can talk to? */
static enum tzml_status check_protocol(struct connection *connection)
{
	uint32_t protocol = connection->answer.ta.protocol;

	connection->features = connection->answer.ta.features;
	if (connection->result == (uint32_t)TZML_ERROR_REQUEST)
		protocol = 1; /* which had no such command */
	else if (connection->result)
		return translate(connection, connection->result,
				 connection->origin);
	if (protocol != TZML_TA_PROTOCOL)
		return fail(TZML_ERROR_PROTOCOL,
			    "the TA speaks version %u, libtzml version %u",
			    protocol, TZML_TA_PROTOCOL);
	return TZML_SUCCESS;
}

static enum tzml_status open_session(struct connection *connection)
{
	enum tzml_status status = TZML_SUCCESS;
	TEEC_Result result = TEEC_SUCCESS;

	/*
	 * A power cut while OP-TEE made its first file leaves that file empty:
	 * OP-TEE removes it, but not before it has refused one session.
	 */
	for (int attempt = 0; attempt < 2; attempt++) {
		status = guard_call(&connection->guard, call_open, connection);
		if (status || connection->result != CORRUPT_OBJECT)
			break;
	}
	if (status)
		return status;
	if (connection->has_session)
		return check_protocol(connection);
	result = connection->result;
	if (may_be_memory(result) && heap_was_short(connection))
		return TZML_ERROR_BUSY;
	if (result == TEEC_ERROR_ITEM_NOT_FOUND ||
	    result == TEEC_ERROR_SECURITY)
		return fail(TZML_ERROR_NO_TA, "result %#x", result);
	return translate(connection, result, connection->origin);
}

static enum tzml_status connect(struct connection *connection)
{
	enum tzml_status status = TZML_SUCCESS;

	if (TEEC_InitializeContext(NULL, &connection->context))
		return fail(TZML_ERROR_NO_TEE, NULL);
	connection->has_context = true;
	status = connection_read_pool(connection, POOL_HEAP, false,
				      &connection->heap);
	if (!status)
		status = connection_read_pool(connection, POOL_TAS, true,
					      &connection->tas);
	return status ? status : open_session(connection);
}

enum tzml_status connection_open(struct connection **result, const char *about,
				 uint64_t secure_memory)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	*result = connection;
	if (!connection)
		return fail(TZML_ERROR_MEMORY, NULL);
	guard_init(&connection->guard);
	connection->about = about;
	connection->secure_memory = secure_memory;
	return connect(connection);
}

static void dispose(void *context)
{
	struct connection *connection = context;

	if (connection->has_session)
		TEEC_CloseSession(&connection->session);
	if (connection->has_context) {
		release(&connection->piece);
		release(&connection->record);
		release(&connection->given);
		release(&connection->inputs);
		release(&connection->outputs);
		release(&connection->samples_in);
		release(&connection->samples_out);
		release(&connection->segment);
		TEEC_FinalizeContext(&connection->context);
	}
	guard_destroy(&connection->guard);
	free(connection);
}

void connection_close(struct connection *connection)
{
	if (connection && !guard_abandon(&connection->guard, dispose))
		dispose(connection);
}
