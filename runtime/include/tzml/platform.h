/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between the worlds. */
#ifndef TZML_PLATFORM_H
#define TZML_PLATFORM_H

#include <stddef.h>
#include <tzml/format.h>
#include <tzml/kernels.h>
#include <tzml/status.h>

struct tzml_platform {
	enum tzml_target target;
	enum tzml_worlds world; /* TZML_IN_TEE or TZML_IN_REE */

	/* Zeroed memory aligned to TZML_ALIGNMENT, or NULL. */
	void *(*allocate)(void *context, size_t size);
	/* Wipe, then give back. */
	void (*release)(void *context, void *memory, size_t size);

	/* SHA-256, one at a time; start may follow start. */
	enum tzml_status (*digest_start)(void *context);
	enum tzml_status (*digest_update)(void *context, const void *data,
					  size_t size);
	enum tzml_status (*digest_finish)(void *context,
					  uint8_t digest[TZML_DIGEST_SIZE]);

	/*
	 * Make the kernel library of that digest callable, which is in the
	 * image, or refuse it: what was opened before changes nothing about
	 * that. At most TZML_MAX_LIBRARIES are open at once; all stay until
	 * close_kernels.
	 */
	enum tzml_status (*open_kernels)(void *context,
					 const uint8_t digest[TZML_DIGEST_SIZE],
					 const void *image, size_t size,
					 struct tzml_kernels *kernels);
	/* Close all libraries, if any. */
	void (*close_kernels)(void *context);
};

#endif /* TZML_PLATFORM_H */
