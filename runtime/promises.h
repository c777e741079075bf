/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROMISES_H
#define PROMISES_H

#include <tzml/model.h>

/* Whether the section table has the chunks and pieces that a layout needs. */
enum tzml_status tzml_check_layout_sections(const struct tzml_model *model);

/* Whether the header, which the user saw, promised as much secure memory. */
enum tzml_status tzml_check_promises(const struct tzml_model *model);

#endif /* PROMISES_H */
