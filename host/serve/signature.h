/* SPDX-License-Identifier: Apache-2.0 */
/* What a model takes and gives, as the Open Inference Protocol names it. */
#ifndef SIGNATURE_H
#define SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tzml/dtype.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As the bundle format has it: tzml/format.h */
#define TZML_SERVE_MOST_TENSORS 256

struct tzml_session;

struct tensor {
	const char *name;
	uint32_t dtype; /* enum tzml_dtype */
	uint32_t dimension_count;
	uint32_t dimensions[TZML_MAX_DIMENSIONS];
	uint64_t size;	   /* bytes of one sample */
	uint64_t elements; /* of one sample */
};

/* Of the tensors, inputs come first. */
struct signature {
	struct tensor *tensors;
	uint32_t input_count;
	uint32_t output_count;
	uint64_t inputs_size; /* bytes of one sample, inputs back to back */
	uint64_t outputs_size;
	uint64_t input_elements;
	uint64_t output_elements;
	/*
	 * Samples may be stacked along the first dimension: it is 1 in all
	 * tensors, and no state passes from one run to the next.
	 */
	bool stackable;
	bool stateful;
};

/* Describe an open session. -1 without memory. */
int signature_read(struct signature *signature,
		   const struct tzml_session *session, bool stateful);
void signature_free(struct signature *signature);
bool signature_equal(const struct signature *a, const struct signature *b);

static inline const struct tensor *signature_outputs(const struct signature *s)
{
	return s->tensors + s->input_count;
}

/*
 * The protocol's name of a type, as in "FP32"; and its bytes an element, or 0
 * for a type that is not known.
 */
const char *dtype_name(uint32_t dtype);
size_t dtype_size(uint32_t dtype);

#ifdef __cplusplus
}
#endif

#endif /* SIGNATURE_H */
