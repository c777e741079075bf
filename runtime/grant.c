// SPDX-License-Identifier: Apache-2.0
/* Grants: docs/bundle.md, "Grant (.tzg)". */
#include <string.h>
#include <tzml/policy.h>

#include "check.h"
#include "grant.h"
#include "hpke.h"
#include "load.h"

#define HPKE_LABEL    "tzml grant 2"
#define MOST_ROUNDED  23 /* bits of a float's mantissa */
#define RUNS_RESERVED 64 /* taken from the budget at once */

struct hpke_info {
	uint8_t label[sizeof(HPKE_LABEL) - 1];
	uint8_t bundle_digest[TZML_DIGEST_SIZE];
	uint8_t owner[TZML_KEY_SIZE];
};

_Static_assert(sizeof(struct hpke_info) == 108, "docs/bundle.md");

/* Bytes of a grant that come one after another, each read once. */
struct reader {
	const struct tzml_model *model;
	const uint8_t *next;
};

/* Copy the next bytes, and digest the copy. */
static enum tzml_status take(struct reader *reader, void *to, size_t size)
{
	memcpy(to, reader->next, size);
	reader->next += size;
	return reader->model->platform->digest_update(reader->model->context,
						      to, size);
}

static size_t size_of(uint32_t recipients)
{
	return sizeof(struct tzml_grant) +
	       recipients * sizeof(struct tzml_recipient) + TZML_KEY_SIZE;
}

static enum tzml_status key_id_of(const struct tzml_model *model,
				  uint8_t key_id[TZML_DIGEST_SIZE])
{
	const struct tzml_platform *platform = model->platform;
	uint8_t point[TZML_POINT_SIZE] = { 0 };
	enum tzml_status status =
		platform->crypto->device_key(model->context, point);

	if (!status)
		status = platform->digest_start(model->context);
	if (!status)
		status = platform->digest_update(model->context, point,
						 sizeof(point));
	if (!status)
		status = platform->digest_finish(model->context, key_id);
	return status;
}

