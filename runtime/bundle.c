// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tzml/bundle.h>

#include "check.h"

enum tzml_status tzml_bundle_header_size(const struct tzml_header *header,
					 size_t *size)
{
	if (memcmp(header->magic, TZML_MAGIC, sizeof(header->magic)))
		return TZML_ERROR_NOT_A_BUNDLE;
	if (header->format_version == 1)
		return TZML_ERROR_FORMAT_OLD;
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
	if (header->required)
		return TZML_ERROR_UNSUPPORTED;
	if (header->kernel_abi != TZML_KERNEL_ABI)
		return TZML_ERROR_FORMAT_VERSION;
	if (header->secure_memory > TZML_MAX_MEMORY)
		return TZML_ERROR_LIMIT;
	if (header->code_memory > header->secure_memory ||
	    all_zero(header->owner, sizeof(header->owner)) !=
		    all_zero(header->signature, sizeof(header->signature)) ||
	    !all_zero(header->reserved, sizeof(header->reserved)))
		return TZML_ERROR_HEADER_MALFORMED;
	return TZML_SUCCESS;
}

/* What the format says of each type of section. */
struct section_rules {
	uint32_t indices; /* at most */
	uint64_t size;	  /* at most */
	bool required;
	bool for_both; /* worlds must be both */
};

static const struct section_rules rules[] = {
	[TZML_SECTION_INTERFACE] = { 1, TZML_MAX_INTERFACE_SIZE, true, true },
	[TZML_SECTION_MEMORY] = { TZML_MAX_MEMORIES, TZML_MAX_PLAN_SIZE, true,
				  false },
	[TZML_SECTION_PLAN] = { TZML_MAX_PROGRAMS, TZML_MAX_PLAN_SIZE, true,
				false },
	[TZML_SECTION_KERNELS] = { TZML_MAX_LIBRARIES, TZML_MAX_KERNELS_SIZE,
				   true, false },
	[TZML_SECTION_METADATA] = { 1, TZML_MAX_KERNELS_SIZE, false, true },
	[TZML_SECTION_NOTES] = { 1, TZML_MAX_KERNELS_SIZE, false, true },
	[TZML_SECTION_STATE] = { TZML_MAX_SECTIONS, TZML_MAX_MEMORY, true,
				 false },
	[TZML_SECTION_WEIGHTS] = { TZML_MAX_SECTIONS, TZML_MAX_MEMORY, true,
				   false },
};

static bool worlds_are_sound(const struct tzml_section *section)
{
	if (rules[section->type].for_both)
		return section->worlds == TZML_IN_BOTH;
	if (section->type == TZML_SECTION_KERNELS)
		return section->worlds == TZML_IN_TEE ||
		       section->worlds == TZML_IN_REE;
	return section->worlds && section->worlds <= TZML_IN_BOTH;
}

static enum tzml_status check_section(const struct tzml_header *header,
				      const struct tzml_section *section)
{
	if (section->flags > TZML_SECTION_REQUIRED ||
	    !all_zero(section->reserved, sizeof(section->reserved)))
		return TZML_ERROR_SECTION_TABLE;
	if (section->type > TZML_SECTION_WEIGHTS)
		return section->flags ? TZML_ERROR_UNSUPPORTED : TZML_SUCCESS;
	/* what is sealed is signed, and what a caller must know is clear */
	if (section->protection &&
	    (section->type == TZML_SECTION_INTERFACE ||
	     all_zero(header->owner, sizeof(header->owner))))
		return TZML_ERROR_SECTION_TABLE;
	if (!!section->flags != rules[section->type].required ||
	    section->index >= rules[section->type].indices ||
	    !worlds_are_sound(section))
		return TZML_ERROR_SECTION_TABLE;
	if (section->size > rules[section->type].size ||
	    (section->protection && section->size >= TZML_MAX_SEALED_SIZE))
		return TZML_ERROR_LIMIT;
	return TZML_SUCCESS;
}

/* Sections are sorted by type, then index, then worlds, without gaps. */
static bool follows(const struct tzml_section *section,
		    const struct tzml_section *previous)
{
	if (!previous)
		return section->type == TZML_SECTION_INTERFACE &&
		       !section->index;
	if (section->type != previous->type)
		return section->type > previous->type && !section->index;
	if (section->index == previous->index)
		return section->type == TZML_SECTION_KERNELS &&
		       section->worlds > previous->worlds;
	return section->index == previous->index + 1;
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
		    section->offset < end ||
		    !in_range(section->offset, section->size,
			      header->bundle_size))
			return TZML_ERROR_SECTION_TABLE;
		status = check_section(header, section);
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
			  enum tzml_section_type type, uint32_t index,
			  uint32_t worlds)
{
	const struct tzml_section *sections = tzml_bundle_sections(header);

	for (uint32_t i = 0; i < header->section_count; i++)
		if (sections[i].type == (uint32_t)type &&
		    sections[i].index == index && sections[i].worlds & worlds)
			return i;
	return TZML_NO_SECTION;
}
