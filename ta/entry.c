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
#include <util.h>

#include "attest.h"
#include "device.h"
#include "platform.h"
#include "session.h"
#include "state.h"
#include "user_ta_header_defines.h"

static TEE_Result ping(struct session *session __unused, uint32_t types,
		       TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const struct tzml_ta_info info = {
		.protocol = TZML_TA_PROTOCOL,
		.ta_version = TZML_TA_VERSION,
		.format_version = TZML_FORMAT_VERSION,
		.kernel_abi = TZML_KERNEL_ABI,
		.features = TZML_TA_FEATURE_LIBRARIES |
			    TZML_TA_FEATURE_CHECKPOINTS |
			    TZML_TA_FEATURE_STAGES | TZML_TA_FEATURE_BATCHES |
			    TZML_TA_FEATURE_REQUESTS |
			    (TZML_SEALED_ONLY ? 0 : TZML_TA_FEATURE_CLEAR),
		.max_sections = TZML_MAX_SECTIONS,
		.max_programs = TZML_MAX_PROGRAMS,
		.max_libraries = TZML_MAX_LIBRARIES,
		.max_ports = TZML_MAX_PORTS,
	};

	if (types != expected)
		return TZML_ERROR_REQUEST;
	/* older clients have room for the start of it: a larger size than theirs
	 * would mean that there is nothing in their buffer
	 */
	params[0].memref.size = MIN(params[0].memref.size, sizeof(info));
	memcpy(params[0].memref.buffer, &info, params[0].memref.size);
	return TEE_SUCCESS;
}

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

	tzml_stage_leave(&session->stage);
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

static TEE_Result run_program(struct session *session, uint32_t types,
			      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected || params[2].value.b)
		return TZML_ERROR_REQUEST;

	status = tzml_model_start(&session->model, params[2].value.a,
				  params[0].memref.buffer,
				  params[0].memref.size);
	if (!status)
		status = tzml_model_continue(&session->model,
					     params[1].memref.buffer,
					     params[1].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	return status;
}

static TEE_Result run_request(struct session *session, uint32_t types,
			      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_MEMREF_INPUT);
	enum tzml_status status = TZML_SUCCESS;
	uint8_t id[TZML_REQUEST_SIZE] = { 0 };

	if (types != expected || params[2].value.b ||
	    params[3].memref.size != sizeof(id))
		return TZML_ERROR_REQUEST;

	memcpy(id, params[3].memref.buffer, sizeof(id));
	status = tzml_model_start_request(&session->model, params[2].value.a,
					  id, params[0].memref.buffer,
					  params[0].memref.size);
	if (!status)
		status = tzml_model_continue(&session->model,
					     params[1].memref.buffer,
					     params[1].memref.size);
	params[2].value.a = tzml_model_wanted(&session->model);
	return status;
}

static TEE_Result continue_run(struct session *session, uint32_t types,
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

/* The ports of a program, as RUN copies them. */
static void describe_ports(const struct tzml_model *model,
			   const struct tzml_plan *plan,
			   struct tzml_ta_port *ports)
{
	for (uint32_t i = 0; i < plan->header->port_count; i++) {
		const struct tzml_tensor *tensor =
			model->interface.tensors + plan->ports[i];

		ports[i] = (struct tzml_ta_port){
			.tensor = plan->ports[i],
			.dtype = tensor->dtype,
			.dimension_count = tensor->dimension_count,
			.size = tensor->flags == TZML_TENSOR_RANDOM
					? 0
					: tensor->size,
		};
		memcpy(ports[i].dimensions, tensor->dimensions,
		       sizeof(ports[i].dimensions));
	}
}

static TEE_Result describe(struct session *session, uint32_t types,
			   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_VALUE_INOUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const struct tzml_plan *plan = NULL;
	struct tzml_ta_port *ports = NULL;
	size_t room = 0;
	size_t size = 0;

	if (types != expected || params[1].value.b)
		return TZML_ERROR_REQUEST;
	if (session->model.state != TZML_MODEL_READY)
		return TZML_ERROR_STATE;
	plan = tzml_model_plan(&session->model, params[1].value.a);
	if (!plan)
		return TZML_ERROR_PROGRAM;

	room = params[0].memref.size;
	size = plan->header->port_count * sizeof(*ports);
	params[0].memref.size = size;
	if (room < size)
		return TEE_ERROR_SHORT_BUFFER;
	/* made in private memory: what is shared may be unaligned */
	ports = TEE_Malloc(size, TEE_MALLOC_FILL_ZERO);
	if (!ports)
		return TZML_ERROR_MEMORY;
	describe_ports(&session->model, plan, ports);
	memcpy(params[0].memref.buffer, ports, size);
	TEE_Free(ports);
	params[1].value.a = plan->program->input_count;
	params[1].value.b = plan->program->output_count;
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
		.state = model->state_memory.size,
		.tables = model->tables.size,
	};

	if (types != expected || params[0].memref.size != sizeof(memory))
		return TZML_ERROR_REQUEST;
	memcpy(params[0].memref.buffer, &memory, sizeof(memory));
	return TEE_SUCCESS;
}

