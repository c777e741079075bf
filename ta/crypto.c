// SPDX-License-Identifier: Apache-2.0
/* The runtime's cryptography, by OP-TEE's core. No cipher of our own. */
#include <string.h>
#include <string_ext.h>
#include <tee_internal_api.h>

#include "device.h"
#include "platform.h"

#define P256_SIZE	 32 /* of a coordinate */
#define CHECKPOINT_LABEL "tzml checkpoint 1"

/* A transient object of one secret attribute. */
static TEE_Result secret_object(uint32_t type, const uint8_t *secret,
				size_t size, TEE_ObjectHandle *object)
{
	TEE_Attribute attribute = {};
	TEE_Result result = TEE_AllocateTransientObject(type, size * 8, object);

	if (result)
		return result;
	TEE_InitRefAttribute(&attribute, TEE_ATTR_SECRET_VALUE, secret, size);
	return TEE_PopulateTransientObject(*object, &attribute, 1);
}

static TEE_Result operation_of(uint32_t algorithm, uint32_t mode, uint32_t bits,
			       TEE_ObjectHandle key,
			       TEE_OperationHandle *operation)
{
	TEE_Result result =
		TEE_AllocateOperation(operation, algorithm, mode, bits);

	return result ? result : TEE_SetOperationKey(*operation, key);
}

static enum tzml_status verify(void *context __unused,
			       const uint8_t key[TZML_KEY_SIZE],
			       const uint8_t digest[TZML_DIGEST_SIZE],
			       const uint8_t signature[TZML_KEY_SIZE])
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Attribute attributes[3] = {};
	TEE_Result result = TEE_AllocateTransientObject(
		TEE_TYPE_ECDSA_PUBLIC_KEY, 256, &object);

	TEE_InitValueAttribute(attributes, TEE_ATTR_ECC_CURVE,
			       TEE_ECC_CURVE_NIST_P256, 0);
	TEE_InitRefAttribute(attributes + 1, TEE_ATTR_ECC_PUBLIC_VALUE_X, key,
			     P256_SIZE);
	TEE_InitRefAttribute(attributes + 2, TEE_ATTR_ECC_PUBLIC_VALUE_Y,
			     key + P256_SIZE, P256_SIZE);
	if (!result)
		result = TEE_PopulateTransientObject(object, attributes, 3);
	if (!result)
		result = operation_of(TEE_ALG_ECDSA_P256, TEE_MODE_VERIFY, 256,
				      object, &operation);
	if (result) {
		TEE_FreeOperation(operation);
		TEE_FreeTransientObject(object);
		return TZML_ERROR_PLATFORM;
	}
	result = TEE_AsymmetricVerifyDigest(operation, NULL, 0, digest,
					    TZML_DIGEST_SIZE, signature,
					    TZML_KEY_SIZE);
	TEE_FreeOperation(operation);
	TEE_FreeTransientObject(object);
	return result ? TZML_ERROR_SIGNATURE : TZML_SUCCESS;
}

static enum tzml_status hmac(void *context __unused, const uint8_t *key,
			     size_t key_size, const void *data, size_t size,
			     uint8_t mac[TZML_DIGEST_SIZE])
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	size_t mac_size = TZML_DIGEST_SIZE;
	TEE_Result result =
		secret_object(TEE_TYPE_HMAC_SHA256, key, key_size, &object);

	if (!result)
		result = operation_of(TEE_ALG_HMAC_SHA256, TEE_MODE_MAC,
				      key_size * 8, object, &operation);
	if (!result) {
		TEE_MACInit(operation, NULL, 0);
		result = TEE_MACComputeFinal(operation, data, size, mac,
					     &mac_size);
	}
	TEE_FreeOperation(operation);
	TEE_FreeTransientObject(object);
	return result ? TZML_ERROR_PLATFORM : TZML_SUCCESS;
}

