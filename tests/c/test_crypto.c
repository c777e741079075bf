// SPDX-License-Identifier: Apache-2.0
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "test_crypto.h"
#include "test_platform.h"

static bool fails(struct test_context *context)
{
	if (context->seals_left == NEVER)
		return false;
	return !context->seals_left--;
}

static EVP_PKEY *key_from(OSSL_PARAM_BLD *builder, int selection)
{
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY *key = NULL;

	if (!maker || !params || EVP_PKEY_fromdata_init(maker) != 1)
		abort();
	if (EVP_PKEY_fromdata(maker, &key, selection, params) != 1)
		key = NULL; /* not on the curve */
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(maker);
	return key;
}

static OSSL_PARAM_BLD *p256(void)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();

	if (!builder ||
	    !OSSL_PARAM_BLD_push_utf8_string(
		    builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0))
		abort();
	return builder;
}

static EVP_PKEY *public_key(const uint8_t point[TZML_POINT_SIZE])
{
	OSSL_PARAM_BLD *builder = p256();

	OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
					 point, TZML_POINT_SIZE);
	return key_from(builder, EVP_PKEY_PUBLIC_KEY);
}

void test_key_pair(struct tzml_key_pair *pair)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	BIGNUM *number = BN_bin2bn(pair->secret, TZML_SECRET_SIZE, NULL);
	EC_POINT *point = EC_POINT_new(group);

	if (EC_POINT_mul(group, point, number, NULL, NULL, NULL) != 1 ||
	    !EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED,
				pair->point, sizeof(pair->point), NULL))
		abort();
	EC_POINT_free(point);
	EC_GROUP_free(group);
	BN_free(number);
}

static EVP_PKEY *from_pair(const struct tzml_key_pair *pair)
{
	BIGNUM *number = BN_bin2bn(pair->secret, TZML_SECRET_SIZE, NULL);
	OSSL_PARAM_BLD *builder = p256();
	EVP_PKEY *key = NULL;

	OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY,
					 pair->point, sizeof(pair->point));
	OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number);
	key = key_from(builder, EVP_PKEY_KEYPAIR);
	if (!key)
		abort();
	BN_free(number);
	return key;
}

void test_context_enroll(struct test_context *context,
			 const uint8_t private_key[TZML_SECRET_SIZE])
{
	struct tzml_key_pair pair = { 0 };

	memcpy(pair.secret, private_key, sizeof(pair.secret));
	test_key_pair(&pair);
	context->device = from_pair(&pair);
}

static enum tzml_status verify(void *opaque, const uint8_t key[TZML_KEY_SIZE],
			       const uint8_t digest[TZML_DIGEST_SIZE],
			       const uint8_t signature[TZML_KEY_SIZE])
{
	const struct test_context *device = opaque;
	uint8_t point[TZML_POINT_SIZE] = { 4 };
	ECDSA_SIG *both = NULL;
	EVP_PKEY_CTX *context = NULL;
	EVP_PKEY *owner = NULL;
	uint8_t *der = NULL;
	int size = 0;
	bool right = false;

	if (fails(opaque))
		return TZML_ERROR_PLATFORM;
	if (device->trusting)
		return TZML_SUCCESS;
	both = ECDSA_SIG_new();
	memcpy(point + 1, key, TZML_KEY_SIZE);
	owner = public_key(point);
	ECDSA_SIG_set0(both, BN_bin2bn(signature, 32, NULL),
		       BN_bin2bn(signature + 32, 32, NULL));
	size = i2d_ECDSA_SIG(both, &der);
	if (owner) {
		context = EVP_PKEY_CTX_new(owner, NULL);
		right = EVP_PKEY_verify_init(context) == 1 &&
			EVP_PKEY_verify(context, der, (size_t)size, digest,
					TZML_DIGEST_SIZE) == 1;
	}
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(owner);
	OPENSSL_free(der);
	ECDSA_SIG_free(both);
	return right ? TZML_SUCCESS : TZML_ERROR_SIGNATURE;
}

static enum tzml_status hmac(void *opaque, const uint8_t *key, size_t key_size,
			     const void *data, size_t size,
			     uint8_t mac[TZML_DIGEST_SIZE])
{
	uint8_t made[TZML_DIGEST_SIZE] = { 0 };

	if (fails(opaque) || key_size < 32 ||
	    !HMAC(EVP_sha256(), key, (int)key_size, data, size, made, NULL))
		return TZML_ERROR_PLATFORM;
	memcpy(mac, made, sizeof(made)); /* the sanitizer sees this one */
	return TZML_SUCCESS;
}

static enum tzml_status device_key(void *opaque, uint8_t point[TZML_POINT_SIZE])
{
	struct test_context *context = opaque;
	size_t size = 0;

	if (fails(context))
		return TZML_ERROR_PLATFORM;
	if (!context->device)
		return TZML_ERROR_NOT_ENROLLED;
	if (EVP_PKEY_get_octet_string_param(context->device,
					    OSSL_PKEY_PARAM_PUB_KEY, point,
					    TZML_POINT_SIZE, &size) != 1)
		abort();
	return TZML_SUCCESS;
}

