// SPDX-License-Identifier: Apache-2.0
/*
 * test_sealed FOLDER: when a grant may be given, and what is left after a
 * failure of the platform or its cryptography. FOLDER has the specification's
 * examples. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>

#include "hpke.h"
#include "tap.h"
#include "test_crypto.h"
#include "test_platform.h"

#define INPUT_SIZE (16 * sizeof(float))

static struct {
	uint8_t bundle[1 << 16];
	uint8_t grant[1 << 10];
	uint8_t about[1 << 16];
	size_t grant_size;
} files;

/* A device that has the key of the examples' grant. */
struct fixture {
	struct test_context context;
	struct tzml_model model;
};

static void open_device(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	test_context_open(&f->context);
	test_context_enroll_example(&f->context, files.about);
}

static void close_device(struct fixture *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context);
}

static enum tzml_status open_header(struct fixture *f,
				    const struct tzml_platform *platform)
{
	const struct tzml_header *header = (const void *)files.bundle;

	return tzml_model_open(&f->model, platform, &f->context, header,
			       header->header_size);
}

/* Give the grant in a block of its own, so that reading past it shows. */
static enum tzml_status give_grant(struct fixture *f)
{
	uint8_t *copy = malloc(files.grant_size);
	enum tzml_status status = TZML_SUCCESS;

	memcpy(copy, files.grant, files.grant_size);
	status = tzml_model_take_grant(&f->model, copy, files.grant_size);
	free(copy);
	return status;
}

static enum tzml_status open_all(struct fixture *f)
{
	enum tzml_status status = open_header(f, &test_platform);

	if (!status)
		status = give_grant(f);
	return status ? status : test_load(&f->model, files.bundle);
}

/* Whether the model answers, as the grant says, with one index. */
static bool answers(struct fixture *f)
{
	uint8_t input[INPUT_SIZE] = { 0 };
	int32_t index = -1;
	enum tzml_status status =
		tzml_model_start(&f->model, 0, input, sizeof(input));

	while (!status && tzml_model_running(&f->model))
		status = tzml_model_continue(&f->model, &index, sizeof(index));
	return !status && !index;
}

static bool is_closed(const struct fixture *f)
{
	static const struct tzml_model zeros;

	return !f->context.allocated && !f->context.opened &&
	       !memcmp(&f->model, &zeros, sizeof(zeros));
}

static void test_when_a_grant_is_taken(void)
{
	struct fixture f;

	open_device(&f);
	check(give_grant(&f) == TZML_ERROR_STATE, "not before the header");
	check(!open_header(&f, &test_platform) && !give_grant(&f) &&
		      give_grant(&f) == TZML_ERROR_STATE,
	      "a grant is taken once");
	tzml_model_close(&f.model);
	check(!open_header(&f, &test_platform) &&
		      test_load_wanted(&f.model, files.bundle) ==
			      TZML_ERROR_GRANT_ABSENT &&
		      is_closed(&f),
	      "without a grant, no sealed section is asked for");
	tzml_model_close(&f.model);
	check(!open_header(&f, &test_platform) &&
		      !tzml_model_load(
			      &f.model, 0, 0,
			      files.bundle + tzml_bundle_sections(
						     (const void *)files.bundle)
						     ->offset,
			      1) &&
		      give_grant(&f) == TZML_ERROR_STATE,
	      "not after a byte of a section was loaded");
	tzml_model_close(&f.model);
	check(!open_all(&f) && give_grant(&f) == TZML_ERROR_STATE &&
		      answers(&f),
	      "not when all is loaded, and the model still runs");
	close_device(&f);
}

static void test_without_cryptography(void)
{
	struct tzml_platform platform = test_platform;
	struct fixture f;

	platform.crypto = NULL;
	open_device(&f);
	check(!open_header(&f, &platform) &&
		      give_grant(&f) == TZML_ERROR_PROTECTION && is_closed(&f),
	      "without cryptography no grant is taken");
	check(!open_header(&f, &platform) &&
		      test_load_wanted(&f.model, files.bundle) ==
			      TZML_ERROR_PROTECTION &&
		      is_closed(&f),
	      "nor a sealed section asked for");
	close_device(&f);
}

/* The grant of the examples allows 1,000 runs. */
static void test_used_up(void)
{
	uint8_t input[INPUT_SIZE] = { 0 };
	struct fixture f;

	open_device(&f);
	f.context.runs_spent = 1000;
	check(!open_all(&f) &&
		      tzml_model_start(&f.model, 0, input, sizeof(input)) ==
			      TZML_ERROR_BUDGET &&
		      tzml_model_start(&f.model, 0, input, sizeof(input)) ==
			      TZML_ERROR_BUDGET,
	      "what is used up stays used up");
	f.context.runs_spent = 999;
	check(answers(&f) && !answers(&f), "the last run is given once");
	close_device(&f);
}

