// SPDX-License-Identifier: Apache-2.0
/*
 * The part of libm that kernels call, because OP-TEE has no libm; linked into
 * the libraries of both worlds, so that they give the same bits.
 *
 * Each computes in double, where a plain series is far more exact than the
 * float that is returned: the error is below one unit in the last place of
 * it (tests/test_support.py compares with the host's libm).
 */
#include <stdint.h>

#define LN2	0.693147180559945309417
#define LOG2E	1.44269504088896340736
#define HALF_PI 1.57079632679489661923

static uint64_t bits_of(double value)
{
	union {
		double value;
		uint64_t bits;
	} u = { .value = value };

	return u.bits;
}

static double from_bits(uint64_t bits)
{
	union {
		uint64_t bits;
		double value;
	} u = { .bits = bits };

	return u.value;
}

static int is_nan(double x)
{
	return x != x;
}

static double magnitude(double x)
{
	return x < 0 ? -x : x;
}

/* e to the x, for x that does not leave double's normal range by far. */
static double exponential(double x)
{
	double term = 1;
	double sum = 1;
	double rest = 0;
	int64_t n = 0;

	if (is_nan(x))
		return x;
	/* past these a float is infinite or zero, and so is powf's result */
	if (x > 600)
		x = 600;
	if (x < -600)
		x = -600;
	n = (int64_t)(x * LOG2E + (x < 0 ? -0.5 : 0.5));
	rest = x - (double)n * LN2;
	for (int i = 1; i < 13; i++) {
		term *= rest / i;
		sum += term;
	}
	return sum * from_bits((uint64_t)(n + 1023) << 52);
}

/* The natural logarithm of a finite x above zero, not subnormal. */
static double logarithm(double x)
{
	uint64_t bits = bits_of(x);
	int64_t exponent = (int64_t)(bits >> 52) - 1023;
	double mantissa = from_bits((bits & 0xfffffffffffff) | 1023ULL << 52);
	double power = 0;
	double ratio = 0;
	double sum = 0;

	if (mantissa > 1.41421356237309504880) {
		mantissa /= 2;
		exponent++;
	}
	ratio = (mantissa - 1) / (mantissa + 1);
	power = ratio;
	for (int i = 1; i < 24; i += 2) {
		sum += power / i;
		power *= ratio * ratio;
	}
	return 2 * sum + (double)exponent * LN2;
}

float expf(float x);
float logf(float x);
float powf(float x, float y);
float sinhf(float x);
float coshf(float x);
float tanhf(float x);
float erff(float x);
float sinf(float x);
float cosf(float x);
float atanf(float x);
float asinf(float x);
float acosf(float x);
float asinhf(float x);
float acoshf(float x);

float expf(float x)
{
	return (float)exponential(x);
}

float logf(float x)
{
	if (is_nan(x) || x > 3.5e38)
		return x;
	if (x < 0)
		return __builtin_nanf("");
	if (x == 0)
		return -__builtin_inff();
	return (float)logarithm(x);
}

static float power_of_zero(float x, float y, int odd)
{
	float sign = odd ? __builtin_copysignf(1, x) : 1;

	return y > 0 ? sign * 0.0f : sign * __builtin_inff();
}

float powf(float x, float y)
{
	int integral = magnitude(y) >= 16777216 || y == (float)(int32_t)y;
	int odd = integral && magnitude(y) < 16777216 && (int32_t)y & 1;
	double result = 0;

	if (y == 0 || x == 1)
		return 1;
	if (is_nan(x) || is_nan(y))
		return x + y;
	if (magnitude(y) > 3.5e38) {
		if (magnitude(x) == 1)
			return 1;
		return (magnitude(x) > 1) == (y > 0) ? __builtin_inff() : 0;
	}
	if (x == 0)
		return power_of_zero(x, y, odd);
	if (magnitude(x) > 3.5e38)
		return power_of_zero(1 / x, -y, odd);
	if (x < 0 && !integral)
		return __builtin_nanf("");
	result = exponential(y * logarithm(magnitude(x)));
	return (float)(x < 0 && odd ? -result : result);
}

float tanhf(float x)
{
	double squared = 0;

	if (magnitude(x) < 1e-3)
		return (float)(x - (double)x * x * x / 3);
	if (magnitude(x) > 20)
		return x > 0 ? 1 : -1;
	squared = exponential(2 * (double)x);
	return (float)((squared - 1) / (squared + 1));
}

float sinhf(float x)
{
	double power = 0;

	/* up to here, the next term of the series is below half a unit */
	if (magnitude(x) < 1e-2)
		return (float)(x + (double)x * x * x / 6);
	power = exponential(x);
	return (float)((power - 1 / power) / 2);
}

float coshf(float x)
{
	double power = exponential(x);

	return (float)((power + 1 / power) / 2);
}

/* Abramowitz and Stegun 7.1.6: all terms positive, so nothing cancels. */
float erff(float x)
{
	double square = (double)x * x;
	double term = x;
	double sum = x;

	if (magnitude(x) > 4)
		return x > 0 ? 1 : -1;
	for (int i = 1; magnitude(term) > 1e-12 * magnitude(sum); i++) {
		term *= 2 * square / (2 * i + 1);
		sum += term;
	}
	return (float)(1.12837916709551257390 * exponential(-square) * sum);
}

