/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TZML_PLAN_H
#define TZML_PLAN_H

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
	uint64_t weights_size; /* of all chunks, each rounded up */
};

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
 * also reads.
 */
enum tzml_status tzml_plan_check_calls(const struct tzml_plan *plan,
				       const struct tzml_kernels *kernels);

/*
 * Run every call of a plan whose calls were checked. `arena` and each chunk
 * are aligned to TZML_ALIGNMENT and as large as the plan says.
 */
enum tzml_status tzml_plan_execute(const struct tzml_plan *plan,
				   const struct tzml_kernels *kernels,
				   uint8_t *arena, uint8_t *const *chunks);

#endif /* TZML_PLAN_H */
