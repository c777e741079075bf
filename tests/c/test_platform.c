// SPDX-License-Identifier: Apache-2.0
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example_kernels.h"
#include "test_crypto.h"
#include "test_platform.h"

/* Whether a call that is counted is to fail: one does. */
static bool fails(uint32_t *left)
{
	if (*left == NEVER)
		return false;
	return !(*left)--;
}

static void *allocate(void *opaque, size_t size)
{
	struct test_context *context = opaque;
	void *memory = NULL;

	if (fails(&context->allocations_left) ||
	    size > context->limit - context->allocated ||
	    posix_memalign(&memory, TZML_ALIGNMENT, size))
		return NULL;
	memset(memory, 0, size);
	context->allocated += size;
	return memory;
}

static void release(void *opaque, void *memory, size_t size)
{
	struct test_context *context = opaque;
	const uint8_t *bytes = memory;

	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			abort(); /* it was to be wiped */
	free(memory);
	context->allocated -= size;
}

static enum tzml_status digest_start(void *opaque)
{
	struct test_context *context = opaque;

	if (fails(&context->digests_left))
		return TZML_ERROR_PLATFORM;
	return EVP_DigestInit_ex(context->digest, EVP_sha256(), NULL) == 1
		       ? TZML_SUCCESS
		       : TZML_ERROR_PLATFORM;
}

static enum tzml_status digest_update(void *opaque, const void *data,
				      size_t size)
{
	struct test_context *context = opaque;

	if (fails(&context->digests_left))
		return TZML_ERROR_PLATFORM;
	if (context->shared)
		memset(context->shared, 0x55, context->shared_size);
	return EVP_DigestUpdate(context->digest, data, size) == 1
		       ? TZML_SUCCESS
		       : TZML_ERROR_PLATFORM;
}

static enum tzml_status digest_finish(void *opaque,
				      uint8_t digest[TZML_DIGEST_SIZE])
{
	struct test_context *context = opaque;
	uint8_t made[TZML_DIGEST_SIZE] = { 0 };

	if (fails(&context->digests_left) ||
	    EVP_DigestFinal_ex(context->digest, made, NULL) != 1)
		return TZML_ERROR_PLATFORM;
	memcpy(digest, made, sizeof(made)); /* the sanitizer sees this one */
	return TZML_SUCCESS;
}

static enum tzml_status random_bytes(void *opaque, void *data, size_t size)
{
	struct test_context *context = opaque;

	if (fails(&context->digests_left))
		return TZML_ERROR_PLATFORM;
	return RAND_bytes(data, (int)size) == 1 ? TZML_SUCCESS
						: TZML_ERROR_PLATFORM;
}

static enum tzml_status open_kernels(void *opaque,
				     const uint8_t digest[TZML_DIGEST_SIZE],
				     const void *image, size_t size,
				     struct tzml_kernels *kernels)
{
	struct test_context *context = opaque;

	(void)digest;
	if (!image || !size)
		abort();
	context->opened++;
	*kernels = *context->kernels;
	return TZML_SUCCESS;
}

static void close_kernels(void *opaque)
{
	struct test_context *context = opaque;

	context->opened = 0;
}

#define PLATFORM_IN(which, functions)     \
	{ .target = TZML_TARGET_AARCH64,  \
	  .world = (which),               \
	  .allocate = allocate,           \
	  .release = release,             \
	  .digest_start = digest_start,   \
	  .digest_update = digest_update, \
	  .digest_finish = digest_finish, \
	  .random = random_bytes,         \
	  .open_kernels = open_kernels,   \
	  .close_kernels = close_kernels, \
	  .crypto = (functions) }

const struct tzml_platform test_platform =
	PLATFORM_IN(TZML_IN_TEE, &test_crypto);
const struct tzml_platform test_platform_ree = PLATFORM_IN(TZML_IN_REE, NULL);

void test_context_open(struct test_context *context)
{
	memset(context, 0, sizeof(*context));
	context->kernels = &example_kernels;
	context->limit = SIZE_MAX;
	context->allocations_left = NEVER;
	context->digests_left = NEVER;
	context->seals_left = NEVER;
	context->digest = EVP_MD_CTX_new();
	if (!context->digest)
		abort();
}

const char *test_status_name(enum tzml_status status)
{
	switch (status) {
#define TZML_STATUS_NAME(name, code, what, remedy) \
	case TZML_ERROR_##name:                    \
		return #name;
		TZML_STATUS_LIST(TZML_STATUS_NAME)
#undef TZML_STATUS_NAME
	default:
		return status ? "UNKNOWN" : "SUCCESS";
	}
}

void test_context_close(struct test_context *context)
{
	EVP_MD_CTX_free(context->digest);
	EVP_PKEY_free(context->device);
	if (context->allocated || context->opened || context->keeps_key)
		abort();
}

size_t test_read_file(const char *folder, const char *name, uint8_t *to,
		      size_t room)
{
	char path[4096] = "";
	FILE *file = NULL;
	size_t size = 0;

	snprintf(path, sizeof(path), "%s%s%s", folder ? folder : "",
		 folder ? "/" : "", name);
	file = fopen(path, "rb");
	if (file)
		size = fread(to, 1, room, file);
	if (!file || ferror(file)) {
		perror(path);
		exit(2);
	}
	fclose(file);
	if (size == room) {
		fprintf(stderr, "%s: larger than the test expects\n", path);
		exit(2);
	}
	to[size] = 0;
	return size;
}

void test_read_hexadecimal(const char *digits, uint8_t *to, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (sscanf(digits + 2 * i, "%2hhx", to + i) != 1) {
			fprintf(stderr, "not %zu bytes in hexadecimal: %.80s\n",
				size, digits);
			exit(2);
		}
	}
}

void test_context_enroll_example(struct test_context *context,
				 const uint8_t *json)
{
	static const char field[] = "\"device_private\": \"";
	const char *found = strstr((const char *)json, field);
	uint8_t key[TZML_SECRET_SIZE] = { 0 };

	if (!found) {
		fputs("the example names no device\n", stderr);
		exit(2);
	}
	test_read_hexadecimal(found + strlen(field), key, sizeof(key));
	test_context_enroll(context, key);
}

enum tzml_status test_load_wanted(struct tzml_model *model,
				  const uint8_t *bundle)
{
	uint32_t wanted = tzml_model_wanted(model);
	const struct tzml_section *section =
		tzml_bundle_sections((const void *)bundle) + wanted;

	return tzml_model_load(model, wanted, 0, bundle + section->offset,
			       section->size);
}

enum tzml_status test_load(struct tzml_model *model, const uint8_t *bundle)
{
	enum tzml_status status = TZML_SUCCESS;

	while (!status && tzml_model_wanted(model) != TZML_NO_SECTION)
		status = test_load_wanted(model, bundle);
	return status;
}
