// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE /* explicit_bzero */
/*
 * test_device: what the TA remembers of models and their checkpoints, with one
 * object of OP-TEE's storage in memory. Prints one TAP line a check, and exits
 * 0 if all passed.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../../ta/device.h"
#include "../../ta/storage.h"
#include "tap.h"

/* The object, and whether OP-TEE fails to write it. */
struct object {
	uint8_t data[1 << 14];
	size_t size;
	size_t at;
	bool open;
	bool full;
};

static struct object stored;
static uint32_t records; /* in the TA's heap */

void *TEE_Malloc(size_t size, uint32_t hint)
{
	(void)hint;
	records++;
	return calloc(1, size);
}

void TEE_Free(void *memory)
{
	records--;
	free(memory);
}

TEE_Result TEE_Wait(uint32_t milliseconds)
{
	(void)milliseconds;
	return TEE_SUCCESS;
}

TEE_Result TEE_ReadObjectData(TEE_ObjectHandle object, void *to, size_t size,
			      size_t *count)
{
	*count = size < object->size ? size : object->size;
	memcpy(to, object->data, *count);
	object->at = *count;
	return TEE_SUCCESS;
}

TEE_Result TEE_WriteObjectData(TEE_ObjectHandle object, const void *from,
			       size_t size)
{
	if (object->full)
		return TEE_ERROR_GENERIC;
	memcpy(object->data + object->at, from, size);
	object->at += size;
	if (object->size < object->at)
		object->size = object->at;
	return TEE_SUCCESS;
}

TEE_Result TEE_SeekObjectData(TEE_ObjectHandle object, intmax_t offset,
			      int whence)
{
	(void)whence;
	object->at = (size_t)offset;
	return TEE_SUCCESS;
}

void TEE_CloseObject(TEE_ObjectHandle object)
{
	object->open = false;
}

TEE_Result storage_open(enum storage_kind kind,
			const uint8_t name[STORAGE_NAME_SIZE],
			TEE_ObjectHandle *object)
{
	(void)kind;
	(void)name;
	if (!stored.size)
		return TEE_ERROR_ITEM_NOT_FOUND;
	if (stored.open)
		abort(); /* it is opened for one session alone */
	stored.open = true;
	*object = &stored;
	return TEE_SUCCESS;
}

enum tzml_status storage_write(enum storage_kind kind,
			       const uint8_t name[STORAGE_NAME_SIZE],
			       const void *data, size_t size)
{
	(void)kind;
	(void)name;
	memcpy(stored.data, data, size);
	stored.size = size;
	return TZML_SUCCESS;
}

enum tzml_status storage_status(TEE_Result result, const char *what)
{
	(void)what;
	return result ? TZML_ERROR_PLATFORM : TZML_SUCCESS;
}

enum tzml_status device_make_key(TEE_TASessionHandle system, const char *use,
				 const uint8_t verifier[TZML_SECRET_SIZE],
				 struct tzml_key_pair *key)
{
	(void)system;
	(void)use;
	memcpy(key->secret, verifier, TZML_SECRET_SIZE);
	key->point[0] = 4;
	return TZML_SUCCESS;
}

static const uint8_t owners[1][TZML_KEY_SIZE] = { { 7 } };

static void enroll(void)
{
	const struct tzml_ta_enroll request = { .verifier = { 5 },
						.flags = TZML_ENROLL_REPLACE,
						.owner_count = 1 };
	uint8_t point[TZML_POINT_SIZE];

	memset(&stored, 0, sizeof(stored));
	if (device_enroll(NULL, &request, owners, point))
		abort();
}

static struct tzml_grant grant_of(uint8_t model, uint64_t serial)
{
	struct tzml_grant grant = { .serial = serial, .model_id = { model } };

	memcpy(grant.owner, owners[0], sizeof(grant.owner));
	return grant;
}

static enum tzml_status admit(const struct tzml_grant *grant, uint64_t version)
{
	const struct tzml_header header = { .model_version = version };

	return device_admit(NULL, &header, grant);
}

static enum tzml_status number(const struct tzml_grant *grant, uint64_t base,
			       bool give_up, uint64_t expected)
{
	uint64_t found = 0;
	enum tzml_status status =
		device_number_checkpoint(NULL, grant, base, give_up, &found);

	return status || found == expected ? status : TZML_ERROR_STATE;
}

static enum tzml_status take(const struct tzml_grant *grant, uint64_t which)
{
	return device_admit_checkpoint(NULL, grant, which, false);
}

static enum tzml_status confirm(const struct tzml_grant *grant, uint64_t which)
{
	return device_admit_checkpoint(NULL, grant, which, true);
}

static void test_numbers(void)
{
	const struct tzml_grant one = grant_of(1, 1);
	const struct tzml_grant two = grant_of(2, 1);

	enroll();
	check(number(&one, 0, false, 1) == TZML_ERROR_GRANT_OLD,
	      "nothing is counted of a model that was not admitted");
	check(!admit(&one, 1) && !admit(&two, 1) &&
		      !number(&one, 0, false, 1) && !number(&two, 0, false, 1),
	      "each model has numbers of its own, from 1");
	check(!take(&one, 1) && !number(&one, 0, false, 2) &&
		      take(&one, 1) == TZML_ERROR_CHECKPOINT_OLD &&
		      !take(&one, 2),
	      "of those that were not confirmed, the last is taken");
	check(!confirm(&one, 2) && !number(&one, 2, false, 3) &&
		      !take(&one, 2) && !take(&one, 3) &&
		      take(&one, 1) == TZML_ERROR_CHECKPOINT_OLD,
	      "the last that was confirmed stays until the next is");
	check(!confirm(&one, 3) &&
		      confirm(&one, 2) == TZML_ERROR_CHECKPOINT_OLD &&
		      number(&one, 2, false, 4) ==
			      TZML_ERROR_CHECKPOINT_FORKED &&
		      number(&one, 0, false, 4) == TZML_ERROR_CHECKPOINT_FORKED,
	      "what does not continue it is refused");
	check(!number(&one, 0, true, 4) && !take(&one, 3) &&
		      !confirm(&one, 4) &&
		      take(&one, 3) == TZML_ERROR_CHECKPOINT_OLD,
	      "unless it is given up, which takes the confirmation");
	check(!take(&one, 9) && !confirm(&one, 9) &&
		      take(&one, 4) == TZML_ERROR_CHECKPOINT_OLD &&
		      !number(&one, 9, false, 10),
	      "a number above is newer than the storage, and is kept");
	check(!take(&two, 1), "and the other model's are as they were");
}

