/* SPDX-License-Identifier: Apache-2.0 */
/* A platform for tests: exact allocations, which AddressSanitizer watches. */
#ifndef TEST_PLATFORM_H
#define TEST_PLATFORM_H

#include <tzml/model.h>

/* The call fails before which this was counted down to zero. */
#define NEVER UINT32_MAX

struct test_context {
	void *digest;			    /* EVP_MD_CTX */
	const struct tzml_kernels *kernels; /* the library that is opened */
	uint32_t opened;		    /* how many libraries are open */
	size_t limit; /* bytes that may be allocated in all */
	size_t allocated;
	uint32_t allocations_left; /* or NEVER */
	uint32_t digests_left;	   /* of digests and random numbers; or NEVER */
	/* what the normal world writes to while a digest is made, or NULL */
	uint8_t *shared;
	size_t shared_size;
	/* the device: what its storage has */
	void *device; /* EVP_PKEY, or NULL: it has no identity */
	uint64_t highest_version;
	uint64_t highest_serial;
	uint64_t runs_spent;
	uint64_t updates_spent; /* with noise */
	uint64_t round;		/* of the last global model */
	uint64_t numbered;	/* the last checkpoint's number */
	uint64_t confirmed;	/* that of the last that was confirmed */
	bool knows_no_owner;
	bool saw_it_sealed;
	bool keeps_key; /* that something was opened with */
	bool trusting;	/* signatures and tags are right, points on the curve */
	uint32_t seals_left; /* calls of cryptography; or NEVER */
};

/* Whatever the image, the example library; in the TEE, and in the REE. */
extern const struct tzml_platform test_platform;
extern const struct tzml_platform test_platform_ree;

/* As status.h calls it, without what all names begin with. */
const char *test_status_name(enum tzml_status status);

void test_context_open(struct test_context *context);

/* Give the device that private key. */
void test_context_enroll(struct test_context *context,
			 const uint8_t private_key[TZML_SECRET_SIZE]);

/* Give it the one that an example's JSON names, or exit. */
void test_context_enroll_example(struct test_context *context,
				 const uint8_t *json);

/* Fill in the public half of a key. */
void test_key_pair(struct tzml_key_pair *pair);

/* Abort if something was not given back. */
void test_context_close(struct test_context *context);

/*
 * Read a file whole, behind which a zero byte is put, and return its size. Exit
 * if it cannot be read, or there is no room for it and the zero byte. Without a
 * `folder` the name is a path.
 */
size_t test_read_file(const char *folder, const char *name, uint8_t *to,
		      size_t room);

/* Read so many bytes, or exit. More digits may follow. */
void test_read_hexadecimal(const char *digits, uint8_t *to, size_t size);

/* Hand over the section of a bundle that is wanted, as one piece. */
enum tzml_status test_load_wanted(struct tzml_model *model,
				  const uint8_t *bundle);

/* Hand over all that are wanted. */
enum tzml_status test_load(struct tzml_model *model, const uint8_t *bundle);

#endif /* TEST_PLATFORM_H */
