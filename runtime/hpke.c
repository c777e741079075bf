// SPDX-License-Identifier: Apache-2.0
/*
 * RFC 9180: the receiver in base mode, and the sender in mode_auth, from the
 * platform's HMAC, ECDH and AES-GCM. HKDF (RFC 5869) is HMAC alone here:
 * nothing that is derived is longer than one block of SHA-256.
 */
#include <string.h>

#include "check.h"
#include "hpke.h"

#define MAX_TEXT 256

struct text {
	uint8_t data[MAX_TEXT];
	size_t size;
};

struct deriver {
	const struct tzml_crypto *crypto;
	void *context;
	const uint8_t *suite; /* suite_id */
	size_t suite_size;
};

/* RFC 9180, 4.1 and 5.1: kem_id 0x0010, kdf_id 0x0001, aead_id 0x0002 */
static const uint8_t kem_suite[] = { 'K', 'E', 'M', 0x00, 0x10 };
static const uint8_t hpke_suite[] = { 'H',  'P',  'K',	'E',  0x00,
				      0x10, 0x00, 0x01, 0x00, 0x02 };

static void add(struct text *text, const void *data, size_t size)
{
	memcpy(text->data + text->size, data, size);
	text->size += size;
}

static void add_labels(struct text *text, const struct deriver *deriver,
		       const char *label)
{
	add(text, "HPKE-v1", 7);
	add(text, deriver->suite, deriver->suite_size);
	add(text, label, strlen(label));
}

/* LabeledExtract (4.): HMAC under the salt; an empty one is as good as zeros. */
static enum tzml_status extract(const struct deriver *deriver,
				const uint8_t salt[TZML_DIGEST_SIZE],
				const char *label, const void *secret,
				size_t size, uint8_t out[TZML_DIGEST_SIZE])
{
	struct text text = { .size = 0 };
	enum tzml_status status = TZML_SUCCESS;

	add_labels(&text, deriver, label);
	add(&text, secret, size);
	status = deriver->crypto->hmac(deriver->context, salt, TZML_DIGEST_SIZE,
				       text.data, text.size, out);
	wipe(&text, sizeof(text));
	return status;
}

/* LabeledExpand (4.) to at most one block. */
static enum tzml_status expand(const struct deriver *deriver,
			       const uint8_t key[TZML_DIGEST_SIZE],
			       const char *label, const void *info,
			       size_t info_size, uint8_t *out, uint8_t size)
{
	const uint8_t length[] = { 0, size };
	const uint8_t block = 1;
	uint8_t mac[TZML_DIGEST_SIZE] = { 0 };
	struct text text = { .size = 0 };
	enum tzml_status status = TZML_SUCCESS;

	add(&text, length, sizeof(length));
	add_labels(&text, deriver, label);
	add(&text, info, info_size);
	add(&text, &block, sizeof(block));
	status = deriver->crypto->hmac(deriver->context, key, TZML_DIGEST_SIZE,
				       text.data, text.size, mac);
	if (!status)
		memcpy(out, mac, size);
	wipe(&text, sizeof(text));
	wipe(mac, sizeof(mac));
	return status;
}

