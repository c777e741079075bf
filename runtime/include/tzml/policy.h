/* SPDX-License-Identifier: Apache-2.0 */
/* What a grant's output policy leaves of an output. */
#ifndef TZML_POLICY_H
#define TZML_POLICY_H

#include <stdbool.h>
#include <tzml/format.h>

/* The last dimension may have at most so many numbers for TZML_OUTPUT_RANKS. */
#define TZML_MAX_RANKED 4096

/*
 * What becomes of an output: `given` is the tensor with the dtype, dimensions
 * and size that the caller gets. False if the policy does not fit it: k is
 * more than the last dimension, or numbers are rounded that are not float32.
 */
bool tzml_policy_shape(uint32_t policy, uint32_t argument,
		       const struct tzml_tensor *tensor,
		       struct tzml_tensor *given);

/*
 * Write what the policy leaves of `value`, an output for which
 * tzml_policy_shape was true. What is done does not depend on the numbers.
 */
void tzml_policy_apply(uint32_t policy, uint32_t argument,
		       const struct tzml_tensor *tensor, const void *value,
		       void *to);

#endif /* TZML_POLICY_H */
