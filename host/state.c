// SPDX-License-Identifier: Apache-2.0
/* Checkpoints: host/include/tzml.h says what each function does. */
#include <string.h>

#include "session.h"

/* The world whose memory has state, or NULL: at most one has. */
static const struct opened *world_with_state(struct tzml_session *session,
					     uint64_t *arena, uint64_t *state)
{
	for (size_t i = 0; i < 2; i++) {
		const struct opened *opened = session->worlds + i;
		struct tzml_memory memory = { 0 };

		if (!opened->state ||
		    opened->world->memory(opened->state, &memory) ||
		    !memory.state)
			continue;
		*arena = memory.arena;
		*state = memory.state;
		return opened;
	}
	return NULL;
}

/* Bytes of a file with so much of the state; numbers may be anything. */
static uint64_t size_of_checkpoint(uint64_t state, uint64_t segment)
{
	if (!segment || state > TZML_MAX_MEMORY)
		return 0;
	return sizeof(struct tzml_checkpoint) + state +
	       (state + segment - 1) / segment * TZML_TAG_SIZE;
}

/* Bytes of the file, and in which world the state is. */
static const struct opened *measure(struct tzml_session *session,
				    uint64_t *size)
{
	uint64_t segment = TZML_MAX_SEGMENT_SIZE;
	uint64_t arena = 0;
	uint64_t state = 0;
	const struct opened *opened = world_with_state(session, &arena, &state);

	*size = 0;
	if (!opened)
		return NULL;
	if (segment > arena)
		segment = arena;
	*size = size_of_checkpoint(state, segment);
	return opened;
}

uint64_t tzml_checkpoint_size(struct tzml_session *session)
{
	uint64_t size = 0;

	measure(session, &size);
	return size;
}

uint32_t tzml_save(struct tzml_session *session, uint32_t flags,
		   const uint8_t *note, uint8_t *checkpoint, size_t size)
{
	uint64_t expected = 0;
	const struct opened *opened = measure(session, &expected);

	if (!opened)
		return fail(TZML_ERROR_STATELESS, "%s", session->bundle.name);
	if (size != expected)
		return fail(TZML_ERROR_OUTPUT_SIZE,
			    "%zu bytes instead of %llu for a checkpoint", size,
			    (unsigned long long)expected);
	return opened->world->save(opened->state, flags, note, checkpoint,
				   size);
}

uint32_t tzml_confirm(struct tzml_session *session)
{
	uint64_t size = 0;
	const struct opened *opened = measure(session, &size);

	if (!opened)
		return fail(TZML_ERROR_STATELESS, "%s", session->bundle.name);
	return opened->world->confirm(opened->state);
}

uint32_t tzml_restore(struct tzml_session *session, const uint8_t *checkpoint,
		      size_t size)
{
	struct tzml_checkpoint header = { 0 };
	uint64_t expected = 0;
	const struct opened *opened = measure(session, &expected);

	if (!opened)
		return fail(TZML_ERROR_STATELESS, "%s", session->bundle.name);
	if (size < sizeof(header))
		return fail(TZML_ERROR_CHECKPOINT_MALFORMED, "%zu bytes", size);
	memcpy(&header, checkpoint, sizeof(header));
	if (header.kind == TZML_CHECKPOINT_GLOBAL)
		expected = size_of_checkpoint(header.state_size,
					      header.segment_size);
	/* that of another model may have another size: the world says so */
	if (!memcmp(header.bundle_digest, session->bundle.header->digest,
		    sizeof(header.bundle_digest)) &&
	    size != expected)
		return fail(TZML_ERROR_CHECKPOINT_MALFORMED,
			    "%zu bytes instead of %llu", size,
			    (unsigned long long)expected);
	return opened->world->restore(opened->state, checkpoint, size);
}
