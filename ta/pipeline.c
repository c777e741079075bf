// SPDX-License-Identifier: Apache-2.0
/* The commands of a session that is a stage of a pipeline: tzml/stage.h. */
#include <string.h>
#include <string_ext.h>
#include <tee_internal_api.h>
#include <tzml_ta.h>

#include "attest.h"
#include "device.h"
#include "session.h"

/* Make the session's key, and the evidence for it. */
static enum tzml_status make_key(struct session *session,
				 const uint8_t nonce[TZML_CHALLENGE_SIZE],
				 struct tzml_ta_evidence *evidence)
{
	struct platform_context *platform = &session->platform;
	struct tzml_key_pair key = { 0 };
	enum tzml_status status = device_describe(evidence);

	if (!status)
		status = device_make_key(platform->system, SESSION_KEY, nonce,
					 &key);
	if (!status)
		status = tzml_stage_begin(&session->stage, &tee_platform,
					  platform, &key, nonce);
	memcpy(evidence->device.point, key.point, sizeof(key.point));
	memzero_explicit(&key, sizeof(key));
	if (!status)
		status = attest_key(platform->digest, ATTEST_SESSION, nonce,
				    evidence);
	if (status)
		tzml_stage_close(&session->stage);
	return status;
}

TEE_Result begin_stage(struct session *session, uint32_t types,
		       TEE_Param params[TEE_NUM_PARAMS])
{
	return give_evidence(session, types, params, make_key);
}

TEE_Result join_pipeline(struct session *session, uint32_t types,
			 TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	status =
		tzml_stage_join(&session->stage, &session->model,
				params[0].memref.buffer, params[0].memref.size);
	params[1].value.a = 0;
	params[1].value.b = 0;
	if (status)
		return status;
	params[1].value.a =
		tzml_stage_record_size(&session->stage, &session->model, false);
	params[1].value.b =
		tzml_stage_record_size(&session->stage, &session->model, true);
	return TEE_SUCCESS;
}

TEE_Result run_record(struct session *session, uint32_t types,
		      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	status = tzml_stage_start(&session->stage, &session->model,
				  params[0].memref.buffer,
				  params[0].memref.size);
	if (!status)
		status = tzml_stage_continue(&session->stage, &session->model,
					     params[1].memref.buffer,
					     params[1].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}

TEE_Result continue_record(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	status = tzml_stage_continue(&session->stage, &session->model,
				     params[0].memref.buffer,
				     params[0].memref.size);
	params[1].value.a = tzml_model_wanted(&session->model);
	params[1].value.b = 0;
	return status;
}
