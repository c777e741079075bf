// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <string_ext.h>
#include <tee_internal_api.h>
#include <util.h>

#include "device.h"
#include "storage.h"

#define MAX_MODELS     64
#define WAIT_MS	       20
#define MAX_WAITS      500 /* 10 seconds: others hold the record for less */
#define RECORD_VERSION 3

/* What is remembered of a model: nothing of it ever goes back. */
struct seen {
	uint8_t model_id[16];
	uint32_t owner;
	uint32_t reserved;
	uint64_t version; /* the highest */
	uint64_t serial;  /* the highest of its grants */
	uint64_t spent;	  /* runs of that grant's budget */
};

/* Numbers of a model's checkpoints. */
struct checkpoints {
	uint64_t numbered;  /* the last that was given */
	uint64_t confirmed; /* the last that was confirmed, 0: none */
};

/* What is remembered of a private model, whatever grants there were. */
struct privacy {
	uint64_t updates; /* that were made with noise */
	uint64_t round;	  /* of the last global model that was taken */
};

struct record {
	uint32_t version;
	uint32_t owner_count;
	uint32_t model_count;
	struct tzml_key_pair key;
	uint8_t owners[TZML_TA_MAX_OWNERS][TZML_KEY_SIZE];
	struct seen models[MAX_MODELS];
	/* version 1 ended here */
	struct checkpoints checkpoints[MAX_MODELS]; /* of each of `models` */
	/* version 2 ended here */
	struct privacy privacy[MAX_MODELS]; /* likewise */
};

#define SIZE_1 offsetof(struct record, checkpoints)
#define SIZE_2 offsetof(struct record, privacy)

static const uint8_t name[STORAGE_NAME_SIZE] = "device";

static enum tzml_status to_status(TEE_Result result)
{
	switch (result) {
	/* OP-TEE removes what is damaged, and the identity with it */
	case TEE_ERROR_CORRUPT_OBJECT:
	case TEE_ERROR_ITEM_NOT_FOUND:
		return TZML_ERROR_NOT_ENROLLED;
	default:
		return storage_status(result, "the device's record");
	}
}

static void give_back(struct record *record)
{
	if (!record)
		return;
	memzero_explicit(record, sizeof(*record));
	TEE_Free(record);
}

/*
 * Whether so many bytes are a record. One of an earlier TA is one that has
 * counted nothing of what came later: the identity stays when the TA is
 * updated.
 */
static bool is_sound(struct record *record, size_t size)
{
	if ((size == SIZE_1 && record->version == 1) ||
	    (size == SIZE_2 && record->version == 2)) {
		record->version = RECORD_VERSION;
		size = sizeof(*record);
	}
	return size == sizeof(*record) && record->version == RECORD_VERSION &&
	       record->owner_count <= TZML_TA_MAX_OWNERS &&
	       record->model_count <= MAX_MODELS;
}

/* Open the record for this session alone, and wait while others have it. */
static enum tzml_status open_record(TEE_ObjectHandle *object,
				    struct record **record)
{
	TEE_Result result = TEE_ERROR_GENERIC;
	size_t size = 0;

	*record = NULL;
	for (uint32_t i = 0; i < MAX_WAITS; i++) {
		result = storage_open(STORAGE_IDENTITY, name, object);
		if (result != TEE_ERROR_ACCESS_CONFLICT)
			break;
		TEE_Wait(WAIT_MS);
	}
	if (result)
		return to_status(result);
	*record = TEE_Malloc(sizeof(**record), TEE_MALLOC_FILL_ZERO);
	result = *record ? TEE_ReadObjectData(*object, *record,
					      sizeof(**record), &size)
			 : TEE_ERROR_OUT_OF_MEMORY;
	if (!result && !is_sound(*record, size))
		result = TEE_ERROR_CORRUPT_OBJECT;
	if (!result)
		return TZML_SUCCESS;
	TEE_CloseObject(*object);
	give_back(*record);
	*record = NULL;
	return to_status(result);
}

/* Give it to others, with its changes if there are any: all or none of them. */
static enum tzml_status close_record(TEE_ObjectHandle object,
				     struct record *record, bool changed)
{
	TEE_Result result = TEE_SUCCESS;

	if (changed)
		result = TEE_SeekObjectData(object, 0, TEE_DATA_SEEK_SET);
	if (changed && !result)
		result = TEE_WriteObjectData(object, record, sizeof(*record));
	TEE_CloseObject(object);
	give_back(record);
	return to_status(result);
}

enum tzml_status device_read_key(struct tzml_key_pair *key)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status status = open_record(&object, &record);

	if (status)
		return status;
	*key = record->key;
	return close_record(object, record, false);
}

