// SPDX-License-Identifier: Apache-2.0
/*
 * test_noise: numbers of the discrete Gaussian have its probabilities, which
 * are computed here from its definition. The random bits are always the same
 * ones. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "noise.h"
#include "tap.h"

#define DRAWS	  400000
#define MOST_BINS 64

struct source {
	uint64_t state;
	uint32_t left; /* calls until one fails */
	uint8_t fill;  /* of those that fail */
};

/* S. Vigna's splitmix64 */
static enum tzml_status draw(void *context, void *data, size_t size)
{
	struct source *source = context;

	if (!source->left--) {
		memset(data, source->fill, size);
		source->left = 0;
		return TZML_ERROR_PLATFORM;
	}
	for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
		uint64_t z = source->state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		z ^= z >> 31;
		memcpy((uint8_t *)data + at, &z, sizeof(z));
	}
	return TZML_SUCCESS;
}

static double weight_of(int64_t number, double deviation)
{
	double x = number / deviation;

	return exp(-x * x / 2);
}

/* Bins of equal width around 0; the outermost have all that lies beyond. */
static int bin_of(int64_t number, uint32_t width, int bins)
{
	int64_t bin = (int64_t)floor((double)number / width) + bins / 2;

	return bin < 0 ? 0 : bin >= bins ? bins - 1 : (int)bin;
}

/*
 * Pearson's statistic of numbers that are drawn with one deviation against
 * the probabilities of another, less its mean, in its standard deviations.
 */
static double distance(uint32_t drawn, double expected, uint32_t width,
		       int bins, uint64_t seed)
{
	struct source source = { .state = seed, .left = UINT32_MAX };
	double probabilities[MOST_BINS] = { 0 };
	uint32_t counts[MOST_BINS] = { 0 };
	int64_t end = (int64_t)(12 * expected) + 1;
	struct tzml_noise noise;
	double statistic = 0;
	double total = 0;
	int used = 0;

	for (int64_t i = -end; i <= end; i++) {
		double weight = weight_of(i, expected);

		probabilities[bin_of(i, width, bins)] += weight;
		total += weight;
	}
	tzml_noise_begin(&noise, drawn, draw, &source);
	for (int i = 0; i < DRAWS; i++)
		counts[bin_of(tzml_noise_draw(&noise), width, bins)]++;
	for (int i = 0; i < bins; i++) {
		double mean = DRAWS * probabilities[i] / total;

		statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
		used++;
	}
	return (statistic - (used - 1)) / sqrt(2.0 * (used - 1));
}

static void test_distribution(void)
{
	static const struct {
		uint32_t deviation;
		uint32_t width;
		int bins;
	} cases[] = {
		{ 1, 1, 8 },	     { 2, 1, 16 },
		{ 3, 1, 20 },	     { 7, 1, 50 },
		{ 100, 11, 60 },     { 65536, 6553, 60 },
		{ 80000, 8001, 60 }, { 1 << 20, 104857, 60 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		double own = distance(cases[i].deviation, cases[i].deviation,
				      cases[i].width, cases[i].bins, i + 1);
		double other =
			distance(cases[i].deviation, 1.02 * cases[i].deviation,
				 cases[i].width, cases[i].bins, i + 1);

		check(fabs(own) < 4 && other > 8,
		      "deviation %u: %.1f, and for 2 %% more %.1f",
		      cases[i].deviation, own, other);
	}
}

/* The largest deviation that there may be: its moments. */
static void test_largest(void)
{
	struct source source = { .state = 99, .left = UINT32_MAX };
	struct tzml_noise noise;
	double squares = 0;
	double sum = 0;

	tzml_noise_begin(&noise, TZML_MAX_DEVIATION, draw, &source);
	for (int i = 0; i < DRAWS; i++) {
		double x = (double)tzml_noise_draw(&noise) / TZML_MAX_DEVIATION;

		sum += x;
		squares += x * x;
	}
	check(fabs(sum / DRAWS) < 4 / sqrt(DRAWS) &&
		      fabs(squares / DRAWS - 1) < 4 * sqrt(2.0 / DRAWS),
	      "the largest deviation has its mean and variance");
}

static void test_sums(void)
{
	int32_t sums[] = { INT32_MAX, INT32_MIN, 0, 1000 };
	struct source source = { .state = 5, .left = UINT32_MAX };
	struct source same = source;
	struct tzml_noise noise;
	int64_t drawn[4];
	bool changed = false;

	tzml_noise_begin(&noise, 1 << 20, draw, &same);
	for (int i = 0; i < 4; i++)
		drawn[i] = tzml_noise_draw(&noise);
	for (int i = 0; i < 64 && (drawn[0] < 0 || drawn[1] > 0); i++) {
		/* signs that leave the range, for some source */
		source.state += 2;
		same = source;
		tzml_noise_begin(&noise, 1 << 20, draw, &same);
		for (int j = 0; j < 4; j++)
			drawn[j] = tzml_noise_draw(&noise);
	}
	tzml_noise_begin(&noise, 1 << 20, draw, &source);
	check(!tzml_noise_add(&noise, sums, 4) && sums[0] == INT32_MAX &&
		      sums[1] == INT32_MIN && sums[2] == drawn[2] &&
		      sums[3] == 1000 + drawn[3],
	      "sums get the noise, and stay within their range");
	changed = drawn[2] && drawn[3];
	check(changed, "and there was some");
}

/* Whatever a source gives that fails, and whenever: it ends, and says so. */
static void test_failures(void)
{
	bool passed = true;

	for (uint32_t before = 0; before < 20; before++)
		for (int fill = 0; fill < 256; fill += 51) {
			struct source source = { .state = before,
						 .left = before,
						 .fill = (uint8_t)fill };
			struct tzml_noise noise;
			int32_t sums[4096] = { 0 };

			tzml_noise_begin(&noise, 65536, draw, &source);
			if (tzml_noise_add(&noise, sums, 4096) !=
			    TZML_ERROR_PLATFORM)
				passed = false;
		}
	check(passed, "without random bytes there is no noise");
}

int main(void)
{
	test_distribution();
	test_largest();
	test_sums();
	test_failures();
	return tap_end();
}
