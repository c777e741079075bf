// SPDX-License-Identifier: Apache-2.0
/* Records: docs/bundle.md, "Record (.tzx)". */
#include <string.h>

#include "check.h"
#include "record.h"

/* HKDF-Expand (RFC 5869) of a uniform secret to one block is one HMAC. */
struct record_info {
	uint8_t label[13];
	uint8_t pipeline[16];
	uint64_t epoch;
	uint32_t edge;
	uint8_t request[TZML_REQUEST_SIZE];
	uint8_t sender[TZML_DIGEST_SIZE];
	uint8_t block;
} __attribute__((packed));

_Static_assert(sizeof(struct record_info) == 90, "docs/bundle.md");

static enum tzml_status derive(const struct tzml_sealer *sealer,
			       const char label[13],
			       const uint8_t secret[TZML_SECRET_SIZE],
			       const struct tzml_record *record,
			       uint8_t out[TZML_SECRET_SIZE])
{
	struct record_info info = {
		.epoch = record->epoch,
		.edge = record->edge,
		.block = 1,
	};

	memcpy(info.label, label, sizeof(info.label));
	memcpy(info.pipeline, record->pipeline, sizeof(info.pipeline));
	memcpy(info.request, record->request, sizeof(info.request));
	memcpy(info.sender, record->sender, sizeof(info.sender));
	return sealer->crypto->hmac(sealer->context, secret, TZML_SECRET_SIZE,
				    &info, sizeof(info), out);
}

enum tzml_status tzml_record_key(const struct tzml_sealer *sealer,
				 const uint8_t secret[TZML_SECRET_SIZE],
				 const struct tzml_record *record,
				 uint8_t key[TZML_SECRET_SIZE])
{
	return derive(sealer, "tzml record 1", secret, record, key);
}

enum tzml_status tzml_answer_secret(const struct tzml_sealer *sealer,
				    const uint8_t secret[TZML_SECRET_SIZE],
				    const struct tzml_record *record,
				    uint8_t answer[TZML_SECRET_SIZE])
{
	return derive(sealer, "tzml answer 1", secret, record, answer);
}

/* The sender's counter: it seals no two records with one number. */
static void make_nonce(const struct tzml_record *record,
		       uint8_t nonce[TZML_NONCE_SIZE])
{
	memset(nonce, 0, TZML_NONCE_SIZE);
	memcpy(nonce + 4, &record->counter, sizeof(record->counter));
}

enum tzml_status tzml_record_open(const struct tzml_sealer *sealer,
				  const uint8_t secret[TZML_SECRET_SIZE],
				  const struct tzml_record *record,
				  void *payload,
				  const uint8_t tag[TZML_TAG_SIZE])
{
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status = tzml_record_key(sealer, secret, record, key);

	make_nonce(record, nonce);
	if (!status)
		status = sealer->crypto->unseal(sealer->context, key, nonce,
						record, sizeof(*record),
						payload, record->size, tag);
	wipe(key, sizeof(key));
	if (status) /* what did not open may be there in the clear */
		wipe(payload, record->size);
	return status == TZML_ERROR_SECTION_DIGEST ? TZML_ERROR_RECORD_TAG
						   : status;
}

enum tzml_status tzml_record_seal(const struct tzml_sealer *sealer,
				  const uint8_t secret[TZML_SECRET_SIZE],
				  const struct tzml_record *record,
				  void *payload, uint8_t tag[TZML_TAG_SIZE])
{
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status = tzml_record_key(sealer, secret, record, key);

	make_nonce(record, nonce);
	if (!status)
		status = sealer->crypto->seal(sealer->context, key, nonce,
					      record, sizeof(*record), payload,
					      record->size, tag);
	wipe(key, sizeof(key));
	if (status)
		wipe(payload, record->size);
	return status;
}
