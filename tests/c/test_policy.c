// SPDX-License-Identifier: Apache-2.0
/*
 * test_policy: which outputs a policy is for, the shape of what is given, and
 * numbers at the edges. tests/bundle/test_sealed.py has the order of ordinary
 * ones. Prints one TAP line a check, and exits 0 if all passed.
 */
#include <string.h>
#include <tzml/interface.h>
#include <tzml/policy.h>

#include "tap.h"

static struct tzml_tensor tensor_of(uint32_t dtype, uint32_t dimension_count,
				    uint32_t rows, uint32_t last)
{
	struct tzml_tensor tensor = { .dtype = dtype,
				      .dimension_count = dimension_count };
	uint64_t count = 1;

	if (dimension_count > 1)
		count *= tensor.dimensions[0] = rows;
	if (dimension_count)
		count *= tensor.dimensions[dimension_count - 1] = last;
	tensor.size = count * tzml_dtype_size(dtype);
	return tensor;
}

static void test_shapes(void)
{
	struct tzml_tensor tensor = tensor_of(TZML_FLOAT32, 2, 3, 10);
	struct tzml_tensor given = { 0 };

	check(tzml_policy_shape(TZML_OUTPUT_FULL, 0, &tensor, &given) &&
		      !memcmp(&given, &tensor, sizeof(given)),
	      "full gives the tensor as it is");
	check(tzml_policy_shape(TZML_OUTPUT_TOP_K, 4, &tensor, &given) &&
		      given.dtype == TZML_INT32 && given.dimensions[0] == 3 &&
		      given.dimensions[1] == 4 && !given.dimensions[2] &&
		      given.size == 3 * 4 * sizeof(int32_t),
	      "top-k gives k indices a row");
	check(tzml_policy_shape(TZML_OUTPUT_TOP_K, 10, &tensor, &given) &&
		      !tzml_policy_shape(TZML_OUTPUT_TOP_K, 11, &tensor,
					 &given),
	      "there are no more indices than numbers");
	check(tzml_policy_shape(TZML_OUTPUT_TOP_1, 0, &tensor, &given) &&
		      given.dimensions[1] == 1,
	      "top-1 gives one");
	tensor = tensor_of(TZML_INT8, 0, 0, 0);
	check(tzml_policy_shape(TZML_OUTPUT_RANKS, 0, &tensor, &given) &&
		      given.dtype == TZML_INT32 && !given.dimension_count &&
		      given.size == sizeof(int32_t) &&
		      !tzml_policy_shape(TZML_OUTPUT_TOP_K, 2, &tensor, &given),
	      "a scalar is one number");
	for (uint32_t i = 0; i < TZML_MAX_DIMENSIONS; i++)
		check(!given.dimensions[i], "and has no dimension %u", i);
	check(!tzml_policy_shape(TZML_OUTPUT_SEALED + 1, 0, &tensor, &given),
	      "an unknown policy is refused");
}

static void test_limits(void)
{
	struct tzml_tensor most = tensor_of(TZML_UINT8, 1, 0, TZML_MAX_RANKED);
	struct tzml_tensor more =
		tensor_of(TZML_UINT8, 1, 0, TZML_MAX_RANKED + 1);
	struct tzml_tensor given = { 0 };

	check(tzml_policy_shape(TZML_OUTPUT_RANKS, 0, &most, &given) &&
		      !tzml_policy_shape(TZML_OUTPUT_RANKS, 0, &more, &given) &&
		      tzml_policy_shape(TZML_OUTPUT_TOP_1, 0, &more, &given),
	      "only so many numbers are ranked; the best is found among all");
}

/* Whether the ranks of `count` numbers are those. */
static bool ranks(uint32_t dtype, const void *numbers, uint32_t count,
		  const int32_t *expected)
{
	struct tzml_tensor tensor = tensor_of(dtype, 1, 0, count);
	int32_t given[8] = { 0 };

	tzml_policy_apply(TZML_OUTPUT_RANKS, 0, &tensor, numbers, given);
	return !memcmp(given, expected, count * sizeof(*expected));
}

