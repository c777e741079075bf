// SPDX-License-Identifier: Apache-2.0
/* Elements of a tensor, from JSON or from the bytes behind it. */
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "numbers.hpp"
#include "reader.hpp"

namespace reading
{

/* Where the next element of an input goes. */
struct cursor {
	const struct tensor *tensor;
	uint8_t *to;
	uint64_t left_in_sample;
	uint64_t left;
	uint64_t stride; /* from the end of a sample to the next one's begin */
};

/* False without memory for the inputs. */
bool begin(struct reader *reader, const struct tensor *tensor,
	   struct cursor *cursor)
{
	struct request *request = reader->request;
	uint8_t *to = nullptr;

	if (!request->inputs)
		request->inputs = static_cast<uint8_t *>(calloc(
			request->samples, reader->signature->inputs_size + 1));
	to = request->inputs;
	if (!to)
		return fail(reader, "no memory for the inputs");

	for (const struct tensor *t = reader->signature->tensors; t < tensor;
	     t++)
		to += t->size;
	*cursor = {
		.tensor = tensor,
		.to = to,
		.left_in_sample = tensor->elements,
		.left = tensor->elements * reader->request->samples,
		.stride = reader->signature->inputs_size - tensor->size,
	};
	return true;
}

template <typename Number>
static inline void store(struct cursor *cursor, Number number)
{
	if (!cursor->left_in_sample) {
		cursor->to += cursor->stride;
		cursor->left_in_sample = cursor->tensor->elements;
	}
	memcpy(cursor->to, &number, sizeof(number));
	cursor->to += sizeof(number);
	cursor->left_in_sample--;
	cursor->left--;
}

bool fail_element(struct reader *reader, const struct cursor *cursor,
		  error_code error)
{
	const struct tensor *tensor = cursor->tensor;

	if (error == INCORRECT_TYPE || error == NUMBER_ERROR ||
	    error == NUMBER_OUT_OF_RANGE)
		return fail(
			reader, "element %llu of input %.200s is not of %s",
			static_cast<unsigned long long>(
				tensor->elements * reader->request->samples -
				cursor->left),
			tensor->name, dtype_name(tensor->dtype));
	return fail_json(reader, error, tensor->name, "a tensor");
}

/* Never by way of a double, which has 53 bits only. */
template <typename Integer>
bool store_integer(struct reader *reader, struct cursor *cursor,
		   ondemand::value value)
{
	std::conditional_t<std::is_same_v<Integer, uint64_t>, uint64_t, int64_t>
		number = 0;
	error_code error = value.get(number);

	if (!error && (number < std::numeric_limits<Integer>::min() ||
		       number > std::numeric_limits<Integer>::max()))
		error = NUMBER_OUT_OF_RANGE;
	if (error)
		return fail_element(reader, cursor, error);
	store(cursor, static_cast<Integer>(number));
	return true;
}

template <typename Real>
bool store_real(struct reader *reader, struct cursor *cursor,
		ondemand::value value)
{
	double number = 0;
	error_code error = value.get_double().get(number);

	if (!error && !std::isfinite(static_cast<Real>(number)))
		error = NUMBER_OUT_OF_RANGE;
	if (error)
		return fail_element(reader, cursor, error);
	store(cursor, static_cast<Real>(number));
	return true;
}

/* true, false, 1 or 0. */
bool store_bool(struct reader *reader, struct cursor *cursor,
		ondemand::value value)
{
	ondemand::json_type type{};
	bool truth = false;
	int64_t number = 0;
	error_code error = value.type().get(type);

	if (!error && type == ondemand::json_type::number) {
		error = value.get_int64().get(number);
		if (!error && number != 0 && number != 1)
			error = NUMBER_OUT_OF_RANGE;
		truth = number;
	} else if (!error) {
		error = value.get_bool().get(truth);
	}
	if (error)
		return fail_element(reader, cursor, error);
	store(cursor, static_cast<uint8_t>(truth));
	return true;
}

bool store_element(struct reader *reader, struct cursor *cursor,
		   ondemand::value value)
{
	if (!cursor->left)
		return fail(reader,
			    "input %.200s has more elements than its "
			    "shape says",
			    cursor->tensor->name);
	return by_number(
		cursor->tensor->dtype,
		[&](auto number) {
			using Number = decltype(number);

			if constexpr (std::is_floating_point_v<Number>)
				return store_real<Number>(reader, cursor,
							  value);
			else
				return store_integer<Number>(reader, cursor,
							     value);
		},
		[&] {
			if (cursor->tensor->dtype == TZML_BOOL)
				return store_bool(reader, cursor, value);
			return fail(reader,
				    "input %.200s is %s, which JSON cannot "
				    "carry: send it as binary data",
				    cursor->tensor->name,
				    dtype_name(cursor->tensor->dtype));
		});
}

/*
 * The elements of an array, which are numbers, or arrays of the next
 * dimension. A flat array has all elements in the order of their places.
 */
bool store_array(struct reader *reader, const struct input *input,
		 struct cursor *cursor, ondemand::value value, uint32_t depth)
{
	const bool last = depth + 1 >= input->dimension_count;
	bool nested = depth > 0;
	uint64_t count = 0;

