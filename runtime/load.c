// SPDX-License-Identifier: Apache-2.0
/*
 * Loading: interface, memory and plans; then the kernel libraries that they
 * name; then state and weights. Each section is used once it is complete and
 * its tag is right, and asks for the next one.
 */
#include <string.h>

#include "check.h"
#include "grant.h"
#include "load.h"
#include "promises.h"
#include "protection.h"

static const struct tzml_section *section_at(const struct tzml_model *model,
					     uint32_t section)
{
	return tzml_bundle_sections(header_of(model)) + section;
}

static const struct tzml_section *wanted_section(const struct tzml_model *model)
{
	return section_at(model, model->wanted);
}

static const struct tzml_protection_ops *
wanted_protection(const struct tzml_model *model)
{
	return tzml_protection_of(wanted_section(model)->protection);
}

/* Ask for a section, for which there is room. */
static enum tzml_status want(struct tzml_model *model, uint32_t section)
{
	const struct tzml_protection_ops *protection = NULL;

	model->wanted = section;
	model->loaded = 0;
	protection = wanted_protection(model);
	if (!protection)
		return TZML_ERROR_PROTECTION;
	return protection->open(model);
}

/* Tables */

/* Whether a section is one of the tables that this world reads. */
static bool is_table(const struct tzml_model *model, uint32_t section)
{
	const struct tzml_section *entry = section_at(model, section);

	return entry->type <= TZML_SECTION_PLAN &&
	       entry->worlds & model->platform->world;
}

/* Where a table, or what comes behind the last one, lies in `tables`. */
static uint64_t table_offset(const struct tzml_model *model, uint32_t section)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < section; i++)
		if (is_table(model, i))
			offset += tzml_align(section_at(model, i)->size);
	return offset;
}

/* How many chunks of weights this world reads, as the section table says. */
static uint32_t count_chunks(const struct tzml_model *model)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < header_of(model)->section_count; i++)
		if (section_at(model, i)->type == TZML_SECTION_WEIGHTS &&
		    section_at(model, i)->worlds & model->platform->world)
			count++;
	return count;
}

enum tzml_status tzml_load_tables(struct tzml_model *model)
{
	uint64_t tables = table_offset(model, header_of(model)->section_count);
	enum tzml_status status = tzml_block_allocate(
		model, &model->tables, tables + count_chunks(model));

	if (status)
		return status;
	model->present = (bool *)model->tables.data + tables;
	return tzml_want_interface(model);
}

enum tzml_status tzml_want_interface(struct tzml_model *model)
{
	/* a checked header has it as its first section */
	return want(model, 0);
}

static enum tzml_status take_interface(struct tzml_model *model,
				       const void *data, size_t size)
{
	enum tzml_status status =
		tzml_interface_check(data, size, &model->interface);
	uint32_t plans = 0;

	if (status)
		return status;
	for (uint32_t i = 0; i < header_of(model)->section_count; i++) {
		const struct tzml_section *section = section_at(model, i);

		if (section->type != TZML_SECTION_PLAN)
			continue;
		if (plans == model->interface.header->program_count ||
		    section->worlds != model->interface.programs[plans].worlds)
			return TZML_ERROR_PLAN_MALFORMED;
		plans++;
	}
	return plans == model->interface.header->program_count
		       ? TZML_SUCCESS
		       : TZML_ERROR_PLAN_MALFORMED;
}

static enum tzml_status take_memory(struct tzml_model *model, const void *data,
				    size_t size)
{
	if (model->layout.header) /* a world has one memory */
		return TZML_ERROR_PLAN_MALFORMED;
	model->layout_section = model->wanted;
	return tzml_layout_check(data, size, &model->layout);
}

static enum tzml_status take_plan(struct tzml_model *model, const void *data,
				  size_t size)
{
	const struct tzml_section *section = wanted_section(model);
	uint8_t memory = section_at(model, model->layout_section)->worlds;

	if (!model->layout.header || section->worlds & ~memory)
		return TZML_ERROR_PLAN_MALFORMED;
	return tzml_plan_check(data, size, &model->interface, section->index,
			       &model->layout, model->plans + section->index);
}

static enum tzml_status open_libraries(struct tzml_model *model);

/* Whether this world runs a program. */
static bool has_plan(const struct tzml_model *model)
{
	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++)
		if (tzml_model_plan(model, i))
			return true;
	return false;
}

/* Whether any program, of this world or not, works on this world's memory. */
static bool memory_has_program(const struct tzml_model *model)
{
	uint8_t memory = section_at(model, model->layout_section)->worlds;

	for (uint32_t i = 0; i < model->interface.header->program_count; i++)
		if (!(model->interface.programs[i].worlds & ~memory))
			return true;
	return false;
}

