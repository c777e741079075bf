// SPDX-License-Identifier: Apache-2.0
/* Values of JSON, and what is wrong with them. */
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "reader.hpp"

namespace reading
{

/* Of values that the protocol does not know. */
constexpr unsigned int MOST_NESTING = 16;

bool fail(struct reader *reader, const char *format, ...)
{
	va_list arguments;

	if (reader->status)
		return false;
	va_start(arguments, format);
	vsnprintf(reader->request->error, sizeof(reader->request->error),
		  format, arguments);
	va_end(arguments);
	reader->status = BAD_REQUEST;
	return false;
}

bool fail_json(struct reader *reader, error_code error, const char *field,
	       const char *expected)
{
	if (error == MEMALLOC)
		return fail(reader, "no memory for the request");
	if (error == INCORRECT_TYPE || error == NUMBER_OUT_OF_RANGE)
		return fail(reader, "%s is not %s", field, expected);
	return fail(reader, "the request is not valid JSON, at %s: %s", field,
		    error_message(error));
}

bool skip(struct reader *reader, ondemand::value value, unsigned int depth)
{
	ondemand::json_type type{};
	std::string_view string;
	ondemand::object object;
	ondemand::array array;
	double number = 0;
	bool truth = false;
	error_code error = value.type().get(type);

	if (error)
		return fail_json(reader, error, "a value", "a value");
	if (depth > MOST_NESTING)
		return fail(reader, "the JSON is nested more than %u deep",
			    MOST_NESTING);
	switch (type) {
	case ondemand::json_type::object:
		error = value.get_object().get(object);
		if (error)
			break;
		for (auto &&found : object) {
			ondemand::field field;

			error = std::move(found).get(field);
			if (!error)
				error = field.unescaped_key().get(string);
			if (error)
				break;
			if (!skip(reader, field.value(), depth + 1))
				return false;
		}
		break;
	case ondemand::json_type::array:
		error = value.get_array().get(array);
		if (error)
			break;
		for (auto &&found : array) {
			ondemand::value element;

			error = std::move(found).get(element);
			if (error)
				break;
			if (!skip(reader, element, depth + 1))
				return false;
		}
		break;
	case ondemand::json_type::string:
		error = value.get_string().get(string);
		break;
	case ondemand::json_type::number:
		error = value.get_double().get(number);
		break;
	case ondemand::json_type::boolean:
		error = value.get_bool().get(truth);
		break;
	default:
		error = value.is_null().get(truth);
		if (!error && !truth)
			error = N_ATOM_ERROR;
	}
	return !error || fail_json(reader, error, "a value", "a value");
}

bool read_string(struct reader *reader, ondemand::value value,
		 const char *field, char *to, size_t room)
{
	std::string_view string;
	error_code error = value.get_string().get(string);

	if (error)
		return fail_json(reader, error, field, "a string");
	if (string.size() >= room)
		return fail(reader, "%s is longer than %zu bytes", field,
			    room - 1);
	if (memchr(string.data(), 0, string.size()))
		return fail(reader, "%s has a character of number 0", field);
	memcpy(to, string.data(), string.size());
	to[string.size()] = 0;
	return true;
}

bool read_bool(struct reader *reader, ondemand::value value, const char *field,
	       bool *to)
{
	error_code error = value.get_bool().get(*to);

	return !error || fail_json(reader, error, field, "true or false");
}

bool read_tensor_parameters(struct reader *reader, ondemand::value value,
			    struct parameters *parameters)
{
	return for_fields(
		reader, value, "parameters",
		[&](std::string_view key, ondemand::value of) {
			if (key == "binary_data_size") {
				parameters->has_binary_size = true;
				error_code error = of.get_uint64().get(
					parameters->binary_size);
				return !error || fail_json(reader, error,
							   "binary_data_size",
							   "a number of bytes");
			}
			if (key == "binary_data") {
				parameters->has_binary = true;
				return read_bool(reader, of, "binary_data",
						 &parameters->binary);
			}
			if (key == "classification")
				return fail(reader,
					    "the parameter classification is "
					    "not supported: ask for the output "
					    "itself");
			if (key.substr(0, 14) == "shared_memory_")
				return fail(reader, "shared memory is not "
						    "supported");
			return skip(reader, of, 0);
		});
}

uint32_t find(const struct tensor *tensors, uint32_t count, const char *name)
{
	uint32_t i = 0;

	while (i < count && strcmp(tensors[i].name, name))
		i++;
	return i;
}

} // namespace reading
