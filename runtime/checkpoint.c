// SPDX-License-Identifier: Apache-2.0
/* Checkpoints of a model's state: docs/bundle.md, "Checkpoint (.tzs)". */
#include <string.h>

#include "check.h"
#include "checkpoint.h"
#include "grant.h"
#include "hpke.h"
#include "load.h"

#define HPKE_LABEL   "tzml export 1"
#define GLOBAL_LABEL "tzml global 1"
#define BOUND_SIZE   offsetof(struct tzml_checkpoint, enc)

struct hpke_info {
	uint8_t label[sizeof(HPKE_LABEL) - 1];
	uint8_t digest[TZML_DIGEST_SIZE];
};

/* HKDF's info, and its counter of blocks */
struct global_info {
	uint8_t label[sizeof(GLOBAL_LABEL) - 1];
	uint8_t digest[TZML_DIGEST_SIZE];
	uint8_t block;
};

_Static_assert(sizeof(struct hpke_info) == 45, "docs/bundle.md");
_Static_assert(sizeof(struct global_info) == 46, "docs/bundle.md");
_Static_assert(BOUND_SIZE == 296, "docs/bundle.md");

/* Segments are sealed and opened in the arena, which nothing survives in. */
static uint32_t segment_size(const struct tzml_model *model)
{
	return model->arena.size < TZML_MAX_SEGMENT_SIZE
		       ? (uint32_t)model->arena.size
		       : TZML_MAX_SEGMENT_SIZE;
}

static enum tzml_status digest_of(const struct tzml_model *model,
				  const void *data, size_t size,
				  uint8_t digest[TZML_DIGEST_SIZE])
{
	const struct tzml_platform *platform = model->platform;
	enum tzml_status status = platform->digest_start(model->context);

	if (!status)
		status = platform->digest_update(model->context, data, size);
	return status ? status
		      : platform->digest_finish(model->context, digest);
}

void tzml_end_transfer(struct tzml_model *model)
{
	wipe(&model->transfer, sizeof(model->transfer));
}

/* What save and restore ask of the model. */
static enum tzml_status check_model(const struct tzml_model *model,
				    uint32_t right)
{
	if (model->state != TZML_MODEL_READY)
		return TZML_ERROR_STATE;
	if (!model->state_memory.size)
		return TZML_ERROR_STATELESS;
	if (model->granted ? !(model->grant.rights & right)
			   : right == TZML_RIGHT_EXPORT_STATE)
		return TZML_ERROR_GRANT_STATE;
	return TZML_SUCCESS;
}

/* What of the state such a checkpoint has, from its beginning. */
static uint64_t size_of(const struct tzml_model *model, uint32_t kind)
{
	bool leaves = kind == TZML_CHECKPOINT_EXPORTED ||
		      kind == TZML_CHECKPOINT_GLOBAL;

	/* of a private model, nothing leaves that has no noise */
	return leaves && model->layout.header->deviation
		       ? model->layout.header->sums
		       : model->state_memory.size;
}

/* The header's fields that a session of this model has in all checkpoints. */
static enum tzml_status describe(const struct tzml_model *model, uint32_t kind,
				 struct tzml_checkpoint *checkpoint)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	const struct tzml_header *header = header_of(model);
	uint8_t point[TZML_POINT_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(checkpoint->magic, TZML_CHECKPOINT_MAGIC,
	       sizeof(checkpoint->magic));
	checkpoint->format_version = TZML_FORMAT_VERSION;
	checkpoint->header_size = sizeof(*checkpoint);
	checkpoint->kind = crypto ? kind : TZML_CHECKPOINT_CLEAR;
	checkpoint->segment_size = segment_size(model);
	checkpoint->state_size = size_of(model, kind);
	checkpoint->model_version = header->model_version;
	memcpy(checkpoint->model_id, header->model_id,
	       sizeof(checkpoint->model_id));
	memcpy(checkpoint->owner, header->owner, sizeof(checkpoint->owner));
	memcpy(checkpoint->bundle_digest, header->digest,
	       sizeof(checkpoint->bundle_digest));
	if (!crypto)
		return TZML_SUCCESS;
	status = crypto->device_key(model->context, point);
	return status ? status
		      : digest_of(model, point, sizeof(point),
				  checkpoint->device);
}