/* All tables were taken: check them against the section table. */
static enum tzml_status tables_loaded(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;

	if (model->layout.header) {
		if (!memory_has_program(model))
			return TZML_ERROR_PLAN_MALFORMED;
		status = tzml_check_layout_sections(model);
	}
	if (!status && !has_plan(model))
		status = TZML_ERROR_KERNELS_ABSENT;
	if (!status)
		status = tzml_check_policy(model);
	if (!status)
		status = tzml_check_promises(model);
	return status ? status : open_libraries(model);
}

static enum tzml_status table_loaded(struct tzml_model *model)
{
	const struct tzml_section *section = wanted_section(model);
	const uint8_t *tables = model->tables.data;
	const uint8_t *data = tables + table_offset(model, model->wanted);
	enum tzml_status status = TZML_SUCCESS;

	if (section->type == TZML_SECTION_INTERFACE)
		status = take_interface(model, data, section->size);
	else if (section->type == TZML_SECTION_MEMORY)
		status = take_memory(model, data, section->size);
	else
		status = take_plan(model, data, section->size);
	if (status)
		return status;
	for (uint32_t i = model->wanted + 1;
	     i < header_of(model)->section_count; i++)
		if (is_table(model, i))
			return want(model, i);
	return tables_loaded(model);
}

/* Kernel libraries */

/* Check the calls of all plans; the scratch memory is for the largest. */
static enum tzml_status check_calls(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;
	struct tzml_block scratch = { 0 };
	uint64_t operands = 0;

	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		const struct tzml_plan *plan = tzml_model_plan(model, i);

		if (plan && tzml_plan_operands(plan) > operands)
			operands = tzml_plan_operands(plan);
	}
	status = tzml_block_allocate(model, &scratch,
				     operands * TZML_CHECK_BYTES);
	for (uint32_t i = 0; !status && i < TZML_MAX_PROGRAMS; i++) {
		struct tzml_plan *plan = model->plans + i;

		if (plan->header)
			status = tzml_plan_check_calls(
				plan, &model->interface,
				model->libraries + plan->header->library,
				scratch.data);
	}
	tzml_block_release(model, &scratch);
	return status;
}

/* The kernels can be called: check the calls, make room, ask for content. */
static enum tzml_status libraries_opened(struct tzml_model *model)
{
	const struct tzml_memory_header *memory = model->layout.header;
	enum tzml_status status = check_calls(model);

	if (!status)
		status = tzml_block_allocate(model, &model->arena,
					     memory->arena_size);
	if (!status && memory->weights_size)
		status = tzml_block_allocate(model, &model->weights,
					     memory->weights_size);
	if (!status && memory->state_size)
		status = tzml_block_allocate(model, &model->state_memory,
					     memory->state_size);
	return status ? status : tzml_load_state(model, 0);
}

static enum tzml_status open_library(struct tzml_model *model,
				     const struct tzml_plan *plan)
{
	struct tzml_kernels *kernels = model->libraries + plan->header->library;
	enum tzml_status status = model->platform->open_kernels(
		model->context, plan->header->kernels_digest,
		model->kernels_image.data, model->kernels_image.size, kernels);

	if (!status && (kernels->table->magic != TZML_KERNELS_MAGIC ||
			kernels->table->abi != TZML_KERNEL_ABI))
		status = TZML_ERROR_KERNELS_CHANGED;
	return status;
}

/* Ask for the image of a library. */
static enum tzml_status want_library(struct tzml_model *model, uint32_t library)
{
	uint32_t section =
		tzml_bundle_find(header_of(model), TZML_SECTION_KERNELS,
				 library, model->platform->world);
	enum tzml_status status = TZML_SUCCESS;

	if (section == TZML_NO_SECTION)
		return TZML_ERROR_KERNELS_ABSENT;
	status = tzml_block_allocate(model, &model->kernels_image,
				     section_at(model, section)->size);
	return status ? status : want(model, section);
}

/*
 * Ask for the next library of a plan; with all open, go on. Each plan must name
 * its library's digest.
 */
static enum tzml_status open_libraries(struct tzml_model *model)
{
	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		const struct tzml_plan *plan = tzml_model_plan(model, i);
		const struct tzml_kernels *kernels = NULL;

		if (!plan)
			continue;
		kernels = model->libraries + plan->header->library;
		if (!kernels->call)
			return want_library(model, plan->header->library);
		if (!is_equal(kernels->table->digest,
			      plan->header->kernels_digest, TZML_DIGEST_SIZE))
			return TZML_ERROR_KERNELS_CHANGED;
	}
	return libraries_opened(model);
}

static enum tzml_status library_loaded(struct tzml_model *model)
{
	uint32_t library = wanted_section(model)->index;
	enum tzml_status status = TZML_SUCCESS;

	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		const struct tzml_plan *plan = tzml_model_plan(model, i);

