/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's identity, and what it remembers of owners and models: one
 * object in OP-TEE's storage. They live and die together: an identity that
 * forgot what it has seen could be shown old grants and budgets again.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <tee_internal_api.h>
#include <tzml/platform.h>
#include <tzml_ta.h>

/* TZML_ERROR_NOT_ENROLLED without an identity. The caller wipes the key. */
enum tzml_status device_read_key(struct tzml_key_pair *key);

/*
 * Make an identity for these owners. The key is as secret as the most secret
 * of the verifier's bytes, the TA's unique key and OP-TEE's random numbers.
 * TZML_ERROR_ENROLLED if there is one, unless it is to be replaced: its key
 * and all that it has seen are gone then.
 */
enum tzml_status device_enroll(TEE_TASessionHandle system,
			       const struct tzml_ta_enroll *request,
			       const uint8_t (*owners)[TZML_KEY_SIZE],
			       uint8_t point[TZML_POINT_SIZE]);

/* The device and its owners, for evidence. TZML_ERROR_NOT_ENROLLED. */
enum tzml_status device_describe(struct tzml_ta_evidence *evidence);

/* TZML_ERROR_OWNER_UNKNOWN if it was not enrolled for this owner. */
enum tzml_status device_know(void *context, const uint8_t owner[TZML_KEY_SIZE]);

/* struct tzml_crypto's, with what the device remembers. */
enum tzml_status device_admit(void *context, const struct tzml_header *header,
			      const struct tzml_grant *grant);
enum tzml_status device_spend(void *context, const struct tzml_grant *grant,
			      uint64_t *runs);
enum tzml_status device_spend_update(void *context,
				     const struct tzml_grant *grant);
enum tzml_status device_admit_round(void *context,
				    const struct tzml_grant *grant,
				    uint64_t round, bool take);
enum tzml_status device_admit_clear(void *context,
				    const struct tzml_header *header);
enum tzml_status device_number_checkpoint(void *context,
					  const struct tzml_grant *grant,
					  uint64_t base, bool give_up,
					  uint64_t *number);
enum tzml_status device_admit_checkpoint(void *context,
					 const struct tzml_grant *grant,
					 uint64_t number, bool confirm);

/* device_key.c */

/* What keys are for: no two uses get the same one. */
#define DEVICE_KEY  "tzml device key 1"
#define SESSION_KEY "tzml session key 1"
#define EXPORT_KEY  "tzml export key 1"

/* A key from all three sources of secrecy, with its public half. */
enum tzml_status device_make_key(TEE_TASessionHandle system, const char *use,
				 const uint8_t verifier[TZML_SECRET_SIZE],
				 struct tzml_key_pair *key);

/* ECDH with a point that is not ends the TA. */
bool is_on_curve(const uint8_t point[TZML_POINT_SIZE]);

/* crypto.c */

/* ECDH: X of the common point. `own` is the public half of `secret`. */
enum tzml_status derive_common(const uint8_t secret[TZML_SECRET_SIZE],
			       const uint8_t own[TZML_POINT_SIZE],
			       const uint8_t peer[TZML_POINT_SIZE],
			       uint8_t common[TZML_SECRET_SIZE]);

extern const struct tzml_crypto tee_crypto;

#endif /* DEVICE_H */