static TEE_Result reset_state(struct session *session, uint32_t types,
			      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_reset(&session->model);
	params[0].value.a = tzml_model_wanted(&session->model);
	params[0].value.b = 0;
	return status;
}

static TEE_Result installed_libraries(uint32_t types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;
	size_t count = 0;
	size_t room = 0;

	if (types != expected)
		return TZML_ERROR_REQUEST;
	room = params[0].memref.size / sizeof(struct tzml_ta_library);
	status = list_libraries(params[0].memref.buffer, room, &count);
	params[0].memref.size = count * sizeof(struct tzml_ta_library);
	if (status)
		return status;
	return count > room ? TEE_ERROR_SHORT_BUFFER : TEE_SUCCESS;
}

static TEE_Result remove_installed(uint32_t types,
				   TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	uint8_t uuid[16] = { 0 };

	if (types != expected || params[0].memref.size != sizeof(uuid))
		return TZML_ERROR_REQUEST;
	memcpy(uuid, params[0].memref.buffer, sizeof(uuid));
	return remove_library(uuid);
}

static TEE_Result take_grant(struct session *session, uint32_t types,
			     TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected)
		return TZML_ERROR_REQUEST;

	status = tzml_model_take_grant(&session->model, params[0].memref.buffer,
				       params[0].memref.size);
	params[1].value.a = tzml_model_wanted(&session->model);
	params[1].value.b = 0;
	return status;
}

static TEE_Result enroll(struct session *session, uint32_t types,
			 TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	uint8_t owners[TZML_TA_MAX_OWNERS][TZML_KEY_SIZE] = { 0 };
	struct tzml_ta_enroll request = { 0 };
	struct tzml_ta_device device = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected || params[0].memref.size < sizeof(request) ||
	    params[1].memref.size != sizeof(device))
		return TZML_ERROR_REQUEST;
	memcpy(&request, params[0].memref.buffer, sizeof(request));
	if (!request.owner_count || request.owner_count > TZML_TA_MAX_OWNERS)
		return TZML_ERROR_LIMIT;
	if (request.flags & ~TZML_ENROLL_REPLACE ||
	    params[0].memref.size !=
		    sizeof(request) + request.owner_count * TZML_KEY_SIZE)
		return TZML_ERROR_REQUEST;
	memcpy(owners, (uint8_t *)params[0].memref.buffer + sizeof(request),
	       request.owner_count * TZML_KEY_SIZE);
	status = device_enroll(session->platform.system, &request, owners,
			       device.point);
	memzero_explicit(&request, sizeof(request));
	if (!status)
		memcpy(params[1].memref.buffer, &device, sizeof(device));
	return status;
}

TEE_Result
give_evidence(struct session *session, uint32_t types,
	      TEE_Param params[TEE_NUM_PARAMS],
	      enum tzml_status (*make)(struct session *session,
				       const uint8_t nonce[TZML_CHALLENGE_SIZE],
				       struct tzml_ta_evidence *evidence))
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	struct tzml_ta_evidence *evidence = NULL;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t nonce[TZML_CHALLENGE_SIZE] = { 0 };

	if (types != expected || params[0].memref.size != sizeof(nonce) ||
	    params[1].memref.size != sizeof(*evidence))
		return TZML_ERROR_REQUEST;
	/* what is loaded would be measured with the TA */
	if (session->model.state != TZML_MODEL_CLOSED ||
	    session->platform.library_count)
		return TZML_ERROR_STATE;
	memcpy(nonce, params[0].memref.buffer, sizeof(nonce));
	evidence = TEE_Malloc(sizeof(*evidence), TEE_MALLOC_FILL_ZERO);
	if (!evidence)
		return TZML_ERROR_MEMORY;
	status = make(session, nonce, evidence);
	if (!status)
		memcpy(params[1].memref.buffer, evidence, sizeof(*evidence));
	TEE_Free(evidence);
	return status;
}

