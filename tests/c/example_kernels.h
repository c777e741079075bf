/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel library that the specification's example bundles name. */
#ifndef EXAMPLE_KERNELS_H
#define EXAMPLE_KERNELS_H

#include <tzml/kernels.h>

extern const struct tzml_kernels example_kernels;

/* While this is set, every kernel changes what it writes, and fails. */
extern int example_kernels_fail;

#endif /* EXAMPLE_KERNELS_H */