	if (!for_elements(
		    reader, value, cursor->tensor->name,
		    [&](ondemand::value element) {
			    ondemand::json_type type{};

			    if (last || (count && !nested))
				    return count++,
					   store_element(reader, cursor,
							 element);
			    if (element.type().get(type) ||
				type != ondemand::json_type::array) {
				    if (nested)
					    return fail(
						    reader,
						    "input %.200s is not "
						    "nested as its shape is",
						    cursor->tensor->name);
				    count++;
				    return store_element(reader, cursor,
							 element);
			    }
			    nested = true;
			    count++;
			    return store_array(reader, input, cursor, element,
					       depth + 1);
		    }))
		return false;
	return !nested || count == input->shape[depth] ||
	       fail(reader, "input %.200s is not nested as its shape is",
		    cursor->tensor->name);
}

bool store_data(struct reader *reader, const struct input *input,
		const struct tensor *tensor, ondemand::value value)
{
	struct cursor cursor = {};

	if (!begin(reader, tensor, &cursor) ||
	    !store_array(reader, input, &cursor, value, 0))
		return false;
	return !cursor.left ||
	       fail(reader,
		    "input %.200s has %llu elements less than its shape says",
		    tensor->name, static_cast<unsigned long long>(cursor.left));
}

bool store_binary(struct reader *reader, const struct tensor *tensor,
		  uint64_t size)
{
	const uint64_t expected = tensor->size * reader->request->samples;
	struct cursor cursor = {};
	const uint8_t *from = reader->binary;

	if (size != expected || size > reader->binary_left)
		return fail(reader,
			    "input %.200s takes %llu bytes, but "
			    "binary_data_size is %llu and %zu bytes follow the "
			    "JSON",
			    tensor->name,
			    static_cast<unsigned long long>(expected),
			    static_cast<unsigned long long>(size),
			    reader->binary_left);
	for (uint64_t i = 0; tensor->dtype == TZML_BOOL && i < size; i++)
		if (from[i] > 1)
			return fail(reader,
				    "byte %llu of input %.200s is %u, but BOOL "
				    "is 0 or 1",
				    static_cast<unsigned long long>(i),
				    tensor->name, from[i]);
	if (reader->signature->input_count == 1) {
		/* all that a sample has lies there as it is wanted */
		reader->request->inputs = const_cast<uint8_t *>(from);
		reader->request->inputs_in_body = true;
	} else if (!begin(reader, tensor, &cursor)) {
		return false;
	}
	for (uint32_t i = 0; cursor.to && i < reader->request->samples; i++) {
		memcpy(cursor.to, from, tensor->size);
		cursor.to += tensor->size + cursor.stride;
		from += tensor->size;
	}
	reader->binary += size;
	reader->binary_left -= size;
	return true;
}

} // namespace reading