/* The evidence for the device's own key. */
static enum tzml_status attest_device(struct session *session,
				      const uint8_t nonce[TZML_CHALLENGE_SIZE],
				      struct tzml_ta_evidence *evidence)
{
	enum tzml_status status = device_describe(evidence);

	return status ? status
		      : attest_key(session->platform.digest, ATTEST_DEVICE,
				   nonce, evidence);
}

static TEE_Result attest(struct session *session, uint32_t types,
			 TEE_Param params[TEE_NUM_PARAMS])
{
	return give_evidence(session, types, params, attest_device);
}

static TEE_Result describe_device(struct session *session __unused,
				  uint32_t types,
				  TEE_Param params[TEE_NUM_PARAMS])
{
	const uint32_t expected = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_OUTPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	struct tzml_ta_device device = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (types != expected || params[0].memref.size != sizeof(device))
		return TZML_ERROR_REQUEST;
	status = tee_crypto.device_key(NULL, device.point);
	if (!status)
		memcpy(params[0].memref.buffer, &device, sizeof(device));
	return status;
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

/*
 * Kernels and the runtime leave activations and parts of secrets on the stack,
 * which OP-TEE takes back as it is. The callers of this take less than the rest.
 */
static __attribute__((noinline)) void wipe_stack(void)
{
	uint8_t below[TA_STACK_SIZE * 3 / 4];

	memzero_explicit(below, sizeof(below));
}

void TA_CloseSessionEntryPoint(void *context)
{
	struct session *session = context;

	tzml_stage_close(&session->stage);
	tzml_model_close(&session->model);
	platform_close(&session->platform);
	memzero_explicit(session, sizeof(*session));
	TEE_Free(session);
	wipe_stack();
}

TEE_Result TA_InvokeCommandEntryPoint(void *context, uint32_t command,
				      uint32_t types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	switch (command) {
	case TZML_CMD_PING:
		return ping(context, types, params);
	case TZML_CMD_OPEN:
		return open_model(context, types, params);
	case TZML_CMD_LOAD:
		return load_piece(context, types, params);
	case TZML_CMD_RUN:
		return run_program(context, types, params);
	case TZML_CMD_RUN_REQUEST:
		return run_request(context, types, params);
	case TZML_CMD_CONTINUE:
		return continue_run(context, types, params);
	case TZML_CMD_DESCRIBE:
		return describe(context, types, params);
	case TZML_CMD_MEMORY:
		return report_memory(context, types, params);
	case TZML_CMD_RESET:
		return reset_state(context, types, params);
	case TZML_CMD_LIBRARIES:
		return installed_libraries(types, params);
	case TZML_CMD_REMOVE_LIBRARY:
		return remove_installed(types, params);
	case TZML_CMD_GRANT:
		return take_grant(context, types, params);
	case TZML_CMD_ENROLL:
		return enroll(context, types, params);
	case TZML_CMD_ATTEST:
		return attest(context, types, params);
	case TZML_CMD_DEVICE:
		return describe_device(context, types, params);
	case TZML_CMD_SAVE:
		return save(context, types, params);
	case TZML_CMD_SAVE_SEGMENT:
		return save_segment(context, types, params);
	case TZML_CMD_CONFIRM:
		return confirm(context, types, params);
	case TZML_CMD_RESTORE:
		return restore(context, types, params);
	case TZML_CMD_RESTORE_SEGMENT:
		return restore_segment(context, types, params);
	case TZML_CMD_STAGE:
		return begin_stage(context, types, params);
	case TZML_CMD_JOIN:
		return join_pipeline(context, types, params);
	case TZML_CMD_RUN_RECORD:
		return run_record(context, types, params);
	case TZML_CMD_CONTINUE_RECORD:
		return continue_record(context, types, params);
	case TZML_CMD_RUN_BATCH:
		return run_batch(context, types, params);
	case TZML_CMD_CONTINUE_BATCH:
		return continue_batch(context, types, params);
	default:
		return TZML_ERROR_REQUEST;
	}
}