static enum tzml_status agree(void *opaque, const struct tzml_key_pair *pair,
			      const uint8_t point[TZML_POINT_SIZE],
			      uint8_t secret[TZML_SECRET_SIZE])
{
	struct test_context *context = opaque;
	EVP_PKEY_CTX *deriver = NULL;
	enum tzml_status status = TZML_SUCCESS;
	size_t size = TZML_SECRET_SIZE;
	EVP_PKEY *peer = NULL;
	EVP_PKEY *own = NULL;

	if (fails(context))
		return TZML_ERROR_PLATFORM;
	if (context->trusting) {
		memset(secret, 0x5a, TZML_SECRET_SIZE);
		return TZML_SUCCESS;
	}
	peer = public_key(point);
	own = pair ? from_pair(pair) : context->device;
	deriver = EVP_PKEY_CTX_new(own, NULL);
	if (!peer)
		status = TZML_ERROR_SECTION_DIGEST;
	else if (EVP_PKEY_derive_init(deriver) != 1 ||
		 EVP_PKEY_derive_set_peer(deriver, peer) != 1 ||
		 EVP_PKEY_derive(deriver, secret, &size) != 1)
		abort();
	EVP_PKEY_CTX_free(deriver);
	EVP_PKEY_free(peer);
	if (pair)
		EVP_PKEY_free(own);
	return status;
}

static void forget(void *opaque)
{
	struct test_context *context = opaque;

	context->keeps_key = false;
}

static enum tzml_status unseal(void *opaque,
			       const uint8_t key[TZML_SECRET_SIZE],
			       const uint8_t nonce[TZML_NONCE_SIZE],
			       const void *aad, size_t aad_size, void *data,
			       size_t size, const uint8_t tag[TZML_TAG_SIZE])
{
	struct test_context *context = opaque;
	EVP_CIPHER_CTX *cipher = NULL;
	bool right = false;
	int written = 0;

	context->keeps_key = true;
	if (fails(context))
		return TZML_ERROR_PLATFORM;
	/* what was handed over may change: nobody must look at it any more */
	if (context->shared)
		memset(context->shared, 0x55, context->shared_size);
	if (context->trusting)
		return TZML_SUCCESS;
	cipher = EVP_CIPHER_CTX_new();
	if (EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) !=
		    1 ||
	    (aad_size && EVP_DecryptUpdate(cipher, NULL, &written, aad,
					   (int)aad_size) != 1) ||
	    EVP_DecryptUpdate(cipher, data, &written, data, (int)size) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TZML_TAG_SIZE,
				(void *)tag) != 1)
		abort();
	right = EVP_DecryptFinal_ex(cipher, (uint8_t *)data + size, &written) ==
		1;
	EVP_CIPHER_CTX_free(cipher);
	return right ? TZML_SUCCESS : TZML_ERROR_SECTION_DIGEST;
}

static enum tzml_status seal(void *opaque, const uint8_t key[TZML_SECRET_SIZE],
			     const uint8_t nonce[TZML_NONCE_SIZE],
			     const void *aad, size_t aad_size, void *data,
			     size_t size, uint8_t tag[TZML_TAG_SIZE])
{
	EVP_CIPHER_CTX *cipher = NULL;
	int written = 0;

	if (fails(opaque))
		return TZML_ERROR_PLATFORM;
	cipher = EVP_CIPHER_CTX_new();
	if (EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) !=
		    1 ||
	    (aad_size && EVP_EncryptUpdate(cipher, NULL, &written, aad,
					   (int)aad_size) != 1) ||
	    EVP_EncryptUpdate(cipher, data, &written, data, (int)size) != 1 ||
	    EVP_EncryptFinal_ex(cipher, (uint8_t *)data + size, &written) !=
		    1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TZML_TAG_SIZE,
				tag) != 1)
		abort();
	EVP_CIPHER_CTX_free(cipher);
	return TZML_SUCCESS;
}

static enum tzml_status agree_once(void *opaque,
				   const uint8_t point[TZML_POINT_SIZE],
				   uint8_t own[TZML_POINT_SIZE],
				   uint8_t secret[TZML_SECRET_SIZE])
{
	struct test_context *context = opaque;
	struct test_context other = { .seals_left = NEVER,
				      .trusting = context->trusting };
	enum tzml_status status = TZML_SUCCESS;
	uint8_t key[TZML_SECRET_SIZE] = { 0 };

	if (fails(context))
		return TZML_ERROR_PLATFORM;
	/* less than the order, which begins with ones */
	if (RAND_bytes(key + 1, sizeof(key) - 1) != 1)
		abort();
	test_context_enroll(&other, key);
	status = device_key(&other, own);
	if (!status)
		status = agree(&other, NULL, point, secret);
	EVP_PKEY_free(other.device);
	return status;
}

