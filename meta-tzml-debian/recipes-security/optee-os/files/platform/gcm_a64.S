/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-GCM (NIST SP 800-38D), opened eight blocks at a time, with ARMv8's
 * instructions for AES and PMULL. OP-TEE's own loop takes two, and reduces
 * for each pair, makes the counters in general registers, and branches on the
 * key's size. open-eight-blocks-of-gcm-at-once.patch calls this one.
 *
 * Time and addresses depend on the number of blocks and the key's size only.
 * Each block of input is loaded once: who shares that memory may change it.
 *
 * PMULL takes the lowest bit for x^0, and GCM the highest bit of the first
 * byte. So a block is a polynomial with its bits reversed, and a product is
 * one place too low. A power of the hash key is kept as OP-TEE keeps it,
 * multiplied by 1/x, which makes up for that; so are products of such powers.
 */
#include <asm.S>

	.arch		armv8-a+crypto

	/* what is enciphered: eight counters, then the key stream */
	KS0		.req	v0
	KS1		.req	v1
	KS2		.req	v2
	KS3		.req	v3
	KS4		.req	v4
	KS5		.req	v5
	KS6		.req	v6
	KS7		.req	v7

	/* four blocks of input */
	IN0		.req	v8
	IN1		.req	v9
	IN2		.req	v10
	IN3		.req	v11

	/* four counters, each in the processor's byte order */
	COUNTERS	.req	v12

	/*
	 * The hash, with its halves swapped: so REV64 leaves a block's. The
	 * sums of products take its place and two more: of low halves, of
	 * halves that are added before, and of high halves.
	 */
	HASH		.req	v13
	LOW		.req	v13
	MIDDLE		.req	v14
	HIGH		.req	v15
	HIGHS		.req	v16

	/* v17 to v31 are round keys, as pmull_gcm_load_round_keys() has them */

	/* free once the key stream has been used */
	KEY_HIGHS	.req	v0
	KEY_LOWS	.req	v1
	KEY_SUMS	.req	v2
	PRODUCT		.req	v3

	/* LOW, MIDDLE and HIGH modulo x^128 + x^7 + x^2 + x + 1, halves swapped */
	.macro		reduce, to
	fmov		d2, x11
	ext		v0.16b, LOW.16b, HIGH.16b, #8
	eor		v1.16b, LOW.16b, HIGH.16b
	pmull		v3.1q, LOW.1d, v2.1d
	eor		MIDDLE.16b, MIDDLE.16b, v0.16b
	eor		MIDDLE.16b, MIDDLE.16b, v1.16b
	trn1		v0.2d, MIDDLE.2d, LOW.2d
	trn2		v1.2d, HIGH.2d, MIDDLE.2d
	eor		v0.16b, v0.16b, v3.16b
	pmull		v3.1q, v0.1d, v2.1d
	eor		v1.16b, v1.16b, v0.16b
	ext		v3.16b, v3.16b, v3.16b, #8
	eor		\to\().16b, v1.16b, v3.16b
	.endm

	/* x11: x^7 + x^2 + x as reduce wants it */
	.macro		load_polynomial
	mov		x11, #0xc200000000000000
	.endm

	/* A power of the hash key from two others. */
	.macro		multiply, to, a, b
	ext		v0.16b, \a\().16b, \a\().16b, #8
	ext		v1.16b, \b\().16b, \b\().16b, #8
	eor		v0.16b, v0.16b, \a\().16b
	eor		v1.16b, v1.16b, \b\().16b
	pmull		LOW.1q, \a\().1d, \b\().1d
	pmull		MIDDLE.1q, v0.1d, v1.1d
	pmull2		HIGH.1q, \a\().2d, \b\().2d
	reduce		\to
	ext		\to\().16b, \to\().16b, \to\().16b, #8
	.endm

	/* Keep two powers as the loop multiplies with them: x10 is where. */
	.macro		keep_powers, a, b
	trn2		KEY_HIGHS.2d, \a\().2d, \b\().2d
	trn1		KEY_LOWS.2d, \a\().2d, \b\().2d
	eor		KEY_SUMS.16b, KEY_HIGHS.16b, KEY_LOWS.16b
	st1		{KEY_HIGHS.2d-KEY_SUMS.2d}, [x10], #48
	.endm

	/* Karatsuba's three products for each of two blocks, by two powers. */
	.macro		hash_pair, a, b, first=0
	ld1		{KEY_HIGHS.2d-KEY_SUMS.2d}, [x10], #48
	trn1		HIGHS.2d, \a\().2d, \b\().2d
	trn2		\b\().2d, \a\().2d, \b\().2d
	eor		\a\().16b, HIGHS.16b, \b\().16b
	pmull		PRODUCT.1q, HIGHS.1d, KEY_HIGHS.1d
	pmull2		HIGHS.1q, HIGHS.2d, KEY_HIGHS.2d
	pmull		KEY_HIGHS.1q, \b\().1d, KEY_LOWS.1d
	pmull2		\b\().1q, \b\().2d, KEY_LOWS.2d
	pmull		KEY_LOWS.1q, \a\().1d, KEY_SUMS.1d
	pmull2		\a\().1q, \a\().2d, KEY_SUMS.2d
	.if		\first
	eor		HIGH.16b, PRODUCT.16b, HIGHS.16b
	eor		LOW.16b, KEY_HIGHS.16b, \b\().16b
	eor		MIDDLE.16b, KEY_LOWS.16b, \a\().16b
	.else
	eor		HIGH.16b, HIGH.16b, PRODUCT.16b
	eor		LOW.16b, LOW.16b, KEY_HIGHS.16b
	eor		MIDDLE.16b, MIDDLE.16b, KEY_LOWS.16b
	eor		HIGH.16b, HIGH.16b, HIGHS.16b
	eor		LOW.16b, LOW.16b, \b\().16b
	eor		MIDDLE.16b, MIDDLE.16b, \a\().16b
	.endif
	.endm

	/* Open four blocks with their key stream, then hash what was read. */
	.macro		open_four, s0, s1, s2, s3, first=0
	ld1		{IN0.16b-IN3.16b}, [x3], #64
	eor		\s0\().16b, \s0\().16b, IN0.16b
	eor		\s1\().16b, \s1\().16b, IN1.16b
	eor		\s2\().16b, \s2\().16b, IN2.16b
	eor		\s3\().16b, \s3\().16b, IN3.16b
	st1		{\s0\().16b-\s3\().16b}, [x2], #64
	rev64		IN0.16b, IN0.16b
	rev64		IN1.16b, IN1.16b
	rev64		IN2.16b, IN2.16b
	rev64		IN3.16b, IN3.16b
	.if		\first
	eor		IN0.16b, IN0.16b, HASH.16b
	.endif
	hash_pair	IN0, IN1, \first
	hash_pair	IN2, IN3
	.endm

	/* The first round's key, in which the counter's first 96 bits are. */
	.macro		add_nonce, key
	ldr		q16, [x5]
	mov		v16.s[3], wzr
	eor		\key\().16b, \key\().16b, v16.16b
	.endm

	/* Processors join AESE with the AESMC after it. */
	.macro		round, block, key
	aese		\block\().16b, \key\().16b
	aesmc		\block\().16b, \block\().16b
	.endm

	.macro		last_round, block
	aese		\block\().16b, v30.16b
	eor		\block\().16b, \block\().16b, v31.16b
	.endm

	.macro		round_of_eight, key
	.irp		block, KS0, KS1, KS2, KS3, KS4, KS5, KS6, KS7
	round		\block, \key
	.endr
	.endm

	.macro		open_blocks, keys:vararg
	/* four counters, of 32 bits: none carries into the nonce */