/* The bits of 2/pi, so many that those of the largest float's turn are there. */
static const uint32_t two_over_pi[] = {
	0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
	0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561,
};

/*
 * x of at least 2^28, as quarter turns and a rest of at most half of one.
 *
 * x is an integer of 24 bits times 2^exponent. Bits of 2/pi that make whole
 * turns of it do not matter: the 96 behind them are multiplied.
 */
static uint32_t large_turns(double x, double *rest)
{
	uint64_t bits = bits_of(x);
	uint32_t exponent = (uint32_t)((bits >> 52) & 0x7ff) - 1023 - 23;
	uint32_t digits = (uint32_t)(1 << 23 | (bits >> 29 & 0x7fffff));
	const uint32_t *word = two_over_pi + (exponent - 2) / 32;
	unsigned __int128 window = 0;
	__int128 turns = 0;
	uint32_t quarters = 0;

	for (int i = 0; i < 4; i++)
		window = window << 32 | word[i];
	window = (window << (exponent - 2) % 32) >> 32;
	window = (window * digits << 32) >> 32; /* of 2^-94 quarter turns */
	quarters = (uint32_t)((window + ((unsigned __int128)1 << 93)) >> 94);
	turns = (__int128)(window - ((unsigned __int128)quarters << 94));
	*rest = (double)(int64_t)(turns >> 32) * 0x1p-62 * HALF_PI;
	return quarters;
}

/* x, which is not negative, as quarter turns and a rest of at most half of one. */
static uint32_t quarter_turns(double x, double *rest)
{
	double turns = 0;

	if (x >= 0x1p28)
		return large_turns(x, rest);
	turns = (double)(int64_t)(x / HALF_PI + 0.5);
	/* pi/2 in 25 bits, whose multiples are exact, and what is left of it */
	*rest = x - turns * 1.57079631090164184570 -
		turns * 1.58932547735281966916e-8;
	return (uint32_t)(int64_t)turns;
}

static double sine(double x)
{
	double square = x * x;
	double term = x;
	double sum = x;

	for (int i = 2; i < 18; i += 2) {
		term *= -square / (i * (i + 1));
		sum += term;
	}
	return sum;
}

static double cosine(double x)
{
	double square = x * x;
	double term = 1;
	double sum = 1;

	for (int i = 1; i < 18; i += 2) {
		term *= -square / (i * (i + 1));
		sum += term;
	}
	return sum;
}

/* The sine of x and so many quarter turns more. */
static double turned(double x, uint32_t more)
{
	double rest = 0;
	uint32_t quarters = 0;
	double result = 0;

	if (magnitude(x) > 3.5e38)
		return __builtin_nan("");
	quarters = quarter_turns(magnitude(x), &rest);
	if (x < 0) {
		quarters = -quarters;
		rest = -rest;
	}
	quarters += more;
	result = quarters & 1 ? cosine(rest) : sine(rest);
	return quarters & 2 ? -result : result;
}

float sinf(float x)
{
	/* zero keeps its sign, and NaN is one */
	return x == 0 || is_nan(x) ? x : (float)turned(x, 0);
}

float cosf(float x)
{
	return is_nan(x) ? x : (float)turned(x, 1);
}

/* By halving the angle twice, and a series. */
static double arctangent(double x)
{
	double square = 0;
	double power = 0;
	double sum = 0;

	if (x < 0)
		return -arctangent(-x);
	if (x > 1)
		return HALF_PI - arctangent(1 / x);
	for (int i = 0; i < 2; i++)
		x /= 1 + __builtin_sqrt(1 + x * x);
	square = x * x;
	power = x;
	for (int i = 1; i < 27; i += 2) {
		sum += power / i;
		power *= -square;
	}
	return 4 * sum;
}

float atanf(float x)
{
	return x == 0 || is_nan(x) ? x : (float)arctangent(x);
}

static double arcsine(double x)
{
	double other = (1 - x) * (1 + x);

	if (other < 0)
		return __builtin_nan("");
	if (other == 0)
		return x > 0 ? HALF_PI : -HALF_PI;
	return arctangent(x / __builtin_sqrt(other));
}

float asinf(float x)
{
	return x == 0 || is_nan(x) ? x : (float)arcsine(x);
}

float acosf(float x)
{
	return is_nan(x) ? x : (float)(HALF_PI - arcsine(x));
}

float asinhf(float x)
{
	double size = magnitude(x);
	double result = 0;

	if (is_nan(x) || size > 3.5e38)
		return x;
	/* up to here, the next term of the series is below half a unit */
	if (size < 1e-3)
		return (float)(x - (double)x * x * x / 6);
	result = logarithm(size + __builtin_sqrt(size * size + 1));
	return (float)(x < 0 ? -result : result);
}

float acoshf(float x)
{
	if (x < 1)
		return __builtin_nanf("");
	if (is_nan(x) || x > 3.5e38)
		return x;
	return (float)logarithm(
		x + __builtin_sqrt(((double)x - 1) * ((double)x + 1)));
}
