// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/model.h>

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
	release(model, &model->chunks);
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

enum tzml_status tzml_model_open(struct tzml_model *model,
				 const struct tzml_platform *platform,
				 void *context, const void *header, size_t size)
{
	enum tzml_status status = TZML_SUCCESS;

	memset(model, 0, sizeof(*model));
	model->platform = platform;
	model->context = context;

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

/* The header's promises, which the user saw, and the plan must agree. */
static enum tzml_status
check_plan_against_header(const struct tzml_model *model)
{
	const struct tzml_section *sections =
		tzml_bundle_sections(header_of(model));
	const struct tzml_header *header = header_of(model);
	const struct tzml_plan *plan = &model->plan;
	uint32_t chunk = 0;

	if (plan->header->arena_size != header->arena_size ||
	    plan->weights_size != header->weights_size)
		return TZML_ERROR_PLAN_MALFORMED;
	for (uint32_t i = 0; i < header->section_count; i++) {
		if (sections[i].type != TZML_SECTION_WEIGHTS)
			continue;
		if (chunk >= plan->header->chunk_count ||
		    sections[i].size != plan->chunks[chunk].size)
			return TZML_ERROR_PLAN_MALFORMED;
		chunk++;
	}
	return chunk == plan->header->chunk_count ? TZML_SUCCESS
						  : TZML_ERROR_PLAN_MALFORMED;
}

/* The kernels can be called: check the calls, make room, ask for weights. */
static enum tzml_status bind_kernels(struct tzml_model *model)
{
	const struct tzml_kernel_table *table = model->kernels.table;
	const struct tzml_plan *plan = &model->plan;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t **chunks = NULL;
	uint64_t offset = 0;

	if (table->magic != TZML_KERNELS_MAGIC ||
	    table->abi != TZML_KERNEL_ABI ||
	    memcmp(table->digest, plan->header->kernels_digest,
		   sizeof(table->digest)))
		return TZML_ERROR_KERNELS_CHANGED;
	status = tzml_plan_check_calls(plan, &model->kernels);
	if (status)
		return status;

	status = allocate(model, &model->arena, plan->header->arena_size);
	if (status)
		return status;
	if (!plan->header->chunk_count) {
		model->ready = true;
		return TZML_SUCCESS;
	}
	status = allocate(model, &model->weights, plan->weights_size);
	if (status)
		return status;
	status = allocate(model, &model->chunks,
			  plan->header->chunk_count * sizeof(*chunks));
	if (status)
		return status;
	chunks = model->chunks.data;
	for (uint32_t i = 0; i < plan->header->chunk_count; i++) {
		chunks[i] = (uint8_t *)model->weights.data + offset;
		offset += tzml_align(plan->chunks[i].size);
	}
	return want(model, tzml_bundle_find(header_of(model),
					    TZML_SECTION_WEIGHTS, 0));
}

static enum tzml_status plan_loaded(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t section = TZML_NO_SECTION;

	status = tzml_plan_check(model->plan_data.data, model->plan_data.size,
				 &model->plan);
	if (!status)
		status = check_plan_against_header(model);
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
	if (wanted_section(model)->index + 1 < model->plan.header->chunk_count)
		return want(model, model->wanted + 1);
	model->ready = true;
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
	uint8_t *const *chunks = model->chunks.data;

	switch (section->type) {
	case TZML_SECTION_PLAN:
		return model->plan_data.data;
	case TZML_SECTION_WEIGHTS:
		return chunks[section->index];
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

	if (!model->platform || model->ready)
		return TZML_ERROR_STATE;
	status = take_piece(model, section, offset, data, size);
	if (status)
		tzml_model_close(model);
	return status;
}

enum tzml_status tzml_model_run(struct tzml_model *model, const void *inputs,
				size_t inputs_size, void *outputs,
				size_t outputs_size)
{
	const struct tzml_plan *plan = &model->plan;
	uint8_t *arena = model->arena.data;
	enum tzml_status status = TZML_SUCCESS;
	const uint8_t *from = inputs;
	uint8_t *to = outputs;

	if (!model->ready)
		return TZML_ERROR_STATE;
	if (inputs_size != plan->inputs_size)
		return TZML_ERROR_INPUT_SIZE;
	if (outputs_size != plan->outputs_size)
		return TZML_ERROR_OUTPUT_SIZE;

	for (uint32_t i = 0; i < plan->header->input_count; i++) {
		memcpy(arena + plan->inputs[i].offset, from,
		       plan->inputs[i].size);
		from += plan->inputs[i].size;
	}
	status = tzml_plan_execute(plan, &model->kernels, arena,
				   model->chunks.data);
	if (status)
		return status;
	for (uint32_t i = 0; i < plan->header->output_count; i++) {
		memcpy(to, arena + plan->outputs[i].offset,
		       plan->outputs[i].size);
		to += plan->outputs[i].size;
	}
	return TZML_SUCCESS;
}
