// SPDX-License-Identifier: Apache-2.0
/*
 * Evidence by OP-TEE's attestation PTA. A report does not name the command
 * that made it, and the normal world may call the PTA with any nonce, but only
 * a TA can have its own memory measured: such a report, with a nonce that is
 * made here, is this TA's word.
 */
#include <pta_attestation.h>
#include <string.h>
#include <tee_internal_api.h>

#include "attest.h"
#include "storage.h"

#define EXPONENT 65537

static enum tzml_status to_status(TEE_Result result)
{
	if (result == TEE_ERROR_CORRUPT_OBJECT)
		return TZML_ERROR_STORAGE;
	return storage_status(result, "OP-TEE's attestation");
}

static TEE_Result make_nonce(TEE_OperationHandle digest, const char *label,
			     const uint8_t nonce[TZML_CHALLENGE_SIZE],
			     const struct tzml_ta_evidence *evidence,
			     uint8_t made[TZML_DIGEST_SIZE])
{
	uint8_t owners[TZML_DIGEST_SIZE] = { 0 };
	size_t size = sizeof(owners);
	TEE_Result result = TEE_SUCCESS;

	TEE_ResetOperation(digest);
	result = TEE_DigestDoFinal(digest, evidence->owners,
				   evidence->owner_count * TZML_KEY_SIZE,
				   owners, &size);
	if (result)
		return result;
	TEE_ResetOperation(digest);
	TEE_DigestUpdate(digest, label, strlen(label));
	TEE_DigestUpdate(digest, nonce, TZML_CHALLENGE_SIZE);
	TEE_DigestUpdate(digest, evidence->device.point, TZML_POINT_SIZE);
	size = TZML_DIGEST_SIZE;
	return TEE_DigestDoFinal(digest, owners, sizeof(owners), made, &size);
}

static TEE_Result read_modulus(TEE_TASessionHandle session,
			       struct tzml_ta_evidence *evidence)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	const uint8_t expected[] = { EXPONENT >> 16, EXPONENT >> 8 & 0xff,
				     EXPONENT & 0xff };
	uint8_t exponent[sizeof(expected)] = { 0 };
	uint8_t modulus[TZML_MAX_RSA_SIZE] = { 0 };
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = TEE_SUCCESS;

	params[0].memref.buffer = exponent;
	params[0].memref.size = sizeof(exponent);
	params[1].memref.buffer = modulus;
	params[1].memref.size = sizeof(modulus);
	result = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE,
				     PTA_ATTESTATION_GET_PUBKEY, types, params,
				     NULL);
	if (result)
		return result;
	if (params[0].memref.size != sizeof(expected) ||
	    memcmp(exponent, expected, sizeof(expected)) ||
	    params[1].memref.size > sizeof(modulus) ||
	    params[2].value.a != TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256)
		return TEE_ERROR_BAD_FORMAT;
	evidence->rsa_size = params[1].memref.size;
	memcpy(evidence->modulus, modulus, evidence->rsa_size);
	return TEE_SUCCESS;
}

static TEE_Result measure(TEE_TASessionHandle session, uint32_t command,
			  uint8_t nonce[TZML_DIGEST_SIZE], uint32_t rsa_size,
			  struct tzml_ta_report *report)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = TEE_SUCCESS;

	params[0].memref.buffer = nonce;
	params[0].memref.size = TZML_DIGEST_SIZE;
	params[1].memref.buffer = report;
	params[1].memref.size = sizeof(*report);
	result = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, command,
				     types, params, NULL);
	if (!result && params[1].memref.size != sizeof(report->hash) + rsa_size)
		return TEE_ERROR_BAD_FORMAT;
	return result;
}

enum tzml_status attest_key(TEE_OperationHandle digest, const char *whose,
			    const uint8_t nonce[TZML_CHALLENGE_SIZE],
			    struct tzml_ta_evidence *evidence)
{
	const TEE_UUID attestation = PTA_ATTESTATION_UUID;
	const struct {
		const char *label;
		uint32_t command;
		struct tzml_ta_report *report;
	} reports[] = {
		{ whose, PTA_ATTESTATION_HASH_TA_MEMORY, &evidence->ta },
		{ "tzml core 1", PTA_ATTESTATION_HASH_TEE_MEMORY,
		  &evidence->core },
	};
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	uint8_t made[TZML_DIGEST_SIZE] = { 0 };
	TEE_Result result = TEE_OpenTASession(
		&attestation, TEE_TIMEOUT_INFINITE, 0, NULL, &session, NULL);

	if (result == TEE_ERROR_ITEM_NOT_FOUND)
		return TZML_SUCCESS; /* CFG_ATTESTATION_PTA=n */
	if (result)
		return to_status(result);
	result = read_modulus(session, evidence);
	for (size_t i = 0; !result && i < 2; i++) {
		result = make_nonce(digest, reports[i].label, nonce, evidence,
				    made);
		if (!result)
			result = measure(session, reports[i].command, made,
					 evidence->rsa_size, reports[i].report);
	}
	TEE_CloseTASession(session);
	return to_status(result);
}
