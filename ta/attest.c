// SPDX-License-Identifier: Apache-2.0
#include <pta_attestation.h>
#include <string.h>
#include <tee_internal_api.h>

#include "attest.h"

#define LABEL "tzml device 1"

static TEE_Result make_nonce(TEE_OperationHandle digest,
			     const struct tzml_ta_enroll *request,
			     const uint8_t (*owners)[TZML_KEY_SIZE],
			     const uint8_t point[TZML_POINT_SIZE],
			     uint8_t nonce[TZML_DIGEST_SIZE])
{
	uint8_t owners_digest[TZML_DIGEST_SIZE] = { 0 };
	size_t size = sizeof(owners_digest);
	TEE_Result result = TEE_SUCCESS;

	TEE_ResetOperation(digest);
	result = TEE_DigestDoFinal(digest, owners,
				   request->owner_count * TZML_KEY_SIZE,
				   owners_digest, &size);
	if (result)
		return result;
	TEE_ResetOperation(digest);
	TEE_DigestUpdate(digest, LABEL, sizeof(LABEL) - 1);
	TEE_DigestUpdate(digest, request->nonce, sizeof(request->nonce));
	TEE_DigestUpdate(digest, point, TZML_POINT_SIZE);
	size = TZML_DIGEST_SIZE;
	return TEE_DigestDoFinal(digest, owners_digest, sizeof(owners_digest),
				 nonce, &size);
}

TEE_Result attest_device(TEE_OperationHandle digest,
			 const struct tzml_ta_enroll *request,
			 const uint8_t (*owners)[TZML_KEY_SIZE],
			 const uint8_t point[TZML_POINT_SIZE], void *evidence,
			 size_t *size)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const TEE_UUID attestation = PTA_ATTESTATION_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	uint8_t nonce[TZML_DIGEST_SIZE] = { 0 };
	uint8_t report[TZML_MAX_EVIDENCE] = { 0 };
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = make_nonce(digest, request, owners, point, nonce);

	*size = 0;
	if (result)
		return result;
	result = TEE_OpenTASession(&attestation, TEE_TIMEOUT_INFINITE, 0, NULL,
				   &session, NULL);
	if (result == TEE_ERROR_ITEM_NOT_FOUND)
		return TEE_SUCCESS; /* CFG_ATTESTATION_PTA=n */
	if (result)
		return result;
	params[0].memref.buffer = nonce;
	params[0].memref.size = sizeof(nonce);
	params[1].memref.buffer = report;
	params[1].memref.size = sizeof(report);
	result = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE,
				     PTA_ATTESTATION_HASH_TA_MEMORY, types,
				     params, NULL);
	TEE_CloseTASession(session);
	if (result)
		return result;
	memcpy(evidence, report, params[1].memref.size);
	*size = params[1].memref.size;
	return TEE_SUCCESS;
}
