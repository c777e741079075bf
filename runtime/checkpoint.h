/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <tzml/model.h>

/*
 * Give up a checkpoint that is being saved or restored, if there is one. A
 * state that was restored in part stays lost.
 */
void tzml_end_transfer(struct tzml_model *model);

#endif /* CHECKPOINT_H */
