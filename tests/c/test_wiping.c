// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE /* memmem */
/*
 * test_wiping BUNDLE GRANT DEVICE_KEY SECRET…: what of a sealed model is left
 * in memory once it is closed, by its user or by an error. Everything of the
 * platform fails once, at every call of it; then all memory of this process is
 * searched for the secrets. The platform's allocator aborts when it gets memory
 * back that is not wiped. Key and secrets are in hexadecimal. Prints one TAP
 * line a check (https://testanything.org), and exits 0 if all passed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <tzml/model.h>
#include <unistd.h>

#include "tap.h"
#include "test_platform.h"

#define MAX_SECRETS 16
#define SECRET_SIZE 32
#define MASK	    0xa5

struct file {
	uint8_t *data;
	size_t size;
};

static struct file bundle;
static struct file grant;
static struct test_context context;

/* Masked, so that the search does not find what it searches with. */
static uint8_t secrets[MAX_SECRETS][SECRET_SIZE];
static uint32_t secret_count;

static struct file read_file(const char *path)
{
	const size_t room = 1 << 20;
	struct file file = { .data = malloc(room) };

	file.size = test_read_file(NULL, path, file.data, room);
	return file;
}

/* Masked as soon as it is read. */
static void read_secret(const char *hexadecimal)
{
	uint8_t *masked = secrets[secret_count++];

	test_read_hexadecimal(hexadecimal, masked, SECRET_SIZE);
	for (size_t i = 0; i < SECRET_SIZE; i++)
		masked[i] ^= MASK;
}

/* What memory is read to; itself not searched. */
static struct {
	uint8_t bytes[1 << 16];
	uint8_t secret[SECRET_SIZE];
} block;

/* The set of secrets, a bit each, that the block has anywhere. */
static uint32_t secrets_in_block(size_t size)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < secret_count; i++) {
		for (size_t j = 0; j < SECRET_SIZE; j++)
			block.secret[j] = secrets[i][j] ^ MASK;
		if (memmem(block.bytes, size, block.secret, SECRET_SIZE))
			found |= UINT32_C(1) << i;
	}
	return found;
}

/* Those from `start` to `end`, of which a block at a time is copied. */
static uint32_t secrets_between(int memory, uintptr_t start, uintptr_t end)
{
	uint32_t found = 0;

	while (start < end) {
		size_t room = end - start < sizeof(block.bytes)
				      ? end - start
				      : sizeof(block.bytes);
		ssize_t size = pread(memory, block.bytes, room, (off_t)start);

		if (size <= SECRET_SIZE)
			break;
		found |= secrets_in_block((size_t)size);
		/* blocks overlap: a secret may lie across two */
		start += (size_t)size - SECRET_SIZE;
		if ((size_t)size < sizeof(block.bytes))
			break;
	}
	return found;
}

/* The secrets in all memory that this process can write. */
static uint32_t secrets_in_memory(void)
{
	const uintptr_t own = (uintptr_t)&block;
	FILE *maps = fopen("/proc/self/maps", "r");
	int memory = open("/proc/self/mem", O_RDONLY);
	uintptr_t start = 0, end = 0;
	uint32_t found = 0;
	char line[4352];

	if (!maps || memory < 0)
		exit(2);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) != 2 ||
		    !strstr(line, " rw"))
			continue;
		/* what lies before the block, and what lies behind it */
		found |= secrets_between(memory, start, MIN(end, own));
		found |= secrets_between(memory,
					 MAX(start, own + sizeof(block)), end);
	}
	memset(&block, 0, sizeof(block));
	fclose(maps);
	close(memory);
	return found;
}

/* Save the state, and restore what was saved. */
static enum tzml_status save_and_restore(struct tzml_model *model)
{
	static uint8_t checkpoint[1 << 12];
	const uint8_t note[TZML_NOTE_SIZE] = { 0 };
	size_t done = sizeof(struct tzml_checkpoint);
	/* of those before, which another session may have saved */
	enum tzml_status status =
		tzml_model_save(model, TZML_SAVE_GIVE_UP, note, checkpoint);
	size_t size = 0;

	while (!status && (size = tzml_model_segment(model))) {
		status =
			tzml_model_save_segment(model, checkpoint + done, size);
		done += size;
	}
	if (!status)
		status = tzml_model_confirm(model);
	done = sizeof(struct tzml_checkpoint);
	if (!status)
		status = tzml_model_restore(model, checkpoint, done);
	while (!status && (size = tzml_model_segment(model))) {
		status = tzml_model_restore_segment(model, checkpoint + done,
						    size);
		done += size;
	}
	if (status) /* which does not close it */
		tzml_model_close(model);
	return status;
}

