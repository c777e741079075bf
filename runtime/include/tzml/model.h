/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loaded model: from a bundle that comes piece by piece to answers. The
 * TA and the normal-world library run this same code; what differs between
 * the worlds is in struct tzml_platform.
 *
 *	tzml_model_open(&model, platform, header, size);
 *	while ((section = tzml_model_wanted(&model)) != TZML_NO_SECTION)
 *		tzml_model_load(&model, section, offset, piece, size);
 *	tzml_model_run(&model, inputs, inputs_size, outputs, outputs_size);
 *	tzml_model_close(&model);
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

struct tzml_model {
	const struct tzml_platform *platform; /* NULL: closed */
	void *context;			      /* of the platform */

	struct tzml_block header; /* with the section table */
	struct tzml_block plan_data;
	struct tzml_block kernels_image; /* only until it is opened */
	struct tzml_block arena;
	struct tzml_block weights; /* all chunks, one after the other */
	struct tzml_block chunks;  /* where each chunk begins */

	struct tzml_plan plan;
	struct tzml_kernels kernels;

	uint32_t wanted; /* section to load next, or TZML_NO_SECTION */
	uint64_t loaded; /* bytes of it that came */
	bool ready;
};

/*
 * Take a bundle's header and section table, `size` bytes, into `model`, which
 * is closed or all zero. An error leaves it closed.
 */
enum tzml_status tzml_model_open(struct tzml_model *model,
				 const struct tzml_platform *platform,
				 void *context, const void *header,
				 size_t size);

/* The section to load next; TZML_NO_SECTION when the model is ready. */
static inline uint32_t tzml_model_wanted(const struct tzml_model *model)
{
	return model->ready ? TZML_NO_SECTION : model->wanted;
}

/*
 * Take the next bytes of the wanted section. When they complete it, it is
 * checked and put to use. Any error but TZML_ERROR_STATE closes the model.
 */
enum tzml_status tzml_model_load(struct tzml_model *model, uint32_t section,
				 uint64_t offset, const void *data,
				 size_t size);

/*
 * One inference. Inputs and outputs lie back to back in the plan's order and
 * have exactly its sizes. Outputs are written once, at the end.
 */
enum tzml_status tzml_model_run(struct tzml_model *model, const void *inputs,
				size_t inputs_size, void *outputs,
				size_t outputs_size);

/* Give back and wipe everything; a closed model may be closed again. */
void tzml_model_close(struct tzml_model *model);

#endif /* TZML_MODEL_H */