/* Take the recipients; `own` is the one for this device, if there is one. */
static enum tzml_status take_recipients(struct reader *reader, uint32_t count,
					const uint8_t key_id[TZML_DIGEST_SIZE],
					struct tzml_recipient *own, bool *found,
					bool *sorted)
{
	uint8_t previous[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	*found = false;
	*sorted = true;
	for (uint32_t i = 0; !status && i < count; i++) {
		struct tzml_recipient recipient = { 0 };

		status = take(reader, &recipient, sizeof(recipient));
		if ((i && memcmp(previous, recipient.key_id,
				 sizeof(previous)) >= 0) ||
		    !all_zero(recipient.reserved, sizeof(recipient.reserved)))
			*sorted = false;
		memcpy(previous, recipient.key_id, sizeof(previous));
		if (!memcmp(recipient.key_id, key_id, TZML_DIGEST_SIZE)) {
			*own = recipient;
			*found = true;
		}
	}
	return status;
}

static enum tzml_status check_fields(const struct tzml_grant *grant)
{
	bool argument = grant->output_policy == TZML_OUTPUT_TOP_K ||
			grant->output_policy == TZML_OUTPUT_ROUNDED;

	if (grant->required)
		return TZML_ERROR_UNSUPPORTED;
	if (grant->output_policy > TZML_OUTPUT_SEALED ||
	    (!argument && grant->policy_argument) ||
	    (grant->output_policy == TZML_OUTPUT_TOP_K &&
	     !grant->policy_argument) ||
	    (grant->output_policy == TZML_OUTPUT_ROUNDED &&
	     grant->policy_argument > MOST_ROUNDED) ||
	    !grant->programs || grant->programs >> TZML_MAX_PROGRAMS ||
	    grant->rights > TZML_RIGHTS ||
	    (grant->rights & (TZML_RIGHT_EXPORT_STATE | TZML_RIGHT_FEDERATE) &&
	     all_zero(grant->export_key, sizeof(grant->export_key))) ||
	    !all_zero(grant->reserved, sizeof(grant->reserved)))
		return TZML_ERROR_GRANT_MALFORMED;
	return TZML_SUCCESS;
}

/*
 * Everything that is read is covered by the signature of the bundle's owner.
 * Before that is checked, only sizes are believed, within limits.
 */
static enum tzml_status read_grant(const struct tzml_model *model,
				   const void *data, size_t size,
				   struct tzml_grant *grant,
				   struct tzml_recipient *own)
{
	const struct tzml_header *header = header_of(model);
	const struct tzml_platform *platform = model->platform;
	struct reader reader = { .model = model, .next = data };
	uint8_t signature[TZML_KEY_SIZE] = { 0 };
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	uint8_t key_id[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;
	bool found = false;
	bool sorted = false;

	if (size < size_of(1))
		return TZML_ERROR_GRANT_MALFORMED;
	status = key_id_of(model, key_id);
	if (!status)
		status = platform->digest_start(model->context);
	if (!status)
		status = take(&reader, grant, sizeof(*grant));
	if (status)
		return status;
	if (memcmp(grant->magic, TZML_GRANT_MAGIC, sizeof(grant->magic)) ||
	    grant->format_version != TZML_FORMAT_VERSION ||
	    grant->recipient_count > TZML_MAX_RECIPIENTS ||
	    grant->grant_size != size_of(grant->recipient_count) ||
	    grant->grant_size != size)
		return TZML_ERROR_GRANT_MALFORMED;
	status = take_recipients(&reader, grant->recipient_count, key_id, own,
				 &found, &sorted);
	if (!status)
		status = platform->digest_finish(model->context, digest);
	if (status)
		return status;
	if (memcmp(grant->owner, header->owner, sizeof(grant->owner)))
		return TZML_ERROR_GRANT_OTHER;
	memcpy(signature, reader.next, sizeof(signature));
	status = platform->crypto->verify(model->context, header->owner, digest,
					  signature);
	if (status)
		return status;
	if (!is_equal(grant->bundle_digest, header->digest,
		      sizeof(grant->bundle_digest)) ||
	    memcmp(grant->model_id, header->model_id, sizeof(grant->model_id)))
		return TZML_ERROR_GRANT_OTHER;
	status = sorted ? check_fields(grant) : TZML_ERROR_GRANT_MALFORMED;
	if (status)
		return status;
	return found ? TZML_SUCCESS : TZML_ERROR_GRANT_DEVICE;
}

static enum tzml_status unwrap(struct tzml_model *model,
			       const struct tzml_recipient *own)
{
	const struct tzml_header *header = header_of(model);
	const struct tzml_receiver device = { .crypto = model->platform->crypto,
					      .context = model->context };
	struct hpke_info info = { .label = HPKE_LABEL };
	const struct tzml_hpke_info about = { &info, sizeof(info) };
	enum tzml_status status = TZML_SUCCESS;

	memcpy(info.bundle_digest, header->digest, sizeof(info.bundle_digest));
	memcpy(info.owner, header->owner, sizeof(info.owner));
	status = tzml_hpke_open(&device, own->enc, &about, own->wrapped,
				model->content_key, TZML_SECRET_SIZE);
	/* the owner signed what does not open: it was made wrongly */
	return status == TZML_ERROR_SECTION_DIGEST ? TZML_ERROR_GRANT_MALFORMED
						   : status;
}

/* Whether a section is a part of what is computed: the rest is never used. */
static bool is_computed(const struct tzml_section *section)
{
	switch (section->type) {
	case TZML_SECTION_MEMORY:
	case TZML_SECTION_PLAN:
	case TZML_SECTION_KERNELS:
	case TZML_SECTION_STATE:
	case TZML_SECTION_WEIGHTS:
		return true;
	default:
		return false;
	}
}

/*
 * Whether all that this world computes with is sealed, so that nothing runs
 * without a grant. One sealed section says nothing: anybody can add one.
 */
static bool is_sealed(const struct tzml_model *model)
{
	const struct tzml_header *header = header_of(model);
	const struct tzml_section *sections = tzml_bundle_sections(header);

	for (uint32_t i = 0; i < header->section_count; i++)
		if (!sections[i].protection && is_computed(sections + i) &&
		    sections[i].worlds & model->platform->world)
			return false;
	return true;
}

enum tzml_status tzml_admit_clear(struct tzml_model *model)
{
	const struct tzml_crypto *crypto = model->platform->crypto;

	if (!crypto || is_sealed(model))
		return TZML_SUCCESS;
	if (crypto->sealed_only)
		return TZML_ERROR_UNSEALED;
	return crypto->admit_clear(model->context, header_of(model));
}

static enum tzml_status take_grant(struct tzml_model *model, const void *data,
				   size_t size)
{
	const struct tzml_crypto *crypto = model->platform->crypto;
	struct tzml_recipient own = { 0 };
	enum tzml_status status = TZML_ERROR_PROTECTION;

	if (crypto)
		status = read_grant(model, data, size, &model->grant, &own);
	if (!status && model->grant.lowest_ta_version > crypto->ta_version)
		status = TZML_ERROR_TA_OLD;
	if (!status)
		status = unwrap(model, &own);
	if (!status)
		status = crypto->admit(model->context, header_of(model),
				       &model->grant);
	model->granted = !status;
	return status;
}

enum tzml_status tzml_model_take_grant(struct tzml_model *model,
				       const void *grant, size_t size)
{
	enum tzml_status status = TZML_SUCCESS;

	if (model->state != TZML_MODEL_LOADING || model->granted ||
	    model->wanted || model->loaded)
		return TZML_ERROR_STATE;
	status = take_grant(model, grant, size);
	if (!status) /* its digest was begun, and the grant's came between */
		status = tzml_want_interface(model);
	if (status)
		tzml_model_close(model);
	return status;
}

enum tzml_status tzml_check_policy(struct tzml_model *model)
{
	const struct tzml_grant *grant = &model->grant;

	if (!model->granted || grant->output_policy == TZML_OUTPUT_FULL)
		return TZML_SUCCESS;
	for (uint32_t i = 0; i < TZML_MAX_PROGRAMS; i++) {
		struct tzml_plan *plan = model->plans + i;

		if (!plan->header)
			continue;
		plan->outputs_size = 0;
		for (uint32_t j = plan->program->input_count;
		     j < plan->header->port_count; j++) {
			const struct tzml_tensor *tensor =
				model->interface.tensors + plan->ports[j];
			struct tzml_tensor given = { 0 };

			/* a policy means nothing if others compute the answer */
			if (tensor->flags != TZML_TENSOR_OUTPUT ||
			    !tzml_policy_shape(grant->output_policy,
					       grant->policy_argument, tensor,
					       &given))
				return TZML_ERROR_OUTPUT_POLICY;
			plan->outputs_size += given.size;
		}
	}
	return TZML_SUCCESS;
}

/* Whether the grant lets a program of this role be run. */
static bool allows_role(const struct tzml_grant *grant, uint32_t role)
{
	bool trains = role == TZML_ROLE_ACCUMULATE || role == TZML_ROLE_UPDATE;

	return !trains || grant->rights & TZML_RIGHT_TRAIN;
}

enum tzml_status tzml_spend_runs(struct tzml_model *model, uint32_t program,
				 uint32_t count)
{
	const struct tzml_grant *grant = &model->grant;
	uint32_t role = model->interface.programs[program].role;
	enum tzml_status status = TZML_SUCCESS;

	if (!model->granted)
		return TZML_SUCCESS;
	if (!(grant->programs >> program & 1) || !allows_role(grant, role))
		return TZML_ERROR_GRANT_PROGRAM;
	if (role == TZML_ROLE_UPDATE && model->layout.header->deviation)
		status = model->platform->crypto->spend_update(model->context,
							       grant);
	if (status)
		return status;
	if (grant->query_budget == TZML_UNLIMITED)
		return TZML_SUCCESS;
	while (model->runs_left < count) {
		uint64_t more = RUNS_RESERVED;

		status = model->platform->crypto->spend(model->context, grant,
							&more);
		if (status)
			return status;
		model->runs_left += more;
	}
	model->runs_left -= count;
	return TZML_SUCCESS;
}
