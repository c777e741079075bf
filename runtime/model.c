// SPDX-License-Identifier: Apache-2.0
/* A model from its header to its end. */
#include <string.h>
#include <tzml/model.h>

#include "check.h"
#include "grant.h"
#include "load.h"
#include "run.h"

enum tzml_status tzml_block_allocate(struct tzml_model *model,
				     struct tzml_block *block, uint64_t size)
{
	if (size > SIZE_MAX)
		return TZML_ERROR_MEMORY;
	block->data = model->platform->allocate(model->context, size);
	if (!block->data)
		return TZML_ERROR_MEMORY;
	block->size = size;
	return TZML_SUCCESS;
}

void tzml_block_release(struct tzml_model *model, struct tzml_block *block)
{
	if (block->data) {
		wipe(block->data, block->size);
		model->platform->release(model->context, block->data,
					 block->size);
	}
	memset(block, 0, sizeof(*block));
}

void tzml_model_close(struct tzml_model *model)
{
	if (!model->platform)
		return;
	model->platform->close_kernels(model->context);
	if (model->platform->crypto)
		model->platform->crypto->forget(model->context);
	tzml_batch_end(model);
	tzml_block_release(model, &model->state_memory);
	tzml_block_release(model, &model->weights);
	tzml_block_release(model, &model->arena);
	tzml_block_release(model, &model->kernels_image);
	tzml_block_release(model, &model->tables);
	tzml_block_release(model, &model->header);
	wipe(model, sizeof(*model));
}

/* The digest covers header and table, with itself and the signature as zeros. */
static enum tzml_status check_header_digest(struct tzml_model *model)
{
	const struct tzml_platform *platform = model->platform;
	const struct tzml_header *header = header_of(model);
	const uint8_t zeros[sizeof(header->digest) +
			    sizeof(header->signature)] = { 0 };
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	status = platform->digest_start(model->context);
	if (!status)
		status = platform->digest_update(model->context, header,
						 sizeof(*header) -
							 sizeof(zeros));
	if (!status)
		status = platform->digest_update(model->context, zeros,
						 sizeof(zeros));
	if (!status)
		status = platform->digest_update(model->context, header + 1,
						 model->header.size -
							 sizeof(*header));
	if (!status)
		status = platform->digest_finish(model->context, digest);
	if (!status && !is_equal(digest, header->digest, sizeof(digest)))
		status = TZML_ERROR_HEADER_DIGEST;
	return status;
}

/*
 * An owner's signature covers all that the digest covers. A world without
 * cryptography believes a bundle no more with a signature than without.
 */
static enum tzml_status check_signature(struct tzml_model *model)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	const struct tzml_header *header = header_of(model);

	if (!crypto || all_zero(header->owner, sizeof(header->owner)))
		return TZML_SUCCESS;
	return crypto->verify(model->context, header->owner, header->digest,
			      header->signature);
}

static enum tzml_status take_header(struct tzml_model *model,
				    const void *header, size_t size)
{
	enum tzml_status status = TZML_SUCCESS;
	size_t expected = 0;

	if (size < sizeof(struct tzml_header))
		return TZML_ERROR_TRUNCATED;
	if (size > sizeof(struct tzml_header) +
			   TZML_MAX_SECTIONS * sizeof(struct tzml_section))
		return TZML_ERROR_LIMIT;
	status = tzml_block_allocate(model, &model->header, size);
	if (status)
		return status;
	memcpy(model->header.data, header, size);

	status = tzml_bundle_header_size(header_of(model), &expected);
	if (status)
		return status;
	if (size != expected)
		return TZML_ERROR_TRUNCATED;
	status = check_header_digest(model);
	if (!status)
		status = check_signature(model);
	if (status)
		return status;
	status = tzml_bundle_check(header_of(model), size);
	if (status)
		return status;
	if (header_of(model)->target != (uint32_t)model->platform->target)
		return TZML_ERROR_WRONG_TARGET;
	return TZML_SUCCESS;
}

enum tzml_status tzml_model_open(struct tzml_model *model,
				 const struct tzml_platform *platform,
				 void *context, const void *header, size_t size)
{
	enum tzml_status status = TZML_SUCCESS;

	memset(model, 0, sizeof(*model));
	model->platform = platform;
	model->context = context;
	model->state = TZML_MODEL_LOADING;
	status = take_header(model, header, size);
	if (!status)
		status = tzml_admit_clear(model);
	if (!status)
		status = tzml_load_tables(model);
	if (status)
		tzml_model_close(model);
	return status;
}

const struct tzml_plan *tzml_model_plan(const struct tzml_model *model,
					uint32_t program)
{
	if (program >= TZML_MAX_PROGRAMS || !model->plans[program].header)
		return NULL;
	return model->plans + program;
}
