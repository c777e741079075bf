// SPDX-License-Identifier: Apache-2.0
#include "trained_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trained_example sealed_example;
struct trained_example federated_example;
uint8_t clear_example[1 << 16];
const uint8_t trained_note[TZML_NOTE_SIZE] = "note";

static size_t read_file(const char *folder, const char *name,
			const char *ending, uint8_t *to, size_t room)
{
	char file[64] = "";

	snprintf(file, sizeof(file), "%s.%s", name, ending);
	return test_read_file(folder, file, to, room);
}

static void read_example(const char *folder, const char *name,
			 struct trained_example *example)
{
	read_file(folder, name, "tzm", example->bundle,
		  sizeof(example->bundle));
	read_file(folder, name, "json", example->about, sizeof(example->about));
	example->grant_size = read_file(folder, name, "tzg", example->grant,
					sizeof(example->grant));
	example->checkpoint_size =
		read_file(folder, name, "tzs", example->checkpoint,
			  sizeof(example->checkpoint));
}

void trained_read_examples(const char *examples)
{
	read_example(examples, "checkpoint", &sealed_example);
	read_example(examples, "federated", &federated_example);
	test_read_file(examples, "state.tzm", clear_example,
		       sizeof(clear_example));
}

enum tzml_status trained_load(struct trained *f)
{
	return test_load(&f->model, f->bundle);
}

void trained_open(struct trained *f, const struct trained_example *example)
{
	const struct tzml_header *header = (const void *)example->bundle;

	memset(f, 0, sizeof(*f));
	f->bundle = example->bundle;
	test_context_open(&f->context);
	test_context_enroll_example(&f->context, example->about);
	if (tzml_model_open(&f->model, &test_platform, &f->context, header,
			    header->header_size) ||
	    tzml_model_take_grant(&f->model, example->grant,
				  example->grant_size) ||
	    trained_load(f))
		abort();
}

void trained_close(struct trained *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context); /* aborts for what is not wiped */
}

enum tzml_status trained_run(struct trained *f, uint32_t program, float *answer)
{
	float input[16] = { 1, 2, 3, 4 };
	enum tzml_status status =
		tzml_model_start(&f->model, program, input, sizeof(input));

	while (!status && tzml_model_running(&f->model)) {
		status =
			tzml_model_continue(&f->model, answer, sizeof(*answer));
		if (!status)
			status = trained_load(f);
	}
	return status;
}

float trained_look(struct trained *f)
{
	float answer = -1;

	return trained_run(f, 1, &answer) ? -1 : answer;
}

enum tzml_status trained_save(struct trained *f, uint32_t flags)
{
	enum tzml_status status =
		tzml_model_save(&f->model, flags, trained_note, f->saved);
	size_t size = 0;

	f->size = sizeof(struct tzml_checkpoint);
	while (!status && (size = tzml_model_segment(&f->model))) {
		status = tzml_model_save_segment(&f->model, f->saved + f->size,
						 size);
		f->size += size;
	}
	return status;
}

enum tzml_status trained_restore(struct trained *f, const uint8_t *from)
{
	size_t done = sizeof(struct tzml_checkpoint);
	enum tzml_status status = tzml_model_restore(&f->model, from, done);
	size_t size = 0;

	while (!status && (size = tzml_model_segment(&f->model))) {
		status = tzml_model_restore_segment(&f->model, from + done,
						    size);
		done += size;
	}
	f->restored = done;
	return status;
}
