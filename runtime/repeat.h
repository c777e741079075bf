/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that come again: docs/sealing.md, "A request that is sent again".
 * What a session has answered within a budget costs nothing of it, when it is
 * run again for the same request with the same inputs.
 */
#ifndef REPEAT_H
#define REPEAT_H

#include <tzml/model.h>

/* What an answer belongs to. */
struct tzml_request {
	uint8_t id[TZML_REQUEST_SIZE];
	/* of the record that it came in; otherwise zeros */
	uint8_t pipeline[16];
	uint64_t epoch;
};

/*
 * Whether the run that begins, whose inputs lie in the arena, is one that was
 * answered: then it is counted among its repetitions. `request` NULL: it has no
 * id, and is none. Otherwise it is kept in mind until its answer, or the next run.
 */
enum tzml_status tzml_find_request(struct tzml_model *model, uint32_t program,
				   bool sealed,
				   const struct tzml_request *request,
				   bool *again);

/* The run that is under way is answered. */
void tzml_know_request(struct tzml_model *model);

#endif /* REPEAT_H */
