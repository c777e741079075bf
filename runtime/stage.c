// SPDX-License-Identifier: Apache-2.0
/* Stages of a pipeline: tzml/stage.h. */
#include <string.h>
#include <tzml/stage.h>

#include "check.h"
#include "hpke.h"
#include "load.h"
#include "record.h"
#include "repeat.h"

#define SESSION_LABEL "tzml session 1"
#define RELEASE_LABEL "tzml release 1"
#define CLIENT_LABEL  "tzml client 1"

/* HPKE's info for a release: all of it that stands before `enc`. */
struct release_info {
	uint8_t label[sizeof(RELEASE_LABEL) - 1];
	uint8_t digest[TZML_DIGEST_SIZE];
};

/* HPKE's info for a client's secret. */
struct client_info {
	uint8_t label[sizeof(CLIENT_LABEL) - 1];
	uint8_t pipeline[16];
	uint64_t epoch;
	uint8_t client_key[TZML_KEY_SIZE];
} __attribute__((packed));

_Static_assert(sizeof(struct release_info) == 46, "docs/bundle.md");
_Static_assert(sizeof(struct client_info) == 101, "docs/bundle.md");

static enum tzml_status digest(const struct tzml_stage *stage, const void *data,
			       size_t size, uint8_t made[TZML_DIGEST_SIZE])
{
	const struct tzml_platform *platform = stage->platform;
	enum tzml_status status = platform->digest_start(stage->context);

	if (!status)
		status = platform->digest_update(stage->context, data, size);
	return status ? status : platform->digest_finish(stage->context, made);
}

enum tzml_status tzml_stage_begin(struct tzml_stage *stage,
				  const struct tzml_platform *platform,
				  void *context,
				  const struct tzml_key_pair *key,
				  const uint8_t nonce[TZML_SECRET_SIZE])
{
	struct {
		uint8_t label[sizeof(SESSION_LABEL) - 1];
		uint8_t nonce[TZML_SECRET_SIZE];
		uint8_t point[TZML_POINT_SIZE];
	} about = { .label = SESSION_LABEL };
	enum tzml_status status = TZML_SUCCESS;

	tzml_stage_close(stage);
	if (!platform->crypto)
		return TZML_ERROR_PROTECTION;
	stage->platform = platform;
	stage->context = context;
	stage->key = *key;
	memcpy(about.nonce, nonce, sizeof(about.nonce));
	memcpy(about.point, key->point, sizeof(about.point));
	status = digest(stage, &about, sizeof(about), stage->id);
	if (status)
		tzml_stage_close(stage);
	stage->begun = !status;
	return status;
}

void tzml_stage_leave(struct tzml_stage *stage)
{
	struct tzml_block *payload = &stage->payload;

	if (payload->data) {
		wipe(payload->data, payload->size);
		stage->platform->release(stage->context, payload->data,
					 payload->size);
	}
	if (stage->platform)
		stage->platform->crypto->forget(stage->context);
	stage->released = false;
	wipe(&stage->release,
	     sizeof(*stage) - offsetof(struct tzml_stage, release));
}

void tzml_stage_close(struct tzml_stage *stage)
{
	tzml_stage_leave(stage);
	wipe(stage, sizeof(*stage));
}

/* Whether the model is the one that the release is for, and loaded. */
static bool has_model(const struct tzml_stage *stage,
		      const struct tzml_model *model)
{
	return (model->state == TZML_MODEL_READY ||
		model->state == TZML_MODEL_RUNNING) &&
	       is_equal(header_of(model)->digest, stage->release.bundle_digest,
			TZML_DIGEST_SIZE);
}

static bool is_last(const struct tzml_stage *stage)
{
	return stage->release.stage + 1 == stage->release.stage_count;
}

/* The part of a payload before the tensors: the answer's secret. */
static size_t carried(uint32_t edge, const struct tzml_stage *stage)
{
	return edge && edge < stage->release.stage_count ? TZML_SECRET_SIZE : 0;
}

static size_t payload_size(const struct tzml_stage *stage,
			   const struct tzml_model *model, bool given)
{
	const struct tzml_plan *plan =
		tzml_model_plan(model, stage->release.program);
	uint32_t edge = stage->release.stage + given;

	return carried(edge, stage) +
	       (given ? plan->outputs_size : plan->inputs_size);
}

size_t tzml_stage_record_size(const struct tzml_stage *stage,
			      const struct tzml_model *model, bool given)
{
	return sizeof(struct tzml_record) + payload_size(stage, model, given) +
	       TZML_TAG_SIZE;
}

