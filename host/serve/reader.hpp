/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the request's reader have in common. Each function that
 * returns a bool returns false after it has said in the request what is wrong.
 */
#ifndef READER_HPP
#define READER_HPP

#include <simdjson.h>
#include <string_view>
#include <utility>

#include "protocol.h"

namespace reading
{

using namespace simdjson;

/* HTTP statuses */
constexpr unsigned int BAD_REQUEST = 400;
constexpr unsigned int CONTENT_TOO_LARGE = 413;

/* What "parameters" say; those that it does not know are passed over. */
struct parameters {
	bool has_binary_size;
	bool binary;
	bool has_binary;
	uint64_t binary_size;
};

struct reader {
	struct request *request;
	const struct signature *signature;
	const uint8_t *binary; /* what is left of the binary tensors */
	size_t binary_left;
	uint32_t most_samples;
	unsigned int status;
	bool binary_output;
	bool given[TZML_SERVE_MOST_TENSORS];
};

/* One input, as far as it was read. */
struct input {
	char name[1024 + 1];
	bool has_name;
	bool has_shape;
	bool has_data;
	uint64_t shape[TZML_MAX_DIMENSIONS];
	uint32_t dimension_count;
	char datatype[16];
	struct parameters parameters;
};

/* reader.cpp */

bool fail(struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An error of simdjson's: that of the type has the field's name. */
bool fail_json(struct reader *reader, error_code error, const char *field,
	       const char *expected);
/* Read all of a value that nobody asked for: it must be JSON, too. */
bool skip(struct reader *reader, ondemand::value value, unsigned int depth);
/* Copy a string of at most `room` - 1 bytes. */
bool read_string(struct reader *reader, ondemand::value value,
		 const char *field, char *to, size_t room);
bool read_bool(struct reader *reader, ondemand::value value, const char *field,
	       bool *to);
bool read_tensor_parameters(struct reader *reader, ondemand::value value,
			    struct parameters *parameters);
/* The number of a tensor, or `count`. */
uint32_t find(const struct tensor *tensors, uint32_t count, const char *name);

/* elements.cpp */

/* An input's elements, from JSON. */
bool store_data(struct reader *reader, const struct input *input,
		const struct tensor *tensor, ondemand::value value);
/* From the next `size` bytes behind the JSON. */
bool store_binary(struct reader *reader, const struct tensor *tensor,
		  uint64_t size);

/* input.cpp */

bool read_input(struct reader *reader, ondemand::value value);

/* Call `read` with each field of an object, by its name. */
template <typename Read>
bool for_fields(struct reader *reader, ondemand::value value, const char *what,
		Read read)
{
	ondemand::object object;
	error_code error = value.get_object().get(object);

	if (error)
		return fail_json(reader, error, what, "an object");
	for (auto &&found : object) {
		std::string_view key;
		ondemand::field field;

		error = std::move(found).get(field);
		if (!error)
			error = field.unescaped_key().get(key);
		if (error)
			return fail_json(reader, error, what, "an object");
		if (!read(key, field.value()))
			return false;
	}
	return true;
}

template <typename Read>
bool for_elements(struct reader *reader, ondemand::value value,
		  const char *what, Read read)
{
	ondemand::array array;
	error_code error = value.get_array().get(array);

	if (error)
		return fail_json(reader, error, what, "an array");
	for (auto &&found : array) {
		ondemand::value element;

		error = std::move(found).get(element);
		if (error)
			return fail_json(reader, error, what, "an array");
		if (!read(element))
			return false;
	}
	return true;
}

} // namespace reading

#endif /* READER_HPP */
