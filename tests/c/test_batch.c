// SPDX-License-Identifier: Apache-2.0
/*
 * test_batch FOLDER: several samples that are run at once answer as each does
 * alone. FOLDER has the specification's examples. Prints one TAP line a check,
 * and exits 0 if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example_kernels.h"
#include "tap.h"
#include "test_platform.h"

#define SAMPLES 5
#define NUMBERS 16

static const char *folder;

struct fixture {
	uint8_t file[1 << 16];
	struct test_context context;
	struct tzml_model model;
	float inputs[SAMPLES][NUMBERS];
	float outputs[SAMPLES];
	uint32_t loads;
};

static enum tzml_status load(struct fixture *f)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && tzml_model_wanted(&f->model) != TZML_NO_SECTION) {
		status = test_load_wanted(&f->model, f->file);
		f->loads++;
	}
	return status;
}

static void open_example(struct fixture *f, const char *name)
{
	char file[64] = "";

	memset(f, 0, sizeof(*f));
	snprintf(file, sizeof(file), "%s.tzm", name);
	test_read_file(folder, file, f->file, sizeof(f->file));
	test_context_open(&f->context);
	if (tzml_model_open(
		    &f->model, &test_platform, &f->context, f->file,
		    ((const struct tzml_header *)f->file)->header_size) ||
	    load(f)) {
		fprintf(stderr, "%s does not load\n", name);
		exit(2);
	}
	for (int i = 0; i < SAMPLES; i++)
		for (int j = 0; j < NUMBERS; j++)
			f->inputs[i][j] = (float)(i * 3 + j * (i + 1));
}

static void close_example(struct fixture *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context);
}

static enum tzml_status go_on(struct fixture *f)
{
	return tzml_batch_continue(&f->model, f->inputs, sizeof(f->inputs),
				   f->outputs, sizeof(f->outputs));
}

static enum tzml_status run_batch(struct fixture *f)
{
	enum tzml_status status = tzml_batch_start(&f->model, 0, SAMPLES);

	memset(f->outputs, 0, sizeof(f->outputs));
	f->loads = 0;
	while (!status && tzml_model_running(&f->model)) {
		status = go_on(f);
		if (!status)
			status = load(f);
	}
	return status;
}

/* The answer to one sample alone. */
static float alone(struct fixture *f, int sample)
{
	float output = -1;
	enum tzml_status status = tzml_model_start(
		&f->model, 0, f->inputs[sample], sizeof(f->inputs[sample]));

	while (!status && tzml_model_running(&f->model)) {
		status =
			tzml_model_continue(&f->model, &output, sizeof(output));
		if (!status)
			status = load(f);
	}
	return status ? -1 : output;
}

static bool answers_as_alone(struct fixture *f)
{
	float before[SAMPLES];

	for (int i = 0; i < SAMPLES; i++)
		before[i] = alone(f, i);
	if (run_batch(f) || memcmp(before, f->outputs, sizeof(before)) ||
	    before[0] == before[1])
		return false;
	for (int i = 0; i < SAMPLES; i++)
		if (alone(f, i) != before[i])
			return false;
	return true;
}

static void test_answers(void)
{
	static const char *const names[] = {
		"minimal",    "streamed",	 "weights-for-all",
		"no-weights", "output-in-state", "random-input"
	};
	struct fixture f;

	/* all but those that change their state */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		open_example(&f, names[i]);
		if (f.model.plans[0].writes_state)
			check(run_batch(&f) == TZML_ERROR_BATCH_PROGRAM,
			      "%s: what changes state is not run at once",
			      names[i]);
		else
			check(answers_as_alone(&f),
			      "%s: samples answer as each does alone",
			      names[i]);
		close_example(&f);
	}
}

static void test_loads(void)
{
	struct fixture f;
	size_t before = 0;

	open_example(&f, "streamed");
	before = f.context.allocated;
	run_batch(&f);
	check(f.loads == 1, "what is there is not loaded");
	check(!run_batch(&f) && f.loads == 2,
	      "a chunk is loaded once for all samples");
	check(f.context.allocated == before,
	      "what samples had in between is given back");
	f.context.limit = before;
	check(run_batch(&f) == TZML_ERROR_MEMORY &&
		      !tzml_model_running(&f.model) &&
		      f.context.allocated == before,
	      "without memory for it nothing is run");
	f.context.limit = SIZE_MAX;
	check(answers_as_alone(&f), "and then everything is");
	close_example(&f);

	open_example(&f, "minimal");
	f.context.limit = f.context.allocated + sizeof(struct tzml_stop);
	check(answers_as_alone(&f),
	      "samples that wait for nothing take no memory of their own");
	close_example(&f);
}

