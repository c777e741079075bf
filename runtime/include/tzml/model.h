/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loaded model: from a bundle that comes piece by piece to answers. The
 * TA and the normal-world library run this same code; what differs between
 * the worlds is in struct tzml_platform.
 *
 *	tzml_model_open(&model, platform, context, header, size);
 *	LOAD
 *	tzml_model_start(&model, inputs, inputs_size);
 *	do {
 *		tzml_model_continue(&model, outputs, outputs_size);
 *		LOAD
 *	} while (tzml_model_running(&model));
 *	tzml_model_close(&model);
 *
 * LOAD is: as long as a section is wanted, hand over its next bytes.
 *
 *	while ((section = tzml_model_wanted(&model)) != TZML_NO_SECTION)
 *		tzml_model_load(&model, section, offset, piece, size);
 *
 * Chunks of weights that have a place of their own are loaded once. Those that
 * share one are loaded when a call takes them: so a model may be larger than
 * the memory it runs in.
 *
 * What is handed over may lie in memory that somebody else writes to at any
 * time: it is copied once, and only the copy is looked at.
 */
#ifndef TZML_MODEL_H
#define TZML_MODEL_H

#include <stdbool.h>
#include <tzml/bundle.h>
#include <tzml/plan.h>

struct tzml_platform {
	enum tzml_target target;
	enum tzml_section_type kernels_section; /* this world's library */

	/* Zeroed memory aligned to TZML_ALIGNMENT, or NULL. */
	void *(*allocate)(void *context, size_t size);
	/* Wipe, then give back. */
	void (*release)(void *context, void *memory, size_t size);

	/* SHA-256, one at a time; start may follow start. */
	enum tzml_status (*digest_start)(void *context);
	enum tzml_status (*digest_update)(void *context, const void *data,
					  size_t size);
	enum tzml_status (*digest_finish)(void *context,
					  uint8_t digest[TZML_DIGEST_SIZE]);

	/*
	 * Make the kernel library of that digest callable. Without an image
	 * TZML_KERNELS_ABSENT asks for one; with it, the library is taken
	 * from there. Stays until close_kernels.
	 */
	enum tzml_status (*open_kernels)(void *context,
					 const uint8_t digest[TZML_DIGEST_SIZE],
					 const void *image, size_t size,
					 struct tzml_kernels *kernels);
	void (*close_kernels)(void *context);
};

struct tzml_block {
	void *data;
	size_t size;
};

enum tzml_model_state {
	TZML_MODEL_CLOSED = 0,
	TZML_MODEL_LOADING,
	TZML_MODEL_READY,
	TZML_MODEL_RUNNING,
};

struct tzml_model {
	enum tzml_model_state state;
	const struct tzml_platform *platform;
	void *context; /* of the platform */

	struct tzml_block header; /* with the section table */
	struct tzml_block plan_data;
	struct tzml_block kernels_image; /* only until it is opened */
	struct tzml_block arena;
	struct tzml_block weights; /* where chunks are loaded to */
	struct tzml_block present; /* bool for each chunk: is it there? */

	struct tzml_plan plan;
	struct tzml_kernels kernels;

	uint32_t wanted; /* section to load next, or TZML_NO_SECTION */
	uint64_t loaded; /* bytes of it that came */
	struct tzml_position position; /* of a run */
};

/*
 * Take a bundle's header and section table, `size` bytes, into `model`, which
 * is closed or all zero. An error leaves it closed.
 */
enum tzml_status tzml_model_open(struct tzml_model *model,
				 const struct tzml_platform *platform,
				 void *context, const void *header,
				 size_t size);

/* The section to load next, or TZML_NO_SECTION. */
static inline uint32_t tzml_model_wanted(const struct tzml_model *model)
{
	return model->state == TZML_MODEL_CLOSED ? TZML_NO_SECTION
						 : model->wanted;
}

/*
 * Take the next bytes of the wanted section. When they complete it, it is
 * checked and put to use. Any error but TZML_ERROR_STATE closes the model.
 */
enum tzml_status tzml_model_load(struct tzml_model *model, uint32_t section,
				 uint64_t offset, const void *data,
				 size_t size);

/*
 * Begin an inference. The inputs lie back to back in the plan's order and have
 * exactly its sizes. An inference that was under way is given up.
 */
enum tzml_status tzml_model_start(struct tzml_model *model, const void *inputs,
				  size_t inputs_size);

/*
 * Go on until a section is wanted, or to the end, where the outputs, back to
 * back and exactly as large as the plan says, are written.
 */
enum tzml_status tzml_model_continue(struct tzml_model *model, void *outputs,
				     size_t outputs_size);

/* Whether an inference was started and is not at its end. */
static inline bool tzml_model_running(const struct tzml_model *model)
{
	return model->state == TZML_MODEL_RUNNING;
}

/* Give back and wipe everything; a closed model may be closed again. */
void tzml_model_close(struct tzml_model *model);

#endif /* TZML_MODEL_H */
