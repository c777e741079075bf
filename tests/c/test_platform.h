/* SPDX-License-Identifier: Apache-2.0 */
/* A platform for tests: exact allocations, which AddressSanitizer watches. */
#ifndef TEST_PLATFORM_H
#define TEST_PLATFORM_H

#include <tzml/model.h>

struct test_context {
	void *digest;	/* EVP_MD_CTX */
	bool installed; /* the example library is there without its image */
	size_t limit;	/* bytes that may be allocated in all */
	size_t allocated;
};

/* The example library, as if it were installed. */
extern const struct tzml_platform test_platform;

void test_context_open(struct test_context *context);

/* Abort if something was not given back. */
void test_context_close(struct test_context *context);

#endif /* TEST_PLATFORM_H */
