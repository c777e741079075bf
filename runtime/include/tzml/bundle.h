/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_BUNDLE_H
#define TZML_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <tzml/format.h>
#include <tzml/status.h>

#define TZML_NO_SECTION UINT32_MAX

/*
 * How many bytes the header with its section table has, from its first
 * sizeof(struct tzml_header) bytes, which are at `header`. Trusts nothing
 * but the magic, the version and the number of sections, and limits that.
 */
enum tzml_status tzml_bundle_header_size(const struct tzml_header *header,
					 size_t *size);

/*
 * Check every field of a header and its section table, `size` bytes at
 * `header`, in memory nobody else can write. The caller has checked the
 * digest.
 */
enum tzml_status tzml_bundle_check(const struct tzml_header *header,
				   size_t size);

/* The section table of a checked header. */
static inline const struct tzml_section *
tzml_bundle_sections(const struct tzml_header *header)
{
	return (const struct tzml_section *)(header + 1);
}

/*
 * The section of that type and index that a world of `worlds` reads, or
 * TZML_NO_SECTION.
 */
uint32_t tzml_bundle_find(const struct tzml_header *header,
			  enum tzml_section_type type, uint32_t index,
			  uint32_t worlds);

/* `size` rounded up to TZML_ALIGNMENT; sizes are below TZML_MAX_MEMORY. */
static inline uint64_t tzml_align(uint64_t size)
{
	return (size + TZML_ALIGNMENT - 1) & ~(uint64_t)(TZML_ALIGNMENT - 1);
}

#endif /* TZML_BUNDLE_H */
