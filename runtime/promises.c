// SPDX-License-Identifier: Apache-2.0
#include "promises.h"
#include "load.h"

/*
 * Whether this world's sections of a type are `count` from `first` on, each
 * of them for the worlds of its memory, with the sizes of `chunks`. The second
 * memory goes on where the first one ends.
 */
static bool sections_agree(const struct tzml_model *model,
			   enum tzml_section_type type,
			   const struct tzml_chunk *chunks, uint32_t first,
			   uint32_t count)
{
	const struct tzml_header *header = header_of(model);
	const struct tzml_section *sections = tzml_bundle_sections(header);
	const struct tzml_section *memory = sections + model->layout_section;
	uint32_t others = 0;
	uint32_t found = 0;

	for (uint32_t i = 0; i < header->section_count; i++) {
		if (sections[i].type != (uint32_t)type)
			continue;
		if (!(sections[i].worlds & model->platform->world)) {
			others++;
			continue;
		}
		if (found == count || sections[i].index != first + found ||
		    sections[i].worlds != memory->worlds ||
		    sections[i].size != chunks[found].size)
			return false;
		found++;
	}
	return found == count && first == (memory->index ? others : 0);
}

enum tzml_status tzml_check_layout_sections(const struct tzml_model *model)
{
	const struct tzml_layout *layout = &model->layout;
	const struct tzml_memory_header *memory = layout->header;

	return sections_agree(model, TZML_SECTION_WEIGHTS, layout->chunks,
			      memory->first_chunk, memory->chunk_count) &&
			       sections_agree(model, TZML_SECTION_STATE,
					      layout->pieces,
					      memory->first_state,
					      memory->state_count)
		       ? TZML_SUCCESS
		       : TZML_ERROR_PLAN_MALFORMED;
}

static uint64_t pages(uint64_t size)
{
	return (size + TZML_PAGE_SIZE - 1) / TZML_PAGE_SIZE * TZML_PAGE_SIZE;
}

static uint64_t max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The largest signed library, while it is installed. */
static uint64_t loading_memory(const struct tzml_header *header)
{
	const struct tzml_section *sections = tzml_bundle_sections(header);
	uint64_t largest = 0;

	for (uint32_t i = 0; i < header->section_count; i++)
		if (sections[i].type == TZML_SECTION_KERNELS &&
		    sections[i].worlds == TZML_IN_TEE)
			largest = max(largest, pages(sections[i].size));
	return largest;
}

/* The largest plan, while its calls are checked. */
static uint64_t checking_memory(const struct tzml_model *model)
{
	uint64_t largest = 0;

	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++)
		if (model->plans[i].header)
			largest = max(largest,
				      tzml_plan_operands(model->plans + i));
	return pages(largest * TZML_CHECK_BYTES);
}

/*
 * What the TA maps for a model at most: docs/bundle.md, "Secure memory". All
 * terms are limited: nothing overflows.
 */
static uint64_t mapped_memory(const struct tzml_model *model)
{
	const struct tzml_memory_header *memory = model->layout.header;
	uint64_t running = pages(memory->arena_size) +
			   pages(memory->weights_size) +
			   pages(memory->state_size);

	return pages(model->header.size) + pages(model->tables.size) +
	       max(running, max(loading_memory(header_of(model)),
				checking_memory(model)));
}

enum tzml_status tzml_check_promises(const struct tzml_model *model)
{
	const struct tzml_header *header = header_of(model);

	if (model->platform->world == TZML_IN_TEE &&
	    mapped_memory(model) > header->secure_memory - header->code_memory)
		return TZML_ERROR_SECURE_MEMORY;
	return TZML_SUCCESS;
}
