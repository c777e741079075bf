/* SPDX-License-Identifier: Apache-2.0 */
/* What loading and running share. */
#ifndef WANT_H
#define WANT_H

#include <tzml/model.h>

/* Ask for a chunk; those that lie in its place are gone with its first byte. */
enum tzml_status tzml_model_want_chunk(struct tzml_model *model,
				       uint32_t chunk);

#endif /* WANT_H */
