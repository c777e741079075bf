/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTEST_H
#define ATTEST_H

#include <tee_internal_api.h>
#include <tzml_ta.h>

/* A SHA-256 and an RSA signature of at most 4096 bits. */
#define TZML_MAX_EVIDENCE (32 + 512)

/*
 * OP-TEE's evidence that a TA with this TA's code has this key and these
 * owners. The nonce that OP-TEE signs is made here: what the normal world asks
 * for is only a part of it. `size` is 0 where OP-TEE has no attestation.
 */
TEE_Result attest_device(TEE_OperationHandle digest,
			 const struct tzml_ta_enroll *request,
			 const uint8_t (*owners)[TZML_KEY_SIZE],
			 const uint8_t point[TZML_POINT_SIZE], void *evidence,
			 size_t *size);

#endif /* ATTEST_H */
