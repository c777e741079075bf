// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel libraries, from the bundle into this TA's address space.
 *
 * OP-TEE runs only code that is signed, so a library is a signed TA shared
 * library. It goes into OP-TEE's own secure storage of TAs, by the pseudo TA
 * that checks the signature, and from there ldelf maps it. So the normal
 * world needs no access to a file system, and an encrypted library will never
 * be seen there.
 *
 * Whether a bundle is accepted must not depend on what was installed before:
 * OP-TEE checks the signature of the library that the bundle brings each time.
 * What is installed already is not written again if it is the same to the last
 * byte: a library that was installed under another key, whose name is the same,
 * is replaced.
 */
#include <dlfcn.h>
#include <pta_secstor_ta_mgmt.h>
#include <stdio.h>
#include <string.h>
#include <tee_internal_api.h>
#include <util.h>

#include "platform.h"
#include "storage.h"

/* OP-TEE's image header: core/include/signed_hdr.h */
#define SHDR_MAGIC	  0x4f545348
#define SHDR_BOOTSTRAP_TA 1

struct shdr {
	uint32_t magic;
	uint32_t img_type;
	uint32_t img_size;
	uint32_t algo;
	uint16_t hash_size;
	uint16_t sig_size;
	/* hash, signature, UUID, version, ELF */
};

/* of an OP-TEE without meta-tzml-debian's patch, which lacks both */
#ifndef PTA_SECSTOR_TA_MGMT_VERIFY
#define PTA_SECSTOR_TA_MGMT_VERIFY 0x545a4d01
#define PTA_SECSTOR_TA_MGMT_REMOVE 0x545a4d02
#endif

#define UUID_SIZE	 STORAGE_NAME_SIZE
#define UUID_STRING_SIZE 37

/* A library's UUID is the start of its digest, made a version 8 UUID. */
static void uuid_of(const uint8_t digest[TZML_DIGEST_SIZE],
		    uint8_t uuid[UUID_SIZE])
{
	memcpy(uuid, digest, UUID_SIZE);
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static void uuid_string(const uint8_t uuid[UUID_SIZE],
			char string[UUID_STRING_SIZE])
{
	size_t at = 0;

	for (size_t i = 0; i < UUID_SIZE; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			string[at++] = '-';
		snprintf(string + at, UUID_STRING_SIZE - at, "%02x", uuid[i]);
		at += 2;
	}
}

/*
 * What is known of a library. The TA remembers it of one that was installed, in
 * an object of kind STORAGE_LIBRARY. OP-TEE forgets the version of what is
 * removed; this does not, so that a removed library does not come back older.
 */
struct note {
	uint32_t version;
	uint32_t size; /* of the ELF; zero: it is not installed any more */
	uint8_t digest[TZML_DIGEST_SIZE]; /* of the signed image */
};

/* What a signed image says of itself. */
static bool read_identity(const uint8_t *image, size_t size,
			  uint8_t uuid[UUID_SIZE], struct note *note)
{
	struct shdr shdr = {};
	size_t at = 0;

	if (size < sizeof(shdr))
		return false;
	memcpy(&shdr, image, sizeof(shdr));
	at = sizeof(shdr) + shdr.hash_size + shdr.sig_size;
	if (shdr.magic != SHDR_MAGIC || shdr.img_type != SHDR_BOOTSTRAP_TA ||
	    size < at + UUID_SIZE + sizeof(note->version))
		return false;
	memcpy(uuid, image + at, UUID_SIZE);
	at += UUID_SIZE;
	memcpy(&note->version, image + at, sizeof(note->version));
	note->size = size - at - sizeof(note->version);
	return true;
}

/* Ask OP-TEE's manager of installed TAs. */
static TEE_Result manage(uint32_t command, const void *data, size_t size,
			 bool *answer)
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT,
		answer ? TEE_PARAM_TYPE_VALUE_OUTPUT : TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const TEE_UUID manager = PTA_SECSTOR_TA_MGMT_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = TEE_ERROR_GENERIC;

	result = TEE_OpenTASession(&manager, TEE_TIMEOUT_INFINITE, 0, NULL,
				   &session, NULL);
	if (result) {
		EMSG("OP-TEE lacks CFG_SECSTOR_TA_MGMT_PTA: %#" PRIx32, result);
		return result;
	}
	params[0].memref.buffer = (void *)data;
	params[0].memref.size = size;
	result = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, command,
				     types, params, NULL);
	TEE_CloseTASession(session);
	if (answer)
		*answer = params[1].value.a;
	return result;
}

static enum tzml_status status_of(TEE_Result result)
{
	switch (result) {
	case TEE_ERROR_SECURITY:
		return TZML_ERROR_KERNELS_REFUSED;
	case TEE_ERROR_ACCESS_CONFLICT:
		return TZML_ERROR_KERNELS_OLD;
	/* of an earlier installation, which OP-TEE looks at */
	case TEE_ERROR_CORRUPT_OBJECT:
	case TEE_ERROR_ITEM_NOT_FOUND:
	case TEE_ERROR_MAC_INVALID:
		return TZML_ERROR_STORAGE;
	default:
		return storage_status(result, "kernels");
	}
}

/*
 * Let OP-TEE check the image and say whether it is installed. One that cannot
 * check without installing does both at once, in install().
 */
static enum tzml_status verify(const void *image, size_t size, bool *installed)
{
	TEE_Result result =
		manage(PTA_SECSTOR_TA_MGMT_VERIFY, image, size, installed);

	if (result == TEE_ERROR_NOT_IMPLEMENTED) {
		*installed = false;
		return TZML_SUCCESS;
	}
	return status_of(result);
}

