// SPDX-License-Identifier: Apache-2.0
/*
 * test_repeat FOLDER: which runs a budget does not count, since they were there
 * before. FOLDER has the specification's examples. Prints one TAP line a check,
 * and exits 0 if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_device.h"
#include "tap.h"

#define NUMBERS 16
#define BUDGET	1000

static const char *folder;

struct fixture {
	uint8_t file[1 << 16];
	struct test_context context;
	struct tzml_model model;
	float inputs[NUMBERS];
	float output;
};

/* As if a grant for so many runs had been taken. */
static void grant_runs(struct tzml_model *model, uint64_t runs)
{
	model->granted = true;
	model->grant.programs = 1;
	model->grant.rights = TZML_RIGHTS;
	model->grant.query_budget = runs;
}

static void open_again(struct fixture *f)
{
	const struct tzml_header *header = (const void *)f->file;

	if (tzml_model_open(&f->model, &test_platform, &f->context, f->file,
			    header->header_size) ||
	    test_load(&f->model, f->file))
		abort();
	grant_runs(&f->model, BUDGET);
}

static void open_example(struct fixture *f, const char *name)
{
	char file[64] = "";

	memset(f, 0, sizeof(*f));
	snprintf(file, sizeof(file), "%s.tzm", name);
	test_read_file(folder, file, f->file, sizeof(f->file));
	test_context_open(&f->context);
	open_again(f);
	for (int i = 0; i < NUMBERS; i++)
		f->inputs[i] = (float)(i + 1);
}

static void close_example(struct fixture *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context);
}

/* Runs of the budget that are used up. */
static uint64_t spent(const struct fixture *f)
{
	return f->context.runs_spent - f->model.runs_left;
}

static enum tzml_status start(struct fixture *f, uint8_t id)
{
	const uint8_t whole[TZML_REQUEST_SIZE] = { [15] = id };

	return tzml_model_start_request(&f->model, 0, whole, f->inputs,
					sizeof(f->inputs));
}

static enum tzml_status finish(struct fixture *f)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && tzml_model_running(&f->model)) {
		status = tzml_model_continue(&f->model, &f->output,
					     sizeof(f->output));
		if (!status)
			status = test_load(&f->model, f->file);
	}
	return status;
}

/* What a run under that id costs, or -1 if it is refused. */
static int cost(struct fixture *f, uint8_t id)
{
	uint64_t before = spent(f);

	return start(f, id) || finish(f) ? -1 : (int)(spent(f) - before);
}

static void test_the_same_again(void)
{
	uint32_t free_runs = 0;
	struct fixture f;
	float first = 0;

	open_example(&f, "streamed");
	check(cost(&f, 1) == 1, "a request costs a run");
	first = f.output;
	for (int i = 0; i < TZML_FREE_RUNS; i++) {
		f.output = 0;
		free_runs += !cost(&f, 1) && f.output == first;
	}
	check(free_runs == TZML_FREE_RUNS,
	      "that costs nothing, and gives the same bits, three times again");
	check(cost(&f, 1) == 1 && !cost(&f, 1),
	      "a fourth time it counts, and is known again");
	close_example(&f);
}

static void test_everything_else(void)
{
	const uint8_t id[TZML_REQUEST_SIZE] = { [15] = 1 };
	struct fixture other;
	struct fixture f;
	uint64_t before = 0;

	open_example(&f, "streamed");
	open_example(&other, "streamed");
	check(cost(&f, 1) == 1 && cost(&f, 2) == 1, "another id counts");
	f.inputs[NUMBERS - 1] += 1;
	check(cost(&f, 1) == 1, "the same id with another input counts");
	f.inputs[NUMBERS - 1] -= 1;
	check(!cost(&f, 1) && !cost(&f, 2), "and those before are still known");
	before = spent(&f);
	check(!tzml_model_start(&f.model, 0, f.inputs, sizeof(f.inputs)) &&
		      !finish(&f) && spent(&f) == before + 1,
	      "without an id it counts");
	check(cost(&other, 1) == 1, "in another session it counts");
	check(!tzml_model_reset(&f.model) && !test_load(&f.model, f.file) &&
		      !cost(&f, 1),
	      "a reset of a model without state changes nothing");
	tzml_model_close(&f.model);
	f.context.runs_spent = 0;
	open_again(&f);
	check(cost(&f, 1) == 1, "when the model is opened again it counts");
	before = spent(&f);
	check(!tzml_batch_start(&f.model, 0, 2) && spent(&f) == before + 2,
	      "several samples at once count");
	check(tzml_model_start_request(&f.model, 1, id, f.inputs,
				       sizeof(f.inputs)) == TZML_ERROR_PROGRAM,
	      "a program that is not there is refused");
	close_example(&other);
	close_example(&f);
}