/* What nobody but the owner can have written is believed after this. */
static enum tzml_status check_owner(const struct tzml_stage *stage,
				    const struct tzml_release *release,
				    const uint8_t signature[TZML_KEY_SIZE])
{
	const struct tzml_crypto *crypto = stage->platform->crypto;
	uint8_t made[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (memcmp(release->magic, TZML_RELEASE_MAGIC,
		   sizeof(release->magic)) ||
	    release->format_version != TZML_FORMAT_VERSION)
		return TZML_ERROR_RELEASE_MALFORMED;
	status = crypto->know(stage->context, release->owner);
	if (!status)
		status = digest(stage, release, sizeof(*release), made);
	return status ? status
		      : crypto->verify(stage->context, release->owner, made,
				       signature);
}

static enum tzml_status check_fields(const struct tzml_release *release)
{
	if (release->required)
		return TZML_ERROR_UNSUPPORTED;
	if (!release->stage_count || release->stage_count > TZML_MAX_STAGES ||
	    release->stage >= release->stage_count ||
	    release->epoch == UINT64_MAX || release->reserved ||
	    !all_zero(release->reserved1, sizeof(release->reserved1)))
		return TZML_ERROR_RELEASE_MALFORMED;
	return TZML_SUCCESS;
}

/*
 * Whether a record that comes twice gets the same answer, and changes nothing
 * twice. Copies of one session, as of an emulated machine, then also seal
 * nothing but the same for one request.
 */
static bool is_repeatable(const struct tzml_model *model,
			  const struct tzml_plan *plan)
{
	for (uint32_t i = 0; i < plan->program->input_count; i++)
		if (model->interface.tensors[plan->ports[i]].flags ==
		    TZML_TENSOR_RANDOM)
			return false;
	return !plan->writes_state;
}

/* Whether the release is for this session, with this model in it. */
static enum tzml_status check_fit(const struct tzml_stage *stage,
				  const struct tzml_model *model,
				  const struct tzml_release *release)
{
	const struct tzml_header *header = header_of(model);
	const struct tzml_plan *plan = NULL;

	if (!is_equal(release->session, stage->id, sizeof(stage->id)) ||
	    !is_equal(release->bundle_digest, header->digest,
		      sizeof(header->digest)) ||
	    (!all_zero(header->owner, sizeof(header->owner)) &&
	     memcmp(release->owner, header->owner, sizeof(header->owner))))
		return TZML_ERROR_RELEASE_OTHER;
	plan = tzml_model_plan(model, release->program);
	if (!plan)
		return TZML_ERROR_PROGRAM;
	if (!is_repeatable(model, plan))
		return TZML_ERROR_STAGE_PROGRAM;
	return release->epoch < stage->next_epoch ? TZML_ERROR_RELEASE_OLD
						  : TZML_SUCCESS;
}

static enum tzml_status unwrap(struct tzml_stage *stage,
			       const struct tzml_release *release)
{
	const struct tzml_receiver session = { stage->platform->crypto,
					       stage->context, &stage->key };
	struct release_info info = { .label = RELEASE_LABEL };
	const struct tzml_hpke_info about = { &info, sizeof(info) };
	uint8_t secrets[2 * TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status =
		digest(stage, release, offsetof(struct tzml_release, enc),
		       info.digest);

	if (!status)
		status = tzml_hpke_open(&session, release->enc, &about,
					release->wrapped, secrets,
					sizeof(secrets));
	memcpy(stage->secret_in, secrets, TZML_SECRET_SIZE);
	memcpy(stage->secret_out, secrets + TZML_SECRET_SIZE, TZML_SECRET_SIZE);
	wipe(secrets, sizeof(secrets));
	/* the owner signed what does not open: it was made wrongly */
	return status == TZML_ERROR_SECTION_DIGEST
		       ? TZML_ERROR_RELEASE_MALFORMED
		       : status;
}

static enum tzml_status make_room(struct tzml_stage *stage,
				  const struct tzml_model *model)
{
	size_t in = payload_size(stage, model, false);
	size_t out = payload_size(stage, model, true);
	size_t size = in > out ? in : out;

	if (size >= TZML_MAX_SEALED_SIZE)
		return TZML_ERROR_LIMIT;
	stage->payload.data = stage->platform->allocate(stage->context, size);
	if (!stage->payload.data)
		return TZML_ERROR_MEMORY;
	stage->payload.size = size;
	return TZML_SUCCESS;
}

enum tzml_status tzml_stage_join(struct tzml_stage *stage,
				 const struct tzml_model *model,
				 const void *data, size_t size)
{
	struct {
		struct tzml_release release;
		uint8_t signature[TZML_KEY_SIZE];
	} copy;
	enum tzml_status status = TZML_SUCCESS;

	if (!stage->begun || model->state != TZML_MODEL_READY)
		return TZML_ERROR_STATE;
	tzml_stage_leave(stage);
	if (size != sizeof(copy))
		return TZML_ERROR_RELEASE_MALFORMED;
	memcpy(&copy, data, sizeof(copy));
	status = check_owner(stage, &copy.release, copy.signature);
	if (!status)
		status = check_fields(&copy.release);
	if (!status)
		status = check_fit(stage, model, &copy.release);
	if (!status)
		status = unwrap(stage, &copy.release);
	stage->release = copy.release;
	if (!status)
		status = make_room(stage, model);
	if (status) {
		tzml_stage_leave(stage);
		return status;
	}
	stage->next_epoch = copy.release.epoch + 1;
	stage->released = true;
	return TZML_SUCCESS;
}

/* The secret that a client sealed to the pipeline's key. */
static enum tzml_status client_secret(struct tzml_stage *stage,
				      const struct tzml_record *record,
				      uint8_t secret[TZML_SECRET_SIZE])
{
	struct tzml_key_pair key = { .point = { 4 } };
	const struct tzml_receiver pipeline = { stage->platform->crypto,
						stage->context, &key };
	struct client_info info = { .label = CLIENT_LABEL,
				    .epoch = record->epoch };
	const struct tzml_hpke_info about = { &info, sizeof(info) };
	struct tzml_client *client = stage->clients;
	enum tzml_status status = TZML_SUCCESS;

	for (uint32_t i = 0; i < TZML_KNOWN_CLIENTS; i++, client++) {
		if (memcmp(client->enc, record->enc, sizeof(client->enc)) ||
		    memcmp(client->wrapped, record->wrapped,
			   sizeof(client->wrapped)))
			continue;
		memcpy(secret, client->secret, TZML_SECRET_SIZE);
		return TZML_SUCCESS;
	}
	memcpy(key.secret, stage->secret_in, sizeof(key.secret));
	memcpy(key.point + 1, stage->release.client_key, TZML_KEY_SIZE);
	memcpy(info.pipeline, record->pipeline, sizeof(info.pipeline));
	memcpy(info.client_key, stage->release.client_key,
	       sizeof(info.client_key));
	status = tzml_hpke_open(&pipeline, record->enc, &about, record->wrapped,
				secret, TZML_SECRET_SIZE);
	wipe(&key, sizeof(key));
	if (status)
		return status == TZML_ERROR_SECTION_DIGEST
			       ? TZML_ERROR_RECORD_TAG
			       : status;
	client = stage->clients + stage->client_count++ % TZML_KNOWN_CLIENTS;
	memcpy(client->enc, record->enc, sizeof(client->enc));
	memcpy(client->wrapped, record->wrapped, sizeof(client->wrapped));
	memcpy(client->secret, secret, sizeof(client->secret));
	return TZML_SUCCESS;
}

static enum tzml_status check_record(const struct tzml_stage *stage,
				     const struct tzml_model *model,
				     const struct tzml_record *record,
				     size_t size)
{
	const struct tzml_release *release = &stage->release;

	if (memcmp(record->magic, TZML_RECORD_MAGIC, sizeof(record->magic)) ||
	    record->format_version != TZML_FORMAT_VERSION || record->reserved ||
	    !all_zero(record->reserved1, sizeof(record->reserved1)))
		return TZML_ERROR_RECORD_MALFORMED;
	if (record->required)
		return TZML_ERROR_UNSUPPORTED;
	if (memcmp(record->pipeline, release->pipeline,
		   sizeof(record->pipeline)) ||
	    record->edge != release->stage)
		return TZML_ERROR_RECORD_OTHER;
	if (record->epoch != release->epoch)
		return TZML_ERROR_RECORD_EPOCH;
	if (record->size != payload_size(stage, model, false) ||
	    size != tzml_stage_record_size(stage, model, false) ||
	    (record->edge &&
	     !(all_zero(record->enc, sizeof(record->enc)) &&
	       all_zero(record->wrapped, sizeof(record->wrapped)))))
		return TZML_ERROR_RECORD_MALFORMED;
	return TZML_SUCCESS;
}

/* Open the payload, and take the secret of the answer from where it is. */
static enum tzml_status open_payload(struct tzml_stage *stage,
				     const struct tzml_record *record,
				     const uint8_t *sealed,
				     uint8_t answer[TZML_SECRET_SIZE])
{
	const struct tzml_sealer sealer = { stage->platform->crypto,
					    stage->context };
	uint8_t secret[TZML_SECRET_SIZE] = { 0 };
	uint8_t tag[TZML_TAG_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(stage->payload.data, sealed, record->size);
	memcpy(tag, sealed + record->size, sizeof(tag));
	if (record->edge)
		memcpy(secret, stage->secret_in, sizeof(secret));
	else
		status = client_secret(stage, record, secret);
	if (!status)
		status = tzml_record_open(&sealer, secret, record,
					  stage->payload.data, tag);
	if (!status && record->edge)
		memcpy(answer, stage->payload.data, TZML_SECRET_SIZE);
	else if (!status)
		status = tzml_answer_secret(&sealer, secret, record, answer);
	wipe(secret, sizeof(secret));
	return status;
}

enum tzml_status tzml_stage_start(struct tzml_stage *stage,
				  struct tzml_model *model, const void *data,
				  size_t size)
{
	struct tzml_record record = { 0 };
	uint8_t answer[TZML_SECRET_SIZE] = { 0 };
	uint8_t *payload = stage->payload.data;
	enum tzml_status status = TZML_SUCCESS;
	struct tzml_request request = { 0 };
	size_t skipped = 0;

	if (!stage->released)
		return TZML_ERROR_NOT_RELEASED;
	if (!has_model(stage, model))
		return TZML_ERROR_STATE;
	if (size < sizeof(record))
		return TZML_ERROR_RECORD_MALFORMED;
	memcpy(&record, data, sizeof(record));
	status = check_record(stage, model, &record, size);
	if (!status)
		status = open_payload(stage, &record,
				      (const uint8_t *)data + sizeof(record),
				      answer);
	skipped = carried(record.edge, stage);
	memcpy(request.id, record.request, sizeof(request.id));
	memcpy(request.pipeline, record.pipeline, sizeof(request.pipeline));
	request.epoch = record.epoch;
	if (!status)
		status = tzml_start_sealed(model, stage->release.program,
					   &request, payload + skipped,
					   record.size - skipped);
	/* what is refused changes nothing of the run that is under way */
	if (!status) {
		memcpy(stage->request, record.request, sizeof(stage->request));
		memcpy(stage->answer_secret, answer, sizeof(answer));
	}
	wipe(payload, stage->payload.size);
	wipe(answer, sizeof(answer));
	return status;
}

static void fill_header(struct tzml_stage *stage, struct tzml_record *record,
			uint64_t size)
{
	const struct tzml_release *release = &stage->release;

	*record = (struct tzml_record){
		.format_version = TZML_FORMAT_VERSION,
		.epoch = release->epoch,
		.edge = release->stage + 1,
		.counter = stage->sent++,
		.size = size,
	};
	memcpy(record->magic, TZML_RECORD_MAGIC, sizeof(record->magic));
	memcpy(record->pipeline, release->pipeline, sizeof(record->pipeline));
	memcpy(record->request, stage->request, sizeof(record->request));
	memcpy(record->sender, stage->id, sizeof(record->sender));
}

/* Seal what the run left in the payload. */
static enum tzml_status give_record(struct tzml_stage *stage, uint64_t size,
				    uint8_t *to)
{
	const struct tzml_sealer sealer = { stage->platform->crypto,
					    stage->context };
	uint8_t tag[TZML_TAG_SIZE] = { 0 };
	struct tzml_record record;
	enum tzml_status status = TZML_SUCCESS;

	fill_header(stage, &record, size);
	status = tzml_record_seal(&sealer,
				  is_last(stage) ? stage->answer_secret
						 : stage->secret_out,
				  &record, stage->payload.data, tag);
	if (status)
		return status;
	memcpy(to, &record, sizeof(record));
	memcpy(to + sizeof(record), stage->payload.data, size);
	memcpy(to + sizeof(record) + size, tag, sizeof(tag));
	return TZML_SUCCESS;
}

enum tzml_status tzml_stage_continue(struct tzml_stage *stage,
				     struct tzml_model *model, void *to,
				     size_t room)
{
	uint8_t *payload = stage->payload.data;
	enum tzml_status status = TZML_SUCCESS;
	size_t skipped = 0;
	size_t size = 0;

	if (!stage->released)
		return TZML_ERROR_NOT_RELEASED;
	if (!has_model(stage, model))
		return TZML_ERROR_STATE;
	if (room != tzml_stage_record_size(stage, model, true))
		return TZML_ERROR_OUTPUT_SIZE;
	size = payload_size(stage, model, true);
	skipped = carried(stage->release.stage + 1, stage);
	memcpy(payload, stage->answer_secret, skipped);
	status = tzml_continue_sealed(model, payload + skipped, size - skipped);
	if (!status && !tzml_model_running(model))
		status = give_record(stage, size, to);
	wipe(payload, stage->payload.size);
	return status;
}
