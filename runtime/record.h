/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RECORD_H
#define RECORD_H

#include <tzml/platform.h>

/* Who opens and seals records. */
struct tzml_sealer {
	const struct tzml_crypto *crypto;
	void *context;
};

/*
 * The key of one sender's records for one request on one edge, from the
 * edge's secret. All that it is derived from is in the record's header.
 */
enum tzml_status tzml_record_key(const struct tzml_sealer *sealer,
				 const uint8_t secret[TZML_SECRET_SIZE],
				 const struct tzml_record *record,
				 uint8_t key[TZML_SECRET_SIZE]);

/* The secret of a request's answer, from the secret of its client. */
enum tzml_status tzml_answer_secret(const struct tzml_sealer *sealer,
				    const uint8_t secret[TZML_SECRET_SIZE],
				    const struct tzml_record *record,
				    uint8_t answer[TZML_SECRET_SIZE]);

/* Open a payload in place. TZML_ERROR_RECORD_TAG if it does not open. */
enum tzml_status tzml_record_open(const struct tzml_sealer *sealer,
				  const uint8_t secret[TZML_SECRET_SIZE],
				  const struct tzml_record *record,
				  void *payload,
				  const uint8_t tag[TZML_TAG_SIZE]);

/* Seal a payload in place. */
enum tzml_status tzml_record_seal(const struct tzml_sealer *sealer,
				  const uint8_t secret[TZML_SECRET_SIZE],
				  const struct tzml_record *record,
				  void *payload, uint8_t tag[TZML_TAG_SIZE]);

#endif /* RECORD_H */