enum tzml_status device_describe(struct tzml_ta_evidence *evidence)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status status = open_record(&object, &record);

	if (status)
		return status;
	memcpy(evidence->device.point, record->key.point, TZML_POINT_SIZE);
	memcpy(evidence->owners, record->owners, sizeof(record->owners));
	evidence->owner_count = record->owner_count;
	return close_record(object, record, false);
}

static bool is_enrolled(void)
{
	struct tzml_key_pair key = { 0 };
	bool found = device_read_key(&key) != TZML_ERROR_NOT_ENROLLED;

	memzero_explicit(&key, sizeof(key));
	return found;
}

enum tzml_status device_enroll(TEE_TASessionHandle system,
			       const struct tzml_ta_enroll *request,
			       const uint8_t (*owners)[TZML_KEY_SIZE],
			       uint8_t point[TZML_POINT_SIZE])
{
	enum tzml_status status = TZML_SUCCESS;
	struct record *record = NULL;

	if (!(request->flags & TZML_ENROLL_REPLACE) && is_enrolled())
		return TZML_ERROR_ENROLLED;
	record = TEE_Malloc(sizeof(*record), TEE_MALLOC_FILL_ZERO);
	if (!record)
		return TZML_ERROR_MEMORY;
	record->version = RECORD_VERSION;
	record->owner_count = request->owner_count;
	memcpy(record->owners, owners, request->owner_count * TZML_KEY_SIZE);
	status = device_make_key(system, DEVICE_KEY, request->verifier,
				 &record->key);
	if (!status)
		status = storage_write(STORAGE_IDENTITY, name, record,
				       sizeof(*record));
	memcpy(point, record->key.point, TZML_POINT_SIZE);
	give_back(record);
	return status;
}

static struct seen *find(struct record *record, uint32_t owner,
			 const uint8_t model_id[16])
{
	for (uint32_t i = 0; i < record->model_count; i++)
		if (record->models[i].owner == owner &&
		    !memcmp(record->models[i].model_id, model_id,
			    sizeof(record->models[i].model_id)))
			return record->models + i;
	return NULL;
}

/* The number of an owner, or that of all if it is none of them. */
static uint32_t owner_of(const struct record *record,
			 const uint8_t owner[TZML_KEY_SIZE])
{
	for (uint32_t i = 0; i < record->owner_count; i++)
		if (!memcmp(record->owners[i], owner, TZML_KEY_SIZE))
			return i;
	return record->owner_count;
}

enum tzml_status device_know(void *context __unused,
			     const uint8_t owner[TZML_KEY_SIZE])
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status status = open_record(&object, &record);

	if (status)
		return status;
	if (owner_of(record, owner) == record->owner_count)
		status = TZML_ERROR_OWNER_UNKNOWN;
	close_record(object, record, false);
	return status;
}

static enum tzml_status admit(struct record *record,
			      const struct tzml_header *header,
			      const struct tzml_grant *grant, bool *changed)
{
	uint32_t owner = owner_of(record, grant->owner);
	struct seen *seen = NULL;

	if (owner == record->owner_count)
		return TZML_ERROR_OWNER_UNKNOWN;
	seen = find(record, owner, grant->model_id);
	if (!seen) {
		if (record->model_count == MAX_MODELS)
			return TZML_ERROR_IDENTITY_FULL;
		seen = record->models + record->model_count++;
		memcpy(seen->model_id, grant->model_id, sizeof(seen->model_id));
		seen->owner = owner;
		*changed = true;
	}
	if (header->model_version < seen->version)
		return TZML_ERROR_MODEL_OLD;
	if (grant->serial < seen->serial)
		return TZML_ERROR_GRANT_OLD;
	*changed = *changed || header->model_version > seen->version ||
		   grant->serial > seen->serial;
	if (grant->serial > seen->serial)
		seen->spent = 0;
	/* none of an earlier version fits: there is none to be continued */
	if (header->model_version > seen->version)
		record->checkpoints[seen - record->models].confirmed = 0;
	seen->version = header->model_version;
	seen->serial = grant->serial;
	return TZML_SUCCESS;
}

enum tzml_status device_admit(void *context __unused,
			      const struct tzml_header *header,
			      const struct tzml_grant *grant)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status status = open_record(&object, &record);
	enum tzml_status closed = TZML_SUCCESS;
	bool changed = false;

	if (status)
		return status;
	status = admit(record, header, grant, &changed);
	closed = close_record(object, record, changed && !status);
	return status ? status : closed;
}

/*
 * The same, for what it remembers of a grant's model: `*model` is its number.
 * TZML_ERROR_GRANT_OLD, and nothing is open, if a later grant came meanwhile.
 */
