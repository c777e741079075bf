// SPDX-License-Identifier: Apache-2.0
/*
 * train_bundle KEY STEP…: a device, whose private key is KEY in hexadecimal,
 * that trains, saves and restores models with the runtime as the TA does, and
 * keeps over all steps what it has to remember. A STEP is BUNDLE,GRANT,DO…:
 * files, the grant empty for none, and what is done with the model:
 *
 *	run=PROGRAM	runs it on 0, 1, 2, … as float32
 *	save=FILE	and give-up=FILE, export=FILE
 *	confirm
 *	restore=FILE
 *	reset
 *
 * Prints a line for each step: the status of what failed first, and the last
 * output in hexadecimal; "-" for none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>

#include "test_platform.h"

#define MAX_FILE (1 << 20)

struct file {
	uint8_t data[MAX_FILE];
	size_t size;
};

static struct file bundle, grant, checkpoint;
static uint8_t output[64];
static size_t output_size;

static void read_file(const char *path, struct file *file)
{
	file->size = test_read_file(NULL, path, file->data, sizeof(file->data));
}

static void write_file(const char *path, const struct file *file)
{
	FILE *to = fopen(path, "wb");

	if (!to || fwrite(file->data, 1, file->size, to) != file->size) {
		perror(path);
		exit(2);
	}
	fclose(to);
}

static enum tzml_status load(struct tzml_model *model)
{
	return test_load(model, bundle.data);
}

static enum tzml_status open_model(struct tzml_model *model,
				   struct test_context *context)
{
	const struct tzml_header *header = (const void *)bundle.data;
	enum tzml_status status =
		tzml_model_open(model, &test_platform, context, bundle.data,
				header->header_size);

	if (!status && grant.size)
		status = tzml_model_take_grant(model, grant.data, grant.size);
	return status ? status : load(model);
}

static enum tzml_status run(struct tzml_model *model, uint32_t program)
{
	const struct tzml_plan *plan = tzml_model_plan(model, program);
	enum tzml_status status = TZML_ERROR_PROGRAM;
	float *inputs = NULL;

	if (!plan || plan->outputs_size > sizeof(output))
		return status;
	inputs = malloc(plan->inputs_size);
	for (size_t i = 0; i < plan->inputs_size / sizeof(*inputs); i++)
		inputs[i] = i;
	status = tzml_model_start(model, program, inputs, plan->inputs_size);
	while (!status && tzml_model_running(model)) {
		status = tzml_model_continue(model, output, plan->outputs_size);
		if (!status)
			status = load(model);
	}
	output_size = plan->outputs_size;
	free(inputs);
	return status;
}

static enum tzml_status save(struct tzml_model *model, uint32_t flags,
			     const char *path)
{
	uint8_t note[TZML_NOTE_SIZE] = "a note";
	enum tzml_status status =
		tzml_model_save(model, flags, note, checkpoint.data);
	size_t size = 0;

	checkpoint.size = sizeof(struct tzml_checkpoint);
	while (!status && (size = tzml_model_segment(model))) {
		status = tzml_model_save_segment(
			model, checkpoint.data + checkpoint.size, size);
		checkpoint.size += size;
	}
	if (!status)
		write_file(path, &checkpoint);
	return status;
}

static enum tzml_status restore(struct tzml_model *model, const char *path)
{
	enum tzml_status status = TZML_SUCCESS;
	size_t header = sizeof(struct tzml_checkpoint);
	size_t done = 0;
	size_t size = 0;

	read_file(path, &checkpoint);
	if (checkpoint.size < header)
		header = checkpoint.size;
	/* blocks of their own, so that reading past them shows */
	for (bool first = true;
	     !status && (first || (size = tzml_model_segment(model)));
	     first = false) {
		size_t own = first ? header : size;
		uint8_t *block = NULL;

		if (own > checkpoint.size - done)
			own = checkpoint.size - done;
		block = malloc(own + 1);
		memcpy(block, checkpoint.data + done, own);
		status = first ? tzml_model_restore(model, block, own)
			       : tzml_model_restore_segment(model, block, own);
		free(block);
		done += own;
	}
	return status;
}

static enum tzml_status act(struct tzml_model *model, const char *what,
			    const char *argument)
{
	if (!strcmp(what, "run"))
		return run(model, (uint32_t)strtoul(argument, NULL, 0));
	if (!strcmp(what, "save"))
		return save(model, 0, argument);
	if (!strcmp(what, "give-up"))
		return save(model, TZML_SAVE_GIVE_UP, argument);
	if (!strcmp(what, "export"))
		return save(model, TZML_SAVE_EXPORT, argument);
	if (!strcmp(what, "confirm"))
		return tzml_model_confirm(model);
	if (!strcmp(what, "restore"))
		return restore(model, argument);
	if (!strcmp(what, "reset")) {
		enum tzml_status status = tzml_model_reset(model);

		return status ? status : load(model);
	}
	exit(2);
}

static void step(struct test_context *context, char *told)
{
	const char *of_bundle = strsep(&told, ",");
	const char *of_grant = strsep(&told, ",");
	struct tzml_model model = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	read_file(of_bundle, &bundle);
	grant.size = 0;
	if (of_grant && *of_grant)
		read_file(of_grant, &grant);
	output_size = 0;
	status = open_model(&model, context);
	while (!status && told) {
		char *argument = strsep(&told, ",");
		const char *what = strsep(&argument, "=");

		status = act(&model, what, argument);
	}
	tzml_model_close(&model);
	printf("%s ", test_status_name(status));
	for (size_t i = 0; i < output_size; i++)
		printf("%02x", output[i]);
	printf("%s\n", output_size ? "" : "-");
}

int main(int argc, char **argv)
{
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	struct test_context context = { 0 };

	if (argc < 2)
		return 2;
	test_read_hexadecimal(argv[1], key, sizeof(key));
	test_context_open(&context);
	test_context_enroll(&context, key);
	for (int i = 2; i < argc; i++)
		step(&context, argv[i]);
	test_context_close(&context);
	return 0;
}
