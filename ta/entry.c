// SPDX-License-Identifier: Apache-2.0
/*
 * The Trusted Application's commands (include/tzml_ta.h). Each compares its
 * parameter types and sizes first; everything else is the runtime's.
 */
#include <string.h>
#include <string_ext.h>
#include <tee_internal_api.h>
#include <tzml/model.h>
#include <tzml_ta.h>

#include "platform.h"

struct session {
	struct platform_context platform;
	struct tzml_model model;
};

static TEE_Result open_model(struct session *session, uint32_t types,
			     TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_INPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected || params[1].value.a & ~TZML_OPEN_REINSTALL ||
	    params[1].value.b)
		return TZML_ERROR_REQUEST;

	tzml_model_close(&session->model);
	session->platform.reinstall = params[1].value.a & TZML_OPEN_REINSTALL;
	status = tzml_model_open(&session->model, &tee_platform,
				 &session->platform, params[0].memref.buffer,
				 params[0].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}

static TEE_Result load_piece(struct session *session, uint32_t types,
			     TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_INPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_load(&session->model, params[0].value.a,
				 params[0].value.b, params[1].memref.buffer,
				 params[1].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}

static TEE_Result run_model(struct session *session, uint32_t types,
			    TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_start(&session->model, params[0].memref.buffer,
				  params[0].memref.size);
	if (!status)
		status = tzml_model_continue(&session->model,
					     params[1].memref.buffer,
					     params[1].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	params[2].value.b = 0;
	return status;
}

static TEE_Result continue_model(struct session *session, uint32_t types,
				 TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_continue(&session->model, params[0].memref.buffer,
				     params[0].memref.size);
	params[1].value.a = tzml_model_wanted(&session->model);
	params[1].value.b = 0;
	return status;
}

static TEE_Result describe(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const struct tzml_plan *plan = &session->model.plan;
	size_t room = 0;
	size_t size = 0;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	if (session->model.state != TZML_MODEL_READY)
		return TZML_ERROR_STATE;

	/* the table has the outputs right after the inputs */
	room = params[0].memref.size;
	size = (plan->header->input_count + plan->header->output_count) *
	       sizeof(struct tzml_tensor);
	params[0].memref.size = size;
	if (room < size)
		return TEE_ERROR_SHORT_BUFFER;
	memcpy(params[0].memref.buffer, plan->inputs, size);
	params[1].value.a = plan->header->input_count;
	params[1].value.b = plan->header->output_count;
	return TEE_SUCCESS;
}

static TEE_Result report_memory(struct session *session, uint32_t types,
				TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const struct tzml_model *model = &session->model;
	struct tzml_ta_memory memory = {
		.mapped = session->platform.mapped,
		.mapped_peak = session->platform.mapped_peak,
		.arena = model->arena.size,
		.weights = model->weights.size,
		.plan = model->plan_data.size,
	};

	if (types != expected || params[0].memref.size != sizeof(memory))
		return TZML_ERROR_REQUEST;
	memcpy(params[0].memref.buffer, &memory, sizeof(memory));
	return TEE_SUCCESS;
}

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types,
				    TEE_Param params[TEE_NUM_PARAMS] __unused,
				    void **context)
{
	const uint32_t expected =
		TEE_PARAM_TYPES(TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE,
				TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	TEE_Result result = TEE_ERROR_GENERIC;
	struct session *session = NULL;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	session = TEE_Malloc(sizeof(*session), TEE_MALLOC_FILL_ZERO);
	if (!session)
		return TEE_ERROR_OUT_OF_MEMORY;
	result = platform_open(&session->platform);
	if (result) {
		TEE_Free(session);
		return result;
	}
	*context = session;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *context)
{
	struct session *session = context;

	tzml_model_close(&session->model);
	platform_close(&session->platform);
	memzero_explicit(session, sizeof(*session));
	TEE_Free(session);
}

TEE_Result TA_InvokeCommandEntryPoint(void *context, uint32_t command,
				      uint32_t types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	switch (command) {
	case TZML_CMD_OPEN:
		return open_model(context, types, params);
	case TZML_CMD_LOAD:
		return load_piece(context, types, params);
	case TZML_CMD_RUN:
		return run_model(context, types, params);
	case TZML_CMD_CONTINUE:
		return continue_model(context, types, params);
	case TZML_CMD_DESCRIBE:
		return describe(context, types, params);
	case TZML_CMD_MEMORY:
		return report_memory(context, types, params);
	default:
		return TZML_ERROR_REQUEST;
	}
}
