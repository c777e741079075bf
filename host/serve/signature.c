// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <tzml.h>

#include "signature.h"

static int describe(struct tensor *tensor, const struct tzml_tensor_info *info)
{
	*tensor = (struct tensor){
		.name = strdup(info->name),
		.dtype = info->dtype,
		.dimension_count = info->dimension_count,
		.size = info->size,
		.elements = info->size / dtype_size(info->dtype),
	};
	memcpy(tensor->dimensions, info->dimensions,
	       info->dimension_count * sizeof(*info->dimensions));
	return tensor->name ? 0 : -1;
}

static bool has_samples(const struct signature *signature)
{
	for (uint32_t i = 0;
	     i < signature->input_count + signature->output_count; i++) {
		const struct tensor *tensor = signature->tensors + i;

		if (!tensor->dimension_count || tensor->dimensions[0] != 1)
			return false;
	}
	return true;
}

int signature_read(struct signature *signature,
		   const struct tzml_session *session, bool stateful)
{
	uint32_t inputs = tzml_input_count(session);
	uint32_t outputs = tzml_output_count(session);

	*signature = (struct signature){
		.tensors = calloc(inputs + outputs, sizeof(struct tensor)),
		.input_count = inputs,
		.output_count = outputs,
		.stateful = stateful,
	};
	if (!signature->tensors)
		return -1;
	for (uint32_t i = 0; i < inputs + outputs; i++) {
		struct tensor *tensor = signature->tensors + i;
		struct tzml_tensor_info info = { 0 };

		if (i < inputs)
			tzml_input(session, i, &info);
		else
			tzml_output(session, i - inputs, &info);
		if (!dtype_size(info.dtype) || describe(tensor, &info))
			return -1;
		*(i < inputs ? &signature->inputs_size
			     : &signature->outputs_size) += tensor->size;
		*(i < inputs ? &signature->input_elements
			     : &signature->output_elements) += tensor->elements;
	}
	signature->stackable = !stateful && has_samples(signature);
	return 0;
}

void signature_free(struct signature *signature)
{
	if (signature->tensors)
		for (uint32_t i = 0;
		     i < signature->input_count + signature->output_count; i++)
			free((char *)signature->tensors[i].name);
	free(signature->tensors);
	*signature = (struct signature){ 0 };
}

bool signature_equal(const struct signature *a, const struct signature *b)
{
	if (a->input_count != b->input_count ||
	    a->output_count != b->output_count || a->stateful != b->stateful)
		return false;
	for (uint32_t i = 0; i < a->input_count + a->output_count; i++) {
		const struct tensor *x = a->tensors + i;
		const struct tensor *y = b->tensors + i;

		if (strcmp(x->name, y->name) || x->dtype != y->dtype ||
		    x->dimension_count != y->dimension_count ||
		    memcmp(x->dimensions, y->dimensions, sizeof(x->dimensions)))
			return false;
	}
	return true;
}
