// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/bundle.h>

#include "check.h"

enum tzml_status tzml_bundle_header_size(const struct tzml_header *header,
					 size_t *size)
{
	if (memcmp(header->magic, TZML_MAGIC, sizeof(header->magic)))
		return TZML_ERROR_NOT_A_BUNDLE;
	if (header->format_version != TZML_FORMAT_VERSION)
		return TZML_ERROR_FORMAT_VERSION;
	if (header->section_count > TZML_MAX_SECTIONS)
		return TZML_ERROR_LIMIT;

	*size = sizeof(*header) +
		header->section_count * sizeof(struct tzml_section);
	if (header->header_size != *size)
		return TZML_ERROR_HEADER_MALFORMED;
	return TZML_SUCCESS;
}

static enum tzml_status check_fields(const struct tzml_header *header)
{
	if (header->protection != TZML_PROTECTION_CLEAR)
		return TZML_ERROR_PROTECTION;
	if (header->kernel_abi != TZML_KERNEL_ABI)
		return TZML_ERROR_FORMAT_VERSION;
	if (header->arena_size > TZML_MAX_MEMORY ||
	    header->weights_size > TZML_MAX_MEMORY ||
	    header->secure_memory > TZML_MAX_MEMORY)
		return TZML_ERROR_LIMIT;
	if (!header->arena_size || !is_aligned(header->arena_size) ||
	    !is_aligned(header->weights_size) ||
	    header->code_memory > header->secure_memory)
		return TZML_ERROR_HEADER_MALFORMED;
	if (header->output_policy != TZML_POLICY_SCORES ||
	    header->output_policy_argument || header->reserved0 ||
	    !all_zero(header->key_id, sizeof(header->key_id)) ||
	    !all_zero(header->nonce, sizeof(header->nonce)) ||
	    !all_zero(header->reserved1, sizeof(header->reserved1)))
		return TZML_ERROR_HEADER_MALFORMED;
	return TZML_SUCCESS;
}

/* Sections are sorted by type, then index; each type but weights comes once. */
static bool follows(const struct tzml_section *section,
		    const struct tzml_section *previous)
{
	if (!previous)
		return section->type == TZML_SECTION_PLAN && !section->index;
	if (section->type == previous->type)
		return section->type == TZML_SECTION_WEIGHTS &&
		       section->index == previous->index + 1;
	return section->type > previous->type && !section->index;
}

static enum tzml_status check_section(const struct tzml_section *section)
{
	uint64_t limit = TZML_MAX_MEMORY;

	if (section->type > TZML_SECTION_WEIGHTS || section->reserved0 ||
	    !all_zero(section->nonce, sizeof(section->nonce)) ||
	    !all_zero(section->reserved1, sizeof(section->reserved1)))
		return TZML_ERROR_SECTION_TABLE;

	if (section->type == TZML_SECTION_PLAN)
		limit = TZML_MAX_PLAN_SIZE;
	else if (section->type != TZML_SECTION_WEIGHTS)
		limit = TZML_MAX_KERNELS_SIZE;
	return section->size <= limit ? TZML_SUCCESS : TZML_ERROR_LIMIT;
}

/* Each section begins where the one before ends, rounded up: no overlap. */
static enum tzml_status check_sections(const struct tzml_header *header)
{
	const struct tzml_section *sections = tzml_bundle_sections(header);
	const struct tzml_section *previous = NULL;
	enum tzml_status status = TZML_SUCCESS;
	uint64_t end = header->header_size;

	for (uint32_t i = 0; i < header->section_count; i++) {
		const struct tzml_section *section = sections + i;

		if (!follows(section, previous) ||
		    section->offset != tzml_align(end) ||
		    !in_range(section->offset, section->size,
			      header->bundle_size))
			return TZML_ERROR_SECTION_TABLE;
		status = check_section(section);
		if (status)
			return status;
		end = section->offset + section->size;
		previous = section;
	}
	if (!previous || end != header->bundle_size)
		return TZML_ERROR_SECTION_TABLE;
	return TZML_SUCCESS;
}

enum tzml_status tzml_bundle_check(const struct tzml_header *header,
				   size_t size)
{
	enum tzml_status status = TZML_SUCCESS;
	size_t header_size = 0;

	status = tzml_bundle_header_size(header, &header_size);
	if (status)
		return status;
	if (size != header_size)
		return TZML_ERROR_TRUNCATED;
	status = check_fields(header);
	if (status)
		return status;
	return check_sections(header);
}

uint32_t tzml_bundle_find(const struct tzml_header *header,
			  enum tzml_section_type type, uint32_t index)
{
	const struct tzml_section *sections = tzml_bundle_sections(header);

	for (uint32_t i = 0; i < header->section_count; i++)
		if (sections[i].type == (uint32_t)type &&
		    sections[i].index == index)
			return i;
	return TZML_NO_SECTION;
}
