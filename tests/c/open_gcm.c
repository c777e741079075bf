// SPDX-License-Identifier: Apache-2.0
/*
 * open_gcm CASES ANSWERS: open messages of AES-GCM with the loop that OP-TEE's
 * core is given (gcm_a64.S), and what is left of each, fewer than eight blocks,
 * with the simplest code. Each call of the loop is between the two marks of
 * py/tzml/bench/measure.h.
 *
 * CASES holds a struct message and its ciphertext for each; ANSWERS a struct
 * answer and the plaintext.
 */
#include <arm_neon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "measure.h"

#define BLOCK	  16
#define EIGHT	  8
#define FRAME	  192 /* of the loop's stack: powers of the hash key */
#define MARGIN	  64
#define UNTOUCHED 0xa5

struct message {
	uint32_t key_size;
	uint32_t blocks;
	uint32_t first_call; /* of so many blocks; 0: one call for all */
	uint32_t in_place;
	uint8_t key[32];
	uint8_t first_counter[BLOCK]; /* NIST SP 800-38D's J0 */
	uint8_t associated[BLOCK];
};

struct answer {
	uint8_t tag[BLOCK];
	uint8_t counter[BLOCK]; /* after the loop's last block */
};

/* OP-TEE's core/arch/arm/include/crypto/ghash-ce-core.h */
struct internal_ghash_key {
	uint64_t h[2];
	uint64_t h2[2];
	uint64_t h3[2];
	uint64_t h4[2];
};

void tzml_gcm_powers(struct internal_ghash_key *ghash_key);
void tzml_gcm_decrypt(int blocks, uint64_t dg[2], uint8_t dst[],
		      const uint8_t src[],
		      const struct internal_ghash_key *ghash_key,
		      uint64_t ctr[], const uint64_t rk[], int rounds);

struct cipher {
	uint32_t keys[60];
	int rounds;
};

static void fail(const char *what)
{
	fprintf(stderr, "open_gcm: %s\n", what);
	exit(1);
}

static uint32_t substitute(uint32_t word)
{
	uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(word));

	four = vaeseq_u8(four, vdupq_n_u8(0));
	return vgetq_lane_u32(vreinterpretq_u32_u8(four), 0);
}

/* FIPS 197, section 5.2. */
static void expand(struct cipher *cipher, const uint8_t *key, uint32_t size)
{
	uint32_t words = size / 4;
	uint32_t constant = 1;

	cipher->rounds = (int)words + 6;
	memcpy(cipher->keys, key, size);
	for (uint32_t i = words; i < 4 * ((uint32_t)cipher->rounds + 1); i++) {
		uint32_t word = cipher->keys[i - 1];

		if (i % words == 0) {
			word = substitute(word >> 8 | word << 24) ^ constant;
			constant = constant << 1 ^ (constant >> 7) * 0x11b;
		} else if (words == 8 && i % 8 == 4) {
			word = substitute(word);
		}
		cipher->keys[i] = cipher->keys[i - words] ^ word;
	}
}

static void encipher(const struct cipher *cipher, const uint8_t in[BLOCK],
		     uint8_t out[BLOCK])
{
	const uint8_t *keys = (const uint8_t *)cipher->keys;
	uint8x16_t block = vld1q_u8(in);
	int i = 0;

	for (; i < cipher->rounds - 1; i++)
		block = vaesmcq_u8(vaeseq_u8(block, vld1q_u8(keys + 16 * i)));
	block = vaeseq_u8(block, vld1q_u8(keys + 16 * i));
	vst1q_u8(out, veorq_u8(block, vld1q_u8(keys + 16 * (i + 1))));
}

static void add(uint8_t to[BLOCK], const uint8_t block[BLOCK])
{
	for (int i = 0; i < BLOCK; i++)
		to[i] ^= block[i];
}

static void count(uint8_t counter[BLOCK])
{
	for (int i = BLOCK - 1; i >= BLOCK - 4 && !++counter[i]; i--)
		;
}

static uint64_t big_endian(const uint8_t bytes[8])
{
	uint64_t value = 0;

	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap64(value);
}

/* NIST SP 800-38D, sections 6.3 and 6.4: hash = (hash ^ block) * key. */
static void hash_block(uint8_t hash[BLOCK], const uint8_t block[BLOCK],
		       const uint8_t key[BLOCK])
{
	uint64_t high = big_endian(key);
	uint64_t low = big_endian(key + 8);
	uint64_t sum[2] = { 0 };

	add(hash, block);
	for (int i = 0; i < 8 * BLOCK; i++) {
		uint64_t carry = low & 1;

		if (hash[i / 8] >> (7 - i % 8) & 1) {
			sum[0] ^= high;
			sum[1] ^= low;
		}
		low = low >> 1 | high << 63;
		high = high >> 1 ^ carry * 0xe100000000000000;
	}
	sum[0] = __builtin_bswap64(sum[0]);
	sum[1] = __builtin_bswap64(sum[1]);
	memcpy(hash, sum, BLOCK);
}

/* As OP-TEE keeps it: divided by x, with the lowest bit for x^127. */
static void keep_key(struct internal_ghash_key *kept, const uint8_t key[BLOCK])
{
	uint64_t high = big_endian(key);
	uint64_t low = big_endian(key + 8);

	kept->h[0] = low << 1 | high >> 63;
	kept->h[1] = high << 1 | low >> 63;
	if (high >> 63)
		kept->h[1] ^= 0xc200000000000000;
	tzml_gcm_powers(kept);
}

