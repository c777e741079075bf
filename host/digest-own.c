// SPDX-License-Identifier: Apache-2.0
/*
 * SHA-256 as FIPS 180-4 describes it, for images without OpenSSL. Everything
 * that it is made of is public.
 */
#include <stdlib.h>
#include <string.h>

#include "digest.h"

#define BLOCK 64

struct digest {
	uint32_t hash[8];
	uint64_t size; /* bytes so far */
	uint8_t block[BLOCK];
};

static const uint32_t round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned int count)
{
	return word >> count | word << (32 - count);
}

static uint32_t load_word(const uint8_t *data)
{
	return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 |
	       (uint32_t)data[2] << 8 | data[3];
}

static void store_word(uint8_t *data, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		data[i] = (uint8_t)(word >> (24 - 8 * i));
}

/* 6.2.2, with its names of the variables */
static void add_block(uint32_t hash[8], const uint8_t *block)
{
	uint32_t w[64] = { 0 };
	uint32_t v[8] = { 0 }; /* a to h */

	for (int t = 0; t < 16; t++)
		w[t] = load_word(block + 4 * t);
	for (int t = 16; t < 64; t++) {
		uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^
			      w[t - 15] >> 3;
		uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^
			      w[t - 2] >> 10;

		w[t] = s1 + w[t - 7] + s0 + w[t - 16];
	}
	memcpy(v, hash, sizeof(v));
	for (int t = 0; t < 64; t++) {
		uint32_t s1 =
			rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
		uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t t1 = v[7] + s1 + choice + round_constants[t] + w[t];
		uint32_t s0 =
			rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
		uint32_t majority =
			(v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

		memmove(v + 1, v, 7 * sizeof(*v));
		v[4] += t1;
		v[0] = t1 + s0 + majority;
	}
	for (int i = 0; i < 8; i++)
		hash[i] += v[i];
}

struct digest *digest_new(void)
{
	return calloc(1, sizeof(struct digest));
}

void digest_free(struct digest *digest)
{
	free(digest);
}

bool digest_begin(struct digest *digest)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(digest->hash, start, sizeof(start));
	digest->size = 0;
	return true;
}

bool digest_add(struct digest *digest, const void *data, size_t size)
{
	const uint8_t *from = data;
	size_t used = digest->size % BLOCK;

	digest->size += size;
	if (used) {
		size_t part = size < BLOCK - used ? size : BLOCK - used;

		memcpy(digest->block + used, from, part);
		from += part;
		size -= part;
		if (used + part < BLOCK)
			return true;
		add_block(digest->hash, digest->block);
	}
	for (; size >= BLOCK; from += BLOCK, size -= BLOCK)
		add_block(digest->hash, from);
	if (size)
		memcpy(digest->block, from, size);
	return true;
}

bool digest_end(struct digest *digest, uint8_t result[TZML_DIGEST_SIZE])
{
	static const uint8_t padding[BLOCK] = { 0x80 };
	uint64_t bits = digest->size * 8;
	size_t used = digest->size % BLOCK;
	uint8_t length[8] = { 0 };

	store_word(length, (uint32_t)(bits >> 32));
	store_word(length + 4, (uint32_t)bits);
	digest_add(digest, padding, (used < 56 ? 56 : 120) - used);
	digest_add(digest, length, sizeof(length));
	for (int i = 0; i < 8; i++)
		store_word(result + 4 * i, digest->hash[i]);
	return true;
}

bool digest_of(const void *data, size_t size, uint8_t result[TZML_DIGEST_SIZE])
{
	struct digest digest = { 0 };

	return digest_begin(&digest) && digest_add(&digest, data, size) &&
	       digest_end(&digest, result);
}
