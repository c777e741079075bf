/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRANT_H
#define GRANT_H

#include <tzml/model.h>

/* Whether the device lets this bundle be clear, if it is. */
enum tzml_status tzml_admit_clear(struct tzml_model *model);

/* Whether the grant's output policy fits the programs, whose plans are there. */
enum tzml_status tzml_check_policy(struct tzml_model *model);

/* Whether the grant allows so many more runs of that program; takes them all. */
enum tzml_status tzml_spend_runs(struct tzml_model *model, uint32_t program,
				 uint32_t count);

#endif /* GRANT_H */