static enum tzml_status open_and_run(struct tzml_model *model)
{
	const struct tzml_header *header = (const void *)bundle.data;
	const struct tzml_plan *plan = NULL;
	enum tzml_status status = tzml_model_open(
		model, &test_platform, &context, header, header->header_size);
	float numbers[64] = { 1, 2, 3 };

	if (!status)
		status = tzml_model_take_grant(model, grant.data, grant.size);
	if (!status)
		status = test_load(model, bundle.data);
	if (status)
		return status;
	plan = tzml_model_plan(model, 0);
	status = tzml_model_start(model, 0, numbers, plan->inputs_size);
	if (!status)
		status =
			tzml_model_continue(model, numbers, plan->outputs_size);
	return status || !model->state_memory.size ? status
						   : save_and_restore(model);
}

static bool is_wiped(const struct tzml_model *model)
{
	const uint8_t *bytes = (const uint8_t *)model;

	for (size_t i = 0; i < sizeof(*model); i++)
		if (bytes[i])
			return false;
	return !context.allocated && !context.opened;
}

static void test_closing(void)
{
	struct tzml_model model = { 0 };
	uint32_t all = (UINT32_C(1) << secret_count) - 1;

	check(!secrets_in_memory(), "no secret is in memory at the beginning");
	check(!open_and_run(&model), "the model opens and runs");
	check(secrets_in_memory() == all,
	      "while it is open the search finds all %u secrets", secret_count);
	tzml_model_close(&model);
	check(is_wiped(&model) && !secrets_in_memory(),
	      "nothing is left once it is closed");
}

/* Let the calls that `left` counts fail, one at a time. */
static void test_failing(uint32_t *left, enum tzml_status expected,
			 uint32_t least, const char *what)
{
	enum tzml_status status = expected;
	struct tzml_model model = { 0 };
	uint32_t leaks = 0;
	uint32_t before = 0;

	for (before = 0; status == expected; before++) {
		*left = before;
		status = open_and_run(&model);
		if (status && (!is_wiped(&model) || secrets_in_memory()))
			leaks++;
	}
	*left = NEVER;
	check(!status && !leaks && before > least,
	      "%s that fails at any of %u times leaves nothing", what, before);
	tzml_model_close(&model);
}

/* A tag that is wrong is noticed after the plaintext was written. */
static void test_wrong_tags(void)
{
	const struct tzml_header *header = (const void *)bundle.data;
	uint32_t leaks = 0;
	uint32_t tried = 0;

	for (uint32_t i = 0; i < header->section_count; i++) {
		const struct tzml_section *section =
			tzml_bundle_sections(header) + i;
		uint8_t *last =
			bundle.data + section->offset + section->size - 1;
		struct tzml_model model = { 0 };

		if (!section->protection || section->type == TZML_SECTION_NOTES)
			continue;
		*last ^= 1;
		tried++;
		if (open_and_run(&model) != TZML_ERROR_SECTION_DIGEST ||
		    !is_wiped(&model) || secrets_in_memory())
			leaks++;
		*last ^= 1;
	}
	check(tried > 3 && !leaks, "nor does any of %u wrong tags", tried);
}

int main(int argc, char **argv)
{
	uint8_t key[TZML_SECRET_SIZE] = { 0 };

	if (argc < 5 || argc > 4 + MAX_SECRETS) {
		fputs("usage: test_wiping BUNDLE GRANT DEVICE_KEY SECRET…\n",
		      stderr);
		return 2;
	}
	bundle = read_file(argv[1]);
	grant = read_file(argv[2]);
	test_read_hexadecimal(argv[3], key, sizeof(key));
	for (int i = 4; i < argc; i++)
		read_secret(argv[i]);
	test_context_open(&context);
	test_context_enroll(&context, key);
	test_closing();
	test_failing(&context.allocations_left, TZML_ERROR_MEMORY, 5,
		     "an allocation");
	test_failing(&context.digests_left, TZML_ERROR_PLATFORM, 15,
		     "a digest");
	test_failing(&context.seals_left, TZML_ERROR_PLATFORM, 10,
		     "cryptography");
	test_wrong_tags();
	test_context_close(&context);
	free(bundle.data);
	free(grant.data);
	return tap_end();
}