/* HKDF (RFC 5869) from what only this device and the export key's holder know. */
static enum tzml_status global_key(struct tzml_model *model,
				   const struct tzml_checkpoint *checkpoint)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	struct global_info info = { .label = GLOBAL_LABEL, .block = 1 };
	uint8_t peer[TZML_POINT_SIZE] = { 4 };
	uint8_t secret[TZML_SECRET_SIZE] = { 0 };
	uint8_t extracted[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(peer + 1, model->grant.export_key, TZML_KEY_SIZE);
	memcpy(info.digest, model->transfer.digest, sizeof(info.digest));
	status = crypto->agree(model->context, NULL, peer, secret);
	if (!status)
		status = crypto->hmac(model->context, checkpoint->salt,
				      sizeof(checkpoint->salt), secret,
				      sizeof(secret), extracted);
	if (!status)
		status = crypto->hmac(model->context, extracted,
				      sizeof(extracted), &info, sizeof(info),
				      model->transfer.key);
	wipe(secret, sizeof(secret));
	wipe(extracted, sizeof(extracted));
	return status;
}

/* The key of this checkpoint alone: it follows from all that it is bound to. */
static enum tzml_status make_key(struct tzml_model *model,
				 const struct tzml_checkpoint *checkpoint)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	struct tzml_transfer *transfer = &model->transfer;
	enum tzml_status status =
		digest_of(model, checkpoint, BOUND_SIZE, transfer->digest);

	if (status || !crypto)
		return status;
	if (checkpoint->kind == TZML_CHECKPOINT_GLOBAL)
		return global_key(model, checkpoint);
	return crypto->checkpoint_key(model->context, transfer->digest,
				      transfer->key);
}

static enum tzml_status export_key(const struct tzml_model *model,
				   struct tzml_checkpoint *checkpoint)
{
	struct hpke_info info = { .label = HPKE_LABEL };
	uint8_t peer[TZML_POINT_SIZE] = { 4 };

	memcpy(peer + 1, model->grant.export_key, TZML_KEY_SIZE);
	memcpy(info.digest, model->transfer.digest, sizeof(info.digest));
	return tzml_hpke_seal(model->platform->crypto, model->context, peer,
			      &info, sizeof(info), model->transfer.key,
			      checkpoint->enc, checkpoint->wrapped);
}

static enum tzml_status begin_save(struct tzml_model *model, uint32_t flags,
				   struct tzml_checkpoint *checkpoint)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	bool exports = flags & TZML_SAVE_EXPORT;
	enum tzml_status status = describe(model,
					   exports ? TZML_CHECKPOINT_EXPORTED
						   : TZML_CHECKPOINT_SAVED,
					   checkpoint);

	checkpoint->updates = model->updates;
	if (exports)
		checkpoint->number = model->round;
	if (!status && crypto)
		status = model->platform->random(model->context,
						 checkpoint->salt,
						 sizeof(checkpoint->salt));
	if (!status && model->granted && !exports)
		status = crypto->number_checkpoint(
			model->context, &model->grant, model->checkpoint,
			flags & TZML_SAVE_GIVE_UP, &checkpoint->number);
	if (!status)
		status = make_key(model, checkpoint);
	if (!status && exports)
		status = export_key(model, checkpoint);
	return status;
}

