// SPDX-License-Identifier: Apache-2.0
/*
 * Checkpoints over a connection, segment by segment. Any of these commands may
 * read or write the device's record in storage: that takes the supplicant.
 */
#include <string.h>

#include "connection.h"

#define SEGMENT_SIZE (TZML_MAX_SEGMENT_SIZE + TZML_TAG_SIZE)

static enum tzml_status share_segment(struct connection *connection)
{
	TEEC_SharedMemory *segment = &connection->segment;

	if (!(connection->features & TZML_TA_FEATURE_CHECKPOINTS))
		return fail(TZML_ERROR_PROTOCOL,
			    "the TA is older than libtzml, and saves no state");
	return segment->buffer
		       ? TZML_SUCCESS
		       : connection_share(connection, segment, SEGMENT_SIZE,
					  TEEC_MEM_INPUT | TEEC_MEM_OUTPUT);
}

/* The header, `size` bytes of shared memory behind the note. */
static enum tzml_status start_save(struct connection *connection,
				   uint32_t flags,
				   const uint8_t note[TZML_NOTE_SIZE],
				   uint8_t *header, size_t *next)
{
	TEEC_SharedMemory *shared = &connection->segment;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_PARTIAL_INPUT, TEEC_MEMREF_PARTIAL_OUTPUT,
		TEEC_VALUE_INPUT, TEEC_VALUE_OUTPUT);
	memcpy(shared->buffer, note, TZML_NOTE_SIZE);
	operation.params[0].memref.parent = shared;
	operation.params[0].memref.size = TZML_NOTE_SIZE;
	operation.params[1].memref.parent = shared;
	operation.params[1].memref.offset = TZML_NOTE_SIZE;
	operation.params[1].memref.size = sizeof(struct tzml_checkpoint);
	operation.params[2].value.a = flags;
	status = connection_invoke(connection, TZML_CMD_SAVE, &operation);
	*next = operation.params[3].value.a;
	if (!status)
		memcpy(header, (uint8_t *)shared->buffer + TZML_NOTE_SIZE,
		       sizeof(struct tzml_checkpoint));
	return status;
}

/* Let the TA take or give the next segment, and say how large the one after is. */
static enum tzml_status move_segment(struct connection *connection,
				     uint32_t command, uint32_t memref,
				     size_t size, size_t *next)
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	operation.paramTypes = TEEC_PARAM_TYPES(memref, TEEC_VALUE_OUTPUT,
						TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = &connection->segment;
	operation.params[0].memref.size = size;
	status = connection_invoke(connection, command, &operation);
	*next = operation.params[1].value.a;
	return status;
}

enum tzml_status connection_save(struct connection *connection, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 uint8_t *checkpoint, size_t size)
{
	const uint8_t *end = checkpoint + size;
	uint8_t *at = checkpoint + sizeof(struct tzml_checkpoint);
	enum tzml_status status = share_segment(connection);
	size_t next = 0;

	if (!status)
		status = start_save(connection, flags, note, checkpoint, &next);
	while (!status && next) {
		size_t own = next;

		if (own > SEGMENT_SIZE || own > (size_t)(end - at))
			return fail(TZML_ERROR_TEE_FAILED,
				    "the TA gives more than its state");
		status = move_segment(connection, TZML_CMD_SAVE_SEGMENT,
				      TEEC_MEMREF_PARTIAL_OUTPUT, own, &next);
		if (!status)
			memcpy(at, connection->segment.buffer, own);
		at += own;
	}
	return status;
}

enum tzml_status connection_confirm(struct connection *connection)
{
	TEEC_Operation operation = { 0 };

	return connection_invoke(connection, TZML_CMD_CONFIRM, &operation);
}

static enum tzml_status start_restore(struct connection *connection,
				      const uint8_t *checkpoint, size_t *next)
{
	memcpy(connection->segment.buffer, checkpoint,
	       sizeof(struct tzml_checkpoint));
	return move_segment(connection, TZML_CMD_RESTORE,
			    TEEC_MEMREF_PARTIAL_INPUT,
			    sizeof(struct tzml_checkpoint), next);
}

enum tzml_status connection_restore(struct connection *connection,
				    const uint8_t *checkpoint, size_t size)
{
	const uint8_t *end = checkpoint + size;
	const uint8_t *at = checkpoint + sizeof(struct tzml_checkpoint);
	enum tzml_status status = share_segment(connection);
	size_t next = 0;

	if (!status)
		status = start_restore(connection, checkpoint, &next);
	while (!status && next) {
		size_t own = next;

		if (own > SEGMENT_SIZE || own > (size_t)(end - at))
			return fail(TZML_ERROR_CHECKPOINT_MALFORMED,
				    "%zu bytes", size);
		memcpy(connection->segment.buffer, at, own);
		status = move_segment(connection, TZML_CMD_RESTORE_SEGMENT,
				      TEEC_MEMREF_PARTIAL_INPUT, own, &next);
		at += own;
	}
	return status;
}
