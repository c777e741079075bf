// SPDX-License-Identifier: Apache-2.0
#include "promises.h"

static bool chunks_agree(const struct tzml_header *header,
			 const struct tzml_plan *plan)
{
	const struct tzml_section *sections = tzml_bundle_sections(header);
	uint32_t chunk = 0;

	for (uint32_t i = 0; i < header->section_count; i++) {
		if (sections[i].type != TZML_SECTION_WEIGHTS)
			continue;
		if (chunk >= plan->header->chunk_count ||
		    sections[i].size != plan->chunks[chunk].size)
			return false;
		chunk++;
	}
	return chunk == plan->header->chunk_count;
}

static uint64_t pages(uint64_t size)
{
	return (size + TZML_PAGE_SIZE - 1) / TZML_PAGE_SIZE * TZML_PAGE_SIZE;
}

/*
 * What the TA maps for a model at most: the signed library is there before
 * the arena and the weights are. All terms are limited: nothing overflows.
 */
static uint64_t mapped_memory(const struct tzml_header *header,
			      const struct tzml_plan_header *plan)
{
	uint32_t kernels =
		tzml_bundle_find(header, TZML_SECTION_KERNELS_TEE, 0);
	uint64_t running = pages(plan->arena_size) + pages(plan->weights_size) +
			   pages(plan->chunk_count);
	uint64_t loading = 0;

	if (kernels != TZML_NO_SECTION)
		loading = pages(tzml_bundle_sections(header)[kernels].size);
	return pages(header->header_size) + pages(plan->size) +
	       (loading > running ? loading : running);
}

enum tzml_status tzml_check_promises(const struct tzml_header *header,
				     const struct tzml_plan *plan)
{
	if (plan->header->arena_size != header->arena_size ||
	    plan->header->weights_size != header->weights_size ||
	    !chunks_agree(header, plan))
		return TZML_ERROR_PLAN_MALFORMED;
	if (mapped_memory(header, plan->header) >
	    header->secure_memory - header->code_memory)
		return TZML_ERROR_SECURE_MEMORY;
	return TZML_SUCCESS;
}
