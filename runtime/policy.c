// SPDX-License-Identifier: Apache-2.0
/*
 * Output policies. Indices count along the last dimension. Of equal numbers
 * the first comes first; NaN comes after everything else.
 */
#include <string.h>
#include <tzml/interface.h>
#include <tzml/policy.h>

#define FLOAT_MANTISSA	23
#define FLOAT_INFINITY	UINT32_C(0x7f800000)
#define FLOAT_NAN	UINT32_C(0x7fc00000)
#define HALF_INFINITY	UINT64_C(0x7c00)
#define DOUBLE_INFINITY UINT64_C(0x7ff0000000000000)

static uint32_t last_of(const struct tzml_tensor *tensor)
{
	return tensor->dimension_count
		       ? tensor->dimensions[tensor->dimension_count - 1]
		       : 1;
}

static uint32_t indices_of(uint32_t policy, uint32_t argument,
			   const struct tzml_tensor *tensor)
{
	switch (policy) {
	case TZML_OUTPUT_TOP_K:
		return argument;
	case TZML_OUTPUT_TOP_1:
		return 1;
	default:
		return last_of(tensor);
	}
}

bool tzml_policy_shape(uint32_t policy, uint32_t argument,
		       const struct tzml_tensor *tensor,
		       struct tzml_tensor *given)
{
	uint32_t last = last_of(tensor);
	uint32_t count = indices_of(policy, argument, tensor);

	*given = *tensor;
	switch (policy) {
	case TZML_OUTPUT_FULL:
	case TZML_OUTPUT_SEALED:
		return true;
	case TZML_OUTPUT_ROUNDED:
		return tensor->dtype == TZML_FLOAT32;
	case TZML_OUTPUT_RANKS:
		if (last > TZML_MAX_RANKED)
			return false;
		break;
	case TZML_OUTPUT_TOP_K:
	case TZML_OUTPUT_TOP_1:
		break;
	default:
		return false;
	}
	if (!last || count > last)
		return false;
	given->size = tensor->size / tzml_dtype_size(tensor->dtype) / last *
		      count * sizeof(int32_t);
	given->dtype = TZML_INT32;
	if (tensor->dimension_count)
		given->dimensions[tensor->dimension_count - 1] = count;
	return true;
}

/* Selects without a branch: what is executed must not tell the answer. */
static uint64_t choose(uint64_t condition, uint64_t yes, uint64_t no)
{
	uint64_t mask = 0 - condition;

	return (yes & mask) | (no & ~mask);
}

/* Bits of a floating-point number as one that is ordered like it. */
static uint64_t order_of_float(uint64_t bits, uint32_t width, uint64_t infinity)
{
	uint64_t sign = UINT64_C(1) << (width - 1);
	uint64_t magnitude = bits & (sign - 1);
	uint64_t ordered =
		choose(!!(bits & sign), sign - magnitude, sign + magnitude);

	return choose(magnitude > infinity, 0, ordered);
}

/* A number of any dtype as one whose order is the same. */
static uint64_t order_of(uint32_t dtype, const uint8_t *number)
{
	const uint64_t half = UINT64_C(1) << 63;
	union {
		uint8_t bytes[8];
		uint64_t u64;
		uint32_t u32;
		uint16_t u16;
		int64_t i64;
		int32_t i32;
		int16_t i16;
		int8_t i8;
	} value = { .bytes = { 0 } };

	memcpy(value.bytes, number, tzml_dtype_size(dtype));
	switch (dtype) {
	case TZML_FLOAT32:
		return order_of_float(value.u32, 32, FLOAT_INFINITY);
	case TZML_FLOAT16:
		return order_of_float(value.u16, 16, HALF_INFINITY);
	case TZML_FLOAT64:
		return order_of_float(value.u64, 64, DOUBLE_INFINITY);
	case TZML_INT8:
		return half + (uint64_t)(int64_t)value.i8;
	case TZML_INT16:
		return half + (uint64_t)(int64_t)value.i16;
	case TZML_INT32:
		return half + (uint64_t)(int64_t)value.i32;
	case TZML_INT64:
		return half + (uint64_t)value.i64;
	case TZML_UINT16:
		return value.u16;
	case TZML_UINT32:
		return value.u32;
	case TZML_UINT64:
		return value.u64;
	default: /* uint8, bool */
		return value.bytes[0];
	}
}

/* Write the indices of the `count` largest of `size` numbers, best first. */
static void rank(uint32_t dtype, const uint8_t *numbers, uint32_t size,
		 uint32_t count, uint8_t *to)
{
	size_t width = tzml_dtype_size(dtype);
	uint64_t last_order = UINT64_MAX;
	uint64_t last_index = UINT64_MAX;

	for (uint32_t r = 0; r < count; r++) {
		uint64_t best = 0;
		uint64_t found = 0;
		uint64_t index = 0;
		int32_t answer = 0;

		for (uint32_t i = 0; i < size; i++) {
			uint64_t order = order_of(dtype, numbers + i * width);
			/* comes behind what was written before */
			uint64_t behind = (uint64_t)(last_index == UINT64_MAX) |
					  (uint64_t)(order < last_order) |
					  ((uint64_t)(order == last_order) &
					   (uint64_t)(i > last_index));
			uint64_t better = behind & ((uint64_t)(order > best) |
						    (uint64_t)!found);

			best = choose(better, order, best);
			index = choose(better, i, index);
			found |= better;
		}
		last_order = best;
		last_index = index;
		answer = (int32_t)index;
		memcpy(to + r * sizeof(answer), &answer, sizeof(answer));
	}
}

/* To the nearest number with `bits` bits of the mantissa, half to even. */
static uint32_t round_float(uint32_t number, uint32_t bits)
{
	uint32_t magnitude = number & ~(UINT32_C(1) << 31);
	uint32_t drop = FLOAT_MANTISSA - bits;
	uint32_t half = drop ? (UINT32_C(1) << (drop - 1)) - 1 : 0;
	uint32_t even = drop ? number >> drop & 1 : 0;
	uint32_t rounded =
		(number + half + even) & ~((UINT32_C(1) << drop) - 1);
	uint64_t special =
		choose(magnitude > FLOAT_INFINITY, FLOAT_NAN, number);

	return (uint32_t)choose(magnitude >= FLOAT_INFINITY, special, rounded);
}

static void round_floats(const uint8_t *numbers, uint64_t size, uint32_t bits,
			 uint8_t *to)
{
	for (uint64_t at = 0; at < size; at += sizeof(uint32_t)) {
		uint32_t number = 0;

		memcpy(&number, numbers + at, sizeof(number));
		number = round_float(number, bits);
		memcpy(to + at, &number, sizeof(number));
	}
}

void tzml_policy_apply(uint32_t policy, uint32_t argument,
		       const struct tzml_tensor *tensor, const void *value,
		       void *to)
{
	uint32_t count = indices_of(policy, argument, tensor);
	uint32_t last = last_of(tensor);
	size_t row = last * tzml_dtype_size(tensor->dtype);
	const uint8_t *numbers = value;
	uint8_t *out = to;

	switch (policy) {
	case TZML_OUTPUT_FULL:
	case TZML_OUTPUT_SEALED:
		memcpy(to, value, tensor->size);
		return;
	case TZML_OUTPUT_ROUNDED:
		round_floats(numbers, tensor->size, argument, to);
		return;
	default:
		break;
	}
	for (uint64_t at = 0; at < tensor->size; at += row) {
		rank(tensor->dtype, numbers + at, last, count, out);
		out += count * sizeof(int32_t);
	}
}
