// SPDX-License-Identifier: Apache-2.0
/*
 * Grants, as the normal world sees them: it picks one and reads from it what
 * the outputs will be. Only the TA checks them.
 */
#include <string.h>
#include <tzml/policy.h>

#include "digest.h"
#include "session.h"

bool bundle_is_sealed(const struct bundle *bundle)
{
	const struct tzml_section *sections =
		tzml_bundle_sections(bundle->header);

	for (uint32_t i = 0; i < bundle->header->section_count; i++)
		if (sections[i].protection && sections[i].worlds & TZML_IN_TEE)
			return true;
	return false;
}

/* The grant at an offset of the bundle's grants, or none. */
static struct grant grant_at(const struct bundle *bundle, size_t offset)
{
	struct grant grant = { NULL, 0 };
	struct tzml_grant header = { 0 };
	size_t left = bundle->grants_size - offset;

	if (left < sizeof(header))
		return grant;
	memcpy(&header, bundle->grants + offset, sizeof(header));
	if (memcmp(header.magic, TZML_GRANT_MAGIC, sizeof(header.magic)) ||
	    header.grant_size < sizeof(header) || header.grant_size > left)
		return grant;
	grant.data = bundle->grants + offset;
	grant.size = header.grant_size;
	return grant;
}

static bool is_for(struct grant grant, const uint8_t key_id[TZML_DIGEST_SIZE])
{
	const uint8_t *at =
		(const uint8_t *)grant.data + sizeof(struct tzml_grant);
	const uint8_t *end = (const uint8_t *)grant.data + grant.size;

	for (; (size_t)(end - at) >= sizeof(struct tzml_recipient);
	     at += sizeof(struct tzml_recipient))
		if (!memcmp(at, key_id, TZML_DIGEST_SIZE))
			return true;
	return false;
}

static uint64_t serial_of(struct grant grant)
{
	struct tzml_grant header = { 0 };

	memcpy(&header, grant.data, sizeof(header));
	return header.serial;
}

struct grant choose_grant(const struct bundle *bundle,
			  const uint8_t point[TZML_POINT_SIZE])
{
	uint8_t key_id[TZML_DIGEST_SIZE] = { 0 };
	struct grant chosen = { NULL, 0 };
	bool is_own = false;
	size_t offset = 0;

	if (!digest_of(point, TZML_POINT_SIZE, key_id))
		return chosen;
	while (offset <= bundle->grants_size) {
		struct grant grant = grant_at(bundle, offset);
		bool own = grant.data && is_for(grant, key_id);

		if (!grant.data)
			break;
		if (!chosen.data || own > is_own ||
		    (own == is_own && serial_of(grant) > serial_of(chosen))) {
			chosen = grant;
			is_own = own;
		}
		offset += tzml_align(grant.size);
	}
	if (!chosen.data && bundle->grants_size) { /* the TA refuses it */
		chosen.data = bundle->grants;
		chosen.size = bundle->grants_size;
	}
	return chosen;
}

bool has_budget(struct grant grant)
{
	struct tzml_grant copy = { .query_budget = TZML_UNLIMITED };

	if (grant.size >= sizeof(copy))
		memcpy(&copy, grant.data, sizeof(copy));
	return copy.query_budget != TZML_UNLIMITED;
}

uint32_t apply_policy(struct grant grant, struct tzml_interface *interface)
{
	/* the interface is in memory of the session */
	struct tzml_tensor *tensors = (struct tzml_tensor *)interface->tensors;
	struct tzml_grant header = { 0 };

	if (!grant.data)
		return TZML_OUTPUT_FULL;
	memcpy(&header, grant.data, sizeof(header));
	for (uint32_t i = 0; i < interface->header->tensor_count; i++) {
		struct tzml_tensor given = { 0 };

		if (tensors[i].flags == TZML_TENSOR_OUTPUT &&
		    tzml_policy_shape(header.output_policy,
				      header.policy_argument, tensors + i,
				      &given))
			tensors[i] = given;
	}
	return header.output_policy;
}