enum tzml_status derive_common(const uint8_t secret[TZML_SECRET_SIZE],
			       const uint8_t own[TZML_POINT_SIZE],
			       const uint8_t peer[TZML_POINT_SIZE],
			       uint8_t common[TZML_SECRET_SIZE])
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	TEE_ObjectHandle derived = TEE_HANDLE_NULL;
	TEE_ObjectHandle key = TEE_HANDLE_NULL;
	TEE_Attribute attributes[4] = {};
	size_t size = TZML_SECRET_SIZE;
	TEE_Result result =
		TEE_AllocateTransientObject(TEE_TYPE_ECDH_KEYPAIR, 256, &key);

	TEE_InitValueAttribute(attributes, TEE_ATTR_ECC_CURVE,
			       TEE_ECC_CURVE_NIST_P256, 0);
	TEE_InitRefAttribute(attributes + 1, TEE_ATTR_ECC_PRIVATE_VALUE, secret,
			     TZML_SECRET_SIZE);
	TEE_InitRefAttribute(attributes + 2, TEE_ATTR_ECC_PUBLIC_VALUE_X,
			     own + 1, P256_SIZE);
	TEE_InitRefAttribute(attributes + 3, TEE_ATTR_ECC_PUBLIC_VALUE_Y,
			     own + 1 + P256_SIZE, P256_SIZE);
	if (!result)
		result = TEE_PopulateTransientObject(key, attributes, 4);
	if (!result)
		result = operation_of(TEE_ALG_ECDH_P256, TEE_MODE_DERIVE, 256,
				      key, &operation);
	if (!result)
		result = TEE_AllocateTransientObject(TEE_TYPE_GENERIC_SECRET,
						     256, &derived);
	if (!result) {
		TEE_InitRefAttribute(attributes, TEE_ATTR_ECC_PUBLIC_VALUE_X,
				     peer + 1, P256_SIZE);
		TEE_InitRefAttribute(attributes + 1,
				     TEE_ATTR_ECC_PUBLIC_VALUE_Y,
				     peer + 1 + P256_SIZE, P256_SIZE);
		/* panics for a point that is not on the curve: is_on_curve */
		TEE_DeriveKey(operation, attributes, 2, derived);
		result = TEE_GetObjectBufferAttribute(
			derived, TEE_ATTR_SECRET_VALUE, common, &size);
	}
	TEE_FreeOperation(operation);
	TEE_FreeTransientObject(derived);
	TEE_FreeTransientObject(key);
	return result || size != TZML_SECRET_SIZE ? TZML_ERROR_PLATFORM
						  : TZML_SUCCESS;
}

static enum tzml_status device_key(void *opaque __unused,
				   uint8_t point[TZML_POINT_SIZE])
{
	struct tzml_key_pair key = { 0 };
	enum tzml_status status = device_read_key(&key);

	memcpy(point, key.point, sizeof(key.point));
	memzero_explicit(&key, sizeof(key));
	return status;
}

static enum tzml_status agree(void *context __unused,
			      const struct tzml_key_pair *own,
			      const uint8_t point[TZML_POINT_SIZE],
			      uint8_t secret[TZML_SECRET_SIZE])
{
	struct tzml_key_pair key = { 0 };
	enum tzml_status status = TZML_SUCCESS;

	if (!is_on_curve(point))
		return TZML_ERROR_SECTION_DIGEST;
	if (own)
		key = *own;
	else
		status = device_read_key(&key);
	if (!status)
		status = derive_common(key.secret, key.point, point, secret);
	memzero_explicit(&key, sizeof(key));
	return status;
}

/* AES-256-GCM with a key. */
static TEE_Result gcm(uint32_t mode, const uint8_t key[TZML_SECRET_SIZE],
		      TEE_OperationHandle *operation)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result result =
		secret_object(TEE_TYPE_AES, key, TZML_SECRET_SIZE, &object);

	if (!result)
		result = operation_of(TEE_ALG_AES_GCM, mode, 256, object,
				      operation);
	TEE_FreeTransientObject(object);
	return result;
}

static TEE_Result gcm_start(TEE_OperationHandle operation,
			    const uint8_t nonce[TZML_NONCE_SIZE],
			    const void *aad, size_t aad_size, size_t size)
{
	TEE_Result result = TEE_AEInit(operation, nonce, TZML_NONCE_SIZE,
				       TZML_TAG_SIZE * 8, aad_size, size);

	if (!result && aad_size)
		TEE_AEUpdateAAD(operation, aad, aad_size);
	return result;
}

void forget_key(void *opaque)
{
	struct platform_context *context = opaque;

	TEE_FreeOperation(context->unsealing.operation);
	context->unsealing.operation = TEE_HANDLE_NULL;
	memzero_explicit(context->unsealing.key,
			 sizeof(context->unsealing.key));
}

/*
 * A model's chunks are opened with one key, again and again. Allocating an
 * operation and setting its key is a tenth of what opening one takes.
 */
static TEE_Result take_key(struct platform_context *context,
			   const uint8_t key[TZML_SECRET_SIZE])
{
	struct unsealing *last = &context->unsealing;
	TEE_Result result = TEE_ERROR_GENERIC;

	if (last->operation != TEE_HANDLE_NULL &&
	    !consttime_memcmp(last->key, key, TZML_SECRET_SIZE))
		return TEE_SUCCESS;
	forget_key(context);
	result = gcm(TEE_MODE_DECRYPT, key, &last->operation);
	if (!result)
		memcpy(last->key, key, TZML_SECRET_SIZE);
	return result;
}

