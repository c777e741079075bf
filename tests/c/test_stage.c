// SPDX-License-Identifier: Apache-2.0
/*
 * test_stage FOLDER: stages of a pipeline, with the specification's vectors in
 * FOLDER: what a stage gives is that, to the last byte; and what is left after
 * a failure. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/stage.h>

#include "tap.h"
#include "test_platform.h"

#define STAGES 2

struct file {
	uint8_t data[1 << 14];
	size_t size;
};

static const char *folder;
static struct file about, bundles[STAGES], releases[STAGES],
	records[STAGES + 1];

static void read_file(const char *name, struct file *file)
{
	char path[4096] = "";
	FILE *stream = NULL;

	snprintf(path, sizeof(path), "%s/pipeline/%s", folder, name);
	stream = fopen(path, "rb");
	if (stream)
		file->size =
			fread(file->data, 1, sizeof(file->data) - 1, stream);
	if (!file->size) {
		perror(path);
		exit(2);
	}
	fclose(stream);
}

static void read_files(void)
{
	char name[32] = "";

	read_file("keys.json", &about);
	for (int i = 0; i <= STAGES; i++) {
		snprintf(name, sizeof(name), "%d.tzx", i);
		read_file(name, records + i);
		if (i == STAGES)
			break;
		snprintf(name, sizeof(name), "%d.tzm", i);
		read_file(name, bundles + i);
		snprintf(name, sizeof(name), "%d.tzr", i);
		read_file(name, releases + i);
	}
}

/* The `number`-th field of that name: 32 bytes in hexadecimal. */
static void read_field(const char *name, int number, uint8_t to[32])
{
	const char *at = (const char *)about.data;

	for (int i = 0; i <= number; i++)
		at = strstr(at, name) + strlen(name);
	at += strlen("\": \"");
	for (int i = 0; i < 32; i++)
		sscanf(at + 2 * i, "%2hhx", to + i);
}

/* A device with a session that runs a stage. */
struct fixture {
	int number;
	struct test_context context;
	struct tzml_model model;
	struct tzml_stage stage;
	struct tzml_key_pair key;
	uint8_t nonce[32];
	uint8_t given[4096]; /* the last record */
	size_t given_size;
};

static void open_device(struct fixture *f, int number)
{
	memset(f, 0, sizeof(*f));
	f->number = number;
	test_context_open(&f->context);
	read_field("private", number + 1, f->key.secret);
	read_field("nonce", number, f->nonce);
	test_key_pair(&f->key);
}

static void close_device(struct fixture *f)
{
	tzml_model_close(&f->model);
	tzml_stage_close(&f->stage);
	test_context_close(&f->context);
}

static enum tzml_status load(struct fixture *f)
{
	const uint8_t *bundle = bundles[f->number].data;
	enum tzml_status status = TZML_SUCCESS;

	while (!status && tzml_model_wanted(&f->model) != TZML_NO_SECTION) {
		uint32_t wanted = tzml_model_wanted(&f->model);
		const struct tzml_section *section =
			tzml_bundle_sections((const void *)bundle) + wanted;

		status = tzml_model_load(&f->model, wanted, 0,
					 bundle + section->offset,
					 section->size);
	}
	return status;
}

static enum tzml_status open_bundle(struct fixture *f)
{
	const struct tzml_header *header =
		(const void *)bundles[f->number].data;
	enum tzml_status status =
		tzml_model_open(&f->model, &test_platform, &f->context, header,
				header->header_size);

	return status ? status : load(f);
}

static enum tzml_status begin(struct fixture *f)
{
	return tzml_stage_begin(&f->stage, &test_platform, &f->context, &f->key,
				f->nonce);
}

/* From a block of its own, so that reading past it shows. */
static enum tzml_status join_with(struct fixture *f, const struct file *release)
{
	uint8_t *copy = malloc(release->size);
	enum tzml_status status = TZML_SUCCESS;

	memcpy(copy, release->data, release->size);
	status = tzml_stage_join(&f->stage, &f->model, copy, release->size);
	free(copy);
	return status;
}

static enum tzml_status join(struct fixture *f)
{
	return join_with(f, releases + f->number);
}

static enum tzml_status start_with(struct fixture *f, const struct file *record)
{
	uint8_t *copy = malloc(record->size);
	enum tzml_status status = TZML_SUCCESS;

	memcpy(copy, record->data, record->size);
	status = tzml_stage_start(&f->stage, &f->model, copy, record->size);
	free(copy);
	return status;
}

static enum tzml_status go_on(struct fixture *f)
{
	enum tzml_status status = TZML_SUCCESS;
	uint8_t *given = NULL;

	f->given_size = tzml_stage_record_size(&f->stage, &f->model, true);
	given = malloc(f->given_size);
	do {
		status = tzml_stage_continue(&f->stage, &f->model, given,
					     f->given_size);
		if (!status)
			status = load(f);
	} while (!status && tzml_model_running(&f->model));
	if (!status)
		memcpy(f->given, given, f->given_size);
	free(given);
	return status;
}

