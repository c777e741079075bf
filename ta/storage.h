/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TA's persistent objects. The id of each begins with its kind, so that no
 * two kinds can ever take each other's objects.
 *
 * Objects are opened for a moment only. One that another session has open is
 * waited for.
 *
 * TZML_ERROR_STORAGE		an object is damaged, or its file is missing
 * TZML_ERROR_STORAGE_FULL	storage cannot be written
 * TZML_ERROR_PLATFORM		anything else
 */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tee_internal_api.h>
#include <tzml/status.h>

#define STORAGE_NAME_SIZE 16

enum storage_kind {
	/* what is known of the kernel library of that UUID: kernels.c */
	STORAGE_LIBRARY = 1,
	/* the device's identity, owners, highest versions, budgets */
	STORAGE_IDENTITY = 2,
	/* reserved: sealed state of a model, by its id */
	STORAGE_STATE = 3,
};

/*
 * What OP-TEE's storage answers that means the same wherever it is used; who
 * calls it deals with the rest before. `what` is for the secure console.
 */
enum tzml_status storage_status(TEE_Result result, const char *what);

/*
 * Read an object of up to `size` bytes. What there is none of is zero: of an
 * object that does not exist, all of it.
 */
enum tzml_status storage_read(enum storage_kind kind,
			      const uint8_t name[STORAGE_NAME_SIZE], void *data,
			      size_t size);

/* Make an object, or replace it, whole or not at all. */
enum tzml_status storage_write(enum storage_kind kind,
			       const uint8_t name[STORAGE_NAME_SIZE],
			       const void *data, size_t size);

/* Remove an object that exists. */
enum tzml_status storage_remove(enum storage_kind kind,
				const uint8_t name[STORAGE_NAME_SIZE]);

/* Call `visit` with the name of each object of a kind, until it fails. */
enum tzml_status
storage_list(enum storage_kind kind,
	     enum tzml_status (*visit)(void *context,
				       const uint8_t name[STORAGE_NAME_SIZE]),
	     void *context);

/*
 * Open an object to read and write, for one session at a time: another gets
 * TEE_ERROR_ACCESS_CONFLICT.
 */
TEE_Result storage_open(enum storage_kind kind,
			const uint8_t name[STORAGE_NAME_SIZE],
			TEE_ObjectHandle *object);

#endif /* STORAGE_H */
