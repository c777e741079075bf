// SPDX-License-Identifier: Apache-2.0
/*
 * test_stage FOLDER: stages of a pipeline, with the specification's vectors in
 * FOLDER: what a stage gives is that, to the last byte; and what is left after
 * a failure. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline_device.h"
#include "tap.h"

static void test_vectors(void)
{
	uint8_t id[32] = { 0 };
	struct device d;

	for (int i = 0; i < STAGES; i++) {
		check(!device_get_ready(&d, i) && !device_run(&d) &&
			      device_gave_vector(&d),
		      "stage %d gives the specification's record", i);
		device_read_field("\"id", i, id);
		check(!memcmp(id, d.stage.id, sizeof(id)),
		      "and its session has that id");
		check(!device_run(&d) && !device_gave_vector(&d) &&
			      d.given[96] == 1 &&
			      memcmp(d.given + 256, records[i + 1].data + 256,
				     4),
		      "a record that comes again is sealed anew");
		device_close(&d);
	}
}

static void test_order(void)
{
	struct device d;

	device_open(&d, 0);
	check(device_join(&d) == TZML_ERROR_STATE, "no release without a key");
	check(device_run(&d) == TZML_ERROR_NOT_RELEASED, "nor a record");
	check(!device_begin(&d) && device_join(&d) == TZML_ERROR_STATE,
	      "no release without a model");
	check(!device_open_bundle(&d) && !device_join(&d) && !device_run(&d),
	      "then it runs");
	check(device_join(&d) == TZML_ERROR_RELEASE_OLD &&
		      device_run(&d) == TZML_ERROR_NOT_RELEASED,
	      "a release counts once, or counters would begin again");
	check(!device_begin(&d) && !device_join(&d) && !device_run(&d) &&
		      device_gave_vector(&d),
	      "but for a new key, which is the same here");
	tzml_model_close(&d.model);
	check(device_run(&d) == TZML_ERROR_STATE &&
		      tzml_stage_continue(&d.stage, &d.model, d.given, 1) ==
			      TZML_ERROR_STATE,
	      "a model that was closed runs no record");
	d.number = 1;
	check(!device_open_bundle(&d) &&
		      device_start_with(&d, records) == TZML_ERROR_STATE,
	      "nor does another one with its release");
	device_close(&d);
}

static void test_nobody_else_gets_the_outputs(void)
{
	float input[16] = { 1 };
	float output[16] = { 0 };
	struct file other = records[0];
	struct device d;

	check(!device_get_ready(&d, 0) && !device_start_with(&d, records),
	      "a run begins");
	check(tzml_model_continue(&d.model, output, sizeof(output)) ==
		      TZML_ERROR_STATE,
	      "whose outputs are not given in the clear");
	other.data[48] ^= 1; /* the request */
	check(device_start_with(&d, &other) == TZML_ERROR_RECORD_TAG,
	      "nor taken for another request's");
	check(!device_go_on(&d) && device_gave_vector(&d), "and which goes on");
	check(!tzml_model_start(&d.model, 0, input, sizeof(input)) &&
		      device_go_on(&d) == TZML_ERROR_STATE &&
		      !tzml_model_continue(&d.model, output, sizeof(output)),
	      "nor are those of a clear run given in a record");
	check(!device_start_with(&d, records) &&
		      tzml_stage_continue(&d.stage, &d.model, d.given, 15) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      !device_go_on(&d),
	      "a record with room of another size is not written");
	d.model.granted = true;
	d.model.grant.programs = 1;
	d.model.grant.query_budget = TZML_UNLIMITED;
	d.model.grant.output_policy = TZML_OUTPUT_SEALED;
	check(tzml_model_start(&d.model, 0, input, sizeof(input)) ==
			      TZML_ERROR_OUTPUT_POLICY &&
		      !device_run(&d),
	      "the policy sealed lets outputs leave only in records");
	device_close(&d);
}