/* Samples that are run at once count one by one, all before the first answer. */
static void test_samples_used_up(void)
{
	uint8_t inputs[8 * INPUT_SIZE] = { 0 };
	int32_t indices[8] = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	struct fixture f;

	open_device(&f);
	f.context.runs_spent = 1000 - 15;
	check(!open_all(&f) && !tzml_batch_start(&f.model, 0, 8) &&
		      f.model.runs_left == 7 && f.context.runs_spent == 1000,
	      "several samples take as many runs");
	memset(indices, 0xff, sizeof(indices));
	while (!status && tzml_model_running(&f.model))
		status = tzml_batch_continue(&f.model, inputs, sizeof(inputs),
					     indices, sizeof(indices));
	check(!status && !indices[0] && !indices[7],
	      "and the grant's policy is each one's");
	check(tzml_batch_start(&f.model, 0, 8) == TZML_ERROR_BUDGET &&
		      !tzml_model_running(&f.model) && f.model.runs_left == 7,
	      "with fewer left than there are samples, none is run or counted");
	check(!tzml_batch_start(&f.model, 0, 7) && !f.model.runs_left,
	      "what is left is still there for fewer");
	close_device(&f);

	open_device(&f);
	check(!open_all(&f) &&
		      !tzml_batch_start(&f.model, 0, TZML_MAX_SAMPLES) &&
		      !tzml_batch_start(&f.model, 0, TZML_MAX_SAMPLES) &&
		      f.context.runs_spent - f.model.runs_left ==
			      2 * TZML_MAX_SAMPLES,
	      "nothing is given back of samples that were given up");
	close_device(&f);
}

/* Let everything of the platform fail once, at every call of it. */
static void test_failures(const char *what, size_t offset,
			  enum tzml_status expected, uint32_t least)
{
	enum tzml_status status = expected;
	uint32_t before = 0;
	struct fixture f;

	open_device(&f);
	for (before = 0; status == expected; before++) {
		f.context.runs_spent = 0;
		memcpy((uint8_t *)&f.context + offset, &before, sizeof(before));
		status = open_all(&f);
		if (status && !is_closed(&f))
			break;
	}
	check(!status && before > least && answers(&f),
	      "%s fails at any of %u times, and nothing is left", what, before);
	close_device(&f);
}

/* What is meant for nobody, since its point lies on no curve. */
static void test_a_seal_that_fails(void)
{
	const uint8_t peer[TZML_POINT_SIZE] = { 4, 1 };
	const uint8_t none[TZML_WRAPPED_SIZE] = { 0 };
	uint8_t secret[TZML_SECRET_SIZE];
	uint8_t enc[TZML_POINT_SIZE] = { 0 };
	uint8_t wrapped[TZML_WRAPPED_SIZE + 1];
	struct fixture f;

	open_device(&f);
	memset(secret, 0xa5, sizeof(secret));
	memset(wrapped, 0x5a, sizeof(wrapped));
	check(tzml_hpke_seal(&test_crypto, &f.context, peer, "", 0, secret, enc,
			     wrapped) != TZML_SUCCESS &&
		      !memcmp(wrapped, none, sizeof(none)) &&
		      wrapped[sizeof(none)] == 0x5a,
	      "a secret that is sealed for nobody is wiped, and nothing else");
	close_device(&f);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_sealed FOLDER\n", stderr);
		return 2;
	}
	test_read_file(argv[1], "sealed.tzm", files.bundle,
		       sizeof(files.bundle));
	test_read_file(argv[1], "sealed.json", files.about,
		       sizeof(files.about));
	files.grant_size = test_read_file(argv[1], "sealed.tzg", files.grant,
					  sizeof(files.grant));
	test_when_a_grant_is_taken();
	test_without_cryptography();
	test_a_seal_that_fails();
	test_used_up();
	test_samples_used_up();
	test_failures("an allocation",
		      offsetof(struct test_context, allocations_left),
		      TZML_ERROR_MEMORY, 5);
	test_failures("a digest", offsetof(struct test_context, digests_left),
		      TZML_ERROR_PLATFORM, 15);
	test_failures("cryptography", offsetof(struct test_context, seals_left),
		      TZML_ERROR_PLATFORM, 15);
	return tap_end();
}
