/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HPKE_H
#define HPKE_H

#include <tzml/platform.h>

/*
 * Open one message that was sealed to the device's key by HPKE (RFC 9180) in
 * base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, and
 * empty associated data. The message is a key and its tag. `enc` comes from
 * somebody who is trusted as far as that it is a point on the curve: OP-TEE
 * ends a TA that gives it another one. TZML_ERROR_SECTION_DIGEST if it does
 * not open.
 */
enum tzml_status tzml_hpke_open(const struct tzml_crypto *crypto, void *context,
				const uint8_t enc[TZML_POINT_SIZE],
				const uint8_t wrapped[TZML_WRAPPED_SIZE],
				const void *info, size_t info_size,
				uint8_t secret[TZML_SECRET_SIZE]);

/*
 * Seal a key to somebody's public key, as one message that only the device can
 * have made: HPKE's mode_auth, with the device's own key for the sender's.
 */
enum tzml_status tzml_hpke_seal(const struct tzml_crypto *crypto, void *context,
				const uint8_t peer[TZML_POINT_SIZE],
				const void *info, size_t info_size,
				const uint8_t secret[TZML_SECRET_SIZE],
				uint8_t enc[TZML_POINT_SIZE],
				uint8_t wrapped[TZML_WRAPPED_SIZE]);

#endif /* HPKE_H */
