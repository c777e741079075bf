/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels to be compared: candidates.py writes the table. */
#ifndef TZML_BENCH_CANDIDATES_H
#define TZML_BENCH_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

#define MAX_ARGUMENTS 64

/* A kernel, and the bytes behind each of its pointers. */
struct candidate {
	int32_t (*call)(void *const *arguments);
	size_t count;
	size_t sizes[MAX_ARGUMENTS];
};

extern const struct candidate candidates[];
extern const size_t candidate_count;

#endif