/* Every byte of a release and of a record is looked at. */
static void test_flipped_bytes(void)
{
	struct file changed;
	uint32_t taken = 0;
	struct device d;

	device_open(&d, 0);
	if (device_begin(&d) || device_open_bundle(&d))
		abort();
	for (size_t i = 0; i < releases[0].size; i++) {
		changed = releases[0];
		changed.data[i] ^= 1;
		taken += !device_join_with(&d, &changed);
	}
	check(!taken && !device_join(&d),
	      "a release with a byte changed is refused");
	for (size_t i = 0; i < records[0].size; i++) {
		changed = records[0];
		changed.data[i] ^= 1;
		taken += !device_start_with(&d, &changed);
	}
	check(!taken && !device_run(&d) && device_gave_vector(&d),
	      "so is a record, and it costs no number");
	for (size_t i = 0; i < records[0].size; i += 37) {
		changed = records[0];
		changed.size = i;
		taken += !device_start_with(&d, &changed);
	}
	check(!taken, "so is a record that was cut");
	device_close(&d);
}

static bool is_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static void test_wiping(void)
{
	const size_t kept = offsetof(struct tzml_stage, release);
	struct file changed = releases[0];
	struct device d;

	if (device_get_ready(&d, 0))
		abort();
	check(!is_zero(d.stage.secret_in, sizeof(d.stage.secret_in)) &&
		      !is_zero(d.stage.secret_out, sizeof(d.stage.secret_out)),
	      "a stage has its secrets");
	check(!device_start_with(&d, records) &&
		      is_zero(d.stage.payload.data, d.stage.payload.size),
	      "and no inputs once a run has begun");
	check(!device_go_on(&d) &&
		      is_zero(d.stage.payload.data, d.stage.payload.size),
	      "nor outputs once they are sealed");
	changed = records[0];
	changed.data[300] ^= 1;
	check(device_start_with(&d, &changed) &&
		      is_zero(d.stage.payload.data, d.stage.payload.size),
	      "nor anything of a record that did not open");
	changed = releases[0];
	changed.data[320] ^= 1;
	check(device_join_with(&d, &changed) &&
		      is_zero((uint8_t *)&d.stage + kept,
			      sizeof(d.stage) - kept),
	      "a release that is refused leaves no secret");
	tzml_stage_close(&d.stage);
	check(is_zero(&d.stage, sizeof(d.stage)), "nor does a closed stage");
	device_close(&d);
}

/* Let everything of the platform fail once, at every call of it. */
static void test_failures(const char *what, size_t offset,
			  enum tzml_status expected, uint32_t least)
{
	enum tzml_status status = expected;
	uint32_t before = 0;
	uint32_t leaks = 0;
	struct device d;

	device_open(&d, 1);
	if (device_open_bundle(&d))
		abort();
	for (before = 0; status == expected; before++) {
		tzml_stage_close(&d.stage);
		memcpy((uint8_t *)&d.context + offset, &before, sizeof(before));
		status = device_begin(&d);
		if (!status)
			status = device_join(&d);
		if (!status)
			status = device_run(&d);
		if (d.stage.payload.data &&
		    !is_zero(d.stage.payload.data, d.stage.payload.size))
			leaks++;
	}
	check(!status && !leaks && before > least && device_gave_vector(&d),
	      "%s fails at any of %u times", what, before);
	device_close(&d);
}

static void test_without_cryptography(void)
{
	struct device d;

	device_open(&d, 0);
	check(tzml_stage_begin(&d.stage, &test_platform_ree, &d.context, &d.key,
			       d.nonce) == TZML_ERROR_PROTECTION,
	      "the normal world has no stages");
	device_close(&d);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_stage FOLDER\n", stderr);
		return 2;
	}
	device_read_files(argv[1]);
	test_vectors();
	test_order();
	test_nobody_else_gets_the_outputs();
	test_flipped_bytes();
	test_without_cryptography();
	test_wiping();
	test_failures("an allocation",
		      offsetof(struct test_context, allocations_left),
		      TZML_ERROR_MEMORY, 0);
	test_failures("a digest", offsetof(struct test_context, digests_left),
		      TZML_ERROR_PLATFORM, 6);
	test_failures("cryptography", offsetof(struct test_context, seals_left),
		      TZML_ERROR_PLATFORM, 12);
	return tap_end();
}
