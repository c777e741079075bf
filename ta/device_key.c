// SPDX-License-Identifier: Apache-2.0
/*
 * The device's P-256 key.
 *
 * OP-TEE can make a key pair, but only from its own generator, which on some
 * machines is seeded with little more than the time of day. So the private key
 * is derived here, and its public half is computed with what the GlobalPlatform
 * API offers: ECDH with the curve's generator gives X, and the curve's equation
 * gives Y but for its sign. Either sign will do: -d belongs to the other one,
 * and ECDH gives the same X for d and -d.
 */
#include <pta_system.h>
#include <string.h>
#include <string_ext.h>
#include <tee_internal_api.h>

#include "device.h"

#define LABEL	     "tzml device key 1" /* of the TA's unique key */
#define MOST_USE     20
#define WORDS	     TEE_BigIntSizeInU32(512)
#define DERIVED_SIZE 48 /* of 384 bits modulo the order nothing is favoured */

/* SEC 2, 2.4.2: secp256r1 */
static const uint8_t prime[] = {
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
};
static const uint8_t order_less_1[] = {
	0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
	0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x50,
};
static const uint8_t b[] = {
	0x5a, 0xc6, 0x35, 0xd8, 0xaa, 0x3a, 0x93, 0xe7, 0xb3, 0xeb, 0xbd,
	0x55, 0x76, 0x98, 0x86, 0xbc, 0x65, 0x1d, 0x06, 0xb0, 0xcc, 0x53,
	0xb0, 0xf6, 0x3b, 0xce, 0x3c, 0x3e, 0x27, 0xd2, 0x60, 0x4b,
};
/* (p + 1) / 4: raising a square to it gives its root, as p = 3 modulo 4 */
static const uint8_t root[] = {
	0x3f, 0xff, 0xff, 0xff, 0xc0, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};