/* Says if the stack was left without powers of the hash key. */
static __attribute__((noinline)) int call(int blocks, uint64_t hash[2],
					  uint8_t *to, const uint8_t *from,
					  const struct internal_ghash_key *key,
					  uint8_t counter[BLOCK],
					  const struct cipher *cipher)
{
	const volatile uint8_t *stack = NULL;
	uint8_t left = 0;

	prctl(MEASURE_BEGIN);
	tzml_gcm_decrypt(blocks, hash, to, from, key, (uint64_t *)counter,
			 (const uint64_t *)cipher->keys, cipher->rounds);
	/* the core keeps no value in the registers that the loop takes */
	__asm__ volatile("mov %0, sp"
			 : "=r"(stack)
			 :
			 : "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
			   "memory");
	for (int i = 1; i <= FRAME; i++)
		left |= stack[-i];
	prctl(MEASURE_END);
	return !left;
}

/* The loop's blocks, a multiple of eight. */
static void open_eights(const struct message *message, uint32_t blocks,
			const struct cipher *cipher,
			const struct internal_ghash_key *key,
			uint8_t hash[BLOCK], uint8_t counter[BLOCK],
			uint8_t *to, const uint8_t *from)
{
	uint64_t words[2] = { big_endian(hash + 8), big_endian(hash) };

	for (uint32_t done = 0; done < blocks;) {
		uint32_t now = blocks - done;

		if (!done && message->first_call)
			now = message->first_call;
		if (!call((int)now, words, to + BLOCK * (size_t)done,
			  from + BLOCK * (size_t)done, key, counter, cipher))
			fail("powers of the hash key are left on the stack");
		done += now;
	}
	words[0] = __builtin_bswap64(words[0]);
	words[1] = __builtin_bswap64(words[1]);
	memcpy(hash, &words[1], 8);
	memcpy(hash + 8, &words[0], 8);
}

static void open_message(const struct message *message, uint8_t *to,
			 const uint8_t *from, struct answer *answer)
{
	uint32_t eights = message->blocks / EIGHT * EIGHT;
	size_t size = BLOCK * (size_t)message->blocks;
	uint64_t lengths[2] = { __builtin_bswap64(8 * BLOCK),
				__builtin_bswap64(8 * size) };
	uint8_t counter[BLOCK] __attribute__((aligned(8)));
	struct internal_ghash_key kept = { 0 };
	uint8_t key[BLOCK] = { 0 };
	uint8_t hash[BLOCK] = { 0 };
	struct cipher cipher = { 0 };

	expand(&cipher, message->key, message->key_size);
	encipher(&cipher, key, key);
	keep_key(&kept, key);
	memcpy(counter, message->first_counter, BLOCK);
	count(counter);
	hash_block(hash, message->associated, key);
	if (eights)
		open_eights(message, eights, &cipher, &kept, hash, counter, to,
			    from);
	memcpy(answer->counter, counter, BLOCK);
	for (uint32_t i = eights; i < message->blocks; i++) {
		uint8_t block[BLOCK];
		uint8_t stream[BLOCK];

		memcpy(block, from + BLOCK * (size_t)i, BLOCK);
		hash_block(hash, block, key);
		encipher(&cipher, counter, stream);
		add(block, stream);
		memcpy(to + BLOCK * (size_t)i, block, BLOCK);
		count(counter);
	}
	hash_block(hash, (const uint8_t *)lengths, key);
	encipher(&cipher, message->first_counter, answer->tag);
	add(answer->tag, hash);
}

static int is_untouched(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != UNTOUCHED)
			return 0;
	}
	return 1;
}

static void answer_one(const struct message *message, FILE *cases,
		       FILE *answers)
{
	size_t size = BLOCK * (size_t)message->blocks;
	/* at no alignment, and nothing around the answer may change */
	uint8_t *from = malloc(size + 2 * MARGIN);
	uint8_t *other = malloc(size + 2 * MARGIN);
	uint8_t *before = malloc(size + 1);
	uint8_t *to = message->in_place ? from : other;
	struct answer answer = { 0 };

	if (!from || !other || !before)
		fail("no memory");
	memset(from, UNTOUCHED, size + 2 * MARGIN);
	memset(other, UNTOUCHED, size + 2 * MARGIN);
	if (fread(from + MARGIN + 1, 1, size, cases) != size)
		fail("the ciphertext is too short");
	memcpy(before, from + MARGIN + 1, size);
	open_message(message, to + MARGIN + 1, from + MARGIN + 1, &answer);
	if (!is_untouched(to, MARGIN + 1) ||
	    !is_untouched(to + MARGIN + 1 + size, MARGIN - 1))
		fail("bytes around the answer were written");
	if (!message->in_place && memcmp(before, from + MARGIN + 1, size))
		fail("the input was written");
	if (fwrite(&answer, sizeof(answer), 1, answers) != 1 ||
	    fwrite(to + MARGIN + 1, 1, size, answers) != size)
		fail("the answer was not written");
	free(before);
	free(other);
	free(from);
}

int main(int argc, char **argv)
{
	struct message message = { 0 };
	FILE *cases = argc == 3 ? fopen(argv[1], "rb") : NULL;
	FILE *answers = argc == 3 ? fopen(argv[2], "wb") : NULL;

	if (!cases || !answers)
		fail("usage: open_gcm CASES ANSWERS");
	while (fread(&message, sizeof(message), 1, cases) == 1)
		answer_one(&message, cases, answers);
	if (fclose(answers) || fclose(cases))
		fail("the files were not closed");
	return 0;
}
