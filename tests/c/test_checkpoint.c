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

#include "check.h"
#include "tap.h"
#include "trained_model.h"

/* Whether nothing of the state or its key is left where they were moved. */
static bool is_wiped(const struct trained *f)
{
	static const struct tzml_transfer none;

	return all_zero(f->model.arena.data, f->model.arena.size) &&
	       !memcmp(&f->model.transfer, &none, sizeof(none));
}

static void test_round_trip(void)
{
	struct trained f;
	float trained = 0;
	float first = 0;
	float answer = 0;

	trained_open(&f, &sealed_example);
	first = trained_look(&f);
	check(!trained_run(&f, 0, &answer) && trained_look(&f) != first,
	      "a step changes it");
	trained = trained_look(&f);
	check(!trained_save(&f, 0) &&
		      f.size == sealed_example.checkpoint_size &&
		      !tzml_model_confirm(&f.model),
	      "its state is saved in %zu bytes",
	      sealed_example.checkpoint_size);
	check(trained_look(&f) == trained, "which changes nothing");
	f.model.round = 2;
	check(!tzml_model_reset(&f.model) && !trained_load(&f) &&
		      trained_look(&f) == first && !f.model.updates &&
		      !f.model.round,
	      "a reset brings the first state back");
	check(!trained_restore(&f, f.saved) && trained_look(&f) == trained &&
		      f.model.updates == 1,
	      "and restoring the one that was saved");
	trained_close(&f);

	trained_open(&f, &sealed_example);
	check(!trained_restore(&f, sealed_example.checkpoint) &&
		      trained_look(&f) == trained &&
		      f.restored == sealed_example.checkpoint_size,
	      "another session restores the example's, all of it");
	check(f.model.updates == 1 && f.context.confirmed == 1,
	      "and goes on from its step and number");
	trained_close(&f);
}

static void test_order(void)
{
	float input[16] = { 0 };
	float answer = 0;
	struct trained f;

	trained_open(&f, &sealed_example);
	check(tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE &&
		      tzml_model_restore_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE &&
		      !tzml_model_segment(&f.model),
	      "nothing is moved that was not begun");
	check(!tzml_model_save(&f.model, 0, trained_note, f.saved) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT - 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT + 1) ==
			      TZML_ERROR_OUTPUT_SIZE &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE,
	      "a segment has its size, and half a checkpoint is none");
	check(!trained_run(&f, 0, &answer) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE,
	      "a run gives up what was being saved");
	check(!tzml_model_save(&f.model, 0, trained_note, f.saved) &&
		      !tzml_model_reset(&f.model) && !trained_load(&f) &&
		      tzml_model_save_segment(&f.model, f.saved, SEGMENT) ==
			      TZML_ERROR_STATE,
	      "so does a reset");
	check(!tzml_model_start(&f.model, 0, input, sizeof(input)) &&
		      tzml_model_save(&f.model, 0, trained_note, f.saved) ==
			      TZML_ERROR_STATE &&
		      tzml_model_restore(&f.model, sealed_example.checkpoint,
					 sizeof(struct tzml_checkpoint)) ==
			      TZML_ERROR_STATE,
	      "nothing is begun during a run");
	/* one call is made, and the next wants another chunk */
	check(!tzml_model_continue(&f.model, &answer, sizeof(answer)) &&
		      !trained_load(&f) &&
		      !tzml_model_continue(&f.model, &answer, sizeof(answer)) &&
		      tzml_model_running(&f.model) && !trained_load(&f) &&
		      trained_run(&f, 1, &answer) == TZML_ERROR_STATE_LOST &&
		      trained_save(&f, 0) == TZML_ERROR_STATE_LOST,
	      "a state that is half changed is not saved");
	f.context.numbered = 0; /* those above were never finished */
	check(!trained_restore(&f, sealed_example.checkpoint) &&
		      trained_look(&f) > 0,
	      "restoring remedies that");
	trained_close(&f);
}

static void test_damage(void)
{
	uint8_t changed[MAX_SIZE];
	struct trained f;
	float before = 0;
	float answer = 0;

	trained_open(&f, &sealed_example);
	before = trained_look(&f);
	memcpy(changed, sealed_example.checkpoint, sizeof(changed));
	changed[sizeof(struct tzml_checkpoint)] ^= 1;
	check(trained_restore(&f, changed) == TZML_ERROR_CHECKPOINT_DAMAGED &&
		      trained_look(&f) == before,
	      "a damaged beginning changes nothing");
	memcpy(changed, sealed_example.checkpoint, sizeof(changed));
	changed[sealed_example.checkpoint_size - 1] ^= 1;
	check(trained_restore(&f, changed) == TZML_ERROR_CHECKPOINT_DAMAGED &&
		      all_zero(f.model.state_memory.data,
			       f.model.state_memory.size) &&
		      trained_run(&f, 1, &answer) == TZML_ERROR_STATE_LOST &&
		      trained_save(&f, 0) == TZML_ERROR_STATE_LOST,
	      "a damaged end leaves no state");
	check(!tzml_model_reset(&f.model) && !trained_load(&f) &&
		      trained_look(&f) == before,
	      "until it is reset");
	check(!tzml_model_restore(&f.model, sealed_example.checkpoint,
				  sizeof(struct tzml_checkpoint)) &&
		      tzml_model_restore_segment(
			      &f.model,
			      sealed_example.checkpoint +
				      sizeof(struct tzml_checkpoint),
			      SEGMENT - 1) == TZML_ERROR_CHECKPOINT_MALFORMED &&
		      !tzml_model_segment(&f.model) &&
		      trained_look(&f) == before,
	      "nor does a segment that is cut");
	check(!trained_run(&f, 0, &answer) && trained_look(&f) != before,
	      "and the session goes on");
	trained_close(&f);
}

