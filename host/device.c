// SPDX-License-Identifier: Apache-2.0
/* The device's identity: host/include/tzml.h says what each function does. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#ifdef TZML_WITH_TEE
#include "connection.h"

#define ABOUT "the tzml TA" /* in messages */

_Static_assert(TZML_EVIDENCE_SIZE == 32 + 512, "ta/attest.h");

/* What the TA gives, in memory of the connection. */
struct answer {
	struct tzml_ta_device device;
	uint8_t evidence[TZML_EVIDENCE_SIZE];
};

/* `evidence_size` is set to what there is of it. */
static enum tzml_status enroll(struct connection *connection,
			       const struct tzml_ta_enroll *request,
			       const uint8_t *owners, size_t *evidence_size)
{
	size_t size = request->owner_count * TZML_KEY_SIZE;
	TEEC_SharedMemory *in = &connection->piece;
	TEEC_SharedMemory *out = &connection->outputs;
	TEEC_Operation operation = { 0 };
	enum tzml_status status = connection_share(
		connection, in, sizeof(*request) + size, TEEC_MEM_INPUT);

	if (!status)
		status =
			connection_share(connection, out, sizeof(struct answer),
					 TEEC_MEM_OUTPUT);
	if (status)
		return status;
	memcpy(in->buffer, request, sizeof(*request));
	memcpy((uint8_t *)in->buffer + sizeof(*request), owners, size);
	operation.paramTypes =
		TEEC_PARAM_TYPES(TEEC_MEMREF_WHOLE, TEEC_MEMREF_PARTIAL_OUTPUT,
				 TEEC_MEMREF_PARTIAL_OUTPUT, TEEC_NONE);
	operation.params[0].memref.parent = in;
	operation.params[1].memref.parent = out;
	operation.params[1].memref.size = sizeof(struct tzml_ta_device);
	operation.params[2].memref.parent = out;
	operation.params[2].memref.offset = offsetof(struct answer, evidence);
	operation.params[2].memref.size = TZML_EVIDENCE_SIZE;
	status = connection_invoke(connection, TZML_CMD_ENROLL, &operation);
	*evidence_size = operation.params[2].memref.size;
	return status;
}

uint32_t tzml_device_enroll(const uint8_t *verifier, const uint8_t *nonce,
			    const uint8_t *owners, uint32_t owner_count,
			    uint32_t replace, uint8_t *point, uint8_t *evidence,
			    size_t *evidence_size)
{
	struct tzml_ta_enroll request = {
		.flags = replace ? TZML_ENROLL_REPLACE : 0,
		.owner_count = owner_count,
	};
	struct connection *connection = NULL;
	enum tzml_status status = TZML_SUCCESS;

	if (!owner_count || owner_count > TZML_TA_MAX_OWNERS)
		return fail(TZML_ERROR_LIMIT, "%u owners; 1 to %u", owner_count,
			    TZML_TA_MAX_OWNERS);
	memcpy(request.verifier, verifier, sizeof(request.verifier));
	memcpy(request.nonce, nonce, sizeof(request.nonce));
	status = connection_open(&connection, ABOUT, TA_MEMORY);
	if (!status)
		status = enroll(connection, &request, owners, evidence_size);
	if (!status) {
		const struct answer *answer = connection->outputs.buffer;

		memcpy(point, answer->device.point, TZML_POINT_SIZE);
		memcpy(evidence, answer->evidence, *evidence_size);
	}
	explicit_bzero(&request, sizeof(request));
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
uint32_t tzml_device_enroll(const uint8_t *verifier, const uint8_t *nonce,
			    const uint8_t *owners, uint32_t owner_count,
			    uint32_t replace, uint8_t *point, uint8_t *evidence,
			    size_t *evidence_size)
{
	(void)verifier;
	(void)nonce;
	(void)owners;
	(void)owner_count;
	(void)replace;
	(void)point;
	(void)evidence;
	(void)evidence_size;
	return fail(TZML_ERROR_WORLD, NULL);
}

uint32_t tzml_device_key(uint8_t *point)
{
	(void)point;
	return fail(TZML_ERROR_WORLD, NULL);
}
#endif
