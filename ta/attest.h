/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTEST_H
#define ATTEST_H

#include <tee_internal_api.h>
#include <tzml/status.h>
#include <tzml_ta.h>

/* Whose key the evidence has. */
#define ATTEST_DEVICE  "tzml device 1"
#define ATTEST_SESSION "tzml stage 1"

/*
 * Add OP-TEE's reports to evidence that has a key and the owners. The nonces
 * that OP-TEE signs are made here: what the normal world asks for is only a
 * part of them. There are none where OP-TEE has no attestation.
 */
enum tzml_status attest_key(TEE_OperationHandle digest, const char *whose,
			    const uint8_t nonce[TZML_CHALLENGE_SIZE],
			    struct tzml_ta_evidence *evidence);

#endif /* ATTEST_H */
