// SPDX-License-Identifier: Apache-2.0
/*
 * Releases and records: what the owner signed and a client or stage sealed, and
 * the same with each field changed. All signatures and tags count as right, so
 * nothing but the checks of the fields stands between them and the model.
 */
#include <stdlib.h>
#include <string.h>
#include <tzml/stage.h>

#include "fuzz.h"

#define EPOCH 5

struct signed_release {
	struct tzml_release release;
	uint8_t signature[TZML_KEY_SIZE];
};

/* A byte of the bundle, wherever it is. */
static uint8_t byte_at(const struct fuzzed *bundle, size_t at)
{
	return bundle->data[at % bundle->size];
}

static void make_release(const struct tzml_model *model,
			 const struct tzml_stage *stage,
			 const struct fuzzed *bundle,
			 struct tzml_release *release)
{
	const struct tzml_header *header = model->header.data;

	*release = (struct tzml_release){
		.format_version = TZML_FORMAT_VERSION,
		.epoch = EPOCH,
		.stage_count = 1 + bundle->size % 3,
		.program = bundle->size / 9 % header->section_count,
		.enc = { 4 },
	};
	release->stage = bundle->size / 3 % release->stage_count;
	if (!tzml_model_plan(model, release->program))
		release->program = 0;
	memcpy(release->magic, TZML_RELEASE_MAGIC, sizeof(release->magic));
	memcpy(release->bundle_digest, header->digest, sizeof(header->digest));
	memcpy(release->owner, header->owner, sizeof(header->owner));
	memcpy(release->session, stage->id, sizeof(stage->id));
}

static void make_record(const struct tzml_stage *stage, uint8_t *data,
			size_t size)
{
	struct tzml_record record = {
		.format_version = TZML_FORMAT_VERSION,
		.epoch = stage->release.epoch,
		.edge = stage->release.stage,
		.size = size - sizeof(record) - TZML_TAG_SIZE,
	};

	memcpy(record.magic, TZML_RECORD_MAGIC, sizeof(record.magic));
	if (!record.edge)
		record.enc[0] = 4;
	memcpy(data, &record, sizeof(record));
}

/* Whether a run that began comes to its end, with a record of its own. */
static enum tzml_status go_on(struct tzml_stage *stage,
			      struct tzml_model *model,
			      const struct fuzzed *bundle)
{
	size_t size = tzml_stage_record_size(stage, model, true);
	uint64_t before = stage->sent;
	struct tzml_record *given = malloc(size);
	enum tzml_status status = TZML_SUCCESS;

	if (!given)
		return TZML_ERROR_MEMORY;
	/* outputs of a record leave in a record of the right size only */
	if (tzml_stage_continue(stage, model, given, size - 1) !=
		    TZML_ERROR_OUTPUT_SIZE ||
	    tzml_model_continue(model, given,
				size - sizeof(*given) - TZML_TAG_SIZE) !=
		    TZML_ERROR_STATE)
		abort();
	do {
		status = tzml_stage_continue(stage, model, given, size);
		if (!status)
			status = fuzz_load(model, bundle);
		if (!status && tzml_model_wanted(model) != TZML_NO_SECTION)
			status = TZML_ERROR_STATE; /* it gave up */
	} while (!status && tzml_model_running(model));
	if (stage->sent != before + !status && status != TZML_ERROR_PLATFORM)
		abort();
	if (!status &&
	    (given->counter != before ||
	     given->edge != stage->release.stage + 1 ||
	     memcmp(given->request, stage->request, TZML_REQUEST_SIZE) ||
	     memcmp(given->sender, stage->id, sizeof(stage->id))))
		abort();
	free(given);
	return status;
}

/* What is taken although a field of it is another: what nobody looks at. */
static void run_records(struct tzml_stage *stage, struct tzml_model *model,
			const struct fuzzed *bundle)
{
	size_t size = tzml_stage_record_size(stage, model, false);
	uint8_t *record = calloc(1, size);
	enum tzml_status status = TZML_SUCCESS;

	if (!record)
		return;
	make_record(stage, record, size);
	for (size_t at = 0; at < sizeof(struct tzml_record); at += 4) {
		size_t place = at + byte_at(bundle, at) % 4;

		record[place] ^= 1;
		status = tzml_stage_start(stage, model, record, size);
		/* magic to edge, and all that has to be zero */
		if (!status &&
		    (place < offsetof(struct tzml_record, request) ||
		     place >= offsetof(struct tzml_record, reserved1)))
			abort();
		record[place] ^= 1;
	}
	if (!tzml_stage_start(stage, model, record, size - 1) ||
	    !tzml_stage_start(stage, model, record, 0))
		abort();
	/* again and again, until the budget is spent */
	for (uint32_t i = 0; i < 3; i++)
		if (!tzml_stage_start(stage, model, record, size))
			(void)go_on(stage, model, bundle);
	free(record);
}

static void try_releases(struct tzml_stage *stage,
			 const struct tzml_model *model,
			 struct signed_release *made,
			 const struct fuzzed *bundle)
{
	uint8_t *data = (uint8_t *)made;

	for (size_t at = 0; at < sizeof(made->release); at += 4) {
		size_t place = at + byte_at(bundle, at) % 4;

		/* a higher epoch is taken, and the right one then old */
		if (place / 8 == offsetof(struct tzml_release, epoch) / 8)
			continue;
		data[place] ^= 1;
		if (!tzml_stage_join(stage, model, data, sizeof(*made)))
			made->release.epoch++;
		data[place] ^= 1;
	}
	if (tzml_stage_join(stage, model, data, sizeof(*made) - 1) !=
	    TZML_ERROR_RELEASE_MALFORMED)
		abort();
}

void fuzz_stage(struct tzml_model *model, const struct fuzzed *bundle)
{
	const struct tzml_key_pair key = { .secret = { 1 }, .point = { 4 } };
	const uint8_t nonce[TZML_SECRET_SIZE] = { 0 };
	struct signed_release made = { .signature = { 0 } };
	struct tzml_stage stage = { 0 };
	enum tzml_status status = tzml_stage_begin(&stage, model->platform,
						   model->context, &key, nonce);

	if (status)
		return;
	if (tzml_stage_start(&stage, model, &made, sizeof(made)) !=
	    TZML_ERROR_NOT_RELEASED)
		abort();
	make_release(model, &stage, bundle, &made.release);
	try_releases(&stage, model, &made, bundle);
	status = tzml_stage_join(&stage, model, &made, sizeof(made));
	if (!status) {
		run_records(&stage, model, bundle);
		/* once only, or its counter would begin again */
		if (model->state == TZML_MODEL_READY &&
		    tzml_stage_join(&stage, model, &made, sizeof(made)) !=
			    TZML_ERROR_RELEASE_OLD)
			abort();
	}
	tzml_stage_close(&stage);
}
