/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_PLAN_H
#define TZML_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <tzml/format.h>
#include <tzml/kernels.h>
#include <tzml/status.h>

/* A checked plan: where its tables are. */
struct tzml_plan {
	const struct tzml_plan_header *header;
	const struct tzml_chunk *chunks;
	const struct tzml_tensor *inputs;
	const struct tzml_tensor *outputs;
	const struct tzml_call *calls;
	const struct tzml_argument *arguments;
	uint64_t inputs_size; /* of all inputs, back to back */
	uint64_t outputs_size;
};

/* How far a plan was run. */
struct tzml_position {
	uint32_t call;
	uint32_t argument; /* the first of that call */
};

#define TZML_NO_CHUNK UINT32_MAX

/*
 * Check everything in a plan that can be checked without its kernel library:
 * `size` bytes at `data`, aligned to 8, in memory nobody else can write. On
 * success `plan` points into `data`.
 */
enum tzml_status tzml_plan_check(const void *data, size_t size,
				 struct tzml_plan *plan);

/*
 * Check a plan's calls against the library it names: every kernel is there,
 * takes these arguments, and writes only to the arena and to nothing that it
 * also reads; and together they write all of the outputs.
 */
enum tzml_status tzml_plan_check_calls(const struct tzml_plan *plan,
				       const struct tzml_kernels *kernels);

/* The first chunk that the call at `position` takes and that is not there. */
uint32_t tzml_plan_missing_chunk(const struct tzml_plan *plan,
				 const struct tzml_position *position,
				 const bool *present);

/*
 * Make the call at `position` of a plan whose calls were checked, and go on to
 * the next. `arena` and `weights` are aligned to TZML_ALIGNMENT and as large
 * as the plan says; the chunks the call takes are there.
 */
enum tzml_status tzml_plan_call(const struct tzml_plan *plan,
				const struct tzml_kernels *kernels,
				uint8_t *arena, uint8_t *weights,
				struct tzml_position *position);

#endif /* TZML_PLAN_H */