enum tzml_status tzml_model_save(struct tzml_model *model, uint32_t flags,
				 const uint8_t note[TZML_NOTE_SIZE],
				 void *checkpoint)
{
	bool exports = flags & TZML_SAVE_EXPORT;
	struct tzml_checkpoint made = { 0 };
	enum tzml_status status =
		check_model(model, exports ? TZML_RIGHT_EXPORT_STATE
					   : TZML_RIGHT_SAVE_STATE);

	if (status)
		return status;
	tzml_end_transfer(model);
	if (model->state_lost)
		return TZML_ERROR_STATE_LOST;
	memcpy(made.note, note, sizeof(made.note));
	status = begin_save(model, flags, &made);
	if (status) {
		tzml_end_transfer(model);
		return status;
	}
	model->transfer.direction = TZML_SAVING;
	model->transfer.kind = made.kind;
	model->transfer.number = made.number;
	model->transfer.size = made.state_size;
	memcpy(checkpoint, &made, sizeof(made));
	return TZML_SUCCESS;
}

/* Bytes of the state in the next segment. */
static size_t next_size(const struct tzml_model *model)
{
	uint64_t left = model->transfer.size - model->transfer.done;
	uint32_t most = segment_size(model);

	return left < most ? (size_t)left : most;
}

size_t tzml_model_segment(const struct tzml_model *model)
{
	return model->transfer.direction ? next_size(model) + TZML_TAG_SIZE : 0;
}

static uint64_t segment_number(const struct tzml_model *model)
{
	return model->transfer.done / segment_size(model);
}

/* The tag of a segment that is not sealed: half of a digest. */
static enum tzml_status clear_tag(const struct tzml_model *model,
				  const void *data, size_t size,
				  uint8_t tag[TZML_TAG_SIZE])
{
	const struct tzml_platform *platform = model->platform;
	uint64_t number = segment_number(model);
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = platform->digest_start(model->context);

	if (!status)
		status = platform->digest_update(model->context,
						 model->transfer.digest,
						 TZML_DIGEST_SIZE);
	if (!status)
		status = platform->digest_update(model->context, &number,
						 sizeof(number));
	if (!status)
		status = platform->digest_update(model->context, data, size);
	if (!status)
		status = platform->digest_finish(model->context, digest);
	memcpy(tag, digest, TZML_TAG_SIZE);
	return status;
}

static enum tzml_status seal_segment(const struct tzml_model *model, void *data,
				     size_t size, uint8_t tag[TZML_TAG_SIZE])
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	uint64_t number = segment_number(model);
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };

	if (!crypto)
		return clear_tag(model, data, size, tag);
	memcpy(nonce + sizeof(nonce) - sizeof(number), &number, sizeof(number));
	return crypto->seal(model->context, model->transfer.key, nonce,
			    model->transfer.digest, TZML_DIGEST_SIZE, data,
			    size, tag);
}

static enum tzml_status open_segment(const struct tzml_model *model, void *data,
				     size_t size,
				     const uint8_t tag[TZML_TAG_SIZE])
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	uint64_t number = segment_number(model);
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	uint8_t expected[TZML_TAG_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(nonce + sizeof(nonce) - sizeof(number), &number, sizeof(number));
	if (crypto) {
		status = crypto->unseal(model->context, model->transfer.key,
					nonce, model->transfer.digest,
					TZML_DIGEST_SIZE, data, size, tag);
		return status == TZML_ERROR_SECTION_DIGEST
			       ? TZML_ERROR_CHECKPOINT_DAMAGED
			       : status;
	}
	status = clear_tag(model, data, size, expected);
	if (!status && !is_equal(tag, expected, sizeof(expected)))
		status = TZML_ERROR_CHECKPOINT_DAMAGED;
	return status;
}

static uint8_t *state_at(const struct tzml_model *model)
{
	return (uint8_t *)model->state_memory.data + model->transfer.done;
}

