// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <tee_internal_api.h>

#include "storage.h"

/* How long another session is waited for, which has the object open. */
#define ATTEMPTS     100
#define MILLISECONDS 20 /* between two of them */

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

enum tzml_status storage_status(TEE_Result result, const char *what)
{
	switch (result) {
	case TEE_SUCCESS:
		return TZML_SUCCESS;
	case TEE_ERROR_STORAGE_NO_SPACE:
	case TEE_ERROR_STORAGE_NOT_AVAILABLE:
		return TZML_ERROR_STORAGE_FULL;
	case TEE_ERROR_OUT_OF_MEMORY:
		return TZML_ERROR_MEMORY;
	default:
		EMSG("%s: %#" PRIx32, what, result);
		return TZML_ERROR_PLATFORM;
	}
}

static enum tzml_status status_of(TEE_Result result)
{
	switch (result) {
	case TEE_ERROR_CORRUPT_OBJECT:
	case TEE_ERROR_ITEM_NOT_FOUND:
	case TEE_ERROR_MAC_INVALID:
		return TZML_ERROR_STORAGE;
	default:
		return storage_status(result, "storage");
	}
}

static TEE_Result open_object(struct storage_id id, uint32_t flags,
			      TEE_ObjectHandle *object)
{
	TEE_Result result = TEE_ERROR_GENERIC;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		result = TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, &id,
						  sizeof(id), flags, object);
		if (result != TEE_ERROR_ACCESS_CONFLICT)
			break;
		TEE_Wait(MILLISECONDS);
	}
	return result;
}

enum tzml_status storage_read(enum storage_kind kind,
			      const uint8_t name[STORAGE_NAME_SIZE], void *data,
			      size_t size)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result result = TEE_ERROR_GENERIC;
	size_t count = 0;

	memset(data, 0, size);
	/* shared: other sessions look at the same time */
	result = open_object(
		id_of(kind, name),
		TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_SHARE_READ, &object);
	if (result == TEE_ERROR_ITEM_NOT_FOUND)
		return TZML_SUCCESS;
	if (result)
		return status_of(result);
	result = TEE_ReadObjectData(object, data, size, &count);
	TEE_CloseObject(object);
	return status_of(result);
}

enum tzml_status storage_write(enum storage_kind kind,
			       const uint8_t name[STORAGE_NAME_SIZE],
			       const void *data, size_t size)
{
	const struct storage_id id = id_of(kind, name);
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result result = TEE_ERROR_GENERIC;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		result = TEE_CreatePersistentObject(
			TEE_STORAGE_PRIVATE, &id, sizeof(id),
			TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_OVERWRITE,
			TEE_HANDLE_NULL, data, size, &object);
		if (result != TEE_ERROR_ACCESS_CONFLICT)
			break;
		TEE_Wait(MILLISECONDS);
	}
	if (!result)
		TEE_CloseObject(object);
	return status_of(result);
}

enum tzml_status storage_remove(enum storage_kind kind,
				const uint8_t name[STORAGE_NAME_SIZE])
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result result = open_object(
		id_of(kind, name), TEE_DATA_FLAG_ACCESS_WRITE_META, &object);

	if (!result)
		result = TEE_CloseAndDeletePersistentObject1(object);
	return status_of(result);
}

static enum tzml_status
visit_all(TEE_ObjectEnumHandle objects, enum storage_kind kind,
	  enum tzml_status (*visit)(void *context,
				    const uint8_t name[STORAGE_NAME_SIZE]),
	  void *context)
{
	uint8_t id[TEE_OBJECT_ID_MAX_LEN] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	while (!status) {
		size_t size = sizeof(id);
		TEE_Result result =
			TEE_GetNextPersistentObject(objects, NULL, id, &size);

		if (result == TEE_ERROR_ITEM_NOT_FOUND)
			break;
		if (result)
			return status_of(result);
		if (size == sizeof(struct storage_id) && id[0] == kind)
			status = visit(context,
				       id + offsetof(struct storage_id, name));
	}
	return status;
}

enum tzml_status
storage_list(enum storage_kind kind,
	     enum tzml_status (*visit)(void *context,
				       const uint8_t name[STORAGE_NAME_SIZE]),
	     void *context)
{
	TEE_ObjectEnumHandle objects = TEE_HANDLE_NULL;
	enum tzml_status status = TZML_SUCCESS;
	TEE_Result result = TEE_AllocatePersistentObjectEnumerator(&objects);

	if (result)
		return status_of(result);
	result = TEE_StartPersistentObjectEnumerator(objects,
						     TEE_STORAGE_PRIVATE);
	if (!result)
		status = visit_all(objects, kind, visit, context);
	else if (result != TEE_ERROR_ITEM_NOT_FOUND) /* there are none */
		status = status_of(result);
	TEE_FreePersistentObjectEnumerator(objects);
	return status;
}

TEE_Result storage_open(enum storage_kind kind,
			const uint8_t name[STORAGE_NAME_SIZE],
			TEE_ObjectHandle *object)
{
	const struct storage_id id = id_of(kind, name);

	return TEE_OpenPersistentObject(
		TEE_STORAGE_PRIVATE, &id, sizeof(id),
		TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE, object);
}
