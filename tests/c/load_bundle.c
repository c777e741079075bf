// SPDX-License-Identifier: Apache-2.0
/*
 * load_bundle BUNDLE PIECE_SIZE MEMORY_LIMIT: load a bundle with the runtime
 * as the TA does, in pieces of that many bytes, run it on 0, 1, 2, … as
 * float32, and print the status and the outputs as float32.
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

	memcpy(&header, file, size < sizeof(header) ? size : sizeof(header));
	status = tzml_bundle_header_size(&header, header_size);
	if (status)
		return size < sizeof(header) &&
				       status != TZML_ERROR_NOT_A_BUNDLE
			       ? TZML_ERROR_TRUNCATED
			       : status;
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

static enum tzml_status run(struct tzml_model *model, const uint8_t *file,
			    size_t piece_size)
{
	size_t inputs_size = model->plan.inputs_size;
	size_t outputs_size = model->plan.outputs_size;
	float *outputs = calloc(1, outputs_size);
	float *inputs = calloc(1, inputs_size);
	enum tzml_status status = TZML_SUCCESS;

	for (size_t i = 0; i < inputs_size / sizeof(float); i++)
		inputs[i] = i;
	status = tzml_model_start(model, inputs, inputs_size);
	while (!status && tzml_model_running(model)) {
		status = tzml_model_continue(model, outputs, outputs_size);
		if (!status)
			status = load(model, file, piece_size);
	}
	for (size_t i = 0; !status && i < outputs_size / sizeof(float); i++)
		printf("%g\n", outputs[i]);
	free(outputs);
	free(inputs);
	return status;
}

int main(int argc, char **argv)
{
	struct test_context context = { 0 };
	struct tzml_model model = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t header_size = 0;
	uint8_t *data = NULL;
	size_t size = 0;
	FILE *file = NULL;

	if (argc != 4)
		return 2;
	file = fopen(argv[1], "rb");
	data = calloc(1, 1 << 20);
	if (!file || !data)
		return 2;
	size = fread(data, 1, 1 << 20, file);
	fclose(file);

	test_context_open(&context);
	context.limit = strtoull(argv[3], NULL, 0);
	status = check_file(data, size, &header_size);
	if (!status)
		status = tzml_model_open(&model, &test_platform, &context, data,
					 header_size);
	if (!status)
		status = load(&model, data, strtoul(argv[2], NULL, 0));
	if (!status)
		status = run(&model, data, strtoul(argv[2], NULL, 0));
	puts(name_of(status));
	tzml_model_close(&model);
	test_context_close(&context);
	free(data);
	return 0;
}