static void test_order(void)
{
	/* NaN of the least and the largest payload, and of either sign */
	const uint16_t halves[] = { 0x7c01, 0x7c00, 0xfc01, 0xfc00, 0x7fff };
	const uint32_t floats[] = { 0x7f800001, 0x7f800000, 0xff800001,
				    0xff800000, 0xffffffff };
	const uint64_t doubles[] = { UINT64_C(0x7ff0000000000001),
				     UINT64_C(0x7ff0000000000000),
				     UINT64_C(0xfff0000000000001),
				     UINT64_C(0xfff0000000000000), UINT64_MAX };
	const uint64_t unsigned64[] = { INT64_MAX, UINT64_MAX, 0,
					UINT64_C(1) << 63, UINT64_MAX };
	const int64_t equal[] = { INT64_MIN, INT64_MIN, INT64_MIN };
	const int64_t largest[] = { INT64_MAX, -1, INT64_MIN, 0, INT64_MAX };
	const uint8_t zero = 0;

	check(ranks(TZML_FLOAT16, halves, 5, (int32_t[]){ 1, 3, 0, 2, 4 }) &&
		      ranks(TZML_FLOAT32, floats, 5,
			    (int32_t[]){ 1, 3, 0, 2, 4 }) &&
		      ranks(TZML_FLOAT64, doubles, 5,
			    (int32_t[]){ 1, 3, 0, 2, 4 }),
	      "every NaN comes after infinities of both signs");
	check(ranks(TZML_INT64, equal, 3, (int32_t[]){ 0, 1, 2 }),
	      "of equal numbers the first comes first, the least ones, too");
	check(ranks(TZML_INT64, largest, 5, (int32_t[]){ 0, 4, 3, 1, 2 }),
	      "the largest number of all is one like others");
	check(ranks(TZML_UINT64, unsigned64, 5, (int32_t[]){ 1, 4, 3, 0, 2 }),
	      "and so is the largest that is not signed");
	check(ranks(TZML_BOOL, &zero, 1, (int32_t[]){ 0 }), "one is the best");
}

/* What a number becomes with so many bits of its mantissa. */
static uint32_t rounded(uint32_t number, uint32_t bits)
{
	struct tzml_tensor tensor = tensor_of(TZML_FLOAT32, 1, 0, 1);
	uint32_t given = 0;

	tzml_policy_apply(TZML_OUTPUT_ROUNDED, bits, &tensor, &number, &given);
	return given;
}

static void test_rounding(void)
{
	check(rounded(0x7f7fffff, 22) == 0x7f800000 &&
		      rounded(0xff7fffff, 0) == 0xff800000,
	      "the largest numbers round to infinity");
	check(rounded(0x7f800000, 0) == 0x7f800000 &&
		      rounded(0xff800000, 23) == 0xff800000,
	      "infinity stays");
	check(rounded(0x7f800001, 23) == 0x7fc00000 &&
		      rounded(0xffffffff, 0) == 0x7fc00000,
	      "every NaN is the same one");
	check(rounded(0x3f800001, 23) == 0x3f800001 &&
		      rounded(0x3f800001, 22) == 0x3f800000 &&
		      rounded(0x3f800003, 22) == 0x3f800004 &&
		      rounded(0x80000001, 22) == 0x80000000,
	      "half goes to the even neighbour");
}

/* Records take all numbers: who may read them is not the device's holder. */
static void test_all_numbers(void)
{
	struct tzml_tensor tensor = tensor_of(TZML_FLOAT32, 1, 0, 2);
	const uint32_t numbers[2] = { 0x3f800001, 0x7f800001 };
	uint32_t given[2] = { 0 };

	tzml_policy_apply(TZML_OUTPUT_SEALED, 0, &tensor, numbers, given);
	check(!memcmp(given, numbers, sizeof(numbers)),
	      "what is sealed is all that the model says");
}

int main(void)
{
	test_shapes();
	test_limits();
	test_order();
	test_rounding();
	test_all_numbers();
	return tap_end();
}
