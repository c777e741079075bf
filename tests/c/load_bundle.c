// SPDX-License-Identifier: Apache-2.0
/*
 * load_bundle PIECE_SIZE MEMORY_LIMIT BUNDLE…: load each bundle with the
 * runtime as the TA does, in pieces of that many bytes, and run its first
 * entry point on 0, 1, 2, … as float32. Prints a line for each: the status,
 * and the first number of the first output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>

#include "test_platform.h"

static const char *name_of(enum tzml_status status)
{
	switch (status) {
#define TZML_STATUS_NAME(name, code, what, remedy) \
	case TZML_ERROR_##name:                    \
		return #name;
		TZML_STATUS_LIST(TZML_STATUS_NAME)
#undef TZML_STATUS_NAME
	default:
		return status ? "UNKNOWN" : "SUCCESS";
	}
}

/* What a client does before it asks the TA: read as much as the header says. */
static enum tzml_status check_file(const uint8_t *file, size_t size,
				   size_t *header_size)
{
	struct tzml_header header = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (size >= sizeof(header))
		memcpy(&header, file, sizeof(header));
	else /* magic and version: no more is believed of a cut header */
		memcpy(&header, file,
		       size < offsetof(struct tzml_header, header_size)
			       ? sizeof(header.magic)
			       : offsetof(struct tzml_header, header_size));
	if (size < offsetof(struct tzml_header, header_size))
		header.format_version = TZML_FORMAT_VERSION;
	status = tzml_bundle_header_size(&header, header_size);
	if (size < sizeof(header) && status == TZML_ERROR_HEADER_MALFORMED)
		return TZML_ERROR_TRUNCATED;
	if (status)
		return status;
	return size < *header_size || size < header.bundle_size
		       ? TZML_ERROR_TRUNCATED
		       : TZML_SUCCESS;
}

static enum tzml_status load(struct tzml_model *model, const uint8_t *file,
			     size_t piece_size)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t wanted = TZML_NO_SECTION;

	while (!status &&
	       (wanted = tzml_model_wanted(model)) != TZML_NO_SECTION) {
		const struct tzml_section *section =
			(const struct tzml_section
				 *)(file + sizeof(struct tzml_header)) +
			wanted;
		uint64_t left = section->size - model->loaded;
		size_t size = left < piece_size ? left : piece_size;
		/* a block of its own, so that reading past a piece shows */
		uint8_t *piece = malloc(size);

		memcpy(piece, file + section->offset + model->loaded, size);
		status = tzml_model_load(model, wanted, model->loaded, piece,
					 size);
		free(piece);
	}
	return status;
}

/* Values of the tensors, by number. */
struct values {
	const struct tzml_interface *interface;
	uint8_t *data[TZML_MAX_TENSORS];
};

static void fill(struct values *values)
{
	for (uint32_t i = 0; i < values->interface->header->tensor_count; i++) {
		const struct tzml_tensor *tensor =
			values->interface->tensors + i;
		float *numbers = calloc(1, tensor->size);

		values->data[i] = (uint8_t *)numbers;
		if (tensor->flags == TZML_TENSOR_INPUT)
			for (size_t j = 0; j < tensor->size / sizeof(float);
			     j++)
				numbers[j] = j;
	}
}

/* Copy ports' values between their tensors and a block of them all. */
static void copy_ports(struct values *values, const uint32_t *ports,
		       uint32_t count, uint8_t *block, bool to_block)
{
	for (uint32_t i = 0; i < count; i++) {
		size_t size = values->interface->tensors[ports[i]].size;

		if (to_block)
			memcpy(block, values->data[ports[i]], size);
		else
			memcpy(values->data[ports[i]], block, size);
		block += size;
	}
}

static enum tzml_status run_program(struct tzml_model *model, uint32_t number,
				    struct values *values, const uint8_t *file,
				    size_t piece_size)
{
	const struct tzml_plan *plan = tzml_model_plan(model, number);
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *outputs = NULL;
	uint8_t *inputs = NULL;

	if (!plan) /* the other world's */
		return TZML_SUCCESS;
	inputs = malloc(plan->inputs_size);
	outputs = malloc(plan->outputs_size);
	copy_ports(values, plan->ports, plan->program->input_count, inputs,
		   true);
	status = tzml_model_start(model, number, inputs, plan->inputs_size);
	while (!status && tzml_model_running(model)) {
		status =
			tzml_model_continue(model, outputs, plan->outputs_size);
		if (!status)
			status = load(model, file, piece_size);
	}
	if (!status)
		copy_ports(values, plan->ports + plan->program->input_count,
			   plan->program->output_count, outputs, false);
	free(outputs);
	free(inputs);
	return status;
}

/* Run the first entry point, for the first number of its first output. */
static enum tzml_status run(struct tzml_model *model, const uint8_t *file,
			    size_t piece_size, float *answer)
{
	const struct tzml_interface *interface = &model->interface;
	struct values values = { .interface = interface };
	enum tzml_status status = TZML_SUCCESS;
	uint32_t count = interface->header->tensor_count;

	fill(&values);
	for (uint32_t i = 0; !status && i < interface->header->program_count &&
			     !interface->programs[i].entry;
	     i++)
		status = run_program(model, i, &values, file, piece_size);
	for (uint32_t i = 0; !status && i < count; i++)
		if (interface->tensors[i].flags == TZML_TENSOR_OUTPUT) {
			memcpy(answer, values.data[i], sizeof(*answer));
			break;
		}
	for (uint32_t i = 0; i < count; i++)
		free(values.data[i]);
	return status;
}

static enum tzml_status load_and_run(const uint8_t *data, size_t size,
				     size_t piece_size, size_t limit,
				     float *answer)
{
	struct test_context context = { 0 };
	struct tzml_model model = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t header_size = 0;

	test_context_open(&context);
	context.limit = limit;
	status = check_file(data, size, &header_size);
	if (!status)
		status = tzml_model_open(&model, &test_platform, &context, data,
					 header_size);
	if (!status)
		status = load(&model, data, piece_size);
	if (!status)
		status = run(&model, data, piece_size, answer);
	tzml_model_close(&model);
	test_context_close(&context);
	return status;
}

int main(int argc, char **argv)
{
	const size_t room = 1 << 20;
	uint8_t *data = malloc(room);

	if (argc < 3 || !data)
		return 2;
	for (int i = 3; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		float answer = 0;
		size_t size = 0;

		if (!file)
			return 2;
		size = fread(data, 1, room, file);
		fclose(file);
		memset(data + size, 0, room - size);
		printf("%s ", name_of(load_and_run(
				      data, size, strtoul(argv[1], NULL, 0),
				      strtoull(argv[2], NULL, 0), &answer)));
		printf("%.9g\n", answer);
	}
	free(data);
	return 0;
}
