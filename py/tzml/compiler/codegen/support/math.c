// SPDX-License-Identifier: Apache-2.0
/*
 * The part of libm that kernels call, because OP-TEE has no libm; linked into
 * the libraries of both worlds, so that they give the same bits.
 *
 * Those of floats compute in double, where a plain series is far more exact
 * than the float that is returned: the error is below one unit in the last
 * place of it (tests/compiler/test_functions.py compares with the host's
 * libm). So is that of those of doubles, which come last.
 *
 * Every number takes the same instructions, so that how long a kernel takes
 * tells nothing of what it computes with (tests/compiler/test_timing.py): there
 * is no branch on a number. What does not fit one is computed as well, of a
 * number that does no harm, and not chosen.
 */
#include <stdint.h>

#define LN2	0.693147180559945309417
#define LOG2E	1.44269504088896340736
#define HALF_PI 1.57079632679489661923

#define INFINITE  __builtin_inf()
#define NO_NUMBER __builtin_nan("")
#define LARGEST	  3.5e38 /* of what is above, a float is infinite */

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
	return from_bits(bits_of(x) & ~(1ULL << 63));
}

/*
 * All ones if the condition is 1, and 0 if it is 0. The compiler is not to know
 * which values it may have, or it may branch on it after all.
 */
static uint64_t mask_of(int condition)
{
	uint64_t mask = -(uint64_t)condition;

	__asm__("" : "+r"(mask));
	return mask;
}

static double choose(int condition, double yes, double no)
{
	uint64_t mask = mask_of(condition);

	return from_bits((bits_of(yes) & mask) | (bits_of(no) & ~mask));
}

/* With the sign changed if the condition is 1. */
static double negated(int condition, double x)
{
	return from_bits(bits_of(x) ^ (mask_of(condition) & 1ULL << 63));
}

/* e to the x, for x that does not leave double's normal range by far. */
static double exponential(double x)
{
	double given = x;
	double term = 1;
	double sum = 1;
	double rest = 0;
	int64_t n = 0;

	x = choose(is_nan(x), 0, x);
	/* past these a float is infinite or zero, and so is powf's result */
	x = choose(x > 600, 600, x);
	x = choose(x < -600, -600, x);
	n = (int64_t)(x * LOG2E + choose(x < 0, -0.5, 0.5));
	rest = x - (double)n * LN2;
	for (int i = 1; i < 13; i++) {
		term *= rest / i;
		sum += term;
	}
	return choose(is_nan(given), given,
		      sum * from_bits((uint64_t)(n + 1023) << 52));
}

/*
 * The natural logarithm of a finite x above zero, not subnormal. Of others, it
 * is some number.
 */
static double logarithm(double x)
{
	uint64_t bits = bits_of(x);
	int64_t exponent = (int64_t)(bits >> 52) - 1023;
	double mantissa = from_bits((bits & 0xfffffffffffff) | 1023ULL << 52);
	double power = 0;
	double ratio = 0;
	double sum = 0;
	int large = mantissa > 1.41421356237309504880;

	mantissa = choose(large, mantissa / 2, mantissa);
	exponent += large;
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
float fmodf(float x, float y);
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
	double result = logarithm(x);

	result = choose(x == 0, -INFINITE, result);
	result = choose(x < 0, NO_NUMBER, result);
	return (float)choose(is_nan(x) | (x > LARGEST), x, result);
}

float powf(float x, float y)
{
	double size = magnitude(x);
	double exponent = magnitude(y);
	int even = exponent >= 16777216; /* there are no others */
	int32_t whole = (int32_t)choose(even | is_nan(y), 0, y);
	int integral = even | (y == (float)whole);
	int odd = integral & whole & 1;
	int infinite = size > LARGEST;
	/* the powers of zero, and of infinity the other way round */
	int vanishes = ((x == 0) & (y > 0)) | (infinite & (y < 0));
	double extreme = choose(vanishes, 0, INFINITE);
	double limit = choose((size > 1) == (y > 0), INFINITE, 0);
	int negative = bits_of(x) >> 63;
	double result = exponential(y * logarithm(size));

	result = negated((x < 0) & odd, result);
	result = choose((x < 0) & !integral, NO_NUMBER, result);
	result = choose((x == 0) | infinite, negated(negative & odd, extreme),
			result);
	result =
		choose(exponent > LARGEST, choose(size == 1, 1, limit), result);
	result = choose(is_nan(x) | is_nan(y), (double)x + y, result);
	return (float)choose((y == 0) | (x == 1), 1, result);
}

