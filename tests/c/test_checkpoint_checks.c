// SPDX-License-Identifier: Apache-2.0
/*
 * test_checkpoint_checks FOLDER: which checkpoints a session takes and gives,
 * by their fields, the grant's rights and what the device remembers. FOLDER has
 * the specification's examples. Prints one TAP line a check, and exits 0 if all
 * passed.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tap.h"
#include "trained_model.h"

/* What is said of a checkpoint's header. */
static enum tzml_status begin_restore(struct trained *f, const void *header)
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
	struct trained f;

	trained_open(&f, &sealed_example);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		memcpy(changed, sealed_example.checkpoint, sizeof(changed));
		changed[fields[i].offset] ^= 1;
		check(begin_restore(&f, changed) == fields[i].status,
		      "another %s: %s", fields[i].name,
		      test_status_name(fields[i].status));
	}
	memcpy(changed, sealed_example.checkpoint, sizeof(changed));
	header = (void *)changed;
	header->number = 0;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "a sealed checkpoint has a number");
	header->kind = TZML_CHECKPOINT_GLOBAL;
	f.model.grant.rights = TZML_RIGHTS;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_KIND,
	      "only a private model takes global ones");
	check(tzml_model_restore(&f.model, sealed_example.checkpoint,
				 sizeof(*header) - 1) ==
		      TZML_ERROR_CHECKPOINT_MALFORMED,
	      "a header that is cut is none");
	trained_close(&f);
}

/* Which rights allow what, each a bit, as enum tzml_right. */
static void test_rights(void)
{
	uint8_t saved[MAX_SIZE];
	struct trained f;

	trained_open(&f, &federated_example);
	f.model.grant.rights = TZML_RIGHTS;
	if (trained_save(&f, 0))
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
			      begin_restore(&f, federated_example.checkpoint) ==
				      (federates ? TZML_SUCCESS
						 : TZML_ERROR_GRANT_STATE) &&
			      trained_save(&f, TZML_SAVE_EXPORT) ==
				      (exports ? TZML_SUCCESS
					       : TZML_ERROR_GRANT_STATE) &&
			      trained_save(&f, TZML_SAVE_GIVE_UP) ==
				      (saves ? TZML_SUCCESS
					     : TZML_ERROR_GRANT_STATE),
		      "right %u allows %s", right,
		      saves	  ? "to save and restore"
		      : exports	  ? "to export"
		      : federates ? "to take a global model"
				  : "nothing of these");
	}
	trained_close(&f);
}

/* Two sessions go on from one checkpoint: which of them counts? */
static void test_forks(void)
{
	struct trained f;

	trained_open(&f, &sealed_example);
	if (trained_save(&f, 0) || tzml_model_confirm(&f.model))
		abort();
	f.context.confirmed++;
	check(trained_save(&f, 0) == TZML_ERROR_CHECKPOINT_FORKED,
	      "a session saves nothing after another did");
	check(!trained_save(&f, TZML_SAVE_GIVE_UP),
	      "unless that of the other is given up");
	trained_close(&f);
}

/* Of a private model, nothing leaves that has no noise. */
static void test_private(void)
{
	struct tzml_checkpoint *header = NULL;
	uint8_t changed[MAX_SIZE];
	struct trained f;
	uint8_t *state = NULL;
	uint64_t sums = 0;

	trained_open(&f, &sealed_example);
	header = (void *)f.saved;
	check(!trained_save(&f, TZML_SAVE_EXPORT) &&
		      header->state_size == f.model.state_memory.size,
	      "all of a state is exported");
	trained_close(&f);
	trained_open(&f, &federated_example);
	f.model.grant.rights = TZML_RIGHTS;
	sums = f.model.layout.header->sums;
	state = f.model.state_memory.data;
	check(!trained_save(&f, 0) &&
		      header->state_size == f.model.state_memory.size,
	      "all of a private one is saved");
	check(!trained_save(&f, TZML_SAVE_EXPORT) && header->state_size == sums,
	      "and its sums and what follows them are not exported");
	f.model.checkpoint = 3;
	memset(state, 7, f.model.state_memory.size);
	check(!trained_restore(&f, federated_example.checkpoint) &&
		      !f.model.checkpoint &&
		      all_zero(state + sums, f.model.state_memory.size - sums),
	      "with a global model they begin anew");
	memcpy(changed, federated_example.checkpoint, sizeof(changed));
	((struct tzml_checkpoint *)changed)->updates = 1;
	check(begin_restore(&f, changed) == TZML_ERROR_CHECKPOINT_MALFORMED,
	      "which has no updates of its own");
	trained_close(&f);
}

/* Sums to which only a part of the noise was added are worth nothing. */
static void test_noise_that_fails(void)
{
	float answer = 0;
	uint32_t update = 0;
	struct trained f;

	trained_open(&f, &federated_example);
	while (f.model.plans[update].program->role != TZML_ROLE_UPDATE)
		update++;
	f.context.digests_left = 0;
	check(trained_run(&f, update, &answer) == TZML_ERROR_PLATFORM,
	      "no update is made without random numbers");
	f.context.digests_left = UINT32_MAX;
	check(f.model.state_lost &&
		      trained_run(&f, update, &answer) == TZML_ERROR_STATE_LOST,
	      "and none after that, for a part of the noise may be there");
	trained_close(&f);
}

/* A restore that is only begun is nothing that the device must remember. */
static void test_begun(void)
{
	const size_t header = sizeof(struct tzml_checkpoint);
	struct trained f;

	trained_open(&f, &sealed_example);
	check(!tzml_model_restore(&f.model, sealed_example.checkpoint,
				  header) &&
		      !f.context.numbered && !f.context.confirmed,
	      "a checkpoint counts when all of it is restored");
	trained_close(&f);
	trained_open(&f, &federated_example);
	check(!tzml_model_restore(&f.model, federated_example.checkpoint,
				  header) &&
		      !f.context.round,
	      "so does a global model");
	check(!trained_restore(&f, federated_example.checkpoint) &&
		      f.context.round,
	      "and then it does");
	trained_close(&f);
}

static void test_confirmation(void)
{
	struct trained f;

	trained_open(&f, &sealed_example);
	check(!trained_save(&f, 0) && !trained_save(&f, TZML_SAVE_EXPORT) &&
		      !tzml_model_confirm(&f.model),
	      "a checkpoint is confirmed also after an export");
	check(tzml_model_confirm(&f.model) == TZML_ERROR_STATE, "once");
	check(!trained_save(&f, 0) && !trained_restore(&f, f.saved) &&
		      !f.model.round &&
		      tzml_model_confirm(&f.model) == TZML_ERROR_STATE,
	      "and not after another was restored, which is of no round");
	trained_close(&f);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: test_checkpoint_checks FOLDER\n", stderr);
		return 2;
	}
	trained_read_examples(argv[1]);
	test_fields();
	test_rights();
	test_forks();
	test_private();
	test_noise_that_fails();
	test_begun();
	test_confirmation();
	return tap_end();
}