static void test_versions_and_grants(void)
{
	const struct tzml_grant grant = grant_of(1, 1);
	const struct tzml_grant later = grant_of(1, 2);

	enroll();
	check(!admit(&grant, 1) && !number(&grant, 0, false, 1) &&
		      !confirm(&grant, 1) && !admit(&grant, 1) &&
		      number(&grant, 0, false, 2) ==
			      TZML_ERROR_CHECKPOINT_FORKED,
	      "opening the model again changes nothing");
	check(!admit(&later, 1) &&
		      number(&grant, 1, false, 2) == TZML_ERROR_GRANT_OLD &&
		      take(&grant, 1) == TZML_ERROR_GRANT_OLD &&
		      !take(&later, 1),
	      "a later grant ends the one before, and not its checkpoints");
	check(!admit(&later, 2) && !number(&later, 0, false, 2),
	      "a new version begins without one, and with another number");
}

static void test_privacy(void)
{
	struct tzml_grant grant = grant_of(1, 1);
	struct tzml_grant later = grant_of(1, 2);

	grant.noised_updates = 2;
	later.noised_updates = 3;
	enroll();
	check(!admit(&grant, 1) && !device_spend_update(NULL, &grant) &&
		      !admit(&grant, 1) && !device_spend_update(NULL, &grant) &&
		      device_spend_update(NULL, &grant) ==
			      TZML_ERROR_PRIVACY_BUDGET,
	      "updates with noise are counted over all sessions");
	check(!admit(&later, 2) && !device_spend_update(NULL, &later) &&
		      device_spend_update(NULL, &later) ==
			      TZML_ERROR_PRIVACY_BUDGET &&
		      device_spend_update(NULL, &grant) == TZML_ERROR_GRANT_OLD,
	      "also over those of later grants and versions");
	stored.full = true;
	later.noised_updates = 4;
	check(device_spend_update(NULL, &later) == TZML_ERROR_PLATFORM,
	      "none is made that is not written down");
	stored.full = false;
	check(!device_admit_round(NULL, &later, 3, false) &&
		      !device_admit_round(NULL, &later, 2, true) &&
		      !device_admit_round(NULL, &later, 2, true) &&
		      device_admit_round(NULL, &later, 1, true) ==
			      TZML_ERROR_ROUND_OLD &&
		      !device_admit_round(NULL, &later, 3, false) &&
		      !device_admit_round(NULL, &later, 2, false),
	      "no round comes after a later one that was taken");
}

static void test_failing(void)
{
	const struct tzml_grant grant = grant_of(1, 1);

	enroll();
	if (admit(&grant, 1) || number(&grant, 0, false, 1))
		abort();
	stored.full = true;
	check(number(&grant, 0, false, 2) == TZML_ERROR_PLATFORM &&
		      confirm(&grant, 1) == TZML_ERROR_PLATFORM,
	      "no number is given, and none confirmed, that is not kept");
	stored.full = false;
	check(!number(&grant, 0, false, 2), "and none was lost");
	check(!records && !stored.open, "no record is left in the heap");
}

/* What TAs of this project's first two versions did not have. */
#define SIZE_BEFORE	  (32 * 64)
#define SIZE_BEFORE_THIRD (16 * 64)

static void test_second_update(void)
{
	const uint32_t version = 2;
	struct tzml_grant grant = grant_of(1, 5);

	grant.noised_updates = 1;
	enroll();
	if (admit(&grant, 1) || number(&grant, 0, false, 1))
		abort();
	memcpy(stored.data, &version, sizeof(version));
	stored.size -= SIZE_BEFORE_THIRD;
	check(!number(&grant, 0, false, 2) &&
		      !device_spend_update(NULL, &grant),
	      "one that counted checkpoints goes on, and counts updates");
}

static void test_update(void)
{
	const struct tzml_grant grant = grant_of(1, 5);
	const struct tzml_grant older = grant_of(1, 4);
	const uint32_t version = 1;
	struct tzml_key_pair key = { 0 };
	size_t size = 0;

	enroll();
	size = stored.size;
	if (admit(&grant, 1))
		abort();
	memcpy(stored.data, &version, sizeof(version));
	stored.size -= SIZE_BEFORE;
	check(!device_read_key(&key) && key.secret[0] == 5,
	      "a record of the TA before is the same identity");
	check(admit(&older, 1) == TZML_ERROR_GRANT_OLD,
	      "which has seen what it has seen");
	check(!number(&grant, 0, false, 1) && stored.size == size,
	      "and counts checkpoints from now on");
	stored.size -= 1;
	check(device_read_key(&key) == TZML_ERROR_NOT_ENROLLED,
	      "one of any other size is none");
}

int main(void)
{
	test_numbers();
	test_versions_and_grants();
	test_privacy();
	test_failing();
	test_update();
	test_second_update();
	return tap_end();
}
