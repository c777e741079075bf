// SPDX-License-Identifier: Apache-2.0
/* SHA-256 by OpenSSL, which uses the processor's instructions for it. */
#include <openssl/evp.h>

#include "digest.h"

/* `struct digest` is OpenSSL's context */
static EVP_MD_CTX *context(struct digest *digest)
{
	return (EVP_MD_CTX *)digest;
}

struct digest *digest_new(void)
{
	return (struct digest *)EVP_MD_CTX_new();
}

void digest_free(struct digest *digest)
{
	EVP_MD_CTX_free(context(digest));
}

bool digest_begin(struct digest *digest)
{
	return EVP_DigestInit_ex(context(digest), EVP_sha256(), NULL) == 1;
}

bool digest_add(struct digest *digest, const void *data, size_t size)
{
	return EVP_DigestUpdate(context(digest), data, size) == 1;
}

bool digest_end(struct digest *digest, uint8_t result[TZML_DIGEST_SIZE])
{
	return EVP_DigestFinal_ex(context(digest), result, NULL) == 1;
}

bool digest_of(const void *data, size_t size, uint8_t result[TZML_DIGEST_SIZE])
{
	return EVP_Digest(data, size, result, NULL, EVP_sha256(), NULL) == 1;
}