enum tzml_status tzml_model_save_segment(struct tzml_model *model, void *data,
					 size_t size)
{
	struct tzml_transfer *transfer = &model->transfer;
	uint8_t tag[TZML_TAG_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	size_t own = next_size(model);

	if (transfer->direction != TZML_SAVING)
		return TZML_ERROR_STATE;
	if (size != own + TZML_TAG_SIZE)
		return TZML_ERROR_OUTPUT_SIZE;
	/* the tag is of what is here: `data` may change under our hands */
	memcpy(model->arena.data, state_at(model), own);
	status = seal_segment(model, model->arena.data, own, tag);
	if (status) {
		wipe(model->arena.data, own);
		tzml_end_transfer(model);
		return status;
	}
	memcpy(data, model->arena.data, own);
	memcpy((uint8_t *)data + own, tag, sizeof(tag));
	wipe(model->arena.data, own);
	transfer->done += own;
	if (transfer->done < transfer->size)
		return TZML_SUCCESS;
	if (transfer->kind != TZML_CHECKPOINT_EXPORTED)
		model->unconfirmed = transfer->number;
	tzml_end_transfer(model);
	return TZML_SUCCESS;
}

enum tzml_status tzml_model_confirm(struct tzml_model *model)
{
	enum tzml_status status = TZML_SUCCESS;

	if (!model->unconfirmed) /* nothing is counted of a clear model */
		return model->granted ? TZML_ERROR_STATE : TZML_SUCCESS;
	status = model->platform->crypto->admit_checkpoint(
		model->context, &model->grant, model->unconfirmed, true);
	if (!status) {
		model->checkpoint = model->unconfirmed;
		model->unconfirmed = 0;
	}
	return status;
}

/* Whether a checkpoint is of this model, and of this device. */
static enum tzml_status check_origin(const struct tzml_checkpoint *given,
				     const struct tzml_checkpoint *own)
{
	if (memcmp(given->magic, own->magic, sizeof(own->magic)) ||
	    given->format_version != own->format_version ||
	    given->header_size != own->header_size)
		return TZML_ERROR_CHECKPOINT_MALFORMED;
	if (given->kind != own->kind)
		return TZML_ERROR_CHECKPOINT_KIND;
	if (memcmp(given->model_id, own->model_id, sizeof(own->model_id)) ||
	    memcmp(given->owner, own->owner, sizeof(own->owner)))
		return TZML_ERROR_CHECKPOINT_MODEL;
	if (given->model_version != own->model_version ||
	    memcmp(given->bundle_digest, own->bundle_digest,
		   sizeof(own->bundle_digest)))
		return all_zero(own->model_id, sizeof(own->model_id))
			       ? TZML_ERROR_CHECKPOINT_MODEL
			       : TZML_ERROR_CHECKPOINT_VERSION;
	if (memcmp(given->device, own->device, sizeof(own->device)))
		return TZML_ERROR_CHECKPOINT_DEVICE;
	return TZML_SUCCESS;
}

static enum tzml_status check_fields(const struct tzml_model *model,
				     const struct tzml_checkpoint *given,
				     const struct tzml_checkpoint *own)
{
	if (given->kind == TZML_CHECKPOINT_GLOBAL && given->updates)
		return TZML_ERROR_CHECKPOINT_MALFORMED;
	if (given->segment_size != own->segment_size ||
	    given->state_size != own->state_size ||
	    !given->number == model->granted ||
	    !all_zero(given->enc, sizeof(*given) - BOUND_SIZE))
		return TZML_ERROR_CHECKPOINT_MALFORMED;
	return TZML_SUCCESS;
}

/* Whether it is a global model, and this a private model that may take one. */
static bool takes_global(const struct tzml_model *model,
			 const struct tzml_checkpoint *given)
{
	return given->kind == TZML_CHECKPOINT_GLOBAL && model->granted &&
	       model->layout.header->deviation;
}

static enum tzml_status begin_restore(struct tzml_model *model,
				      const struct tzml_checkpoint *given)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	bool is_global = takes_global(model, given);
	struct tzml_checkpoint own = { 0 };
	enum tzml_status status = describe(model,
					   is_global ? TZML_CHECKPOINT_GLOBAL
						     : TZML_CHECKPOINT_SAVED,
					   &own);

	if (!status)
		status = check_origin(given, &own);
	if (!status)
		status = check_fields(model, given, &own);
	if (!status && model->granted)
		status = is_global ? crypto->admit_round(model->context,
							 &model->grant,
							 given->number, false)
				   : crypto->admit_checkpoint(
					     model->context, &model->grant,
					     given->number, false);
	return status ? status : make_key(model, given);
}