/* ExtractAndExpand (4.1): what sender and receiver share. */
static enum tzml_status share(const struct tzml_crypto *crypto, void *context,
			      const uint8_t *secret, size_t secret_size,
			      const uint8_t *kem_context, size_t context_size,
			      uint8_t shared[TZML_DIGEST_SIZE])
{
	const struct deriver kem = { crypto, context, kem_suite,
				     sizeof(kem_suite) };
	const uint8_t no_salt[TZML_DIGEST_SIZE] = { 0 };
	uint8_t key[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status =
		extract(&kem, no_salt, "eae_prk", secret, secret_size, key);

	if (!status)
		status = expand(&kem, key, "shared_secret", kem_context,
				context_size, shared, TZML_DIGEST_SIZE);
	wipe(key, sizeof(key));
	return status;
}

/* Decap (4.1) */
static enum tzml_status decapsulate(const struct tzml_receiver *receiver,
				    const uint8_t enc[TZML_POINT_SIZE],
				    uint8_t shared[TZML_DIGEST_SIZE])
{
	uint8_t kem_context[2 * TZML_POINT_SIZE] = { 0 };
	uint8_t *own = kem_context + TZML_POINT_SIZE;
	uint8_t secret[TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status = receiver->crypto->agree(
		receiver->context, receiver->key, enc, secret);

	memcpy(kem_context, enc, TZML_POINT_SIZE);
	if (receiver->key)
		memcpy(own, receiver->key->point, TZML_POINT_SIZE);
	else if (!status)
		status = receiver->crypto->device_key(receiver->context, own);
	if (!status)
		status = share(receiver->crypto, receiver->context, secret,
			       sizeof(secret), kem_context, sizeof(kem_context),
			       shared);
	wipe(secret, sizeof(secret));
	return status;
}

/* AuthEncap (4.1): with a key made for it, and with the device's. */
static enum tzml_status encapsulate(const struct tzml_crypto *crypto,
				    void *context,
				    const uint8_t peer[TZML_POINT_SIZE],
				    uint8_t enc[TZML_POINT_SIZE],
				    uint8_t shared[TZML_DIGEST_SIZE])
{
	uint8_t kem_context[3 * TZML_POINT_SIZE] = { 0 };
	uint8_t secrets[2 * TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status =
		crypto->agree_once(context, peer, enc, secrets);

	if (!status)
		status = crypto->agree(context, NULL, peer,
				       secrets + TZML_SECRET_SIZE);
	memcpy(kem_context, enc, TZML_POINT_SIZE);
	memcpy(kem_context + TZML_POINT_SIZE, peer, TZML_POINT_SIZE);
	if (!status)
		status = crypto->device_key(context,
					    kem_context + 2 * TZML_POINT_SIZE);
	if (!status)
		status = share(crypto, context, secrets, sizeof(secrets),
			       kem_context, sizeof(kem_context), shared);
	wipe(secrets, sizeof(secrets));
	return status;
}

enum mode {
	MODE_BASE = 0,
	MODE_AUTH = 2,
};

/* KeySchedule (5.1) without a pre-shared key. */
static enum tzml_status schedule(const struct tzml_crypto *crypto,
				 void *context, enum mode mode,
				 const uint8_t shared[TZML_DIGEST_SIZE],
				 const struct tzml_hpke_info *info,
				 uint8_t key[TZML_SECRET_SIZE],
				 uint8_t nonce[TZML_NONCE_SIZE])
{
	const struct deriver hpke = { crypto, context, hpke_suite,
				      sizeof(hpke_suite) };
	const uint8_t no_salt[TZML_DIGEST_SIZE] = { 0 };
	uint8_t secret[TZML_DIGEST_SIZE] = { 0 };
	struct {
		uint8_t mode;
		uint8_t psk_id_hash[TZML_DIGEST_SIZE];
		uint8_t info_hash[TZML_DIGEST_SIZE];
	} bound = { .mode = mode };
	enum tzml_status status = extract(&hpke, no_salt, "psk_id_hash", "", 0,
					  bound.psk_id_hash);

	if (!status)
		status = extract(&hpke, no_salt, "info_hash", info->data,
				 info->size, bound.info_hash);
	if (!status)
		status = extract(&hpke, shared, "secret", "", 0, secret);
	if (!status)
		status = expand(&hpke, secret, "key", &bound, sizeof(bound),
				key, TZML_SECRET_SIZE);
	if (!status)
		status = expand(&hpke, secret, "base_nonce", &bound,
				sizeof(bound), nonce, TZML_NONCE_SIZE);
	wipe(secret, sizeof(secret));
	return status;
}

enum tzml_status tzml_hpke_open(const struct tzml_receiver *receiver,
				const uint8_t enc[TZML_POINT_SIZE],
				const struct tzml_hpke_info *info,
				const uint8_t *sealed, uint8_t *message,
				size_t size)
{
	uint8_t shared[TZML_DIGEST_SIZE] = { 0 };
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (enc[0] != 4) /* the only form of a point that DHKEM has */
		return TZML_ERROR_SECTION_DIGEST;
	status = decapsulate(receiver, enc, shared);
	if (!status)
		status = schedule(receiver->crypto, receiver->context,
				  MODE_BASE, shared, info, key, nonce);
	memcpy(message, sealed, size);
	if (!status)
		status = receiver->crypto->unseal(receiver->context, key, nonce,
						  NULL, 0, message, size,
						  sealed + size);
	if (status)
		wipe(message, size);
	wipe(shared, sizeof(shared));
	wipe(nonce, sizeof(nonce));
	wipe(key, sizeof(key));
	return status;
}

enum tzml_status tzml_hpke_seal(const struct tzml_crypto *crypto, void *context,
				const uint8_t peer[TZML_POINT_SIZE],
				const void *info, size_t info_size,
				const uint8_t secret[TZML_SECRET_SIZE],
				uint8_t enc[TZML_POINT_SIZE],
				uint8_t wrapped[TZML_WRAPPED_SIZE])
{
	uint8_t shared[TZML_DIGEST_SIZE] = { 0 };
	uint8_t nonce[TZML_NONCE_SIZE] = { 0 };
	uint8_t key[TZML_SECRET_SIZE] = { 0 };
	const struct tzml_hpke_info about = { info, info_size };
	enum tzml_status status =
		encapsulate(crypto, context, peer, enc, shared);

	if (!status)
		status = schedule(crypto, context, MODE_AUTH, shared, &about,
				  key, nonce);
	memcpy(wrapped, secret, TZML_SECRET_SIZE);
	if (!status)
		status = crypto->seal(context, key, nonce, NULL, 0, wrapped,
				      TZML_SECRET_SIZE,
				      wrapped + TZML_SECRET_SIZE);
	if (status)
		wipe(wrapped, TZML_WRAPPED_SIZE);
	wipe(shared, sizeof(shared));
	wipe(nonce, sizeof(nonce));
	wipe(key, sizeof(key));
	return status;
}