/* Install the image unless it is; OP-TEE checks it in any case. */
static enum tzml_status install(const void *image, size_t size,
				const uint8_t uuid[UUID_SIZE],
				const struct note *wanted, bool anew)
{
	enum tzml_status status = TZML_SUCCESS;
	struct note found = { 0 };
	bool installed = false;
	bool same = false;

	status = verify(image, size, &installed);
	if (!status)
		status = storage_read(STORAGE_LIBRARY, uuid, &found,
				      sizeof(found));
	if (status)
		return status;
	if (found.version > wanted->version)
		return TZML_ERROR_KERNELS_OLD;
	same = !memcmp(&found, wanted, sizeof(found));
	if (anew || !installed || !same)
		status = status_of(manage(PTA_SECSTOR_TA_MGMT_BOOTSTRAP, image,
					  size, NULL));
	if (status || same)
		return status;
	return storage_write(STORAGE_LIBRARY, uuid, wanted, sizeof(*wanted));
}

static enum tzml_status digest_of(struct platform_context *context,
				  const void *image, size_t size,
				  uint8_t digest[TZML_DIGEST_SIZE])
{
	enum tzml_status status = tee_platform.digest_start(context);

	if (!status)
		status = tee_platform.digest_update(context, image, size);
	return status ? status : tee_platform.digest_finish(context, digest);
}

/* Map an installed library and find its two symbols. */
static enum tzml_status map_library(struct platform_context *context,
				    const uint8_t uuid[UUID_SIZE],
				    struct tzml_kernels *kernels)
{
	char name[UUID_STRING_SIZE] = { 0 };
	struct tzml_kernels found = { 0 };
	void *library = NULL;

	if (context->library_count == TZML_MAX_LIBRARIES)
		return TZML_ERROR_LIMIT;
	uuid_string(uuid, name);
	/* OP-TEE takes exactly these flags; the library stays until the end */
	library = dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
	if (!library)
		return TZML_ERROR_STORAGE;
	context->libraries[context->library_count++] = library;
	found.table = dlsym(library, TZML_KERNELS_SYMBOL);
	found.call = (tzml_kernel_call_t *)dlsym(library, TZML_CALL_SYMBOL);
	if (!found.table || !found.call)
		return TZML_ERROR_KERNELS_CHANGED;
	*kernels = found;
	return TZML_SUCCESS;
}

enum tzml_status open_kernels(void *opaque,
			      const uint8_t digest[TZML_DIGEST_SIZE],
			      const void *image, size_t size,
			      struct tzml_kernels *kernels)
{
	struct platform_context *context = opaque;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t wanted[UUID_SIZE] = { 0 };
	uint8_t uuid[UUID_SIZE] = { 0 };
	struct note note = { 0 };

	uuid_of(digest, wanted);
	if (!read_identity(image, size, uuid, &note) ||
	    memcmp(uuid, wanted, sizeof(uuid)))
		return TZML_ERROR_KERNELS_CHANGED;
	status = digest_of(context, image, size, note.digest);
	if (!status)
		status = install(image, size, uuid, &note, context->reinstall);
	return status ? status : map_library(context, uuid, kernels);
}

void close_kernels(void *opaque)
{
	struct platform_context *context = opaque;

	while (context->library_count)
		dlclose(context->libraries[--context->library_count]);
}

struct list {
	struct tzml_ta_library *libraries;
	size_t room;
	size_t count;
};

static enum tzml_status list_library(void *context,
				     const uint8_t uuid[UUID_SIZE])
{
	struct tzml_ta_library library = { 0 };
	struct list *list = context;
	struct note note = { 0 };
	enum tzml_status status =
		storage_read(STORAGE_LIBRARY, uuid, &note, sizeof(note));

	if (status || !note.size)
		return status;
	memcpy(library.uuid, uuid, sizeof(library.uuid));
	library.version = note.version;
	library.size = note.size;
	if (list->count < list->room)
		memcpy(list->libraries + list->count, &library,
		       sizeof(library));
	list->count++;
	return TZML_SUCCESS;
}

enum tzml_status list_libraries(struct tzml_ta_library *libraries, size_t room,
				size_t *count)
{
	struct list list = { .libraries = libraries, .room = room };
	enum tzml_status status =
		storage_list(STORAGE_LIBRARY, list_library, &list);

	*count = list.count;
	return status;
}

enum tzml_status remove_library(const uint8_t uuid[UUID_SIZE])
{
	enum tzml_status status = TZML_SUCCESS;
	TEE_Result result = TEE_SUCCESS;
	struct note removed = { 0 };
	struct note note = { 0 };

	status = storage_read(STORAGE_LIBRARY, uuid, &note, sizeof(note));
	if (status)
		return status;
	if (!note.size)
		return TZML_ERROR_NO_LIBRARY;
	/* before OP-TEE forgets the version */
	removed.version = note.version;
	status =
		storage_write(STORAGE_LIBRARY, uuid, &removed, sizeof(removed));
	if (status)
		return status;
	result = manage(PTA_SECSTOR_TA_MGMT_REMOVE, uuid, UUID_SIZE, NULL);
	if (result && result != TEE_ERROR_ITEM_NOT_FOUND) {
		status = storage_write(STORAGE_LIBRARY, uuid, &note,
				       sizeof(note));
		if (result == TEE_ERROR_NOT_IMPLEMENTED)
			return TZML_ERROR_REMOVAL;
		return status ? status : status_of(result);
	}
	/* nothing is older than version 0 */
	return note.version ? TZML_SUCCESS
			    : storage_remove(STORAGE_LIBRARY, uuid);
}