		if (plan && plan->header->library == library) {
			status = open_library(model, plan);
			break;
		}
	}
	tzml_block_release(model, &model->kernels_image);
	if (status)
		return status;
	return open_libraries(model);
}

/* State and weights */

/* Whether a chunk can be loaded without losing one that is there. */
static bool has_room(const struct tzml_model *model, uint32_t chunk)
{
	const struct tzml_layout *layout = &model->layout;

	for (uint32_t i = 0; i < layout->header->chunk_count; i++)
		if (model->present[i] &&
		    tzml_chunks_overlap(layout->chunks + i,
					layout->chunks + chunk))
			return false;
	return true;
}

/* Load what has room from `chunk` on; with no more of that, be ready. */
static enum tzml_status load_weights(struct tzml_model *model, uint32_t chunk)
{
	for (; chunk < model->layout.header->chunk_count; chunk++)
		if (has_room(model, chunk))
			return tzml_want_chunk(model, chunk);
	model->wanted = TZML_NO_SECTION;
	model->state = TZML_MODEL_READY;
	return TZML_SUCCESS;
}

enum tzml_status tzml_load_state(struct tzml_model *model, uint32_t piece)
{
	const struct tzml_memory_header *memory = model->layout.header;

	if (piece == memory->state_count)
		return load_weights(model, 0);
	return want(model,
		    tzml_bundle_find(header_of(model), TZML_SECTION_STATE,
				     memory->first_state + piece,
				     model->platform->world));
}

void tzml_forget_overlapped(const struct tzml_layout *layout, uint32_t chunk,
			    bool *present)
{
	for (uint32_t i = 0; i < layout->header->chunk_count; i++)
		if (tzml_chunks_overlap(layout->chunks + i,
					layout->chunks + chunk))
			present[i] = false;
}

enum tzml_status tzml_want_chunk(struct tzml_model *model, uint32_t chunk)
{
	const struct tzml_layout *layout = &model->layout;

	tzml_forget_overlapped(layout, chunk, model->present);
	return want(model,
		    tzml_bundle_find(header_of(model), TZML_SECTION_WEIGHTS,
				     layout->header->first_chunk + chunk,
				     model->platform->world));
}

/* Which chunk, or piece, of the memory the wanted section is. */
static uint32_t wanted_number(const struct tzml_model *model)
{
	const struct tzml_section *section = wanted_section(model);
	const struct tzml_memory_header *memory = model->layout.header;

	return section->index - (section->type == TZML_SECTION_STATE
					 ? memory->first_state
					 : memory->first_chunk);
}

static enum tzml_status chunk_loaded(struct tzml_model *model)
{
	uint32_t chunk = wanted_number(model);

	model->present[chunk] = true;
	if (model->state == TZML_MODEL_LOADING)
		return load_weights(model, chunk + 1);
	model->wanted = TZML_NO_SECTION;
	return TZML_SUCCESS;
}

/* Where the wanted section goes. */
static uint8_t *destination(const struct tzml_model *model)
{
	const struct tzml_layout *layout = &model->layout;
	uint8_t *weights = model->weights.data;
	uint8_t *tables = model->tables.data;
	uint8_t *state = model->state_memory.data;

	switch (wanted_section(model)->type) {
	case TZML_SECTION_KERNELS:
		return model->kernels_image.data;
	case TZML_SECTION_STATE:
		return state + layout->pieces[wanted_number(model)].offset;
	case TZML_SECTION_WEIGHTS:
		return weights + layout->chunks[wanted_number(model)].offset;
	default:
		return tables + table_offset(model, model->wanted);
	}
}

static enum tzml_status section_loaded(struct tzml_model *model)
{
	const struct tzml_section *section = wanted_section(model);
	enum tzml_status status =
		wanted_protection(model)->finish(model, destination(model));

	if (status)
		return status;
	switch (section->type) {
	case TZML_SECTION_KERNELS:
		return library_loaded(model);
	case TZML_SECTION_STATE:
		return tzml_load_state(model, wanted_number(model) + 1);
	case TZML_SECTION_WEIGHTS:
		return chunk_loaded(model);
	default:
		return table_loaded(model);
	}
}

static enum tzml_status take_piece(struct tzml_model *model, uint32_t section,
				   uint64_t offset, const void *data,
				   size_t size)
{
	enum tzml_status status = TZML_SUCCESS;

	if (section != model->wanted || offset != model->loaded || !size ||
	    size > wanted_section(model)->size - model->loaded)
		return TZML_ERROR_LOAD_ORDER;

	status = wanted_protection(model)->update(
		model, data, destination(model) + model->loaded, size);
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
