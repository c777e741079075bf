// SPDX-License-Identifier: Apache-2.0
/* The commands that run a program on several samples at once. */
#include <tee_internal_api.h>
#include <tzml_ta.h>

#include "session.h"

static enum tzml_status go_on(struct session *session,
			      TEE_Param params[TEE_NUM_PARAMS])
{
	return tzml_batch_continue(
		&session->model, params[0].memref.buffer, params[0].memref.size,
		params[1].memref.buffer, params[1].memref.size);
}

TEE_Result run_batch(struct session *session, uint32_t types,
		     TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	status = tzml_batch_start(&session->model, params[2].value.a,
				  params[2].value.b);
	if (!status)
		status = go_on(session, params);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}

TEE_Result continue_batch(struct session *session, uint32_t types,
			  TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	status = go_on(session, params);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}