enum tzml_status tzml_model_restore(struct tzml_model *model,
				    const void *checkpoint, size_t size)
{
	struct tzml_checkpoint given = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (size == sizeof(given))
		memcpy(&given, checkpoint, sizeof(given));
	status = check_model(model, given.kind == TZML_CHECKPOINT_GLOBAL
					    ? TZML_RIGHT_FEDERATE
					    : TZML_RIGHT_SAVE_STATE);
	if (status)
		return status;
	tzml_end_transfer(model);
	if (size != sizeof(given))
		return TZML_ERROR_CHECKPOINT_MALFORMED;
	status = begin_restore(model, &given);
	if (status) {
		tzml_end_transfer(model);
		return status;
	}
	model->transfer.direction = TZML_RESTORING;
	model->transfer.kind = given.kind;
	model->transfer.number = given.number;
	model->transfer.size = given.state_size;
	model->transfer.updates = given.updates;
	return TZML_SUCCESS;
}

/* All segments were right. */
static enum tzml_status restored(struct tzml_model *model)
{
	const struct tzml_transfer *transfer = &model->transfer;
	const struct tzml_crypto *crypto = model->platform->crypto;
	bool is_global = transfer->kind == TZML_CHECKPOINT_GLOBAL;
	uint8_t *state = model->state_memory.data;
	enum tzml_status status = TZML_SUCCESS;

	if (is_global)
		status = crypto->admit_round(model->context, &model->grant,
					     transfer->number, true);
	else if (model->granted)
		status = crypto->admit_checkpoint(model->context, &model->grant,
						  transfer->number, true);
	if (status)
		return status;
	/* sums and the optimizer begin anew */
	memset(state + transfer->size, 0,
	       model->state_memory.size - transfer->size);
	model->checkpoint = is_global ? 0 : transfer->number;
	model->round = is_global ? transfer->number : 0;
	model->updates = transfer->updates;
	model->unconfirmed = 0;
	model->state_lost = false;
	tzml_end_transfer(model);
	return TZML_SUCCESS;
}

static enum tzml_status take_segment(struct tzml_model *model, const void *data,
				     size_t own)
{
	struct tzml_transfer *transfer = &model->transfer;
	uint8_t tag[TZML_TAG_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(model->arena.data, data, own);
	memcpy(tag, (const uint8_t *)data + own, sizeof(tag));
	status = open_segment(model, model->arena.data, own, tag);
	if (!status) {
		memcpy(state_at(model), model->arena.data, own);
		model->state_lost = true;
		transfer->done += own;
	}
	wipe(model->arena.data, own);
	if (!status && transfer->done == transfer->size)
		status = restored(model);
	return status;
}

enum tzml_status tzml_model_restore_segment(struct tzml_model *model,
					    const void *data, size_t size)
{
	enum tzml_status status = TZML_ERROR_CHECKPOINT_MALFORMED;

	if (model->transfer.direction != TZML_RESTORING)
		return TZML_ERROR_STATE;
	if (size == next_size(model) + TZML_TAG_SIZE)
		status = take_segment(model, data, next_size(model));
	if (!status)
		return TZML_SUCCESS;
	/* of a half that was right nothing is kept either */
	if (model->transfer.done)
		wipe(model->state_memory.data, model->state_memory.size);
	tzml_end_transfer(model);
	return status;
}
