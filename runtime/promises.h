/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROMISES_H
#define PROMISES_H

#include <tzml/bundle.h>
#include <tzml/plan.h>

/* Whether a checked header, which the user saw, tells the truth of a plan. */
enum tzml_status tzml_check_promises(const struct tzml_header *header,
				     const struct tzml_plan *plan);

#endif /* PROMISES_H */
