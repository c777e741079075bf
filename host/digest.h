/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, by OpenSSL or, where that would be the only use of it, our own. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tzml/bundle.h>

struct digest;

/* NULL: out of memory. */
struct digest *digest_new(void);
void digest_free(struct digest *digest);

/* Start anew, add data, and finish. All of them say whether it worked. */
bool digest_begin(struct digest *digest);
bool digest_add(struct digest *digest, const void *data, size_t size);
bool digest_end(struct digest *digest, uint8_t result[TZML_DIGEST_SIZE]);

/* The digest of data that is there as a whole. */
bool digest_of(const void *data, size_t size, uint8_t result[TZML_DIGEST_SIZE]);

#endif /* DIGEST_H */