1:	ld1		{IN0.16b-IN3.16b}, [x9]
	movi		v14.4s, #4
	tbl		KS0.16b, {COUNTERS.16b}, IN0.16b
	tbl		KS1.16b, {COUNTERS.16b}, IN1.16b
	tbl		KS2.16b, {COUNTERS.16b}, IN2.16b
	tbl		KS3.16b, {COUNTERS.16b}, IN3.16b
	add		COUNTERS.4s, COUNTERS.4s, v14.4s
	tbl		KS4.16b, {COUNTERS.16b}, IN0.16b
	tbl		KS5.16b, {COUNTERS.16b}, IN1.16b
	tbl		KS6.16b, {COUNTERS.16b}, IN2.16b
	tbl		KS7.16b, {COUNTERS.16b}, IN3.16b
	add		COUNTERS.4s, COUNTERS.4s, v14.4s

	.irp		key, \keys
	round_of_eight	\key
	.endr
	.irp		block, KS0, KS1, KS2, KS3, KS4, KS5, KS6, KS7
	last_round	\block
	.endr

	mov		x10, sp
	open_four	KS0, KS1, KS2, KS3, first=1
	open_four	KS4, KS5, KS6, KS7
	reduce		HASH
	subs		w0, w0, #8
	b.ne		1b
	.endm

