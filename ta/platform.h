/* SPDX-License-Identifier: Apache-2.0 */
/* What a model needs of OP-TEE. */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdbool.h>
#include <tee_internal_api.h>
#include <tzml/model.h>
#include <tzml_ta.h>

/* The last key that something was opened with, and OP-TEE's use of it. */
struct unsealing {
	TEE_OperationHandle operation;
	uint8_t key[TZML_SECRET_SIZE];
};

struct platform_context {
	TEE_TASessionHandle system; /* OP-TEE's system pseudo TA */
	TEE_OperationHandle digest;
	struct unsealing unsealing;
	void *libraries[TZML_MAX_LIBRARIES]; /* from dlopen */
	uint32_t library_count;
	bool reinstall;
	uint64_t mapped;
	uint64_t mapped_peak;
};

extern const struct tzml_platform tee_platform;

TEE_Result platform_open(struct platform_context *context);
void platform_close(struct platform_context *context);

/* struct tzml_crypto's forget. */
void forget_key(void *context);

/* struct tzml_platform's open_kernels and close_kernels; in kernels.c. */
enum tzml_status open_kernels(void *context,
			      const uint8_t digest[TZML_DIGEST_SIZE],
			      const void *image, size_t size,
			      struct tzml_kernels *kernels);
void close_kernels(void *context);

/*
 * The installed libraries; `*count` is how many there are, of which the first
 * `room` are written to memory that may be shared and unaligned.
 */
enum tzml_status list_libraries(struct tzml_ta_library *libraries, size_t room,
				size_t *count);

/* Remove the library of that UUID, of 16 bytes. */
enum tzml_status remove_library(const uint8_t uuid[16]);

#endif /* PLATFORM_H */