static enum tzml_status checkpoint_key(void *opaque,
				       const uint8_t digest[TZML_DIGEST_SIZE],
				       uint8_t key[TZML_SECRET_SIZE])
{
	static const char label[] = "tzml checkpoint 1";
	const struct test_context *context = opaque;
	uint8_t text[sizeof(label) - 1 + TZML_DIGEST_SIZE] = { 0 };
	uint8_t secret[TZML_SECRET_SIZE] = { 0 };
	BIGNUM *number = NULL;

	if (!context->device)
		return TZML_ERROR_NOT_ENROLLED;
	if (EVP_PKEY_get_bn_param(context->device, OSSL_PKEY_PARAM_PRIV_KEY,
				  &number) != 1)
		abort();
	BN_bn2binpad(number, secret, sizeof(secret));
	BN_clear_free(number);
	memcpy(text, label, sizeof(label) - 1);
	memcpy(text + sizeof(label) - 1, digest, TZML_DIGEST_SIZE);
	return hmac(opaque, secret, sizeof(secret), text, sizeof(text), key);
}

static enum tzml_status number_checkpoint(void *opaque,
					  const struct tzml_grant *grant,
					  uint64_t base, bool give_up,
					  uint64_t *number)
{
	struct test_context *context = opaque;

	(void)grant;
	if (fails(context))
		return TZML_ERROR_PLATFORM;
	if (base != context->confirmed && !give_up)
		return TZML_ERROR_CHECKPOINT_FORKED;
	*number = ++context->numbered;
	return TZML_SUCCESS;
}

static enum tzml_status admit_checkpoint(void *opaque,
					 const struct tzml_grant *grant,
					 uint64_t number, bool confirm)
{
	struct test_context *context = opaque;

	(void)grant;
	if (fails(context))
		return TZML_ERROR_PLATFORM;
	if (number < context->numbered && number != context->confirmed)
		return TZML_ERROR_CHECKPOINT_OLD;
	if (!confirm)
		return TZML_SUCCESS;
	context->confirmed = number;
	if (context->numbered < number)
		context->numbered = number;
	return TZML_SUCCESS;
}

static enum tzml_status know(void *opaque, const uint8_t owner[TZML_KEY_SIZE])
{
	const struct test_context *context = opaque;

	(void)owner;
	return context->knows_no_owner ? TZML_ERROR_OWNER_UNKNOWN
				       : TZML_SUCCESS;
}

static enum tzml_status admit(void *opaque, const struct tzml_header *header,
			      const struct tzml_grant *grant)
{
	struct test_context *context = opaque;

	if (context->knows_no_owner)
		return TZML_ERROR_OWNER_UNKNOWN;
	if (header->model_version < context->highest_version)
		return TZML_ERROR_MODEL_OLD;
	if (grant->serial < context->highest_serial)
		return TZML_ERROR_GRANT_OLD;
	context->highest_version = header->model_version;
	context->highest_serial = grant->serial;
	context->saw_it_sealed = true;
	return TZML_SUCCESS;
}

static enum tzml_status spend_update(void *opaque,
				     const struct tzml_grant *grant)
{
	struct test_context *context = opaque;

	if (context->updates_spent >= grant->noised_updates)
		return TZML_ERROR_PRIVACY_BUDGET;
	context->updates_spent++;
	return TZML_SUCCESS;
}

static enum tzml_status admit_round(void *opaque,
				    const struct tzml_grant *grant,
				    uint64_t round, bool take)
{
	struct test_context *context = opaque;

	(void)grant;
	if (fails(context))
		return TZML_ERROR_PLATFORM;
	if (round < context->round)
		return TZML_ERROR_ROUND_OLD;
	if (take)
		context->round = round;
	return TZML_SUCCESS;
}

static enum tzml_status spend(void *opaque, const struct tzml_grant *grant,
			      uint64_t *runs)
{
	struct test_context *context = opaque;
	uint64_t left = grant->query_budget - context->runs_spent;

	if (!left)
		return TZML_ERROR_BUDGET;
	if (*runs > left)
		*runs = left;
	context->runs_spent += *runs;
	return TZML_SUCCESS;
}

static enum tzml_status admit_clear(void *opaque,
				    const struct tzml_header *header)
{
	struct test_context *context = opaque;

	(void)header;
	return context->saw_it_sealed ? TZML_ERROR_DOWNGRADE : TZML_SUCCESS;
}

const struct tzml_crypto test_crypto = {
	.ta_version = TEST_TA_VERSION,
	.verify = verify,
	.hmac = hmac,
	.device_key = device_key,
	.agree = agree,
	.unseal = unseal,
	.forget = forget,
	.seal = seal,
	.agree_once = agree_once,
	.checkpoint_key = checkpoint_key,
	.number_checkpoint = number_checkpoint,
	.admit_checkpoint = admit_checkpoint,
	.know = know,
	.admit = admit,
	.spend = spend,
	.spend_update = spend_update,
	.admit_round = admit_round,
	.admit_clear = admit_clear,
};