static void test_order(void)
{
	struct fixture f;
	float output = 0;

	open_example(&f, "streamed");
	check(go_on(&f) == TZML_ERROR_STATE,
	      "what was not started does not go on");
	check(tzml_batch_start(&f.model, 0, 0) == TZML_ERROR_LIMIT &&
		      tzml_batch_start(&f.model, 0, TZML_MAX_SAMPLES + 1) ==
			      TZML_ERROR_LIMIT &&
		      tzml_batch_start(&f.model, 0, UINT32_MAX) ==
			      TZML_ERROR_LIMIT,
	      "none, or more samples than there may be, are refused");
	check(tzml_batch_start(&f.model, 1, 1) == TZML_ERROR_PROGRAM &&
		      !tzml_batch_start(&f.model, 0, TZML_MAX_SAMPLES),
	      "a program that is not there is refused");
	check(!tzml_batch_start(&f.model, 0, SAMPLES) &&
		      tzml_model_continue(&f.model, &output, sizeof(output)) ==
			      TZML_ERROR_STATE,
	      "a run of several is not gone on with as one of one");
	check(tzml_batch_continue(&f.model, f.inputs, sizeof(f.inputs) - 1,
				  f.outputs,
				  sizeof(f.outputs)) == TZML_ERROR_INPUT_SIZE &&
		      tzml_batch_continue(&f.model, f.inputs, 0, f.outputs,
					  sizeof(f.outputs)) ==
			      TZML_ERROR_INPUT_SIZE &&
		      tzml_batch_continue(&f.model, f.inputs, sizeof(f.inputs),
					  f.outputs, sizeof(f.outputs) + 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_batch_continue(&f.model, f.inputs, sizeof(f.inputs),
					  f.outputs, sizeof(float)) ==
			      TZML_ERROR_OUTPUT_SIZE,
	      "inputs and outputs of other sizes are refused");
	check(!go_on(&f) && tzml_model_running(&f.model) &&
		      go_on(&f) == TZML_ERROR_STATE,
	      "it does not go on while a chunk is missing");
	check(!load(&f) && !go_on(&f) && !tzml_model_running(&f.model) &&
		      go_on(&f) == TZML_ERROR_STATE,
	      "nor at its end");
	tzml_model_start(&f.model, 0, f.inputs[0], sizeof(f.inputs[0]));
	check(go_on(&f) == TZML_ERROR_STATE,
	      "a run of one is not gone on with as one of several");
	tzml_batch_start(&f.model, 0, SAMPLES);
	go_on(&f);
	check(alone(&f, 1) == f.outputs[1],
	      "it may be given up for a run of one");
	tzml_batch_start(&f.model, 0, SAMPLES);
	go_on(&f);
	check(!tzml_model_reset(&f.model) && !load(&f) && answers_as_alone(&f),
	      "or for a reset");
	tzml_batch_start(&f.model, 0, SAMPLES);
	go_on(&f);
	tzml_model_close(&f.model);
	check(!f.context.allocated, "or when the model is closed");
	close_example(&f);
}

/* The platform aborts if what is given back was not wiped. */
static void test_failures(void)
{
	size_t before = 0;
	struct fixture f;

	open_example(&f, "streamed");
	before = f.context.allocated;
	tzml_batch_start(&f.model, 0, SAMPLES);
	go_on(&f);
	load(&f);
	example_kernels_fail = 1;
	check(go_on(&f) == TZML_ERROR_KERNEL_FAILED &&
		      !tzml_model_running(&f.model) &&
		      f.context.allocated == before,
	      "a kernel that fails ends the run, and nothing is left of it");
	example_kernels_fail = 0;
	check(answers_as_alone(&f), "and the next one is right");
	close_example(&f);

	open_example(&f, "random-input");
	before = f.context.allocated;
	f.context.digests_left = 1;
	check(run_batch(&f) == TZML_ERROR_PLATFORM &&
		      !tzml_model_running(&f.model) &&
		      f.context.allocated == before,
	      "so does a sample without random numbers");
	close_example(&f);
}

/* Who may run what at once, and what that costs. */
static void test_admission(void)
{
	struct tzml_program *program = NULL;
	struct fixture f;

	open_example(&f, "minimal");
	program = (struct tzml_program *)f.model.interface.programs;
	for (uint32_t i = TZML_ROLE_INFER; i <= TZML_ROLE_UPDATE; i++) {
		bool apart = i == TZML_ROLE_INFER || i == TZML_ROLE_EVALUATE;

		program->role = i;
		check(run_batch(&f) ==
			      (apart ? TZML_SUCCESS : TZML_ERROR_BATCH_PROGRAM),
		      "role %u is %srun at once", i, apart ? "" : "not ");
	}
	program->role = TZML_ROLE_INFER;
	f.model.granted = true;
	f.model.grant.programs = 1;
	f.model.grant.query_budget = 2 * SAMPLES - 1;
	check(!run_batch(&f) && run_batch(&f) == TZML_ERROR_BUDGET &&
		      f.outputs[0] == 0,
	      "a budget for fewer samples than all lets none run");
	f.model.grant.query_budget = TZML_UNLIMITED;
	f.model.grant.output_policy = TZML_OUTPUT_SEALED;
	check(run_batch(&f) == TZML_ERROR_OUTPUT_POLICY,
	      "the policy sealed lets no outputs leave");
	close_example(&f);
}

static void test_programs(void)
{
	float total = 0;
	struct fixture f;

	open_example(&f, "two-entries");
	for (int i = 0; i < NUMBERS; i++)
		total += f.inputs[1][i];
	check(!tzml_batch_start(&f.model, 1, SAMPLES) && !go_on(&f) &&
		      f.outputs[1] == total,
	      "the program runs that was named");
	close_example(&f);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_batch FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	test_answers();
	test_loads();
	test_order();
	test_failures();
	test_admission();
	test_programs();
	return tap_end();
}
