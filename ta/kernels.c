// SPDX-License-Identifier: Apache-2.0
/*
 * Kernel libraries, from the bundle into this TA's address space.
 *
 * OP-TEE runs only code that is signed, so a library is a signed TA shared
 * library. It goes into OP-TEE's own secure storage of TAs, by the pseudo TA
 * that checks the signature, and from there ldelf maps it. So the normal
 * world needs no access to a file system, and an encrypted library will never
 * be seen there.
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

/* Whether a signed image says it is the library of that UUID. */
static bool has_uuid(const uint8_t *image, size_t size,
		     const uint8_t uuid[UUID_SIZE])
{
	struct shdr shdr = {};
	size_t at = 0;

	if (size < sizeof(shdr))
		return false;
	memcpy(&shdr, image, sizeof(shdr));
	at = sizeof(shdr) + shdr.hash_size + shdr.sig_size;
	return shdr.magic == SHDR_MAGIC && shdr.img_type == SHDR_BOOTSTRAP_TA &&
	       size >= at + UUID_SIZE && !memcmp(image + at, uuid, UUID_SIZE);
}

static enum tzml_status install(const void *image, size_t size,
				const uint8_t uuid[UUID_SIZE])
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_NONE,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	const TEE_UUID manager = PTA_SECSTOR_TA_MGMT_UUID;
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Param params[TEE_NUM_PARAMS] = {};
	TEE_Result result = TEE_ERROR_GENERIC;

	if (!has_uuid(image, size, uuid))
		return TZML_ERROR_KERNELS_CHANGED;

	result = TEE_OpenTASession(&manager, TEE_TIMEOUT_INFINITE, 0, NULL,
				   &session, NULL);
	if (result) {
		EMSG("OP-TEE lacks CFG_SECSTOR_TA_MGMT_PTA: %#" PRIx32, result);
		return TZML_ERROR_PLATFORM;
	}
	params[0].memref.buffer = (void *)image;
	params[0].memref.size = size;
	result = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE,
				     PTA_SECSTOR_TA_MGMT_BOOTSTRAP, types,
				     params, NULL);
	TEE_CloseTASession(session);

	switch (result) {
	case TEE_SUCCESS:
		return storage_note(STORAGE_LIBRARY, uuid);
	case TEE_ERROR_SECURITY:
		return TZML_ERROR_KERNELS_REFUSED;
	case TEE_ERROR_ACCESS_CONFLICT:
		return TZML_ERROR_KERNELS_OLD;
	/* of an earlier installation, which OP-TEE looks at */
	case TEE_ERROR_CORRUPT_OBJECT:
	case TEE_ERROR_ITEM_NOT_FOUND:
	case TEE_ERROR_MAC_INVALID:
		return TZML_ERROR_STORAGE;
	case TEE_ERROR_STORAGE_NO_SPACE:
	case TEE_ERROR_STORAGE_NOT_AVAILABLE:
		return TZML_ERROR_STORAGE_FULL;
	default:
		EMSG("cannot install kernels: %#" PRIx32, result);
		return TZML_ERROR_PLATFORM;
	}
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

/*
 * That a library was installed is noted in the TA's own storage. Asking OP-TEE
 * for a library that it does not have would end this TA.
 */
enum tzml_status open_kernels(void *opaque,
			      const uint8_t digest[TZML_DIGEST_SIZE],
			      const void *image, size_t size,
			      struct tzml_kernels *kernels)
{
	struct platform_context *context = opaque;
	enum tzml_status status = TZML_SUCCESS;
	uint8_t uuid[UUID_SIZE] = { 0 };

	uuid_of(digest, uuid);
	if (!image &&
	    (context->reinstall || !storage_has(STORAGE_LIBRARY, uuid)))
		return TZML_ERROR_KERNELS_ABSENT;
	if (image) {
		status = install(image, size, uuid);
		if (status)
			return status;
	}
	return map_library(context, uuid, kernels);
}

void close_kernels(void *opaque)
{
	struct platform_context *context = opaque;

	while (context->library_count)
		dlclose(context->libraries[--context->library_count]);
}
