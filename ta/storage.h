/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TA's persistent objects. The id of each begins with its kind, so that no
 * two kinds can ever take each other's objects.
 */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <tzml/status.h>

#define STORAGE_NAME_SIZE 16

enum storage_kind {
	/* empty: OP-TEE has the kernel library of that UUID */
	STORAGE_LIBRARY = 1,
	/* reserved: the device's identity, owners, highest versions, budgets */
	STORAGE_IDENTITY = 2,
	/* reserved: sealed state of a model, by its id */
	STORAGE_STATE = 3,
};

/* Whether there is an object of that kind and name. */
bool storage_has(enum storage_kind kind, const uint8_t name[STORAGE_NAME_SIZE]);

/*
 * Make an empty object. TZML_ERROR_STORAGE_FULL if it cannot be written; it is
 * no error when another session is at it, or that it is there already.
 */
enum tzml_status storage_note(enum storage_kind kind,
			      const uint8_t name[STORAGE_NAME_SIZE]);

#endif /* STORAGE_H */