static enum tzml_status open_model(const struct tzml_grant *grant,
				   TEE_ObjectHandle *object,
				   struct record **record, size_t *model)
{
	enum tzml_status status = open_record(object, record);
	const struct seen *seen = NULL;

	if (status)
		return status;
	seen = find(*record, owner_of(*record, grant->owner), grant->model_id);
	if (seen && seen->serial == grant->serial) {
		*model = seen - (*record)->models;
		return TZML_SUCCESS;
	}
	close_record(*object, *record, false);
	return TZML_ERROR_GRANT_OLD;
}

enum tzml_status device_spend(void *context __unused,
			      const struct tzml_grant *grant, uint64_t *runs)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	struct seen *seen = NULL;
	enum tzml_status closed = TZML_SUCCESS;
	size_t model = 0;
	enum tzml_status status = open_model(grant, &object, &record, &model);

	if (status)
		return status;
	seen = record->models + model;
	if (seen->spent >= grant->query_budget)
		status = TZML_ERROR_BUDGET;
	if (!status) {
		if (*runs > grant->query_budget - seen->spent)
			*runs = grant->query_budget - seen->spent;
		seen->spent += *runs;
	}
	closed = close_record(object, record, !status);
	return status ? status : closed;
}

enum tzml_status device_spend_update(void *context __unused,
				     const struct tzml_grant *grant)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status closed = TZML_SUCCESS;
	size_t model = 0;
	enum tzml_status status = open_model(grant, &object, &record, &model);

	if (status)
		return status;
	if (record->privacy[model].updates >= grant->noised_updates)
		status = TZML_ERROR_PRIVACY_BUDGET;
	else
		record->privacy[model].updates++;
	closed = close_record(object, record, !status);
	return status ? status : closed;
}

enum tzml_status device_admit_round(void *context __unused,
				    const struct tzml_grant *grant,
				    uint64_t round, bool take)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status closed = TZML_SUCCESS;
	bool changes = false;
	size_t model = 0;
	enum tzml_status status = open_model(grant, &object, &record, &model);

	if (status)
		return status;
	if (round < record->privacy[model].round)
		status = TZML_ERROR_ROUND_OLD;
	changes = !status && take && round > record->privacy[model].round;
	if (changes)
		record->privacy[model].round = round;
	closed = close_record(object, record, changes);
	return status ? status : closed;
}

enum tzml_status device_number_checkpoint(void *context __unused,
					  const struct tzml_grant *grant,
					  uint64_t base, bool give_up,
					  uint64_t *number)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	struct checkpoints *own = NULL;
	enum tzml_status closed = TZML_SUCCESS;
	size_t model = 0;
	enum tzml_status status = open_model(grant, &object, &record, &model);

	if (status)
		return status;
	own = record->checkpoints + model;
	if (own->confirmed != base && !give_up)
		status = TZML_ERROR_CHECKPOINT_FORKED;
	else
		*number = ++own->numbered;
	closed = close_record(object, record, !status);
	return status ? status : closed;
}

enum tzml_status device_admit_checkpoint(void *context __unused,
					 const struct tzml_grant *grant,
					 uint64_t number, bool confirm)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	struct checkpoints *own = NULL;
	enum tzml_status closed = TZML_SUCCESS;
	bool changes = false;
	size_t model = 0;
	enum tzml_status status = open_model(grant, &object, &record, &model);

	if (status)
		return status;
	own = record->checkpoints + model;
	if (number < own->numbered && number != own->confirmed)
		status = TZML_ERROR_CHECKPOINT_OLD;
	changes = !status && confirm && number != own->confirmed;
	if (changes) {
		own->confirmed = number;
		/* above: the storage was put back, and this is newer */
		own->numbered = MAX(own->numbered, number);
	}
	closed = close_record(object, record, changes);
	return status ? status : closed;
}

enum tzml_status device_admit_clear(void *context __unused,
				    const struct tzml_header *header)
{
	const uint8_t no_identity[sizeof(header->model_id)] = { 0 };
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	struct record *record = NULL;
	enum tzml_status status = TZML_SUCCESS;

	if (!memcmp(header->model_id, no_identity, sizeof(no_identity)))
		return TZML_SUCCESS;
	status = open_record(&object, &record);
	if (status == TZML_ERROR_NOT_ENROLLED)
		return TZML_SUCCESS; /* it has seen nothing */
	if (status)
		return status;
	for (uint32_t i = 0; i < record->model_count; i++)
		if (!memcmp(record->models[i].model_id, header->model_id,
			    sizeof(header->model_id)))
			status = TZML_ERROR_DOWNGRADE;
	close_record(object, record, false);
	return status;
}