static enum tzml_status run(struct fixture *f)
{
	enum tzml_status status = start_with(f, records + f->number);

	return status ? status : go_on(f);
}

/* The device with all that comes before a record. */
static enum tzml_status get_ready(struct fixture *f, int number)
{
	enum tzml_status status = TZML_SUCCESS;

	open_device(f, number);
	status = begin(f);
	if (!status)
		status = open_bundle(f);
	return status ? status : join(f);
}

static bool is_vector(const struct fixture *f)
{
	const struct file *expected = records + f->number + 1;

	return f->given_size == expected->size &&
	       !memcmp(f->given, expected->data, expected->size);
}

static void test_vectors(void)
{
	uint8_t id[32] = { 0 };
	struct fixture f;

	for (int i = 0; i < STAGES; i++) {
		check(!get_ready(&f, i) && !run(&f) && is_vector(&f),
		      "stage %d gives the specification's record", i);
		read_field("\"id", i, id);
		check(!memcmp(id, f.stage.id, sizeof(id)),
		      "and its session has that id");
		check(!run(&f) && !is_vector(&f) && f.given[96] == 1 &&
			      memcmp(f.given + 256, records[i + 1].data + 256,
				     4),
		      "a record that comes again is sealed anew");
		close_device(&f);
	}
}

static void test_order(void)
{
	struct fixture f;

	open_device(&f, 0);
	check(join(&f) == TZML_ERROR_STATE, "no release without a key");
	check(run(&f) == TZML_ERROR_NOT_RELEASED, "nor a record");
	check(!begin(&f) && join(&f) == TZML_ERROR_STATE,
	      "no release without a model");
	check(!open_bundle(&f) && !join(&f) && !run(&f), "then it runs");
	check(join(&f) == TZML_ERROR_RELEASE_OLD &&
		      run(&f) == TZML_ERROR_NOT_RELEASED,
	      "a release counts once, or counters would begin again");
	check(!begin(&f) && !join(&f) && !run(&f) && is_vector(&f),
	      "but for a new key, which is the same here");
	tzml_model_close(&f.model);
	check(run(&f) == TZML_ERROR_STATE &&
		      tzml_stage_continue(&f.stage, &f.model, f.given, 1) ==
			      TZML_ERROR_STATE,
	      "a model that was closed runs no record");
	f.number = 1;
	check(!open_bundle(&f) && start_with(&f, records) == TZML_ERROR_STATE,
	      "nor does another one with its release");
	close_device(&f);
}

static void test_nobody_else_gets_the_outputs(void)
{
	float input[16] = { 1 };
	float output[16] = { 0 };
	struct file other = records[0];
	struct fixture f;

	check(!get_ready(&f, 0) && !start_with(&f, records), "a run begins");
	check(tzml_model_continue(&f.model, output, sizeof(output)) ==
		      TZML_ERROR_STATE,
	      "whose outputs are not given in the clear");
	other.data[48] ^= 1; /* the request */
	check(start_with(&f, &other) == TZML_ERROR_RECORD_TAG,
	      "nor taken for another request's");
	check(!go_on(&f) && is_vector(&f), "and which goes on");
	check(!tzml_model_start(&f.model, 0, input, sizeof(input)) &&
		      go_on(&f) == TZML_ERROR_STATE &&
		      !tzml_model_continue(&f.model, output, sizeof(output)),
	      "nor are those of a clear run given in a record");
	check(!start_with(&f, records) &&
		      tzml_stage_continue(&f.stage, &f.model, f.given, 15) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      !go_on(&f),
	      "a record with room of another size is not written");
	f.model.granted = true;
	f.model.grant.programs = 1;
	f.model.grant.query_budget = TZML_UNLIMITED;
	f.model.grant.output_policy = TZML_OUTPUT_SEALED;
	check(tzml_model_start(&f.model, 0, input, sizeof(input)) ==
			      TZML_ERROR_OUTPUT_POLICY &&
		      !run(&f),
	      "the policy sealed lets outputs leave only in records");
	close_device(&f);
}

/* Every byte of a release and of a record is looked at. */
static void test_flipped_bytes(void)
{
	struct file changed;
	uint32_t taken = 0;
	struct fixture f;

	open_device(&f, 0);
	if (begin(&f) || open_bundle(&f))
		abort();
	for (size_t i = 0; i < releases[0].size; i++) {
		changed = releases[0];
		changed.data[i] ^= 1;
		taken += !join_with(&f, &changed);
	}
	check(!taken && !join(&f), "a release with a byte changed is refused");
	for (size_t i = 0; i < records[0].size; i++) {
		changed = records[0];
		changed.data[i] ^= 1;
		taken += !start_with(&f, &changed);
	}
	check(!taken && !run(&f) && is_vector(&f),
	      "so is a record, and it costs no number");
	for (size_t i = 0; i < records[0].size; i += 37) {
		changed = records[0];
		changed.size = i;
		taken += !start_with(&f, &changed);
	}
	check(!taken, "so is a record that was cut");
	close_device(&f);
}

