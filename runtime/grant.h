/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GRANT_H
#define GRANT_H

#include <tzml/model.h>

/* Whether the device lets this bundle be clear, if it is. */
enum tzml_status tzml_admit_clear(struct tzml_model *model);

/* Whether the grant's output policy fits the programs, whose plans are there. */
enum tzml_status tzml_check_policy(struct tzml_model *model);

/* Whether the grant allows one more run of that program; takes it. */
enum tzml_status tzml_spend_run(struct tzml_model *model, uint32_t program);

#endif /* GRANT_H */
