/* SPDX-License-Identifier: Apache-2.0 */
/* What opening, loading and running share. */
#ifndef LOAD_H
#define LOAD_H

#include <tzml/model.h>

struct tzml_request;

static inline const struct tzml_header *
header_of(const struct tzml_model *model)
{
	return model->header.data;
}

/* Memory of the platform, or TZML_ERROR_MEMORY. */
enum tzml_status tzml_block_allocate(struct tzml_model *model,
				     struct tzml_block *block, uint64_t size);
/* Wipe and give back; an empty block is allowed. */
void tzml_block_release(struct tzml_model *model, struct tzml_block *block);

/* Ask for the first section, and make room for all tables. */
enum tzml_status tzml_load_tables(struct tzml_model *model);

/* Ask for the first section again, of which nothing was loaded. */
enum tzml_status tzml_want_interface(struct tzml_model *model);

/*
 * Ask for the first piece of state from `piece` on, or, after the last, for
 * what has room of the weights; with no more of that, be ready.
 */
enum tzml_status tzml_load_state(struct tzml_model *model, uint32_t piece);

/* What lies in the place of a chunk is not there any more. */
void tzml_forget_overlapped(const struct tzml_layout *layout, uint32_t chunk,
			    bool *present);

/* Ask for a chunk; those that lie in its place are gone with its first byte. */
enum tzml_status tzml_want_chunk(struct tzml_model *model, uint32_t chunk);

/*
 * tzml_model_start and tzml_model_continue of a run whose inputs came in a
 * record, and whose outputs go into one. `outputs` is private memory.
 */
enum tzml_status tzml_start_sealed(struct tzml_model *model, uint32_t program,
				   const struct tzml_request *request,
				   const void *inputs, size_t inputs_size);
enum tzml_status tzml_continue_sealed(struct tzml_model *model, void *outputs,
				      size_t outputs_size);

#endif /* LOAD_H */
