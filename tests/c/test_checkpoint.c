// SPDX-License-Identifier: Apache-2.0
/*
 * test_checkpoint FOLDER: in which order state is saved and restored, and what
 * is left after a failure of the platform. FOLDER has the specification's
 * examples. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <openssl/sha.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tzml/model.h>

#include "check.h"
#include "tap.h"
#include "test_platform.h"

#define INPUT_SIZE (16 * sizeof(float))
#define MAX_SIZE   2048		      /* of a checkpoint of the example */
#define SEGMENT (256 + TZML_TAG_SIZE) /* each of the example's but the last */

static const char *folder;
struct example {
	uint8_t bundle[1 << 16];
	uint8_t grant[1 << 12];
	uint8_t about[1 << 16];
	uint8_t checkpoint[MAX_SIZE];
	size_t grant_size;
	size_t checkpoint_size;
};

static struct example files;
static struct example federated; /* its checkpoint is a server's */
static uint8_t clear[1 << 16];
static const uint8_t note[TZML_NOTE_SIZE] = "note";

struct fixture {
	struct test_context context;
	struct tzml_model model;
	const uint8_t *bundle;
	uint8_t saved[MAX_SIZE];
	size_t size;
	size_t restored; /* of its bytes */
};

static size_t read_file(const char *name, const char *ending, uint8_t *to,
			size_t room)
{
	char path[4096] = "";
	FILE *file = NULL;
	size_t size = 0;

	snprintf(path, sizeof(path), "%s/%s.%s", folder, name, ending);
	file = fopen(path, "rb");
	if (file)
		size = fread(to, 1, room - 1, file);
	if (!size) {
		perror(path);
		exit(2);
	}
	fclose(file);
	return size;
}

static void read_example(const char *name, struct example *example)
{
	read_file(name, "tzm", example->bundle, sizeof(example->bundle));
	read_file(name, "json", example->about, sizeof(example->about));
	example->grant_size =
		read_file(name, "tzg", example->grant, sizeof(example->grant));
	example->checkpoint_size = read_file(name, "tzs", example->checkpoint,
					     sizeof(example->checkpoint));
}

static enum tzml_status load(struct fixture *f)
{
	enum tzml_status status = TZML_SUCCESS;
	uint32_t wanted = TZML_NO_SECTION;

	while (!status &&
	       (wanted = tzml_model_wanted(&f->model)) != TZML_NO_SECTION) {
		const struct tzml_section *section =
			tzml_bundle_sections((const void *)f->bundle) + wanted;

		status = tzml_model_load(&f->model, wanted, 0,
					 f->bundle + section->offset,
					 section->size);
	}
	return status;
}

static void open_example(struct fixture *f, const struct example *example)
{
	const struct tzml_header *header = (const void *)example->bundle;
	const char *hexadecimal =
		strstr((const char *)example->about, "\"device_private\": \"");
	uint8_t key[TZML_SECRET_SIZE] = { 0 };

	memset(f, 0, sizeof(*f));
	f->bundle = example->bundle;
	test_context_open(&f->context);
	hexadecimal += strlen("\"device_private\": \"");
	for (size_t i = 0; i < sizeof(key); i++)
		sscanf(hexadecimal + 2 * i, "%2hhx", key + i);
	test_context_enroll(&f->context, key);
	if (tzml_model_open(&f->model, &test_platform, &f->context, header,
			    header->header_size) ||
	    tzml_model_take_grant(&f->model, example->grant,
				  example->grant_size) ||
	    load(f))
		abort();
}

static void open_device(struct fixture *f)
{
	open_example(f, &files);
}

static void close_device(struct fixture *f)
{
	tzml_model_close(&f->model);
	test_context_close(&f->context); /* aborts for what is not wiped */
}

static enum tzml_status run(struct fixture *f, uint32_t program, float *answer)
{
	float input[16] = { 1, 2, 3, 4 };
	enum tzml_status status =
		tzml_model_start(&f->model, program, input, sizeof(input));

	while (!status && tzml_model_running(&f->model)) {
		status =
			tzml_model_continue(&f->model, answer, sizeof(*answer));
		if (!status)
			status = load(f);
	}
	return status;
}

/* What the program that changes nothing says of the state. */
static float look(struct fixture *f)
{
	float answer = -1;

	return run(f, 1, &answer) ? -1 : answer;
}

static enum tzml_status save(struct fixture *f, uint32_t flags)
{
	enum tzml_status status =
		tzml_model_save(&f->model, flags, note, f->saved);
	size_t size = 0;

