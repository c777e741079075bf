// SPDX-License-Identifier: Apache-2.0
/*
 * stage_device KEY: a device with the private key KEY, in hexadecimal, on which
 * the TA's own code runs with OpenSSL in the place of OP-TEE. Commands come
 * from standard input, each a letter, the size of its data in 4 bytes, and the
 * data:
 *
 * B	begin a session with that nonce; its public key
 * O	open that bundle
 * G	take that grant, after O
 * L	load the bundle
 * J	take that release; the sizes of its records, 8 bytes each
 * R	run a record; the record that comes of it
 * C	run the first program on these inputs in the clear; the outputs
 *
 * An answer is the status' name, a zero byte, and the data, behind its size in
 * 4 bytes.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/stage.h>

#include "test_platform.h"

struct device {
	struct test_context context;
	struct tzml_model model;
	struct tzml_stage stage;
	uint8_t *bundle;
	uint8_t *answer;
	size_t answer_size;
};

static void give(struct device *device, const void *data, size_t size)
{
	device->answer = realloc(device->answer, size + 1);
	memcpy(device->answer, data, size);
	device->answer_size = size;
}

static enum tzml_status begin(struct device *device, const uint8_t *nonce,
			      size_t size)
{
	struct tzml_key_pair key = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (size != TZML_SECRET_SIZE ||
	    RAND_bytes(key.secret, sizeof(key.secret)) != 1)
		return TZML_ERROR_REQUEST;
	test_key_pair(&key);
	status = tzml_stage_begin(&device->stage, &test_platform,
				  &device->context, &key, nonce);
	give(device, key.point + 1, TZML_KEY_SIZE);
	return status;
}

static enum tzml_status open_bundle(struct device *device, const uint8_t *data,
				    size_t size)
{
	const struct tzml_header *header = NULL;

	tzml_model_close(&device->model);
	device->bundle = realloc(device->bundle, size + 1);
	memcpy(device->bundle, data, size);
	header = (const void *)device->bundle;
	return tzml_model_open(&device->model, &test_platform, &device->context,
			       header, header->header_size);
}

static enum tzml_status load(struct device *device)
{
	return test_load(&device->model, device->bundle);
}

static enum tzml_status join(struct device *device, const uint8_t *release,
			     size_t size)
{
	struct tzml_stage *stage = &device->stage;
	enum tzml_status status =
		tzml_stage_join(stage, &device->model, release, size);
	uint64_t sizes[2] = { 0 };

	if (status)
		return status;
	sizes[0] = tzml_stage_record_size(stage, &device->model, false);
	sizes[1] = tzml_stage_record_size(stage, &device->model, true);
	give(device, sizes, sizeof(sizes));
	return TZML_SUCCESS;
}

static enum tzml_status run_record(struct device *device, const uint8_t *record,
				   size_t size)
{
	enum tzml_status status =
		tzml_stage_start(&device->stage, &device->model, record, size);
	uint8_t *given = NULL;
	size_t room = 0;

	if (status)
		return status;
	room = tzml_stage_record_size(&device->stage, &device->model, true);
	given = malloc(room);
	do {
		status = tzml_stage_continue(&device->stage, &device->model,
					     given, room);
		if (!status)
			status = load(device);
	} while (!status && tzml_model_running(&device->model));
	if (!status)
		give(device, given, room);
	free(given);
	return status;
}

static enum tzml_status run_clear(struct device *device, const uint8_t *inputs,
				  size_t size)
{
	struct tzml_model *model = &device->model;
	const struct tzml_plan *plan = tzml_model_plan(model, 0);
	enum tzml_status status = TZML_ERROR_STATE;
	uint8_t *outputs = NULL;

	if (!plan)
		return status;
	outputs = malloc(plan->outputs_size);
	status = tzml_model_start(model, 0, inputs, size);
	while (!status && tzml_model_running(model)) {
		status =
			tzml_model_continue(model, outputs, plan->outputs_size);
		if (!status)
			status = load(device);
	}
	if (!status)
		give(device, outputs, plan->outputs_size);
	free(outputs);
	return status;
}

static enum tzml_status obey(struct device *device, int command,
			     const uint8_t *data, size_t size)
{
	switch (command) {
	case 'B':
		return begin(device, data, size);
	case 'O':
		return open_bundle(device, data, size);
	case 'G':
		return tzml_model_take_grant(&device->model, data, size);
	case 'L':
		return load(device);
	case 'J':
		return join(device, data, size);
	case 'R':
		return run_record(device, data, size);
	case 'C':
		return run_clear(device, data, size);
	default:
		return TZML_ERROR_REQUEST;
	}
}

static void answer(struct device *device, enum tzml_status status)
{
	const char *name = test_status_name(status);
	uint32_t size = (uint32_t)(strlen(name) + 1 + device->answer_size);

	fwrite(&size, sizeof(size), 1, stdout);
	fwrite(name, strlen(name) + 1, 1, stdout);
	if (device->answer_size)
		fwrite(device->answer, 1, device->answer_size, stdout);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct device device;
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	int command = 0;

	if (argc != 2) {
		fputs("usage: stage_device KEY\n", stderr);
		return 2;
	}
	test_read_hexadecimal(argv[1], key, sizeof(key));
	test_context_open(&device.context);
	test_context_enroll(&device.context, key);
	while ((command = getchar()) != EOF) {
		uint32_t size = 0;
		uint8_t *data = NULL;
		enum tzml_status status = TZML_SUCCESS;

		/* a block of its own, so that reading past it shows */
		if (fread(&size, sizeof(size), 1, stdin) != 1)
			break;
		data = malloc(size);
		if (fread(data, 1, size, stdin) != size)
			break;
		device.answer_size = 0;
		status = obey(&device, command, data, size);
		free(data);
		if (status)
			device.answer_size = 0;
		answer(&device, status);
	}
	tzml_stage_close(&device.stage);
	tzml_model_close(&device.model);
	test_context_close(&device.context);
	free(device.bundle);
	free(device.answer);
	return 0;
}
