// SPDX-License-Identifier: Apache-2.0
/*
 * C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential
 * Privacy", 2020: algorithms 1 to 3. Everything is exact: a probability is a
 * quotient of integers, and what has it is decided by as many random bits as
 * it takes, two on the average. The time tells something of the numbers that
 * are drawn (docs/security.md).
 */
#include <string.h>

#include "check.h"
#include "noise.h"

/*
 * What is that many scales away from 0 is not drawn. A number that is above
 * 255 deviations would come once in 2^46,000.
 */
#define MOST_SCALES 256

typedef unsigned __int128 wide;

void tzml_noise_begin(struct tzml_noise *noise, uint32_t deviation,
		      enum tzml_status (*random)(void *context, void *data,
						 size_t size),
		      void *context)
{
	memset(noise, 0, sizeof(*noise));
	noise->random = random;
	noise->context = context;
	noise->deviation = deviation;
	noise->used = sizeof(noise->buffer);
	while (UINT32_C(1) << noise->scale < deviation)
		noise->scale++;
}

static void refill(struct tzml_noise *noise)
{
	if (noise->used == sizeof(noise->buffer)) {
		enum tzml_status status = noise->random(
			noise->context, noise->buffer, sizeof(noise->buffer));

		noise->used = 0;
		if (status && !noise->status)
			noise->status = status;
	}
	memcpy(&noise->word, noise->buffer + noise->used, sizeof(noise->word));
	noise->used += sizeof(noise->word);
	noise->bits = 64;
}

static bool draw_bit(struct tzml_noise *noise)
{
	bool bit = false;

	if (!noise->bits)
		refill(noise);
	bit = noise->word & 1;
	noise->word >>= 1;
	noise->bits--;
	return bit;
}

/* From 0 to 2^count - 1. */
static uint64_t draw_bits(struct tzml_noise *noise, uint32_t count)
{
	uint64_t value = 0;

	while (count--)
		value = value << 1 | draw_bit(noise);
	return value;
}

/*
 * True with the probability part / whole; whole is below 2^127. A random real
 * number is below the quotient if the first of its bits that differs is.
 */
static bool draw_share(struct tzml_noise *noise, wide part, wide whole)
{
	while (part && !noise->status) {
		bool digit = false;

		part <<= 1;
		if (part >= whole) {
			digit = true;
			part -= whole;
		}
		if (draw_bit(noise) != digit)
			return digit;
	}
	return false;
}

/* True with the probability exp(-part / whole), of a quotient up to 1. */
static bool draw_exp_below_1(struct tzml_noise *noise, wide part, wide whole)
{
	uint32_t k = 1;

	while (draw_share(noise, part, whole * k))
		k++;
	return k & 1;
}

/* The same of any quotient: as exp(-1), that often, and the rest. */
static bool draw_exp(struct tzml_noise *noise, wide part, wide whole)
{
	for (; part > whole; part -= whole)
		if (!draw_exp_below_1(noise, 1, 1))
			return false;
	return draw_exp_below_1(noise, part, whole);
}

/* An integer x in proportion to exp(-|x| / 2^scale): its size and its sign. */
static int64_t draw_laplace(struct tzml_noise *noise)
{
	while (!noise->status) {
		uint64_t size = draw_bits(noise, noise->scale);
		uint32_t scales = 0;
		bool negative = false;

		if (!draw_exp_below_1(noise, size, UINT64_C(1) << noise->scale))
			continue;
		while (scales < MOST_SCALES && draw_exp_below_1(noise, 1, 1))
			scales++;
		size += (uint64_t)scales << noise->scale;
		negative = draw_bit(noise);
		if (negative && !size) /* 0 has one sign */
			continue;
		return negative ? -(int64_t)size : (int64_t)size;
	}
	return 0;
}

int64_t tzml_noise_draw(struct tzml_noise *noise)
{
	const uint64_t square = (uint64_t)noise->deviation * noise->deviation;
	/* 2 s^2 t^2; a shift of it would be a function of the compiler's library */
	const wide whole =
		(wide)square * (UINT64_C(1) << (2 * noise->scale + 1));

	/*
	 * Of numbers by Laplace some are kept, x with the probability
	 * exp(-(|x| - s^2 / t)^2 / (2 s^2)): s is the deviation, t 2^scale.
	 */
	while (!noise->status) {
		int64_t number = draw_laplace(noise);
		uint64_t size = number < 0 ? -number : number;
		uint64_t scaled = size << noise->scale;
		uint64_t far =
			scaled > square ? scaled - square : square - scaled;

		if (draw_exp(noise, (wide)far * far, whole))
			return number;
	}
	return 0;
}

static int32_t limited(int64_t value)
{
	if (value > INT32_MAX)
		return INT32_MAX;
	return value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

enum tzml_status tzml_noise_add(struct tzml_noise *noise, int32_t *sums,
				size_t count)
{
	for (size_t i = 0; i < count && !noise->status; i++)
		sums[i] = limited(sums[i] + tzml_noise_draw(noise));
	return noise->status;
}
