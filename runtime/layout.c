// SPDX-License-Identifier: Apache-2.0
/* A memory section. */
#include <string.h>
#include <tzml/plan.h>

#include "check.h"

static bool chunk_is_sound(const struct tzml_chunk *chunk, uint64_t limit)
{
	return in_range(chunk->offset, chunk->size, limit) &&
	       is_aligned(chunk->offset);
}

static bool chunks_are_sound(const struct tzml_layout *layout)
{
	for (uint32_t i = 0; i < layout->header->chunk_count; i++)
		if (!chunk_is_sound(layout->chunks + i,
				    layout->header->weights_size))
			return false;
	return true;
}

/* Pieces of state come in the order of their places: they cannot overlap. */
static bool pieces_are_sound(const struct tzml_layout *layout)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < layout->header->state_count; i++) {
		const struct tzml_chunk *piece = layout->pieces + i;

		if (!chunk_is_sound(piece, layout->header->state_size) ||
		    piece->offset < end)
			return false;
		end = piece->offset + piece->size;
	}
	return true;
}

/*
 * The sums that noise is added to lie within the state, behind what is trained:
 * all before them is what leaves a private model.
 */
static bool sums_are_sound(const struct tzml_memory_header *header)
{
	uint64_t size = (uint64_t)header->sum_count * sizeof(int32_t);

	if (!header->deviation)
		return !header->sums && !header->sum_count;
	return header->deviation <= TZML_MAX_DEVIATION && header->sums &&
	       is_aligned(header->sums) &&
	       in_range(header->sums, size, header->state_size);
}

/* Bytes that the counts, both within their limits, ask for. */
static uint64_t layout_bytes(const struct tzml_memory_header *header)
{
	uint64_t entries = header->chunk_count + header->state_count;

	return sizeof(*header) + entries * sizeof(struct tzml_chunk);
}

enum tzml_status tzml_layout_check(const void *data, size_t size,
				   struct tzml_layout *layout)
{
	const struct tzml_memory_header *header = data;
	struct tzml_layout found = { .header = header };

	if (size < sizeof(*header) ||
	    memcmp(header->magic, TZML_MEMORY_MAGIC, sizeof(header->magic)) ||
	    header->size != size)
		return TZML_ERROR_PLAN_MALFORMED;
	if (header->arena_size > TZML_MAX_MEMORY ||
	    header->weights_size > TZML_MAX_MEMORY ||
	    header->state_size > TZML_MAX_MEMORY ||
	    header->chunk_count > TZML_MAX_SECTIONS ||
	    header->state_count > TZML_MAX_SECTIONS)
		return TZML_ERROR_LIMIT;
	/* in an arena of no bytes, no plan finds room for its inputs */
	if (layout_bytes(header) != size || !is_aligned(header->arena_size) ||
	    !is_aligned(header->weights_size) ||
	    !is_aligned(header->state_size) || !sums_are_sound(header))
		return TZML_ERROR_PLAN_MALFORMED;

	found.chunks = (const void *)(header + 1);
	found.pieces = found.chunks + header->chunk_count;
	if (!chunks_are_sound(&found) || !pieces_are_sound(&found))
		return TZML_ERROR_PLAN_MALFORMED;
	*layout = found;
	return TZML_SUCCESS;
}
