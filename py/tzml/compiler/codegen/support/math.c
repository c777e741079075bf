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

#define LN2   0.693147180559945309417
#define LOG2E 1.44269504088896340736

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
