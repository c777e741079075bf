/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libtzml: run a bundle in the secure world or in the normal world.
 *
 *	struct tzml_session *session = NULL;
 *
 *	if (tzml_open("digits.tzm", TZML_WORLD_TEE, &session))
 *		errx(1, "%s", tzml_error());
 *	if (tzml_run(session, inputs, inputs_size, outputs, outputs_size, NULL))
 *		errx(1, "%s", tzml_error());
 *	tzml_close(session);
 *
 * Functions that can fail return zero or a code of tzml/status.h. A session
 * is used by one thread at a time. The Python package reads the declarations
 * between the two marks.
 */
#ifndef TZML_H
#define TZML_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
#define TZML_WORLD_REE 0 /* the normal world: plain Linux */
#define TZML_WORLD_TEE 1 /* the secure world: the TA under OP-TEE */

struct tzml_session;

struct tzml_tensor_info {
	const char *name;
	uint32_t dtype; /* enum tzml_dtype of tzml/format.h */
	uint32_t dimension_count;
	const uint32_t *dimensions;
	uint64_t size; /* bytes */
};

struct tzml_memory {
	/* bytes that the model itself takes, in either world */
	uint64_t arena;
	uint64_t weights;
	uint64_t plan;
	uint64_t mapped;      /* all of it, in pages, now */
	uint64_t mapped_peak; /* and at most */
	/* OP-TEE's memory for TAs: what all of them take; zero in the REE */
	uint64_t pool_size;
	uint64_t pool_used;
	uint64_t pool_peak;   /* since this session was opened */
	uint64_t pool_before; /* used before this session was opened */
};

/* A chunk of weights, and what loading it took since the session was opened. */
struct tzml_chunk_info {
	uint64_t size; /* bytes */
	uint64_t loads;
	uint64_t nanoseconds; /* wall time of reading it and handing it over */
};

/*
 * Open the bundle at `path` in that world. The file stays open: weights for
 * which there is no room are read again in every inference. The REE loads the
 * bundle's code into this process: open only bundles there that you would also
 * execute.
 */
uint32_t tzml_open(const char *path, uint32_t world,
		   struct tzml_session **session);

/* Close a session and wipe its memory; NULL is allowed. */
void tzml_close(struct tzml_session *session);

/* Inputs and outputs, in the order in which tzml_run takes them. */
uint32_t tzml_input_count(const struct tzml_session *session);
uint32_t tzml_output_count(const struct tzml_session *session);
void tzml_input(const struct tzml_session *session, uint32_t index,
		struct tzml_tensor_info *info);
void tzml_output(const struct tzml_session *session, uint32_t index,
		 struct tzml_tensor_info *info);

/*
 * One inference. All inputs lie back to back in `inputs`, and all outputs in
 * `outputs`; sizes in bytes. `nanoseconds`, if not NULL, is set to the wall
 * time from handing over the inputs to having the outputs.
 */
uint32_t tzml_run(struct tzml_session *session, const void *inputs,
		  size_t inputs_size, void *outputs, size_t outputs_size,
		  uint64_t *nanoseconds);

uint32_t tzml_memory(struct tzml_session *session, struct tzml_memory *memory);

/* The chunks of weights, in the bundle's order. */
uint32_t tzml_chunk_count(const struct tzml_session *session);
void tzml_chunk(const struct tzml_session *session, uint32_t index,
		struct tzml_chunk_info *info);

/* One line about the last error in this thread: what happened, and what to do. */
const char *tzml_error(void);

/* The name of a status, as in "SECTION_DIGEST". */
const char *tzml_status_name(uint32_t status);
/* cffi: end */

#endif /* TZML_H */