	f->size = sizeof(struct tzml_checkpoint);
	while (!status && (size = tzml_model_segment(&f->model))) {
		status = tzml_model_save_segment(&f->model, f->saved + f->size,
						 size);
		f->size += size;
	}
	return status;
}

static enum tzml_status restore(struct fixture *f, const uint8_t *from)
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

/* Whether nothing of the state or its key is left where they were moved. */
static bool is_wiped(const struct fixture *f)
{
	static const struct tzml_transfer none;

	return all_zero(f->model.arena.data, f->model.arena.size) &&
	       !memcmp(&f->model.transfer, &none, sizeof(none));
}

static void test_round_trip(void)
{
	struct fixture f;
	float trained = 0;
	float first = 0;
	float answer = 0;

	open_device(&f);
	first = look(&f);
	check(!run(&f, 0, &answer) && look(&f) != first, "a step changes it");
	trained = look(&f);
	check(!save(&f, 0) && f.size == files.checkpoint_size &&
		      !tzml_model_confirm(&f.model),
	      "its state is saved in %zu bytes", files.checkpoint_size);
	check(look(&f) == trained, "which changes nothing");
	check(!tzml_model_reset(&f.model) && !load(&f) && look(&f) == first,
	      "a reset brings the first state back");
	check(!restore(&f, f.saved) && look(&f) == trained &&
		      f.model.updates == 1,
	      "and restoring the one that was saved");
	close_device(&f);

	open_device(&f);
	check(!restore(&f, files.checkpoint) && look(&f) == trained &&
		      f.restored == files.checkpoint_size,
	      "another session restores the example's, all of it");
	check(f.model.updates == 1 && f.context.confirmed == 1,
	      "and goes on from its step and number");
	close_device(&f);
}

static void test_order(void)
{
	float input[16] = { 0 };
	float answer = 0;
	struct fixture f;

	open_device(&f);
	check(tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE &&
		      tzml_model_restore_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE &&
		      !tzml_model_segment(&f.model),
	      "nothing is moved that was not begun");
	check(!tzml_model_save(&f.model, 0, note, f.saved) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT - 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT + 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE,
	      "a segment has its size, and half a checkpoint is none");
	check(!run(&f, 0, &answer) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE,
	      "a run gives up what was being saved");
	check(!tzml_model_save(&f.model, 0, note, f.saved) &&
		      !tzml_model_reset(&f.model) && !load(&f) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE,
	      "so does a reset");
	check(!tzml_model_start(&f.model, 0, input, sizeof(input)) &&
		      tzml_model_save(&f.model, 0, note, f.saved) ==
			      TZML_ERROR_STATE &&
		      tzml_model_restore(&f.model, files.checkpoint,
					 sizeof(struct tzml_checkpoint)) ==
			      TZML_ERROR_STATE,
	      "nothing is begun during a run");
	/* one call is made, and the next wants another chunk */
	check(!tzml_model_continue(&f.model, &answer, sizeof(answer)) &&
		      !load(&f) &&
		      !tzml_model_continue(&f.model, &answer, sizeof(answer)) &&
		      tzml_model_running(&f.model) && !load(&f) &&
		      run(&f, 1, &answer) == TZML_ERROR_STATE_LOST &&
		      save(&f, 0) == TZML_ERROR_STATE_LOST,
	      "a state that is half changed is not saved");
	f.context.numbered = 0; /* those above were never finished */
	check(!restore(&f, files.checkpoint) && look(&f) > 0,
	      "restoring remedies that");
	close_device(&f);
}

static void test_damage(void)
{
	uint8_t changed[MAX_SIZE];
	struct fixture f;
	float before = 0;
	float answer = 0;

	open_device(&f);
	before = look(&f);
	memcpy(changed, files.checkpoint, sizeof(changed));
	changed[sizeof(struct tzml_checkpoint)] ^= 1;
	check(restore(&f, changed) == TZML_ERROR_CHECKPOINT_DAMAGED &&
		      look(&f) == before,
	      "a damaged beginning changes nothing");
	memcpy(changed, files.checkpoint, sizeof(changed));
	changed[files.checkpoint_size - 1] ^= 1;
	check(restore(&f, changed) == TZML_ERROR_CHECKPOINT_DAMAGED &&
		      all_zero(f.model.state_memory.data,
			       f.model.state_memory.size) &&
		      run(&f, 1, &answer) == TZML_ERROR_STATE_LOST &&
		      save(&f, 0) == TZML_ERROR_STATE_LOST,
	      "a damaged end leaves no state");
	check(!tzml_model_reset(&f.model) && !load(&f) && look(&f) == before,
	      "until it is reset");
	check(!tzml_model_restore(&f.model, files.checkpoint,
				  sizeof(struct tzml_checkpoint)) &&
		      tzml_model_restore_segment(
			      &f.model,
			      files.checkpoint + sizeof(struct tzml_checkpoint),
			      SEGMENT - 1) == TZML_ERROR_CHECKPOINT_MALFORMED &&
		      !tzml_model_segment(&f.model) && look(&f) == before,
	      "nor does a segment that is cut");
	check(!run(&f, 0, &answer) && look(&f) != before,
	      "and the session goes on");
	close_device(&f);
}

