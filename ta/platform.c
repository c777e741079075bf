// SPDX-License-Identifier: Apache-2.0
#include <pta_system.h>
#include <tee_internal_api.h>
#include <types_ext.h>
#include <util.h>

#include "device.h"
#include "platform.h"

#define PAGE_SIZE 4096

/*
 * A model's memory does not come from the TA's heap, whose size is fixed when
 * the TA is built, but from the system pseudo TA: zeroed pages, mapped when
 * the sizes are known and given back page by page.
 */
static void *map_pages(void *opaque, size_t size)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_INOUT,
		TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_NONE);
	struct platform_context *context = opaque;
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = TEE_ERROR_GENERIC;
	size_t bytes = 0;

	if (ADD_OVERFLOW(size, PAGE_SIZE - 1, &bytes) || bytes > UINT32_MAX)
		return NULL;
	bytes -= bytes % PAGE_SIZE;

	params[0].value.a = bytes;
	result = TEE_InvokeTACommand(context->system, TEE_TIMEOUT_INFINITE,
				     PTA_SYSTEM_MAP_ZI, types, params, NULL);
	if (result)
		return NULL;
	context->mapped += bytes;
	context->mapped_peak = MAX(context->mapped_peak, context->mapped);
	return (void *)(vaddr_t)reg_pair_to_64(params[1].value.a,
					       params[1].value.b);
}

static void unmap_pages(void *opaque, void *memory, size_t size)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_INPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	struct platform_context *context = opaque;
	TEE_Param params[TEE_NUM_PARAMS] = {};
	size_t bytes = ROUNDUP(size, PAGE_SIZE);

	params[0].value.a = bytes;
	reg_pair_from_64((vaddr_t)memory, &params[1].value.a,
			 &params[1].value.b);
	if (TEE_InvokeTACommand(context->system, TEE_TIMEOUT_INFINITE,
				PTA_SYSTEM_UNMAP, types, params, NULL))
		TEE_Panic(TEE_ERROR_BAD_STATE);
	context->mapped -= bytes;
}

static enum tzml_status digest_start(void *opaque)
{
	struct platform_context *context = opaque;

	TEE_ResetOperation(context->digest);
	return TZML_SUCCESS;
}

static enum tzml_status digest_update(void *opaque, const void *data,
				      size_t size)
{
	struct platform_context *context = opaque;

	TEE_DigestUpdate(context->digest, data, size);
	return TZML_SUCCESS;
}

static enum tzml_status digest_finish(void *opaque,
				      uint8_t digest[TZML_DIGEST_SIZE])
{
	struct platform_context *context = opaque;
	size_t size = TZML_DIGEST_SIZE;

	if (TEE_DigestDoFinal(context->digest, NULL, 0, digest, &size))
		return TZML_ERROR_PLATFORM;
	return TZML_SUCCESS;
}

static enum tzml_status random_bytes(void *context, void *data, size_t size)
{
	TEE_GenerateRandom(data, size);
	return TZML_SUCCESS;
}

const struct tzml_platform tee_platform = {
	.target = TZML_TARGET_AARCH64,
	.world = TZML_IN_TEE,
	.allocate = map_pages,
	.release = unmap_pages,
	.digest_start = digest_start,
	.digest_update = digest_update,
	.digest_finish = digest_finish,
	.random = random_bytes,
	.open_kernels = open_kernels,
	.close_kernels = close_kernels,
	.crypto = &tee_crypto,
};

TEE_Result platform_open(struct platform_context *context)
{
	const TEE_UUID system = PTA_SYSTEM_UUID;
	TEE_Result result = TEE_ERROR_GENERIC;

	context->system = TEE_HANDLE_NULL;
	context->digest = TEE_HANDLE_NULL;
	context->unsealing.operation = TEE_HANDLE_NULL;
	result = TEE_OpenTASession(&system, TEE_TIMEOUT_INFINITE, 0, NULL,
				   &context->system, NULL);
	if (result)
		return result;
	result = TEE_AllocateOperation(&context->digest, TEE_ALG_SHA256,
				       TEE_MODE_DIGEST, 0);
	if (result)
		platform_close(context);
	return result;
}

void platform_close(struct platform_context *context)
{
	forget_key(context);
	if (context->digest != TEE_HANDLE_NULL)
		TEE_FreeOperation(context->digest);
	if (context->system != TEE_HANDLE_NULL)
		TEE_CloseTASession(context->system);
	context->digest = TEE_HANDLE_NULL;
	context->system = TEE_HANDLE_NULL;
}
