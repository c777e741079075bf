// SPDX-License-Identifier: Apache-2.0
#include "pipeline_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file bundles[STAGES];
struct file releases[STAGES];
struct file records[STAGES + 1];

static struct file about;

static void read_file(const char *folder, const char *name, struct file *file)
{
	file->size =
		test_read_file(folder, name, file->data, sizeof(file->data));
}

void device_read_files(const char *examples)
{
	char name[32] = "";

	read_file(examples, "pipeline/keys.json", &about);
	for (int i = 0; i <= STAGES; i++) {
		snprintf(name, sizeof(name), "pipeline/%d.tzx", i);
		read_file(examples, name, records + i);
		if (i == STAGES)
			break;
		snprintf(name, sizeof(name), "pipeline/%d.tzm", i);
		read_file(examples, name, bundles + i);
		snprintf(name, sizeof(name), "pipeline/%d.tzr", i);
		read_file(examples, name, releases + i);
	}
}

void device_read_field(const char *name, int number, uint8_t to[32])
{
	const char *at = (const char *)about.data;

	for (int i = 0; i <= number; i++)
		at = strstr(at, name) + strlen(name);
	test_read_hexadecimal(at + strlen("\": \""), to, 32);
}

void device_open(struct device *device, int number)
{
	memset(device, 0, sizeof(*device));
	device->number = number;
	test_context_open(&device->context);
	device_read_field("private", number + 1, device->key.secret);
	device_read_field("nonce", number, device->nonce);
	test_key_pair(&device->key);
}

void device_close(struct device *device)
{
	tzml_model_close(&device->model);
	tzml_stage_close(&device->stage);
	test_context_close(&device->context);
}

static enum tzml_status load(struct device *device)
{
	return test_load(&device->model, bundles[device->number].data);
}

enum tzml_status device_open_bundle(struct device *device)
{
	const struct tzml_header *header =
		(const void *)bundles[device->number].data;
	enum tzml_status status =
		tzml_model_open(&device->model, &test_platform,
				&device->context, header, header->header_size);

	return status ? status : load(device);
}

enum tzml_status device_begin(struct device *device)
{
	return tzml_stage_begin(&device->stage, &test_platform,
				&device->context, &device->key, device->nonce);
}

/* From a block of its own, so that reading past it shows. */
enum tzml_status device_join_with(struct device *device,
				  const struct file *release)
{
	uint8_t *copy = malloc(release->size);
	enum tzml_status status = TZML_SUCCESS;

	memcpy(copy, release->data, release->size);
	status = tzml_stage_join(&device->stage, &device->model, copy,
				 release->size);
	free(copy);
	return status;
}

enum tzml_status device_join(struct device *device)
{
	return device_join_with(device, releases + device->number);
}

enum tzml_status device_start_with(struct device *device,
				   const struct file *record)
{
	uint8_t *copy = malloc(record->size);
	enum tzml_status status = TZML_SUCCESS;

	memcpy(copy, record->data, record->size);
	status = tzml_stage_start(&device->stage, &device->model, copy,
				  record->size);
	free(copy);
	return status;
}

enum tzml_status device_go_on(struct device *device)
{
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *given = NULL;

	device->given_size =
		tzml_stage_record_size(&device->stage, &device->model, true);
	given = malloc(device->given_size);
	do {
		status = tzml_stage_continue(&device->stage, &device->model,
					     given, device->given_size);
		if (!status)
			status = load(device);
	} while (!status && tzml_model_running(&device->model));
	if (!status)
		memcpy(device->given, given, device->given_size);
	free(given);
	return status;
}

enum tzml_status device_run(struct device *device)
{
	enum tzml_status status =
		device_start_with(device, records + device->number);

	return status ? status : device_go_on(device);
}

enum tzml_status device_get_ready(struct device *device, int number)
{
	enum tzml_status status = TZML_SUCCESS;

	device_open(device, number);
	status = device_begin(device);
	if (!status)
		status = device_open_bundle(device);
	return status ? status : device_join(device);
}

bool device_gave_vector(const struct device *device)
{
	const struct file *expected = records + device->number + 1;

	return device->given_size == expected->size &&
	       !memcmp(device->given, expected->data, expected->size);
}