/* What is said of a checkpoint's header. */
static enum tzml_status begin_restore(struct fixture *f, const void *header)
{
	return tzml_model_restore(&f->model, header,
				  sizeof(struct tzml_checkpoint));
}

static void test_fields(void)
{
	static const struct {
		const char *name;
		size_t offset;
		enum tzml_status status;
	} fields[] = {
#define FIELD(name, status) \
	{ #name, offsetof(struct tzml_checkpoint, name), status }
		FIELD(magic, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(format_version, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(header_size, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(kind, TZML_ERROR_CHECKPOINT_KIND),
		FIELD(model_id, TZML_ERROR_CHECKPOINT_MODEL),
		FIELD(owner, TZML_ERROR_CHECKPOINT_MODEL),
		FIELD(model_version, TZML_ERROR_CHECKPOINT_VERSION),
		FIELD(bundle_digest, TZML_ERROR_CHECKPOINT_VERSION),
		FIELD(device, TZML_ERROR_CHECKPOINT_DEVICE),
		FIELD(segment_size, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(state_size, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(enc, TZML_ERROR_CHECKPOINT_MALFORMED),
		FIELD(reserved, TZML_ERROR_CHECKPOINT_MALFORMED),
#undef FIELD
	};
	struct tzml_checkpoint *header = NULL;
	uint8_t changed[MAX_SIZE];
	struct fixture f;

	open_device(&f);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		memcpy(changed, files.checkpoint, sizeof(changed));
		changed[fields[i].offset] ^= 1;
		check(begin_restore(&f, changed) == fields[i].status,
		      "another %s: %s", fields[i].name,
		      test_status_name(fields[i].status));
	}
	memcpy(changed, files.checkpoint, sizeof(changed));
	header = (void *)changed;
	header->number = 0;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "a sealed checkpoint has a number");
	header->kind = TZML_CHECKPOINT_GLOBAL;
	f.model.grant.rights = TZML_RIGHTS;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_KIND,
	      "only a private model takes global ones");
	check(tzml_model_restore(&f.model, files.checkpoint,
				 sizeof(*header) - 1) ==
		      TZML_ERROR_CHECKPOINT_MALFORMED,
	      "a header that is cut is none");
	close_device(&f);
}

/* Which rights allow what, each a bit, as enum tzml_right. */
static void test_rights(void)
{
	uint8_t saved[MAX_SIZE];
	struct fixture f;

	open_example(&f, &federated);
	f.model.grant.rights = TZML_RIGHTS;
	if (save(&f, 0))
		abort();
	memcpy(saved, f.saved, sizeof(saved));
	for (uint32_t right = 1; right < TZML_RIGHTS; right *= 2) {
		bool saves = right == TZML_RIGHT_SAVE_STATE;
		bool exports = right == TZML_RIGHT_EXPORT_STATE;
		bool federates = right == TZML_RIGHT_FEDERATE;

		f.model.grant.rights = right;
		check(begin_restore(&f, saved) ==
				      (saves ? TZML_SUCCESS
					     : TZML_ERROR_GRANT_STATE) &&
			      begin_restore(&f, federated.checkpoint) ==
				      (federates ? TZML_SUCCESS
						 : TZML_ERROR_GRANT_STATE) &&
			      save(&f, TZML_SAVE_EXPORT) ==
				      (exports ? TZML_SUCCESS
					       : TZML_ERROR_GRANT_STATE) &&
			      save(&f, TZML_SAVE_GIVE_UP) ==
				      (saves ? TZML_SUCCESS
					     : TZML_ERROR_GRANT_STATE),
		      "right %u allows %s", right,
		      saves	  ? "to save and restore"
		      : exports	  ? "to export"
		      : federates ? "to take a global model"
				  : "nothing of these");
	}
	close_device(&f);
}

/* Two sessions go on from one checkpoint: which of them counts? */
static void test_forks(void)
{
	struct fixture f;

	open_device(&f);
	if (save(&f, 0) || tzml_model_confirm(&f.model))
		abort();
	f.context.confirmed++;
	check(save(&f, 0) == TZML_ERROR_CHECKPOINT_FORKED,
	      "a session saves nothing after another did");
	check(!save(&f, TZML_SAVE_GIVE_UP),
	      "unless that of the other is given up");
	close_device(&f);
}

/* Of a private model, nothing leaves that has no noise. */
static void test_private(void)
{
	struct tzml_checkpoint *header = NULL;
	uint8_t changed[MAX_SIZE];
	struct fixture f;
	uint8_t *state = NULL;
	uint64_t sums = 0;

	open_device(&f);
	header = (void *)f.saved;
	check(!save(&f, TZML_SAVE_EXPORT) &&
		      header->state_size == f.model.state_memory.size,
	      "all of a state is exported");
	close_device(&f);
	open_example(&f, &federated);
	f.model.grant.rights = TZML_RIGHTS;
	sums = f.model.layout.header->sums;
	state = f.model.state_memory.data;
	check(!save(&f, 0) && header->state_size == f.model.state_memory.size,
	      "all of a private one is saved");
	check(!save(&f, TZML_SAVE_EXPORT) && header->state_size == sums,
	      "and its sums and what follows them are not exported");
	f.model.checkpoint = 3;
	memset(state, 7, f.model.state_memory.size);
	check(!restore(&f, federated.checkpoint) && !f.model.checkpoint &&
		      all_zero(state + sums, f.model.state_memory.size - sums),
	      "with a global model they begin anew");
	memcpy(changed, federated.checkpoint, sizeof(changed));
	((struct tzml_checkpoint *)changed)->updates = 1;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "which has no updates of its own");
	close_device(&f);
}

/* A restore that is only begun is nothing that the device must remember. */
static void test_begun(void)
{
	const size_t header = sizeof(struct tzml_checkpoint);
	struct fixture f;

	open_device(&f);
	check(!tzml_model_restore(&f.model, files.checkpoint, header) &&
		      !f.context.numbered && !f.context.confirmed,
	      "a checkpoint counts when all of it is restored");
	close_device(&f);
	open_example(&f, &federated);
	check(!tzml_model_restore(&f.model, federated.checkpoint, header) &&
		      !f.context.round,
	      "so does a global model");
	check(!restore(&f, federated.checkpoint) && f.context.round,
	      "and then it does");
	close_device(&f);
}

static void test_confirmation(void)
{
	struct fixture f;

	open_device(&f);
	check(!save(&f, 0) && !save(&f, TZML_SAVE_EXPORT) &&
		      !tzml_model_confirm(&f.model),
	      "a checkpoint is confirmed also after an export");
	check(tzml_model_confirm(&f.model) == TZML_ERROR_STATE, "once");
	check(!save(&f, 0) && !restore(&f, f.saved) && !f.model.round &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE,
	      "and not after another was restored, which is of no round");
	close_device(&f);
}

static void test_without_state(void)
{
	struct fixture f;
	size_t size = 0;

	open_device(&f);
	size = f.model.state_memory.size;
	f.model.state_memory.size = 0;
	check(save(&f, 0) == TZML_ERROR_STATELESS &&
		      restore(&f, files.checkpoint) == TZML_ERROR_STATELESS,
	      "a model without state has none to save or restore");
	f.model.state_memory.size = size;
	close_device(&f);
}

/* Half of SHA-256 of the header's digest, the segment's number and the segment. */
static bool has_clear_tag(const uint8_t *saved, uint64_t number,
			  const uint8_t *segment, size_t size)
{
	uint8_t data[TZML_DIGEST_SIZE + sizeof(number) + MAX_SIZE] = { 0 };
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };

	SHA256(saved, offsetof(struct tzml_checkpoint, enc), data);
	memcpy(data + TZML_DIGEST_SIZE, &number, sizeof(number));
	memcpy(data + TZML_DIGEST_SIZE + sizeof(number), segment, size);
	SHA256(data, TZML_DIGEST_SIZE + sizeof(number) + size, digest);
	return !memcmp(segment + size, digest, TZML_TAG_SIZE);
}

/* Where nothing is protected, a checkpoint is protected only from accidents. */
static void test_clear(void)
{
	struct tzml_platform plain = test_platform;
	const struct tzml_header *header = (const void *)clear;
	struct tzml_checkpoint *saved = NULL;
	struct tzml_header *loaded = NULL;
	struct fixture f = { .bundle = clear };
	size_t size = 0;
	size_t first = 0;
	uint8_t *state = NULL;
	float answers[3] = { 0 };

	plain.crypto = NULL;
	test_context_open(&f.context);
	if (tzml_model_open(&f.model, &plain, &f.context, header,
			    header->header_size) ||
	    load(&f) || run(&f, 0, answers))
		abort();
	size = f.model.state_memory.size;
	state = malloc(size);
	memcpy(state, f.model.state_memory.data, size);
	saved = (void *)f.saved;
	check(!save(&f, 0) && saved->kind == TZML_CHECKPOINT_CLEAR &&
		      saved->number == 0,
	      "a model that is clear has clear checkpoints");
	first = size < saved->segment_size ? size : saved->segment_size;
	check(!memcmp(f.saved + sizeof(*saved), state, first) &&
		      has_clear_tag(f.saved, 0, f.saved + sizeof(*saved),
				    first),
	      "with the state as it is, and half of a digest");
	check(!tzml_model_confirm(&f.model) &&
		      save(&f, TZML_SAVE_EXPORT) == TZML_ERROR_GRANT_STATE &&
		      !save(&f, 0),
	      "of which none is counted, and none is for an export key");
	check(!run(&f, 0, answers + 1) && answers[1] != answers[0] &&
		      !restore(&f, f.saved) && !run(&f, 0, answers + 2) &&
		      answers[2] == answers[1],
	      "which are restored");
	saved->number = 1;
	check(restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "without a number");
	saved->number = 0;
	saved->bundle_digest[0] ^= 1;
	check(restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_VERSION,
	      "of this version");
	loaded = f.model.header.data;
	memset(loaded->model_id, 0, sizeof(loaded->model_id));
	memset(saved->model_id, 0, sizeof(saved->model_id));
	check(restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_MODEL,
	      "of this model, which is all that is known without an id");
	saved->bundle_digest[0] ^= 1;
	f.saved[f.size - 1] ^= 1;
	check(restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_DAMAGED,
	      "unless a bit of them has changed");
	free(state);
	close_device(&f);
}

static size_t segment_of(size_t arena)
{
	struct tzml_model model = { .arena.size = arena };

	model.transfer.direction = TZML_SAVING;
	model.transfer.size = 2 * TZML_MAX_SEGMENT_SIZE;
	return tzml_model_segment(&model) - TZML_TAG_SIZE;
}

static void test_segments(void)
{
	const size_t most = TZML_MAX_SEGMENT_SIZE;

	check(segment_of(most - 1) == most - 1 && segment_of(most) == most &&
		      segment_of(most + 1) == most,
	      "a segment is as large as the arena, up to a limit");
}

/* Let everything of the platform fail once, at every call of it. */
static void test_failures(const char *what, size_t offset, uint32_t least,
			  enum tzml_status (*act)(struct fixture *f))
{
	enum tzml_status status = TZML_ERROR_PLATFORM;
	uint32_t before = 0;

	for (before = 0; status == TZML_ERROR_PLATFORM; before++) {
		struct fixture f;

		open_device(&f);
		memcpy((uint8_t *)&f.context + offset, &before, sizeof(before));
		status = act(&f);
		if (!is_wiped(&f))
			status = TZML_ERROR_STATE;
		close_device(&f);
	}
	check(!status && before > least, "%s, at any of %u times", what,
	      before);
}

static enum tzml_status save_all(struct fixture *f)
{
	enum tzml_status status = save(f, 0);

	return status ? status : tzml_model_confirm(&f->model);
}

static enum tzml_status export_all(struct fixture *f)
{
	return save(f, TZML_SAVE_EXPORT);
}

static enum tzml_status restore_all(struct fixture *f)
{
	return restore(f, files.checkpoint);
}

int main(int argc, char **argv)
{
	const size_t digests = offsetof(struct test_context, digests_left);
	const size_t seals = offsetof(struct test_context, seals_left);

	if (argc != 2) {
		fputs("usage: test_checkpoint FOLDER\n", stderr);
		return 2;
	}
	folder = argv[1];
	read_example("checkpoint", &files);
	read_example("federated", &federated);
	read_file("state", "tzm", clear, sizeof(clear));
	test_round_trip();
	test_order();
	test_damage();
	test_fields();
	test_rights();
	test_forks();
	test_private();
	test_begun();
	test_confirmation();
	test_without_state();
	test_clear();
	test_segments();
	test_failures("a digest fails while it is saved", digests, 3, save_all);
	test_failures("cryptography fails while it is saved", seals, 4,
		      save_all);
	test_failures("cryptography fails while it is exported", seals, 10,
		      export_all);
	test_failures("a digest fails while it is restored", digests, 3,
		      restore_all);
	test_failures("cryptography fails while it is restored", seals, 4,
		      restore_all);
	return tap_end();
}