static void set_field(struct file *record, size_t offset, uint64_t value,
		      size_t size)
{
	memcpy(record->data + offset, &value, size);
}

static void test_refusals(void)
{
	struct file other = records[0];
	struct tzml_tensor *tensor = NULL;
	struct fixture f;

	if (get_ready(&f, 1))
		abort();
	check(start_with(&f, records) == TZML_ERROR_RECORD_OTHER,
	      "a record for another stage");
	close_device(&f);
	if (get_ready(&f, 0))
		abort();
	set_field(&other, 32, 8, 8);
	check(start_with(&f, &other) == TZML_ERROR_RECORD_EPOCH,
	      "a record of another epoch");
	other = records[0];
	set_field(&other, 16, 1, 8);
	check(start_with(&f, &other) == TZML_ERROR_RECORD_OTHER,
	      "a record of another pipeline");
	other = records[0];
	set_field(&other, 12, 1, 4);
	check(start_with(&f, &other) == TZML_ERROR_UNSUPPORTED,
	      "a record that requires more");
	other = records[0];
	set_field(&other, 104, UINT64_MAX, 8);
	check(start_with(&f, &other) == TZML_ERROR_RECORD_MALFORMED,
	      "a record with another size");
	other = records[0];
	other.data[300] ^= 1;
	check(start_with(&f, &other) == TZML_ERROR_RECORD_TAG,
	      "a record with another payload");
	other = records[0];
	memset(other.data + 113, 7, 64);
	check(start_with(&f, &other) == TZML_ERROR_RECORD_TAG,
	      "a client's key that is not on the curve");
	check(join_with(&f, releases + 1) == TZML_ERROR_RELEASE_OTHER,
	      "a release for another session");
	f.model.plans[0].writes_state = true;
	check(join(&f) == TZML_ERROR_STAGE_PROGRAM,
	      "a program that changes state");
	f.model.plans[0].writes_state = false;
	tensor = (struct tzml_tensor *)f.model.interface.tensors;
	tensor->flags = TZML_TENSOR_RANDOM;
	check(join(&f) == TZML_ERROR_STAGE_PROGRAM,
	      "a program that draws random numbers");
	f.context.knows_no_owner = true;
	check(join(&f) == TZML_ERROR_OWNER_UNKNOWN,
	      "a release of an owner that the device does not know");
	close_device(&f);
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
	struct fixture f;

	if (get_ready(&f, 0))
		abort();
	check(!is_zero(f.stage.secret_in, sizeof(f.stage.secret_in)) &&
		      !is_zero(f.stage.secret_out, sizeof(f.stage.secret_out)),
	      "a stage has its secrets");
	check(!start_with(&f, records) &&
		      is_zero(f.stage.payload.data, f.stage.payload.size),
	      "and no inputs once a run has begun");
	check(!go_on(&f) && is_zero(f.stage.payload.data, f.stage.payload.size),
	      "nor outputs once they are sealed");
	changed = records[0];
	changed.data[300] ^= 1;
	check(start_with(&f, &changed) &&
		      is_zero(f.stage.payload.data, f.stage.payload.size),
	      "nor anything of a record that did not open");
	changed = releases[0];
	changed.data[320] ^= 1;
	check(join_with(&f, &changed) && is_zero((uint8_t *)&f.stage + kept,
						 sizeof(f.stage) - kept),
	      "a release that is refused leaves no secret");
	tzml_stage_close(&f.stage);
	check(is_zero(&f.stage, sizeof(f.stage)), "nor does a closed stage");
	close_device(&f);
}

/* Let everything of the platform fail once, at every call of it. */
static void test_failures(const char *what, size_t offset,
			  enum tzml_status expected, uint32_t least)
{
	enum tzml_status status = expected;
	uint32_t before = 0;
	uint32_t leaks = 0;
	struct fixture f;

	open_device(&f, 1);
	if (open_bundle(&f))
		abort();
	for (before = 0; status == expected; before++) {
		tzml_stage_close(&f.stage);
		memcpy((uint8_t *)&f.context + offset, &before, sizeof(before));
		status = begin(&f);
		if (!status)
			status = join(&f);
		if (!status)
			status = run(&f);
		if (f.stage.payload.data &&
		    !is_zero(f.stage.payload.data, f.stage.payload.size))
			leaks++;
	}
	check(!status && !leaks && before > least && is_vector(&f),
	      "%s fails at any of %u times", what, before);
	close_device(&f);
}

static void test_without_cryptography(void)
{
	struct fixture f;

	open_device(&f, 0);
	check(tzml_stage_begin(&f.stage, &test_platform_ree, &f.context, &f.key,
			       f.nonce) == TZML_ERROR_PROTECTION,
	      "the normal world has no stages");
	close_device(&f);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_stage FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	read_files();
	test_vectors();
	test_order();
	test_nobody_else_gets_the_outputs();
	test_flipped_bytes();
	test_refusals();
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
