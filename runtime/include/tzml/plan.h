/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_PLAN_H
#define TZML_PLAN_H

#include <tzml/interface.h>
#include <tzml/kernels.h>

/* A checked memory section: where its tables are. */
struct tzml_layout {
	const struct tzml_memory_header *header;
	const struct tzml_chunk *chunks; /* of weights */
	const struct tzml_chunk *pieces; /* of state */
};

/* A checked plan: where its tables are, and what it is the plan of. */
struct tzml_plan {
	const struct tzml_plan_header *header; /* NULL: there is no plan */
	const struct tzml_place *places;       /* of inputs, then outputs */
	const struct tzml_call *calls;
	const struct tzml_argument *arguments;
	const struct tzml_program *program;
	const uint32_t *ports; /* tensors of the places */
	uint64_t inputs_size;  /* of all inputs, back to back */
	uint64_t outputs_size;
	bool writes_state; /* known once its calls were checked */
};

/* How far a plan was run. */
struct tzml_position {
	uint32_t call;
	uint32_t argument; /* the first of that call */
};

/* Memory that a plan is run in, aligned to TZML_ALIGNMENT. */
struct tzml_regions {
	uint8_t *arena;
	uint8_t *weights;
	uint8_t *state;
};

#define TZML_NO_CHUNK UINT32_MAX

/* Bytes of scratch memory for each operand of tzml_plan_check_calls. */
#define TZML_CHECK_BYTES 24

static inline bool tzml_chunks_overlap(const struct tzml_chunk *a,
				       const struct tzml_chunk *b)
{
	return a->offset < b->offset + b->size &&
	       b->offset < a->offset + a->size;
}

/* Arguments and ports of a checked plan together. */
static inline uint32_t tzml_plan_operands(const struct tzml_plan *plan)
{
	return plan->header->port_count + plan->header->argument_count;
}

/*
 * Check everything in a memory section: `size` bytes at `data`, aligned to 8,
 * in memory nobody else can write. On success, and only then, `layout` points
 * into `data`.
 */
enum tzml_status tzml_layout_check(const void *data, size_t size,
				   struct tzml_layout *layout);

/*
 * Check everything in the plan of the program with that number that can be
 * checked without its kernel library: `size` bytes at `data`, aligned to 8, in
 * memory nobody else can write. On success `plan` points into `data`.
 */
enum tzml_status tzml_plan_check(const void *data, size_t size,
				 const struct tzml_interface *interface,
				 uint32_t program,
				 const struct tzml_layout *layout,
				 struct tzml_plan *plan);

/*
 * Check a plan's calls against the library that it names: every kernel is
 * there, takes these arguments, writes only to the arena and the state, and to
 * nothing that it also takes otherwise; and what a call or an output reads of
 * the arena, an input or an earlier call has written. `scratch` is aligned to
 * 8 and has TZML_CHECK_BYTES for each operand.
 */
enum tzml_status tzml_plan_check_calls(struct tzml_plan *plan,
				       const struct tzml_interface *interface,
				       const struct tzml_kernels *kernels,
				       void *scratch);

/* The first chunk that the call at `position` takes and that is not there. */
uint32_t tzml_plan_missing_chunk(const struct tzml_plan *plan,
				 const struct tzml_position *position,
				 const bool *present);

/*
 * Make the call at `position` of a plan whose calls were checked, and go on to
 * the next. The regions are as large as the layout says; the chunks that the
 * call takes are there.
 */
enum tzml_status tzml_plan_call(const struct tzml_plan *plan,
				const struct tzml_layout *layout,
				const struct tzml_kernels *kernels,
				const struct tzml_regions *regions,
				struct tzml_position *position);

#endif /* TZML_PLAN_H */
