// SPDX-License-Identifier: Apache-2.0
/*
 * load_bundle PIECE_SIZE MEMORY_LIMIT [--sealed-only] [--device KEY]
 *	BUNDLE[,GRANT[,RUNS]]…:
 * load each bundle with the runtime as the TA does, in pieces of that many
 * bytes, and run its first entry point on 0, 1, 2, … as float32. Prints a line
 * for each: the status, and the bytes of the first output as a float32 and in
 * hexadecimal. KEY is the private key, in hexadecimal, of a device that keeps
 * over all bundles what it has to remember. With --sealed-only, it is a
 * release's TA.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>
#include <tzml/policy.h>

#include "test_crypto.h"
#include "test_platform.h"

static struct tzml_crypto crypto;
static struct tzml_platform platform;

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

/* Bytes of an output that the grant's policy gives. */
static uint64_t given_size(const struct tzml_model *model, uint32_t tensor)
{
	struct tzml_tensor given = { 0 };

	tzml_policy_shape(model->grant.output_policy,
			  model->grant.policy_argument,
			  model->interface.tensors + tensor, &given);
	return given.size;
}

static void fill(const struct tzml_model *model, struct values *values)
{
	for (uint32_t i = 0; i < values->interface->header->tensor_count; i++) {
		const struct tzml_tensor *tensor =
			values->interface->tensors + i;
		/* indices may take more than the numbers that they are of */
		uint64_t given = given_size(model, i);
		float *numbers =
			calloc(1, given > tensor->size ? given : tensor->size);

		values->data[i] = (uint8_t *)numbers;
		if (tensor->flags == TZML_TENSOR_INPUT)
			for (size_t j = 0; j < tensor->size / sizeof(float);
			     j++)
				numbers[j] = j;
	}
}

/* Copy ports' values between their tensors and a block of them all. */
static void copy_ports(const struct tzml_model *model, struct values *values,
		       const uint32_t *ports, uint32_t count, uint8_t *block,
		       bool to_block)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct tzml_tensor *tensor =
			values->interface->tensors + ports[i];
		size_t size =
			tensor->flags == TZML_TENSOR_RANDOM ? 0
			: to_block ? values->interface->tensors[ports[i]].size
				   : given_size(model, ports[i]);

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
	copy_ports(model, values, plan->ports, plan->program->input_count,
		   inputs, true);
	status = tzml_model_start(model, number, inputs, plan->inputs_size);
	while (!status && tzml_model_running(model)) {
		status =
			tzml_model_continue(model, outputs, plan->outputs_size);
		if (!status)
			status = load(model, file, piece_size);
	}
	if (!status)
		copy_ports(model, values,
			   plan->ports + plan->program->input_count,
			   plan->program->output_count, outputs, false);
	free(outputs);
	free(inputs);
	return status;
}

/* The first output, as far as the grant gives it. */
struct answer {
	uint8_t bytes[64];
	size_t size;
};

/* Run the first entry point. */
static enum tzml_status run(struct tzml_model *model, const uint8_t *file,
			    size_t piece_size, struct answer *answer)
{
	const struct tzml_interface *interface = &model->interface;
	struct values values = { .interface = interface };
	enum tzml_status status = TZML_SUCCESS;
	uint32_t count = interface->header->tensor_count;

	fill(model, &values);
	for (uint32_t i = 0; !status && i < interface->header->program_count &&
			     !interface->programs[i].entry;
	     i++)
		status = run_program(model, i, &values, file, piece_size);
	for (uint32_t i = 0; !status && i < count; i++)
		if (interface->tensors[i].flags == TZML_TENSOR_OUTPUT) {
			uint64_t size = given_size(model, i);

			answer->size = size < sizeof(answer->bytes)
					       ? size
					       : sizeof(answer->bytes);
			memcpy(answer->bytes, values.data[i], answer->size);
			break;
		}
	for (uint32_t i = 0; i < count; i++)
		free(values.data[i]);
	return status;
}

struct file {
	uint8_t data[1 << 20];
	size_t size;
};

static void read_file(const char *path, struct file *file)
{
	memset(file, 0, sizeof(*file));
	file->size = test_read_file(NULL, path, file->data, sizeof(file->data));
}

static enum tzml_status load_and_run(struct test_context *context,
				     const struct file *bundle,
				     const struct file *grant,
				     unsigned long runs, size_t piece_size,
				     struct answer *answer)
{
	const uint8_t *data = bundle->data;
	struct tzml_model model = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t header_size = 0;

	status = check_file(data, bundle->size, &header_size);
	if (!status)
		status = tzml_model_open(&model, &platform, context, data,
					 header_size);
	if (!status && grant->size) {
		/* a block of its own, so that reading past it shows */
		uint8_t *copy = malloc(grant->size);

		memcpy(copy, grant->data, grant->size);
		status = tzml_model_take_grant(&model, copy, grant->size);
		free(copy);
	}
	if (!status)
		status = load(&model, data, piece_size);
	for (unsigned long i = 0; !status && i < runs; i++)
		status = run(&model, data, piece_size, answer);
	tzml_model_close(&model);
	return status;
}

static void enroll(struct test_context *context, const char *hexadecimal)
{
	uint8_t key[TZML_SECRET_SIZE] = { 0 };

	test_read_hexadecimal(hexadecimal, key, sizeof(key));
	test_context_enroll(context, key);
}

static void print(enum tzml_status status, const struct answer *answer)
{
	float number = 0;

	memcpy(&number, answer->bytes, sizeof(number));
	printf("%s %.9g ", test_status_name(status), number);
	for (size_t i = 0; i < answer->size; i++)
		printf("%02x", answer->bytes[i]);
	printf("%s\n", answer->size ? "" : "-");
}

int main(int argc, char **argv)
{
	static struct file bundle, grant;
	struct test_context context = { 0 };
	int first = 3;

	if (argc < 3)
		return 2;
	test_context_open(&context);
	context.limit = strtoull(argv[2], NULL, 0);
	crypto = test_crypto;
	platform = test_platform;
	platform.crypto = &crypto;
	if (argc > first && !strcmp(argv[first], "--sealed-only")) {
		crypto.sealed_only = true;
		first++;
	}
	if (argc > first + 1 && !strcmp(argv[first], "--device")) {
		enroll(&context, argv[first + 1]);
		first += 2;
	}
	for (int i = first; i < argc; i++) {
		char *rest = argv[i];
		const char *path = strsep(&rest, ",");
		const char *of_grant = rest ? strsep(&rest, ",") : NULL;
		struct answer answer = { .size = 0 };

		read_file(path, &bundle);
		grant.size = 0;
		if (of_grant && *of_grant)
			read_file(of_grant, &grant);
		print(load_and_run(&context, &bundle, &grant,
				   rest ? strtoul(rest, NULL, 0) : 1,
				   strtoul(argv[1], NULL, 0), &answer),
		      &answer);
		if (context.allocated || context.opened)
			abort();
	}
	test_context_close(&context);
	return 0;
}