static const uint8_t generator[TZML_POINT_SIZE] = {
	0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc,
	0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d,
	0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
	0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb,
	0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31,
	0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

/* A number that the API computes with, wiped by whoever has it. */
struct number {
	TEE_BigInt words[WORDS];
};

static TEE_Result load(struct number *number, const uint8_t *bytes, size_t size)
{
	TEE_BigIntInit(number->words, WORDS);
	return TEE_BigIntConvertFromOctetString(number->words, bytes, size, 0);
}

/* The number's 32 bytes, from the first on. */
static TEE_Result store(const struct number *number, uint8_t *bytes)
{
	uint8_t shortest[TZML_SECRET_SIZE] = { 0 };
	size_t size = sizeof(shortest);
	TEE_Result result =
		TEE_BigIntConvertToOctetString(shortest, &size, number->words);

	if (!result) {
		memset(bytes, 0, TZML_SECRET_SIZE);
		memcpy(bytes + TZML_SECRET_SIZE - size, shortest, size);
	}
	memzero_explicit(shortest, sizeof(shortest));
	return result;
}

/* From 384 bits to 1 … order - 1 (FIPS 186-5, A.2.1). */
static TEE_Result to_scalar(const uint8_t bytes[DERIVED_SIZE], uint8_t *scalar)
{
	struct number number, modulus, rest, one;
	const uint8_t first = 1;
	TEE_Result result = load(&number, bytes, DERIVED_SIZE);

	TEE_BigIntInit(rest.words, WORDS);
	if (!result)
		result = load(&modulus, order_less_1, sizeof(order_less_1));
	if (!result)
		result = load(&one, &first, sizeof(first));
	if (!result) {
		TEE_BigIntMod(rest.words, number.words, modulus.words);
		TEE_BigIntAdd(number.words, rest.words, one.words);
		result = store(&number, scalar);
	}
	memzero_explicit(&number, sizeof(number));
	memzero_explicit(&rest, sizeof(rest));
	return result;
}

/* y^2 = x^3 - 3 x + b for an x below the prime p */
static TEE_Result to_square(const struct number *x, const struct number *p,
			    struct number *square)
{
	struct number power, three_x, other;
	TEE_Result result = load(&other, b, sizeof(b));

	TEE_BigIntInit(power.words, WORDS);
	TEE_BigIntInit(three_x.words, WORDS);
	TEE_BigIntInit(square->words, WORDS);
	if (result)
		return result;
	TEE_BigIntMulMod(power.words, x->words, x->words, p->words);
	TEE_BigIntMulMod(three_x.words, power.words, x->words, p->words);
	TEE_BigIntAddMod(power.words, three_x.words, other.words, p->words);
	TEE_BigIntAddMod(three_x.words, x->words, x->words, p->words);
	TEE_BigIntAddMod(other.words, three_x.words, x->words, p->words);
	TEE_BigIntSubMod(square->words, power.words, other.words, p->words);
	return TEE_SUCCESS;
}

/* y = (y^2) ^ ((p + 1) / 4) */
static TEE_Result to_y(const uint8_t *x_bytes, uint8_t *y_bytes)
{
	struct number x, p, square, exponent, y;
	TEE_Result result = load(&x, x_bytes, TZML_SECRET_SIZE);

	TEE_BigIntInit(y.words, WORDS);
	if (!result)
		result = load(&p, prime, sizeof(prime));
	if (!result)
		result = load(&exponent, root, sizeof(root));
	if (!result)
		result = to_square(&x, &p, &square);
	if (!result)
		result = TEE_BigIntExpMod(y.words, square.words, exponent.words,
					  p.words, NULL);
	return result ? result : store(&y, y_bytes);
}

bool is_on_curve(const uint8_t point[TZML_POINT_SIZE])
{
	struct number x, y, p, square, expected;

	TEE_BigIntInit(square.words, WORDS);
	if (point[0] != 4 || load(&x, point + 1, TZML_SECRET_SIZE) ||
	    load(&y, point + 1 + TZML_SECRET_SIZE, TZML_SECRET_SIZE) ||
	    load(&p, prime, sizeof(prime)) ||
	    TEE_BigIntCmp(x.words, p.words) >= 0 ||
	    TEE_BigIntCmp(y.words, p.words) >= 0 ||
	    to_square(&x, &p, &expected))
		return false;
	TEE_BigIntMulMod(square.words, y.words, y.words, p.words);
	return !TEE_BigIntCmp(square.words, expected.words);
}

static TEE_Result unique_key(TEE_TASessionHandle system,
			     uint8_t key[TZML_SECRET_SIZE])
{
	const uint32_t types = TEE_PARAM_TYPES(
		TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT,
		TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	uint8_t label[] = LABEL;
	TEE_Param params[TEE_NUM_PARAMS] = {};

	params[0].memref.buffer = label;
	params[0].memref.size = sizeof(label);
	params[1].memref.buffer = key;
	params[1].memref.size = TZML_SECRET_SIZE;
	return TEE_InvokeTACommand(system, TEE_TIMEOUT_INFINITE,
				   PTA_SYSTEM_DERIVE_TA_UNIQUE_KEY, types,
				   params, NULL);
}

/* HKDF (RFC 5869) over all that may be secret, to 384 bits. */
static enum tzml_status derive(const uint8_t secrets[3 * TZML_SECRET_SIZE],
			       const char *use,
			       uint8_t out[2 * TZML_DIGEST_SIZE])
{
	const uint8_t no_salt[TZML_DIGEST_SIZE] = { 0 };
	uint8_t info[TZML_DIGEST_SIZE + MOST_USE + 1] = { 0 };
	size_t size = strnlen(use, MOST_USE) + 1;
	uint8_t key[TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status =
		tee_crypto.hmac(NULL, no_salt, sizeof(no_salt), secrets,
				3 * TZML_SECRET_SIZE, key);

	/* T(1) = HMAC(use, 1), T(2) = HMAC(T(1), use, 2) */
	memcpy(info + TZML_DIGEST_SIZE, use, size - 1);
	info[TZML_DIGEST_SIZE + size - 1] = 1;
	if (!status)
		status = tee_crypto.hmac(NULL, key, sizeof(key),
					 info + TZML_DIGEST_SIZE, size, out);
	memcpy(info, out, TZML_DIGEST_SIZE);
	info[TZML_DIGEST_SIZE + size - 1] = 2;
	if (!status)
		status = tee_crypto.hmac(NULL, key, sizeof(key), info,
					 TZML_DIGEST_SIZE + size,
					 out + TZML_DIGEST_SIZE);
	memzero_explicit(info, sizeof(info));
	memzero_explicit(key, sizeof(key));
	return status;
}

enum tzml_status device_make_key(TEE_TASessionHandle system, const char *use,
				 const uint8_t verifier[TZML_SECRET_SIZE],
				 struct tzml_key_pair *key)
{
	uint8_t secrets[3 * TZML_SECRET_SIZE] = { 0 };
	uint8_t derived[2 * TZML_DIGEST_SIZE] = { 0 };
	enum tzml_status status = TZML_ERROR_PLATFORM;

	memcpy(secrets, verifier, TZML_SECRET_SIZE);
	TEE_GenerateRandom(secrets + 2 * TZML_SECRET_SIZE, TZML_SECRET_SIZE);
	if (!unique_key(system, secrets + TZML_SECRET_SIZE))
		status = derive(secrets, use, derived);
	if (!status && to_scalar(derived, key->secret))
		status = TZML_ERROR_PLATFORM;
	key->point[0] = 4;
	/* the public half is not looked at for ECDH: any point will do */
	if (!status)
		status = derive_common(key->secret, generator, generator,
				       key->point + 1);
	if (!status && to_y(key->point + 1, key->point + 1 + TZML_SECRET_SIZE))
		status = TZML_ERROR_PLATFORM;
	memzero_explicit(secrets, sizeof(secrets));
	memzero_explicit(derived, sizeof(derived));
	return status;
}
