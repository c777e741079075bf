/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel library that the specification's example bundles name, linked into
 * a program or as a library of its own (make example_kernels.so).
 */
#ifndef EXAMPLE_KERNELS_H
#define EXAMPLE_KERNELS_H

#include <stdbool.h>
#include <tzml/kernels.h>

extern const struct tzml_kernels example_kernels;

/* As every library exports it. A kernel fails if its first number is none. */
int32_t tzml_kernel_call(uint32_t kernel, void *const *arguments);

/* While this is set, every kernel fails. */
extern int example_kernels_fail;

#endif /* EXAMPLE_KERNELS_H */