static enum tzml_status unseal(void *opaque,
			       const uint8_t key[TZML_SECRET_SIZE],
			       const uint8_t nonce[TZML_NONCE_SIZE],
			       const void *aad, size_t aad_size, void *data,
			       size_t size, const uint8_t tag[TZML_TAG_SIZE])
{
	struct platform_context *context = opaque;
	uint8_t expected[TZML_TAG_SIZE] = { 0 };
	size_t opened = size;
	TEE_Result result = take_key(context, key);

	memcpy(expected, tag, sizeof(expected)); /* its type is not const */
	if (!result)
		result = gcm_start(context->unsealing.operation, nonce, aad,
				   aad_size, size);
	/* writes what it opens before it compares the tag */
	if (!result)
		result = TEE_AEDecryptFinal(context->unsealing.operation, data,
					    size, data, &opened, expected,
					    sizeof(expected));
	if (result)
		forget_key(context);
	if (result == TEE_ERROR_MAC_INVALID)
		return TZML_ERROR_SECTION_DIGEST;
	return result || opened != size ? TZML_ERROR_PLATFORM : TZML_SUCCESS;
}

static enum tzml_status seal(void *context __unused,
			     const uint8_t key[TZML_SECRET_SIZE],
			     const uint8_t nonce[TZML_NONCE_SIZE],
			     const void *aad, size_t aad_size, void *data,
			     size_t size, uint8_t tag[TZML_TAG_SIZE])
{
	TEE_OperationHandle operation = TEE_HANDLE_NULL;
	size_t tag_size = TZML_TAG_SIZE;
	size_t sealed = size;
	TEE_Result result = gcm(TEE_MODE_ENCRYPT, key, &operation);

	if (!result)
		result = gcm_start(operation, nonce, aad, aad_size, size);
	if (!result)
		result = TEE_AEEncryptFinal(operation, data, size, data,
					    &sealed, tag, &tag_size);
	TEE_FreeOperation(operation);
	return result || sealed != size || tag_size != TZML_TAG_SIZE
		       ? TZML_ERROR_PLATFORM
		       : TZML_SUCCESS;
}

/*
 * The key is made as the device's own is: where OP-TEE's generator can be
 * guessed, the device's secret cannot.
 */
static enum tzml_status agree_once(void *opaque,
				   const uint8_t point[TZML_POINT_SIZE],
				   uint8_t own[TZML_POINT_SIZE],
				   uint8_t secret[TZML_SECRET_SIZE])
{
	struct platform_context *context = opaque;
	uint8_t seed[TZML_DIGEST_SIZE] = { 0 };
	struct tzml_key_pair device = { 0 };
	struct tzml_key_pair once = { 0 };
	enum tzml_status status = device_read_key(&device);

	TEE_GenerateRandom(seed, sizeof(seed));
	if (!status)
		status = hmac(NULL, device.secret, sizeof(device.secret), seed,
			      sizeof(seed), seed);
	if (!status)
		status = device_make_key(context->system, EXPORT_KEY, seed,
					 &once);
	if (!status)
		status = derive_common(once.secret, once.point, point, secret);
	memcpy(own, once.point, TZML_POINT_SIZE);
	memzero_explicit(&device, sizeof(device));
	memzero_explicit(&once, sizeof(once));
	memzero_explicit(seed, sizeof(seed));
	return status;
}

static enum tzml_status checkpoint_key(void *context __unused,
				       const uint8_t digest[TZML_DIGEST_SIZE],
				       uint8_t key[TZML_SECRET_SIZE])
{
	uint8_t text[sizeof(CHECKPOINT_LABEL) - 1 + TZML_DIGEST_SIZE] = { 0 };
	struct tzml_key_pair device = { 0 };
	enum tzml_status status = device_read_key(&device);

	memcpy(text, CHECKPOINT_LABEL, sizeof(CHECKPOINT_LABEL) - 1);
	memcpy(text + sizeof(CHECKPOINT_LABEL) - 1, digest, TZML_DIGEST_SIZE);
	if (!status)
		status = hmac(NULL, device.secret, sizeof(device.secret), text,
			      sizeof(text), key);
	memzero_explicit(&device, sizeof(device));
	return status;
}

const struct tzml_crypto tee_crypto = {
	.ta_version = TZML_TA_VERSION,
	.sealed_only = TZML_SEALED_ONLY,
	.verify = verify,
	.hmac = hmac,
	.device_key = device_key,
	.agree = agree,
	.unseal = unseal,
	.forget = forget_key,
	.seal = seal,
	.agree_once = agree_once,
	.checkpoint_key = checkpoint_key,
	.number_checkpoint = device_number_checkpoint,
	.admit_checkpoint = device_admit_checkpoint,
	.know = device_know,
	.admit = device_admit,
	.spend = device_spend,
	.spend_update = device_spend_update,
	.admit_round = device_admit_round,
	.admit_clear = device_admit_clear,
};
