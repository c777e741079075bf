// SPDX-License-Identifier: Apache-2.0
#include <tzml_ta.h>

#include "state.h"

TEE_Result save(struct session *session, uint32_t types,
		TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected || params[0].memref.size != TZML_NOTE_SIZE ||
	    params[1].memref.size != sizeof(struct tzml_checkpoint) ||
	    params[2].value.a & ~TZML_SAVE_FLAGS || params[2].value.b)
		return TZML_ERROR_REQUEST;

	status = tzml_model_save(&session->model, params[2].value.a,
				 params[0].memref.buffer,
				 params[1].memref.buffer);
	params[3].value.a = tzml_model_segment(&session->model);
	params[3].value.b = 0;
	return status;
}

TEE_Result save_segment(struct session *session, uint32_t types,
			TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_save_segment(&session->model,
					 params[0].memref.buffer,
					 params[0].memref.size);
	params[1].value.a = tzml_model_segment(&session->model);
	params[1].value.b = 0;
	return status;
}

TEE_Result confirm(struct session *session, uint32_t types,
		   TEE_Param params[TEE_NUM_PARAMS] __unused)
{
	const uint32_t expected =
		TEE_PARAM_TYPES(TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE,
				TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);

	if (types != expected)
		return TZML_ERROR_REQUEST;
	return tzml_model_confirm(&session->model);
}

TEE_Result restore(struct session *session, uint32_t types,
		   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_restore(&session->model, params[0].memref.buffer,
				    params[0].memref.size);
	params[1].value.a = tzml_model_segment(&session->model);
	params[1].value.b = 0;
	return status;
}

TEE_Result restore_segment(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_restore_segment(&session->model,
					    params[0].memref.buffer,
					    params[0].memref.size);
	params[1].value.a = tzml_model_segment(&session->model);
	params[1].value.b = 0;
	return status;
}
