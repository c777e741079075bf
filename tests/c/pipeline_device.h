/* SPDX-License-Identifier: Apache-2.0 */
/* A stage of a pipeline on a device, with the specification's vectors. */
#ifndef PIPELINE_DEVICE_H
#define PIPELINE_DEVICE_H

#include <tzml/stage.h>

#include "test_platform.h"

#define STAGES 2

struct file {
	uint8_t data[1 << 14];
	size_t size;
};

extern struct file bundles[STAGES];
extern struct file releases[STAGES];
extern struct file records[STAGES + 1];

struct device {
	int number; /* of its stage */
	struct test_context context;
	struct tzml_model model;
	struct tzml_key_pair key;
	uint8_t nonce[32];
	uint8_t given[4096]; /* the last record */
	size_t given_size;
	struct tzml_stage stage; /* last, so that reading past it shows */
};

/* Read the vectors, or exit. `examples`: docs/bundle-examples. */
void device_read_files(const char *examples);

/* The `number`-th field of that name: 32 bytes in hexadecimal. */
void device_read_field(const char *name, int number, uint8_t to[32]);

void device_open(struct device *device, int number);
void device_close(struct device *device);

/* What comes before a record, by itself and all of it. */
enum tzml_status device_begin(struct device *device);
enum tzml_status device_open_bundle(struct device *device);
enum tzml_status device_join(struct device *device);
enum tzml_status device_join_with(struct device *device,
				  const struct file *release);
enum tzml_status device_get_ready(struct device *device, int number);

/* Run the vector of its stage; in two steps, with any record. */
enum tzml_status device_run(struct device *device);
enum tzml_status device_start_with(struct device *device,
				   const struct file *record);
enum tzml_status device_go_on(struct device *device);

/* Whether the last record is the specification's. */
bool device_gave_vector(const struct device *device);

#endif /* PIPELINE_DEVICE_H */
