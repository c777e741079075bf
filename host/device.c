// SPDX-License-Identifier: Apache-2.0
/* The device's identity: host/include/tzml.h says what each function does. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#ifdef TZML_WITH_TEE
#include "connection.h"

#define ABOUT "the tzml TA" /* in messages */

_Static_assert(sizeof(struct tzml_evidence) == sizeof(struct tzml_ta_evidence),
	       "tzml.h and tzml_ta.h have one layout");

enum tzml_status connection_ask(struct connection *connection, uint32_t command,
				const void *request, size_t request_size,
				size_t answer_size)
{
	TEEC_SharedMemory *in = &connection->piece;
	TEEC_SharedMemory *out = &connection->outputs;
	TEEC_Operation operation = { 0 };
	enum tzml_status status =
		connection_share(connection, in, request_size, TEEC_MEM_INPUT);

	if (!status)
		status = connection_share(connection, out, answer_size,
					  TEEC_MEM_OUTPUT);
	if (status)
		return status;
	memcpy(in->buffer, request, request_size);
	operation.paramTypes = TEEC_PARAM_TYPES(
		TEEC_MEMREF_WHOLE, TEEC_MEMREF_WHOLE, TEEC_NONE, TEEC_NONE);
	operation.params[0].memref.parent = in;
	operation.params[1].memref.parent = out;
	status = connection_invoke(connection, command, &operation);
	/* a call that was left behind may still read it */
	if (status != TZML_ERROR_NO_SUPPLICANT)
		explicit_bzero(in->buffer, request_size);
	return status;
}

uint32_t tzml_device_enroll(const uint8_t *verifier, const uint8_t *owners,
			    uint32_t owner_count, uint32_t replace,
			    uint8_t *point)
{
	struct {
		struct tzml_ta_enroll enroll;
		uint8_t owners[TZML_TA_MAX_OWNERS][TZML_KEY_SIZE];
	} request = { .enroll = { .owner_count = owner_count } };
	size_t owners_size = (size_t)owner_count * TZML_KEY_SIZE;
	struct connection *connection = NULL;
	enum tzml_status status = TZML_SUCCESS;

	if (!owner_count || owner_count > TZML_TA_MAX_OWNERS)
		return fail(TZML_ERROR_LIMIT, "%u owners; 1 to %u", owner_count,
			    TZML_TA_MAX_OWNERS);
	request.enroll.flags = replace ? TZML_ENROLL_REPLACE : 0;
	memcpy(request.enroll.verifier, verifier,
	       sizeof(request.enroll.verifier));
	memcpy(request.owners, owners, owners_size);
	status = connection_open(&connection, ABOUT, TA_MEMORY);
	if (!status)
		status = connection_ask(connection, TZML_CMD_ENROLL, &request,
					sizeof(request.enroll) + owners_size,
					sizeof(struct tzml_ta_device));
	if (!status)
		memcpy(point, connection->outputs.buffer, TZML_POINT_SIZE);
	explicit_bzero(&request, sizeof(request));
	connection_close(connection);
	return status;
}

uint32_t tzml_device_attest(const uint8_t *nonce,
			    struct tzml_evidence *evidence)
{
	struct connection *connection = NULL;
	enum tzml_status status =
		connection_open(&connection, ABOUT, TA_MEMORY);

	if (!status)
		status = connection_ask(connection, TZML_CMD_ATTEST, nonce,
					TZML_CHALLENGE_SIZE, sizeof(*evidence));
	if (!status)
		memcpy(evidence, connection->outputs.buffer, sizeof(*evidence));
	connection_close(connection);
	return status;
}

uint32_t tzml_device_key(uint8_t *point)
{
	struct connection *connection = NULL;
	enum tzml_status status =
		connection_open(&connection, ABOUT, TA_MEMORY);

	if (!status)
		status = connection_read_device(connection);
	if (!status)
		memcpy(point, connection->answer.device.point, TZML_POINT_SIZE);
	connection_close(connection);
	return status;
}
#else
uint32_t tzml_device_enroll(const uint8_t *verifier, const uint8_t *owners,
			    uint32_t owner_count, uint32_t replace,
			    uint8_t *point)
{
	(void)verifier;
	(void)owners;
	(void)owner_count;
	(void)replace;
	(void)point;
	return fail(TZML_ERROR_WORLD, NULL);
}

uint32_t tzml_device_attest(const uint8_t *nonce,
			    struct tzml_evidence *evidence)
{
	(void)nonce;
	(void)evidence;
	return fail(TZML_ERROR_WORLD, NULL);
}

uint32_t tzml_device_key(uint8_t *point)
{
	(void)point;
	return fail(TZML_ERROR_WORLD, NULL);
}
#endif
