/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of fuzz_bundle share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <tzml/model.h>

/* A bundle with a byte behind it, which says what goes wrong. */
struct fuzzed {
	uint8_t *data;
	size_t size;
	size_t piece_size; /* in which sections are loaded */
	uint8_t faults;
};

/* Load what is wanted, until nothing is or it is refused. */
enum tzml_status fuzz_load(struct tzml_model *model,
			   const struct fuzzed *bundle);

/*
 * Make a stage of the model, which is ready: give it a release and records that
 * fit, and the same with each field changed.
 */
void fuzz_stage(struct tzml_model *model, const struct fuzzed *bundle);

/* Whether a run that began with this status, all sections at hand, ends well. */
bool fuzz_finish(struct tzml_model *model, const struct tzml_plan *plan,
		 enum tzml_status status, uint8_t *outputs,
		 const struct fuzzed *bundle);

/* Whether some of a run's inputs are the world's random numbers. */
bool fuzz_has_random(const struct tzml_model *model,
		     const struct tzml_plan *plan);

/* Send requests again, where a budget counts them; the model is ready. */
void fuzz_repeat(struct tzml_model *model, const struct fuzzed *bundle);

/* Run all programs on several samples at once; the model is ready. */
void fuzz_batch(struct tzml_model *model, const struct fuzzed *bundle);

#endif /* FUZZ_H */
