/* SPDX-License-Identifier: Apache-2.0 */
/* Random plans and kernel libraries, as rand() goes on. */
#ifndef RANDOM_PLAN_H
#define RANDOM_PLAN_H

#include <stdbool.h>
#include <tzml/plan.h>

enum {
	ARENA = 512,
	STATE = 192,
	CHUNK = 128,
	CHUNKS = 3,
	KERNELS = 5,
	CALLS = 8,
	FEW_CALLS = 4,
	PORTS = 3, /* inputs, and outputs */
};

struct kernel {
	uint32_t count;
	uint64_t sizes[TZML_MAX_CALL_ARGUMENTS];
	uint32_t accesses[TZML_MAX_CALL_ARGUMENTS];
};

/*
 * A library, and a plan that mostly fits it. Whatever reads the arena of one
 * that is filled is sound, so that its plan may be longer.
 */
struct example {
	bool filled; /* by the inputs: given, all else is made */
	struct kernel kernels[KERNELS];
	uint32_t kernel_count;
	struct tzml_kernel_table *table;

	struct tzml_tensor tensors[2 * PORTS];
	uint32_t ports[2 * PORTS];
	struct tzml_program program;
	struct tzml_interface interface;
	struct tzml_interface_header interface_header;

	void *layout_data;
	struct tzml_layout layout;
	void *plan_data;
	struct tzml_plan plan;
};

uint32_t below(uint32_t limit);

/* Whether its plan is sound by itself. */
bool example_make(struct example *e);

void example_free(struct example *e);

#endif /* RANDOM_PLAN_H */