/*
 * void tzml_gcm_powers(struct internal_ghash_key *ghash_key);
 *
 * Makes h2, h3 and h4 from h.
 */
FUNC tzml_gcm_powers , :
	load_polynomial
	ld1		{v4.2d}, [x0]
	multiply	v5, v4, v4
	multiply	v6, v5, v4
	multiply	v7, v5, v5
	st1		{v4.2d-v7.2d}, [x0]
	ret
END_FUNC tzml_gcm_powers

/*
 * void tzml_gcm_decrypt(int blocks, uint64_t dg[2], uint8_t dst[],
 *			 const uint8_t src[],
 *			 const struct internal_ghash_key *ghash_key,
 *			 uint64_t ctr[], const uint64_t rk[], int rounds);
 *
 * As pmull_gcm_decrypt(), for a multiple of eight blocks, at least eight.
 */
FUNC tzml_gcm_decrypt , :
	sub		sp, sp, #192
	load_polynomial

	/* the first of eight blocks is multiplied by the eighth power */
	ld1		{v4.2d-v7.2d}, [x4]
	multiply	v8, v7, v4
	multiply	v9, v7, v5
	multiply	v10, v7, v6
	multiply	v11, v7, v7
	mov		x10, sp
	keep_powers	v11, v10
	keep_powers	v9, v8
	keep_powers	v7, v6
	keep_powers	v5, v4

	adrp		x9, counter_places
	add		x9, x9, :lo12:counter_places
	ldr		w8, [x5, #12]
	rev		w8, w8
	dup		COUNTERS.4s, w8
	ldr		q16, [x9, #64]
	add		COUNTERS.4s, COUNTERS.4s, v16.4s

	ld1		{HASH.2d}, [x1]
	ext		HASH.16b, HASH.16b, HASH.16b, #8

	/* what the counter is afterwards */
	add		w8, w8, w0
	rev		w8, w8

	cmp		w7, #12
	b.lo		128f
	b.eq		192f

	ld1		{v17.4s-v20.4s}, [x6], #64
	ld1		{v21.4s-v24.4s}, [x6], #64
	ld1		{v25.4s-v28.4s}, [x6], #64
	ld1		{v29.4s-v31.4s}, [x6]
	add_nonce	v17
	open_blocks	v17, v18, v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29
	b		2f

192:	ld1		{v19.4s-v20.4s}, [x6], #32
	ld1		{v21.4s-v24.4s}, [x6], #64
	ld1		{v25.4s-v28.4s}, [x6], #64
	ld1		{v29.4s-v31.4s}, [x6]
	add_nonce	v19
	open_blocks	v19, v20, v21, v22, v23, v24, v25, v26, v27, v28, v29
	b		2f

128:	ld1		{v21.4s-v24.4s}, [x6], #64
	ld1		{v25.4s-v28.4s}, [x6], #64
	ld1		{v29.4s-v31.4s}, [x6]
	add_nonce	v21
	open_blocks	v21, v22, v23, v24, v25, v26, v27, v28, v29

2:	ext		HASH.16b, HASH.16b, HASH.16b, #8
	st1		{HASH.2d}, [x1]
	str		w8, [x5, #12]

	/* the powers are as good as the hash key */
	movi		v0.2d, #0
	movi		v1.2d, #0
	movi		v2.2d, #0
	mov		x10, sp
	.rept		4
	st1		{v0.2d-v2.2d}, [x10], #48
	.endr
	add		sp, sp, #192
	ret
END_FUNC tzml_gcm_decrypt

	.section	.rodata.tzml_gcm, "a", %progbits
	.balign		16
	/*
	 * Which bytes of COUNTERS make each of four blocks: zero but for one
	 * counter, the highest byte first. And what the four start with.
	 */
counter_places:
	.irp		lowest, 0, 4, 8, 12
	.fill		12, 1, 0xff
	.byte		\lowest + 3, \lowest + 2, \lowest + 1, \lowest
	.endr
	.word		0, 1, 2, 3

BTI(emit_aarch64_feature_1_and     GNU_PROPERTY_AARCH64_FEATURE_1_BTI)