static void test_what_is_not_answered(void)
{
	struct fixture f;

	open_example(&f, "streamed");
	check(!start(&f, 1) && spent(&f) == 1 && cost(&f, 1) == 1 &&
		      !cost(&f, 1),
	      "what was begun and not answered is not known");
	check(!start(&f, 2) && !tzml_model_reset(&f.model) &&
		      !test_load(&f.model, f.file) && cost(&f, 2) == 1,
	      "nor what a reset ended");
	for (int i = 0; i < TZML_FREE_RUNS; i++)
		check(!start(&f, 2), "a repetition begins, and does not end");
	check(cost(&f, 2) == 1, "each of them was one of the three");
	f.context.digests_left = 0;
	check(start(&f, 3) == TZML_ERROR_PLATFORM && spent(&f) == 5,
	      "without a digest it is refused, and costs nothing");
	f.context.digests_left = NEVER;
	close_example(&f);
}

static void test_the_window(void)
{
	struct fixture f;
	int costs = 0;

	open_example(&f, "streamed");
	for (int i = 0; i < TZML_KNOWN_REQUESTS; i++)
		costs += cost(&f, (uint8_t)i);
	check(costs == TZML_KNOWN_REQUESTS && !cost(&f, 0) && !cost(&f, 31),
	      "the oldest of 32 requests is known");
	check(cost(&f, 32) == 1 && cost(&f, 0) == 1 && !cost(&f, 2) &&
		      cost(&f, 1) == 1,
	      "those that newer ones have displaced count");
	close_example(&f);
}

/* The normal world changes its memory while the TA looks at the inputs. */
static void test_what_is_copied(void)
{
	struct fixture f;
	float kept[NUMBERS];
	float first = 0;

	open_example(&f, "streamed");
	memcpy(kept, f.inputs, sizeof(kept));
	f.context.shared = (uint8_t *)f.inputs;
	f.context.shared_size = sizeof(f.inputs);
	check(cost(&f, 1) == 1 && memcmp(kept, f.inputs, sizeof(kept)),
	      "a request's inputs change while they are digested");
	f.context.shared = NULL;
	first = f.output;
	check(cost(&f, 1) == 1, "what came too late was not digested");
	memcpy(f.inputs, kept, sizeof(kept));
	f.output = 0;
	check(!cost(&f, 1) && f.output == first,
	      "but what was copied and answered");
	close_example(&f);
}

static void test_the_end_of_the_budget(void)
{
	struct fixture f;

	open_example(&f, "streamed");
	f.model.grant.query_budget = 2;
	check(cost(&f, 1) == 1 && cost(&f, 2) == 1 && !cost(&f, 1) &&
		      !cost(&f, 2),
	      "with the budget used up, what was answered is given again");
	check(start(&f, 3) == TZML_ERROR_BUDGET, "and nothing else");
	f.inputs[0] += 1;
	check(start(&f, 1) == TZML_ERROR_BUDGET,
	      "under a known id another input is refused");
	f.inputs[0] -= 1;
	check(!cost(&f, 1) && !cost(&f, 1) && start(&f, 1) == TZML_ERROR_BUDGET,
	      "after three times it is refused");
	f.model.grant.programs = 2;
	check(start(&f, 2) == TZML_ERROR_GRANT_PROGRAM,
	      "a program that the grant lacks is refused, known or not");
	close_example(&f);
}

