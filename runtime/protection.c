// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "check.h"
#include "protection.h"

static enum tzml_status clear_open(const struct tzml_platform *platform,
				   void *context,
				   const struct tzml_header *header,
				   uint32_t row)
{
	(void)header; /* a digest binds a section to nothing: the table does */
	(void)row;
	return platform->digest_start(context);
}

/* The copy is what is digested, and what is used. */
static enum tzml_status clear_update(const struct tzml_platform *platform,
				     void *context, const void *in, void *out,
				     size_t size)
{
	memcpy(out, in, size);
	return platform->digest_update(context, out, size);
}

static enum tzml_status clear_finish(const struct tzml_platform *platform,
				     void *context,
				     const uint8_t tag[TZML_DIGEST_SIZE])
{
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = platform->digest_finish(context, digest);

	if (status)
		return status;
	return is_equal(digest, tag, sizeof(digest))
		       ? TZML_SUCCESS
		       : TZML_ERROR_SECTION_DIGEST;
}

static const struct tzml_protection_ops clear = {
	.open = clear_open,
	.update = clear_update,
	.finish = clear_finish,
};

const struct tzml_protection_ops *tzml_protection_of(uint8_t code)
{
	return code == TZML_PROTECTION_CLEAR ? &clear : NULL;
}
