// SPDX-License-Identifier: Apache-2.0
/* The kernel libraries that OP-TEE keeps on this device. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#ifdef TZML_WITH_TEE
#include "connection.h"

#define ABOUT	  "the tzml TA" /* in messages */
#define UUID_SIZE 16

/* As RFC 9562 writes a UUID. */
static void write_uuid(const uint8_t uuid[UUID_SIZE], char *text)
{
	for (size_t i = 0; i < UUID_SIZE; i++)
		text += sprintf(text,
				i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x"
								      : "%02x",
				uuid[i]);
}

/* Whether `text` is a UUID: exactly as write_uuid writes it, in any case. */
static bool read_uuid(const char *text, uint8_t uuid[UUID_SIZE])
{
	char again[sizeof(((struct tzml_library_info *)NULL)->uuid)] = "";
	const char *from = text;

	for (size_t i = 0; i < UUID_SIZE; i++) {
		from += *from == '-';
		if (sscanf(from, "%2hhx", uuid + i) != 1)
			return false;
		from += strnlen(from, 2);
	}
	write_uuid(uuid, again);
	return !strcasecmp(text, again);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, UUID_SIZE);
}

/* OP-TEE looks through all of its objects for each: no device has so many. */
#define MOST 1024

static enum tzml_status list_libraries(struct connection *connection,
				       struct tzml_library_info *infos,
				       uint32_t *count)
{
	TEEC_SharedMemory *piece = &connection->piece;
	struct tzml_ta_library *libraries = NULL;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	uint32_t room = *count;

	status = connection_share(connection, piece, MOST * sizeof(*libraries),
				  TEEC_MEM_OUTPUT);
	if (status)
		return status;
	libraries = piece->buffer;
	operation.paramTypes = TEEC_PARAM_TYPES(TEEC_MEMREF_WHOLE, TEEC_NONE,
						TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = piece;
	status = connection_invoke(connection, TZML_CMD_LIBRARIES, &operation);
	if (status)
		return status;
	*count = operation.params[0].memref.size / sizeof(*libraries);
	qsort(libraries, *count, sizeof(*libraries), compare);
	for (uint32_t i = 0; i < *count && i < room; i++) {
		write_uuid(libraries[i].uuid, infos[i].uuid);
		infos[i].version = libraries[i].version;
		infos[i].size = libraries[i].size;
	}
	return TZML_SUCCESS;
}

uint32_t tzml_list_libraries(struct tzml_library_info *libraries,
			     uint32_t *count)
{
	struct connection *connection = NULL;
	enum tzml_status status =
		connection_open(&connection, ABOUT, TA_MEMORY);

	if (!status)
		status = list_libraries(connection, libraries, count);
	connection_close(connection);
	return status;
}

static enum tzml_status remove_library(struct connection *connection,
				       uint8_t uuid[UUID_SIZE])
{
	TEEC_Operation operation = { 0 };
	enum tzml_status status = connection_share(
		connection, &connection->piece, UUID_SIZE, TEEC_MEM_INPUT);

	if (status)
		return status;
	memcpy(connection->piece.buffer, uuid, UUID_SIZE);
	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_PARTIAL_INPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = &connection->piece;
	operation.params[0].memref.size = UUID_SIZE;
	return connection_invoke(connection, TZML_CMD_REMOVE_LIBRARY,
				 &operation);
}

uint32_t tzml_remove_library(const char *uuid)
{
	struct connection *connection = NULL;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t bytes[UUID_SIZE] = { 0 };

	if (!read_uuid(uuid, bytes))
		return fail(TZML_ERROR_NO_LIBRARY, "%s is not a UUID", uuid);
	status = connection_open(&connection, uuid, TA_MEMORY);
	if (!status)
		status = remove_library(connection, bytes);
	connection_close(connection);
	return status;
}
#else
uint32_t tzml_list_libraries(struct tzml_library_info *libraries,
			     uint32_t *count)
{
	(void)libraries;
	(void)count;
	return fail(TZML_ERROR_WORLD, NULL);
}

uint32_t tzml_remove_library(const char *uuid)
{
	(void)uuid;
	return fail(TZML_ERROR_WORLD, NULL);
}
#endif