/* The second input, and the second program. */
static void test_all_of_it_counts(void)
{
	const uint8_t id[TZML_REQUEST_SIZE] = { [15] = 1 };
	float both[2 * NUMBERS] = { 0 };
	struct fixture f;
	int costs[4];

	open_example(&f, "two-inputs");
	for (int i = 0; i < 4; i++) {
		uint64_t before = spent(&f);

		both[2 * NUMBERS - 1] = i % 2 ? 1 : 0;
		if (tzml_model_start_request(&f.model, 0, id, both,
					     sizeof(both)) ||
		    finish(&f))
			abort();
		costs[i] = (int)(spent(&f) - before);
	}
	check(costs[0] == 1 && costs[1] == 1 && !costs[2] && !costs[3],
	      "the last number of the last input is looked at");
	close_example(&f);
	open_example(&f, "two-entries");
	f.model.grant.programs = 3;
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t before = spent(&f);

		if (tzml_model_start_request(&f.model, i % 2, id, f.inputs,
					     sizeof(f.inputs)) ||
		    finish(&f))
			abort();
		costs[i] = (int)(spent(&f) - before);
	}
	check(costs[0] == 1 && costs[1] == 1 && !costs[2] && !costs[3],
	      "and so is the program");
	close_example(&f);
}

static void test_what_gives_other_bits(void)
{
	static const char *const names[] = { "state", "random-input" };
	struct fixture f;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		open_example(&f, names[i]);
		check(cost(&f, 1) == 1 && cost(&f, 1) == 1,
		      "%s: each run counts", names[i]);
		close_example(&f);
	}
}

static void test_without_a_budget(void)
{
	struct fixture f;

	open_example(&f, "streamed");
	f.model.grant.query_budget = TZML_UNLIMITED;
	f.context.digests_left = 0;
	check(!start(&f, 1) && !f.model.repeats.pending,
	      "without a budget nothing is digested and kept");
	f.model.granted = false;
	check(!start(&f, 1) && !f.model.repeats.pending, "nor without a grant");
	f.context.digests_left = NEVER;
	close_example(&f);
}

static void test_records(void)
{
	struct tzml_record *record = NULL;
	float inputs[NUMBERS] = { 0 };
	struct file other = { 0 };
	struct device d;
	uint64_t before = 0;
	uint32_t taken = 0;

	if (device_get_ready(&d, 0))
		abort();
	grant_runs(&d.model, BUDGET);
	d.model.grant.output_policy = TZML_OUTPUT_SEALED;
	check(!device_run(&d) && d.context.runs_spent - d.model.runs_left == 1,
	      "a record costs a run");
	for (int i = 0; i < TZML_FREE_RUNS; i++)
		taken += !device_run(&d) &&
			 d.context.runs_spent - d.model.runs_left == 1;
	check(taken == TZML_FREE_RUNS, "that is free three times again");
	check(!device_run(&d) && d.context.runs_spent - d.model.runs_left == 2,
	      "and then counts");
	other = records[0];
	record = (void *)other.data;
	record->request[0] ^= 1;
	before = d.model.runs_left;
	check(device_start_with(&d, &other) == TZML_ERROR_RECORD_TAG &&
		      d.model.runs_left == before,
	      "nobody gives a record another id");
	d.model.grant.output_policy = TZML_OUTPUT_FULL;
	record = (void *)records[0].data;
	check(!tzml_model_start_request(&d.model, 0, record->request, inputs,
					sizeof(inputs)) &&
		      d.model.runs_left == before - 1,
	      "a clear run under a record's id counts");
	device_close(&d);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_repeat FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	device_read_files(folder);
	test_the_same_again();
	test_everything_else();
	test_what_is_not_answered();
	test_the_window();
	test_what_is_copied();
	test_the_end_of_the_budget();
	test_all_of_it_counts();
	test_what_gives_other_bits();
	test_without_a_budget();
	test_records();
	return tap_end();
}
