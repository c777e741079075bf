// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/model.h>

#include "promises.h"
#include "want.h"

static enum tzml_status allocate(struct tzml_model *model,
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

static void release(struct tzml_model *model, struct tzml_block *block)
{
	if (block->data)
		model->platform->release(model->context, block->data,
					 block->size);
	memset(block, 0, sizeof(*block));
}

void tzml_model_close(struct tzml_model *model)
{
	if (!model->platform)
		return;
	if (model->kernels.call)
		model->platform->close_kernels(model->context);
	release(model, &model->present);
	release(model, &model->weights);
	release(model, &model->arena);
	release(model, &model->kernels_image);
	release(model, &model->plan_data);
	release(model, &model->header);
	memset(model, 0, sizeof(*model));
}

static const struct tzml_header *header_of(const struct tzml_model *model)
{
	return model->header.data;
}

static const struct tzml_section *wanted_section(const struct tzml_model *model)
{
	return tzml_bundle_sections(header_of(model)) + model->wanted;
}

/* The header's tag is the digest of it all, with the tag itself as zeros. */
static enum tzml_status check_header_tag(struct tzml_model *model)
{
	const struct tzml_platform *platform = model->platform;
	const struct tzml_header *header = header_of(model);
	const uint8_t zeros[sizeof(header->tag)] = { 0 };
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
	if (!status && header->section_count)
		status = platform->digest_update(model->context, header + 1,
						 model->header.size -
							 sizeof(*header));
	if (!status)
		status = platform->digest_finish(model->context, digest);
	if (!status && memcmp(digest, header->tag, sizeof(digest)))
		status = TZML_ERROR_HEADER_DIGEST;
	return status;
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
	status = allocate(model, &model->header, size);
	if (status)
		return status;
	memcpy(model->header.data, header, size);

	status = tzml_bundle_header_size(header_of(model), &expected);
	if (status)
		return status;
	if (size != expected)
		return TZML_ERROR_TRUNCATED;
	status = check_header_tag(model);
	if (status)
		return status;
	status = tzml_bundle_check(header_of(model), size);
	if (status)
		return status;
	if (header_of(model)->target != (uint32_t)model->platform->target)
		return TZML_ERROR_WRONG_TARGET;
	return TZML_SUCCESS;
}

/* Ask for a section, for which there is room. */
static enum tzml_status want(struct tzml_model *model, uint32_t section)
{
	model->wanted = section;
	model->loaded = 0;
	return model->platform->digest_start(model->context);
}

enum tzml_status tzml_model_want_chunk(struct tzml_model *model, uint32_t chunk)
{
	const struct tzml_plan *plan = &model->plan;
	bool *present = model->present.data;

	for (uint32_t i = 0; i < plan->header->chunk_count; i++)
		if (tzml_chunks_overlap(plan->chunks + i, plan->chunks + chunk))
			present[i] = false;
	return want(model, tzml_bundle_find(header_of(model),
					    TZML_SECTION_WEIGHTS, chunk));
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
	/* a checked header has the plan as its first section */
	if (!status)
		status = allocate(model, &model->plan_data,
				  tzml_bundle_sections(header_of(model))->size);
	if (!status)
		status = want(model, 0);
	if (status)
		tzml_model_close(model);
	return status;
}

/* Whether a chunk can be loaded without losing one that is there. */
static bool has_room(const struct tzml_model *model, uint32_t chunk)
{
	const struct tzml_plan *plan = &model->plan;
	const bool *present = model->present.data;

	for (uint32_t i = 0; i < plan->header->chunk_count; i++)
		if (present[i] &&
		    tzml_chunks_overlap(plan->chunks + i, plan->chunks + chunk))
			return false;
	return true;
}

/* Load what has room from `chunk` on; with no more of that, be ready. */
static enum tzml_status load_from(struct tzml_model *model, uint32_t chunk)
{
	for (; chunk < model->plan.header->chunk_count; chunk++)
		if (has_room(model, chunk))
			return tzml_model_want_chunk(model, chunk);
	model->wanted = TZML_NO_SECTION;
	model->state = TZML_MODEL_READY;
	return TZML_SUCCESS;
}

/* The kernels can be called: check the calls, make room, ask for weights. */
static enum tzml_status bind_kernels(struct tzml_model *model)
{
	const struct tzml_kernel_table *table = model->kernels.table;
	const struct tzml_plan_header *plan = model->plan.header;
	enum tzml_status status = TZML_SUCCESS;

	if (table->magic != TZML_KERNELS_MAGIC ||
	    table->abi != TZML_KERNEL_ABI ||
	    memcmp(table->digest, plan->kernels_digest, sizeof(table->digest)))
		return TZML_ERROR_KERNELS_CHANGED;
	status = tzml_plan_check_calls(&model->plan, &model->kernels);
	if (!status)
		status = allocate(model, &model->arena, plan->arena_size);
	if (!status && plan->chunk_count)
		status = allocate(model, &model->weights, plan->weights_size);
	if (!status && plan->chunk_count)
		status = allocate(model, &model->present,
				  plan->chunk_count * sizeof(bool));
	return status ? status : load_from(model, 0);
}

static enum tzml_status plan_loaded(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t section = TZML_NO_SECTION;

	status = tzml_plan_check(model->plan_data.data, model->plan_data.size,
				 &model->plan);
	if (!status)
		status = tzml_check_promises(header_of(model), &model->plan);
	if (status)
		return status;

	status = model->platform->open_kernels(
		model->context, model->plan.header->kernels_digest, NULL, 0,
		&model->kernels);
	if (!status)
		return bind_kernels(model);
	if (status != TZML_ERROR_KERNELS_ABSENT)
		return status;

	section = tzml_bundle_find(header_of(model),
				   model->platform->kernels_section, 0);
	if (section == TZML_NO_SECTION)
		return TZML_ERROR_KERNELS_ABSENT;
	status = allocate(model, &model->kernels_image,
			  tzml_bundle_sections(header_of(model))[section].size);
	if (status)
		return status;
	return want(model, section);
}

static enum tzml_status kernels_loaded(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;

	status = model->platform->open_kernels(
		model->context, model->plan.header->kernels_digest,
		model->kernels_image.data, model->kernels_image.size,
		&model->kernels);
	release(model, &model->kernels_image);
	if (status)
		return status;
	return bind_kernels(model);
}

static enum tzml_status chunk_loaded(struct tzml_model *model)
{
	uint32_t chunk = wanted_section(model)->index;
	bool *present = model->present.data;

	present[chunk] = true;
	if (model->state == TZML_MODEL_LOADING)
		return load_from(model, chunk + 1);
	model->wanted = TZML_NO_SECTION;
	return TZML_SUCCESS;
}

static enum tzml_status section_loaded(struct tzml_model *model)
{
	const struct tzml_section *section = wanted_section(model);
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	status = model->platform->digest_finish(model->context, digest);
	if (status)
		return status;
	if (memcmp(digest, section->tag, sizeof(digest)))
		return TZML_ERROR_SECTION_DIGEST;

	switch (section->type) {
	case TZML_SECTION_PLAN:
		return plan_loaded(model);
	case TZML_SECTION_WEIGHTS:
		return chunk_loaded(model);
	default:
		return kernels_loaded(model);
	}
}

/* Where the wanted section goes. */
static uint8_t *destination(const struct tzml_model *model)
{
	const struct tzml_section *section = wanted_section(model);
	uint8_t *weights = model->weights.data;

	switch (section->type) {
	case TZML_SECTION_PLAN:
		return model->plan_data.data;
	case TZML_SECTION_WEIGHTS:
		return weights + model->plan.chunks[section->index].offset;
	default:
		return model->kernels_image.data;
	}
}

static enum tzml_status take_piece(struct tzml_model *model, uint32_t section,
				   uint64_t offset, const void *data,
				   size_t size)
{
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *copy = NULL;

	if (section != model->wanted || offset != model->loaded || !size ||
	    size > wanted_section(model)->size - model->loaded)
		return TZML_ERROR_LOAD_ORDER;

	copy = destination(model) + model->loaded;
	memcpy(copy, data, size);
	status = model->platform->digest_update(model->context, copy, size);
	if (status)
		return status;
	model->loaded += size;
	if (model->loaded < wanted_section(model)->size)
		return TZML_SUCCESS;
	return section_loaded(model);
}

enum tzml_status tzml_model_load(struct tzml_model *model, uint32_t section,
				 uint64_t offset, const void *data, size_t size)
{
	enum tzml_status status = TZML_SUCCESS;

	if (tzml_model_wanted(model) == TZML_NO_SECTION)
		return TZML_ERROR_STATE;
	status = take_piece(model, section, offset, data, size);
	if (status)
		tzml_model_close(model);
	return status;
}
