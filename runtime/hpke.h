/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HPKE_H
#define HPKE_H

#include <tzml/platform.h>

/* A receiver of messages: a key, NULL: the device's, and who knows it. */
struct tzml_receiver {
	const struct tzml_crypto *crypto;
	void *context;
	const struct tzml_key_pair *key;
};

/* What a sender says besides the message; at most 200 bytes. */
struct tzml_hpke_info {
	const void *data;
	size_t size;
};

/*
 * Open one message that was sealed to the receiver by HPKE (RFC 9180) in base
 * mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, and empty
 * associated data. `sealed` are `size` bytes and a tag; the message is
 * written to `message`, of `size` bytes. TZML_ERROR_SECTION_DIGEST if it does
 * not open.
 */
enum tzml_status tzml_hpke_open(const struct tzml_receiver *receiver,
				const uint8_t enc[TZML_POINT_SIZE],
				const struct tzml_hpke_info *info,
				const uint8_t *sealed, uint8_t *message,
				size_t size);

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