/*
 * What is left of x after multiples of y. Multiples of y, times 2 to the power
 * of 29 i, are subtracted of what is left of those before: a number of 29 bits
 * times one of 24 is exact, and so is what is left.
 */
float fmodf(float x, float y)
{
	double size = magnitude(x);
	double divisor = magnitude(y);
	int endless = divisor > LARGEST; /* nothing is subtracted */
	int undefined = is_nan(x) | is_nan(y) | (size > LARGEST) | (y == 0);
	double rest = choose(undefined, 0, size);
	int i;

	divisor = choose(undefined | endless, 1, divisor);
	for (i = 9; i >= 0; i--) {
		double step = divisor * from_bits((1023ULL + 29 * i) << 52);

		rest -= (double)(int64_t)(rest / step) * step;
		/* the quotient may have been rounded up to an integer */
		rest += choose(rest < 0, step, 0);
	}
	rest = choose(endless, size, rest);
	rest = negated(bits_of(x) >> 63, rest);
	return (float)choose(undefined, NO_NUMBER, rest);
}

float tanhf(float x)
{
	double size = magnitude(x);
	double squared = exponential(2 * (double)x);
	double result = (squared - 1) / (squared + 1);

	result = choose(size > 20, negated(x < 0, 1), result);
	return (float)choose(size < 1e-3, x - (double)x * x * x / 3, result);
}

float sinhf(float x)
{
	double power = exponential(x);

	/* up to here, the next term of the series is below half a unit */
	return (float)choose(magnitude(x) < 1e-2, x + (double)x * x * x / 6,
			     (power - 1 / power) / 2);
}

float coshf(float x)
{
	double power = exponential(x);

	return (float)((power + 1 / power) / 2);
}

#define ERF_TERMS 54

