/* SPDX-License-Identifier: Apache-2.0 */
/* What runs of one sample and of several share. */
#ifndef RUN_H
#define RUN_H

#include <tzml/model.h>

/*
 * Give up what is under way, and see whether a program may be run: its plan.
 * `sealed`: its outputs leave in a record.
 */
enum tzml_status tzml_admit_run(struct tzml_model *model, uint32_t program,
				bool sealed, const struct tzml_plan **plan);

/* Put one sample's inputs, and its random ones, into the arena. */
enum tzml_status tzml_place_inputs(struct tzml_model *model,
				   const struct tzml_plan *plan,
				   const uint8_t *inputs);

/*
 * Make the call at the model's position, and go on to the next. One that fails
 * may have changed a part of the state.
 */
enum tzml_status tzml_make_call(struct tzml_model *model,
				const struct tzml_plan *plan);

/* What leaves the secure world: only here, and only what the grant allows. */
void tzml_give_outputs(const struct tzml_model *model,
		       const struct tzml_plan *plan, uint8_t *to);

/* batch.c: forget a batch, of which nothing may be left. */
void tzml_batch_end(struct tzml_model *model);

#endif /* RUN_H */