static void test_without_state(void)
{
	struct trained f;
	size_t size = 0;

	trained_open(&f, &sealed_example);
	size = f.model.state_memory.size;
	f.model.state_memory.size = 0;
	check(trained_save(&f, 0) == TZML_ERROR_STATELESS &&
		      trained_restore(&f, sealed_example.checkpoint) ==
			      TZML_ERROR_STATELESS,
	      "a model without state has none to save or restore");
	f.model.state_memory.size = size;
	trained_close(&f);
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
	const struct tzml_header *header = (const void *)clear_example;
	struct tzml_checkpoint *saved = NULL;
	struct tzml_header *loaded = NULL;
	struct trained f = { .bundle = clear_example };
	size_t size = 0;
	size_t first = 0;
	uint8_t *state = NULL;
	float answers[3] = { 0 };

	plain.crypto = NULL;
	test_context_open(&f.context);
	if (tzml_model_open(&f.model, &plain, &f.context, header,
			    header->header_size) ||
	    trained_load(&f) || trained_run(&f, 0, answers))
		abort();
	size = f.model.state_memory.size;
	state = malloc(size);
	memcpy(state, f.model.state_memory.data, size);
	saved = (void *)f.saved;
	check(!trained_save(&f, 0) && saved->kind == TZML_CHECKPOINT_CLEAR &&
		      saved->number == 0,
	      "a model that is clear has clear checkpoints");
	first = size < saved->segment_size ? size : saved->segment_size;
	check(!memcmp(f.saved + sizeof(*saved), state, first) &&
		      has_clear_tag(f.saved, 0, f.saved + sizeof(*saved),
				    first),
	      "with the state as it is, and half of a digest");
	check(!tzml_model_confirm(&f.model) &&
		      trained_save(&f, TZML_SAVE_EXPORT) ==
			      TZML_ERROR_GRANT_STATE &&
		      !trained_save(&f, 0),
	      "of which none is counted, and none is for an export key");
	check(!trained_run(&f, 0, answers + 1) && answers[1] != answers[0] &&
		      !trained_restore(&f, f.saved) &&
		      !trained_run(&f, 0, answers + 2) &&
		      answers[2] == answers[1],
	      "which are restored");
	saved->number = 1;
	check(trained_restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "without a number");
	saved->number = 0;
	saved->bundle_digest[0] ^= 1;
	check(trained_restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_VERSION,
	      "of this version");
	loaded = f.model.header.data;
	memset(loaded->model_id, 0, sizeof(loaded->model_id));
	memset(saved->model_id, 0, sizeof(saved->model_id));
	check(trained_restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_MODEL,
	      "of this model, which is all that is known without an id");
	saved->bundle_digest[0] ^= 1;
	f.saved[f.size - 1] ^= 1;
	check(trained_restore(&f, f.saved) == TZML_ERROR_CHECKPOINT_DAMAGED,
	      "unless a bit of them has changed");
	free(state);
	trained_close(&f);
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
			  enum tzml_status (*act)(struct trained *f))
{
	enum tzml_status status = TZML_ERROR_PLATFORM;
	uint32_t before = 0;

	for (before = 0; status == TZML_ERROR_PLATFORM; before++) {
		struct trained f;

		trained_open(&f, &sealed_example);
		memcpy((uint8_t *)&f.context + offset, &before, sizeof(before));
		status = act(&f);
		if (!is_wiped(&f))
			status = TZML_ERROR_STATE;
		trained_close(&f);
	}
	check(!status && before > least, "%s, at any of %u times", what,
	      before);
}

static enum tzml_status save_all(struct trained *f)
{
	enum tzml_status status = trained_save(f, 0);

	return status ? status : tzml_model_confirm(&f->model);
}

static enum tzml_status export_all(struct trained *f)
{
	return trained_save(f, TZML_SAVE_EXPORT);
}

static enum tzml_status restore_all(struct trained *f)
{
	return trained_restore(f, sealed_example.checkpoint);
}

int main(int argc, char **argv)
{
	const size_t digests = offsetof(struct test_context, digests_left);
	const size_t seals = offsetof(struct test_context, seals_left);

	if (argc != 2) {
		fputs("usage: test_checkpoint FOLDER\n", stderr);
		return 2;
	}
	trained_read_examples(argv[1]);
	test_round_trip();
	test_order();
	test_damage();
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
