// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "check.h"
#include "load.h"
#include "protection.h"

static const struct tzml_section *section_of(const struct tzml_model *model)
{
	return tzml_bundle_sections(header_of(model)) + model->wanted;
}

/* Clear: the tag is the SHA-256 of what was copied. */

static enum tzml_status clear_open(const struct tzml_model *model)
{
	return model->platform->digest_start(model->context);
}

/* The copy is what is digested, and what is used. */
static enum tzml_status clear_update(const struct tzml_model *model,
				     const void *in, void *out, size_t size)
{
	memcpy(out, in, size);
	return model->platform->digest_update(model->context, out, size);
}

static enum tzml_status clear_finish(const struct tzml_model *model, void *data)
{
	uint8_t digest[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status =
		model->platform->digest_finish(model->context, digest);

	(void)data;
	if (status)
		return status;
	return is_equal(digest, section_of(model)->tag, sizeof(digest))
		       ? TZML_SUCCESS
		       : TZML_ERROR_SECTION_DIGEST;
}

static const struct tzml_protection_ops clear = {
	.open = clear_open,
	.update = clear_update,
	.finish = clear_finish,
};

/*
 * Sealed: AES-256-GCM. The section is copied as it is, and opened in place in
 * one go once all of it is there: the normal world cannot change a byte
 * between its decryption and its authentication, nor choose pieces that leave
 * a part of a block behind.
 */

struct associated_data {
	uint8_t header[TZML_DIGEST_SIZE]; /* binds to bundle and version */
	uint32_t type;
	uint32_t index;
	uint32_t worlds;
};

_Static_assert(sizeof(struct associated_data) == 44, "docs/bundle.md");

static enum tzml_status sealed_open(const struct tzml_model *model)
{
	if (!model->platform->crypto)
		return TZML_ERROR_PROTECTION;
	return model->granted ? TZML_SUCCESS : TZML_ERROR_GRANT_ABSENT;
}

static enum tzml_status sealed_update(const struct tzml_model *model,
				      const void *in, void *out, size_t size)
{
	(void)model;
	memcpy(out, in, size);
	return TZML_SUCCESS;
}

static enum tzml_status bind(const struct tzml_model *model,
			     struct associated_data *data)
{
	const struct tzml_section *section = section_of(model);
	struct tzml_header header = *header_of(model);
	enum tzml_status status = model->platform->digest_start(model->context);

	memset(header.digest, 0, sizeof(header.digest));
	memset(header.signature, 0, sizeof(header.signature));
	if (!status)
		status = model->platform->digest_update(model->context, &header,
							sizeof(header));
	if (!status)
		status = model->platform->digest_finish(model->context,
							data->header);
	data->type = section->type;
	data->index = section->index;
	data->worlds = section->worlds;
	return status;
}

static enum tzml_status sealed_finish(const struct tzml_model *model,
				      void *data)
{
	const struct tzml_section *section = section_of(model);
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	struct associated_data bound = { 0 };
	enum tzml_status status = bind(model, &bound);

	if (status)
		return status;
	if (!all_zero(section->tag + TZML_TAG_SIZE,
		      sizeof(section->tag) - TZML_TAG_SIZE))
		return TZML_ERROR_SECTION_DIGEST;
	/* the row's number: no two sections of a bundle have the same */
	memcpy(nonce + 4, &model->wanted, sizeof(model->wanted));
	return model->platform->crypto->unseal(
		model->context, model->content_key, nonce, &bound,
		sizeof(bound), data, section->size, section->tag);
}

static const struct tzml_protection_ops sealed = {
	.open = sealed_open,
	.update = sealed_update,
	.finish = sealed_finish,
};

const struct tzml_protection_ops *tzml_protection_of(uint8_t code)
{
	switch (code) {
	case TZML_PROTECTION_CLEAR:
		return &clear;
	case TZML_PROTECTION_AES_GCM:
		return &sealed;
	default:
		return NULL;
	}
}