/* Abramowitz and Stegun 7.1.6: all terms positive, so nothing cancels. */
float erff(float x)
{
	int one = magnitude(x) > 4;
	double number = choose(one, 0, x);
	double square = number * number;
	double term = number;
	double sum = number;

	/* of 4, the next term is less than 1e-12 of the sum */
	for (int i = 1; i < ERF_TERMS; i++) {
		term *= 2 * square / (2 * i + 1);
		sum += term;
	}
	return (float)choose(one, negated(x < 0, 1),
			     1.12837916709551257390 * exponential(-square) *
				     sum);
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

/* The same of x below 2^28, and not negative. */
static uint32_t small_turns(double x, double *rest)
{
	double turns = (double)(int64_t)(x / HALF_PI + 0.5);

	/* pi/2 in 25 bits, whose multiples are exact, and what is left of it */
	*rest = x - turns * 1.57079631090164184570 -
		turns * 1.58932547735281966916e-8;
	return (uint32_t)(int64_t)turns;
}

/* x, a finite float that is not negative, as quarter turns and a rest. */
static uint32_t quarter_turns(double x, double *rest)
{
	int large = x >= 0x1p28;
	double rest_of_small = 0;
	double rest_of_large = 0;
	uint32_t small = small_turns(choose(large, 0, x), &rest_of_small);
	uint32_t much = large_turns(choose(large, x, 0x1p28), &rest_of_large);
	uint32_t mask = (uint32_t)mask_of(large);

	*rest = choose(large, rest_of_large, rest_of_small);
	return (much & mask) | (small & ~mask);
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
	int turns = magnitude(x) <= LARGEST; /* infinity and NaN do not */
	double rest = 0;
	uint32_t quarters =
		quarter_turns(choose(turns, magnitude(x), 0), &rest);
	uint32_t negative = (uint32_t)mask_of(x < 0);
	double result = 0;

	quarters = ((quarters ^ negative) - negative) + more;
	rest = negated(x < 0, rest);
	result = choose(quarters & 1, cosine(rest), sine(rest));
	result = negated(quarters >> 1 & 1, result);
	return choose(turns, result, NO_NUMBER);
}

float sinf(float x)
{
	/* zero keeps its sign, and NaN is one */
	return (float)choose((x == 0) | is_nan(x), x, turned(x, 0));
}

float cosf(float x)
{
	return (float)choose(is_nan(x), x, turned(x, 1));
}

/* By halving the angle twice, and a series. */
static double arctangent(double x)
{
	double size = magnitude(x);
	int steep = size > 1;
	double square = 0;
	double power = 0;
	double sum = 0;

	size = choose(steep, 1 / size, size);
	for (int i = 0; i < 2; i++)
		size /= 1 + __builtin_sqrt(1 + size * size);
	square = size * size;
	power = size;
	for (int i = 1; i < 27; i += 2) {
		sum += power / i;
		power *= -square;
	}
	sum = choose(steep, HALF_PI - 4 * sum, 4 * sum);
	return negated(x < 0, sum);
}

float atanf(float x)
{
	return (float)choose((x == 0) | is_nan(x), x, arctangent(x));
}

static double arcsine(double x)
{
	double other = (1 - x) * (1 + x);
	double result =
		arctangent(x / __builtin_sqrt(choose(other > 0, other, 1)));

	result = choose(other == 0, negated(x < 0, HALF_PI), result);
	return choose(other < 0, NO_NUMBER, result);
}

float asinf(float x)
{
	return (float)choose((x == 0) | is_nan(x), x, arcsine(x));
}

float acosf(float x)
{
	return (float)choose(is_nan(x), x, HALF_PI - arcsine(x));
}

float asinhf(float x)
{
	double size = magnitude(x);
	double result = logarithm(size + __builtin_sqrt(size * size + 1));

	result = negated(x < 0, result);
	/* up to here, the next term of the series is below half a unit */
	result = choose(size < 1e-3, x - (double)x * x * x / 6, result);
	return (float)choose(is_nan(x) | (size > LARGEST), x, result);
}

float acoshf(float x)
{
	double square = ((double)x - 1) * ((double)x + 1);
	double result =
		logarithm(x + __builtin_sqrt(choose(square > 0, square, 0)));

	result = choose(x < 1, NO_NUMBER, result);
	return (float)choose(is_nan(x) | (x > LARGEST), x, result);
}

double exp(double x);
double log(double x);
double fmod(double x, double y);

/* ln 2 in 32 bits, whose multiples are exact, and what is left of it */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW	 1.90821492927058770002e-10

/* 2 to the n, for n from -1022 to 1023. */
static double power_of_2(int64_t n)
{
	return from_bits((uint64_t)(n + 1023) << 52);
}

/* x times 2 to the n, for n twice as large: in two steps, one of them exact. */
static double scaled(double x, int64_t n)
{
	int64_t half = n / 2;

	return x * power_of_2(half) * power_of_2(n - half);
}

double exp(double x)
{
	double number = choose(is_nan(x), 0, x);
	double near = 0;
	double rest = 0;
	double sum = 1;
	int64_t n = 0;

	/* past these the result is infinite or zero */
	number = choose(number > 800, 800, number);
	number = choose(number < -800, -800, number);
	n = (int64_t)(number * LOG2E + choose(number < 0, -0.5, 0.5));
	near = number - (double)n * LN2_HIGH;
	rest = near - (double)n * LN2_LOW;
	for (int i = 14; i > 2; i--)
		sum = 1 + rest * sum / i;
	/* the smallest comes first, of which that difference lost a part */
	sum = rest * rest / 2 * sum + (near - rest - (double)n * LN2_LOW);
	return choose(is_nan(x), x, scaled(1 + (rest + sum), n));
}

/*
 * With the mantissa 1 + f near 1, and s = f / (2 + f), its logarithm is
 * 2 (s + s^3 / 3 + s^5 / 5 + ...), written as f and what is left of it.
 */
double log(double x)
{
	int tiny = x < 0x1p-1022;
	uint64_t bits = bits_of(choose(tiny, x * 0x1p54, x));
	int64_t exponent = (int64_t)(bits >> 52 & 0x7ff) - 1023;
	double f = from_bits((bits & 0xfffffffffffff) | 1023ULL << 52);
	int large = f > 1.41421356237309504880;
	double half = 0;
	double rest = 0;
	double s = 0;
	double result = 0;

	f = choose(large, f / 2, f) - 1;
	exponent += large - (tiny * 54);
	half = f * f / 2;
	s = f / (2 + f);
	for (int i = 25; i > 1; i -= 2)
		rest = (rest + 2.0 / i) * (s * s);
	result = s * (half + rest) + (double)exponent * LN2_LOW;
	result = (double)exponent * LN2_HIGH - (half - result - f);
	result = choose(x == 0, -INFINITE, result);
	result = choose(x < 0, NO_NUMBER, result);
	return choose(is_nan(x) | (x == INFINITE), x, result);
}

/* A finite double as a whole number times 2 to the (exponent - 1075). */
static uint64_t whole_of(double x, uint32_t *exponent)
{
	uint64_t bits = bits_of(magnitude(x));
	uint32_t field = (uint32_t)(bits >> 52);
	uint32_t normal = field != 0;

	*exponent = field + !normal;
	return (bits & 0xfffffffffffff) | (uint64_t)normal << 52;
}

/*
 * By long division of whole numbers: 11 bits of the quotient at a time, for
 * 53 and 11 bits fit into 64, and as many times as the exponents can differ.
 */
double fmod(double x, double y)
{
	int endless = magnitude(y) == INFINITE; /* nothing is subtracted */
	int undefined =
		is_nan(x) | is_nan(y) | (magnitude(x) == INFINITE) | (y == 0);
	uint32_t from = 0;
	uint32_t to = 0;
	uint64_t rest = whole_of(choose(undefined, 0, x), &from);
	uint64_t divisor = whole_of(choose(undefined | endless, 1, y), &to);
	int smaller = magnitude(x) < magnitude(y);
	/* from is less than to only if x is smaller, too */
	uint32_t left = (from - to) & (uint32_t)mask_of(from > to);
	double result = 0;

	rest %= divisor;
	for (int i = 0; i < 187; i++) {
		uint32_t most = (uint32_t)mask_of(left > 11);
		uint32_t step = (11 & most) | (left & ~most);

		rest = (rest << step) % divisor;
		left -= step;
	}
	result = scaled((double)rest, (int64_t)to - 1075);
	result = choose(smaller | endless, magnitude(x), result);
	result = negated(bits_of(x) >> 63, result);
	return choose(undefined, NO_NUMBER, result);
}

#ifdef __FLT16_MAX__ /* x86 has the type since GCC 12; AArch64 needs no function */

_Float16 __truncdfhf2(double x);

/*
 * The nearest half of a double, which x86 has no instruction for. A sum with a
 * power of 2 is rounded to the bits that a half has there.
 */
_Float16 __truncdfhf2(double x)
{
	union {
		uint16_t bits;
		_Float16 value;
	} half = { .bits = 0 };
	double size = magnitude(x);
	int infinite = size >= 65520;
	double finite = choose(infinite | is_nan(x), 0, size);
	int subnormal = finite < 0x1p-14;
	uint64_t exponent = bits_of(choose(subnormal, 0x1p-14, finite)) >> 52;
	double power = from_bits((exponent + 42) << 52);
	double rounded = (finite + power) - power;
	uint64_t normal = (bits_of(rounded) >> 42) - (1008ULL << 10);
	uint64_t few = (uint64_t)(rounded * 0x1p24);
	uint64_t mask = mask_of(rounded < 0x1p-14);
	uint64_t bits = (few & mask) | (normal & ~mask);
	uint64_t special = 0x7c00 | (0x200 & mask_of(is_nan(x)));

	mask = mask_of(infinite | is_nan(x));
	bits = (special & mask) | (bits & ~mask);
	half.bits = (uint16_t)(bits | (bits_of(x) >> 48 & 0x8000));
	return half.value;
}

#endif
