/* SPDX-License-Identifier: Apache-2.0 */
/* A device with one of the specification's models that are trained. */
#ifndef TRAINED_MODEL_H
#define TRAINED_MODEL_H

#include "test_platform.h"

#define MAX_SIZE 2048		       /* of a checkpoint of the examples */
#define SEGMENT	 (256 + TZML_TAG_SIZE) /* each of theirs but the last */

struct trained_example {
	uint8_t bundle[1 << 16];
	uint8_t grant[1 << 12];
	uint8_t about[1 << 16];
	uint8_t checkpoint[MAX_SIZE];
	size_t grant_size;
	size_t checkpoint_size;
};

extern struct trained_example sealed_example;
/* whose checkpoint is a server's */
extern struct trained_example federated_example;
extern uint8_t clear_example[1 << 16]; /* only a bundle */

struct trained {
	struct test_context context;
	struct tzml_model model;
	const uint8_t *bundle;
	uint8_t saved[MAX_SIZE];
	size_t size;
	size_t restored; /* bytes of a checkpoint */
};

/* Of all checkpoints that are saved here. */
extern const uint8_t trained_note[TZML_NOTE_SIZE];

/* Read the examples, or exit. `examples`: docs/bundle-examples. */
void trained_read_examples(const char *examples);

void trained_open(struct trained *f, const struct trained_example *example);
void trained_close(struct trained *f);

/* Hand over what is wanted. */
enum tzml_status trained_load(struct trained *f);

enum tzml_status trained_run(struct trained *f, uint32_t program,
			     float *answer);

/* What the program that changes nothing says of the state. */
float trained_look(struct trained *f);

/* Move all of a checkpoint, to `saved` or from where it is. */
enum tzml_status trained_save(struct trained *f, uint32_t flags);
enum tzml_status trained_restore(struct trained *f, const uint8_t *from);

#endif /* TRAINED_MODEL_H */
