// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tee_internal_api.h>

#include "storage.h"

/* An object's id, as OP-TEE's storage has it. */
struct storage_id {
	uint8_t kind;
	uint8_t name[STORAGE_NAME_SIZE];
};

static struct storage_id id_of(enum storage_kind kind,
			       const uint8_t name[STORAGE_NAME_SIZE])
{
	struct storage_id id = { .kind = kind };

	memcpy(id.name, name, sizeof(id.name));
	return id;
}

bool storage_has(enum storage_kind kind, const uint8_t name[STORAGE_NAME_SIZE])
{
	const struct storage_id id = id_of(kind, name);
	TEE_ObjectHandle object = TEE_HANDLE_NULL;

	/* shared: other sessions look at the same time */
	if (TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, &id, sizeof(id),
				     TEE_DATA_FLAG_ACCESS_READ |
					     TEE_DATA_FLAG_SHARE_READ,
				     &object))
		return false;
	TEE_CloseObject(object);
	return true;
}

enum tzml_status storage_note(enum storage_kind kind,
			      const uint8_t name[STORAGE_NAME_SIZE])
{
	const struct storage_id id = id_of(kind, name);
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result result = TEE_CreatePersistentObject(
		TEE_STORAGE_PRIVATE, &id, sizeof(id),
		TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_OVERWRITE,
		TEE_HANDLE_NULL, NULL, 0, &object);

	switch (result) {
	case TEE_SUCCESS:
		TEE_CloseObject(object);
		return TZML_SUCCESS;
	case TEE_ERROR_ACCESS_CONFLICT:
		return TZML_SUCCESS;
	case TEE_ERROR_STORAGE_NO_SPACE:
	case TEE_ERROR_STORAGE_NOT_AVAILABLE:
		return TZML_ERROR_STORAGE_FULL;
	default:
		return TZML_ERROR_PLATFORM;
	}
}
