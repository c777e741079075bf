// SPDX-License-Identifier: Apache-2.0
/* One input of a request. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "reader.hpp"

namespace reading
{

/* How a shape is written in a message. */
struct shape_text {
	char text[TZML_MAX_DIMENSIONS * 22 + 4];
};

template <typename Number>
struct shape_text show(const Number *shape, uint32_t count, bool stackable)
{
	struct shape_text shown = { "[" };
	size_t at = 1;

	for (uint32_t i = 0; i < count; i++)
		at += snprintf(shown.text + at, sizeof(shown.text) - at,
			       !i && stackable ? "%sN" : "%s%llu", i ? "," : "",
			       static_cast<unsigned long long>(shape[i]));
	snprintf(shown.text + at, sizeof(shown.text) - at, "]");
	return shown;
}

/* Compare the shape with the tensor's, and learn how many samples there are. */
bool check_shape(struct reader *reader, const struct input *input,
		 const struct tensor *tensor)
{
	const bool stackable = reader->signature->stackable;
	struct request *request = reader->request;
	bool same = input->dimension_count == tensor->dimension_count;
	uint64_t samples = stackable && same ? input->shape[0] : 1;

	for (uint32_t i = stackable; same && i < tensor->dimension_count; i++)
		same = input->shape[i] == tensor->dimensions[i];
	if (!same || !samples)
		return fail(
			reader,
			"input %.200s has the shape %s, but the model "
			"takes %s",
			tensor->name,
			show(input->shape, input->dimension_count, false).text,
			show(tensor->dimensions, tensor->dimension_count,
			     stackable)
				.text);
	if (samples > reader->most_samples) {
		fail(reader,
		     "%llu samples are too many for one request: send at most "
		     "%u (tzml-serve --samples)",
		     static_cast<unsigned long long>(samples),
		     reader->most_samples);
		reader->status = CONTENT_TOO_LARGE;
		return false;
	}
	if (request->samples && request->samples != samples)
		return fail(reader,
			    "input %.200s has %llu samples, but the input "
			    "before it has %u",
			    tensor->name,
			    static_cast<unsigned long long>(samples),
			    request->samples);
	request->samples = static_cast<uint32_t>(samples);
	return true;
}

bool read_shape(struct reader *reader, ondemand::value value,
		struct input *input)
{
	input->has_shape = true;
	input->dimension_count = 0;
	return for_elements(
		reader, value, "shape", [&](ondemand::value element) {
			if (input->dimension_count == TZML_MAX_DIMENSIONS)
				return fail(reader,
					    "a shape has more than %u "
					    "dimensions",
					    TZML_MAX_DIMENSIONS);
			error_code error = element.get_uint64().get(
				input->shape[input->dimension_count++]);
			return !error ||
			       fail_json(reader, error, "a dimension",
					 "a number that is not negative");
		});
}

/* The tensor that an input names, if all that is said of it is right. */
const struct tensor *check_input(struct reader *reader,
				 const struct input *input)
{
	const struct signature *signature = reader->signature;
	uint32_t number =
		find(signature->tensors, signature->input_count, input->name);
	const struct tensor *tensor = signature->tensors + number;

	if (number == signature->input_count)
		fail(reader, "the model has no input %.200s", input->name);
	else if (reader->given[number])
		fail(reader, "input %.200s is given twice", input->name);
	else if (!input->has_shape || !*input->datatype)
		fail(reader, "input %.200s has no %s", input->name,
		     input->has_shape ? "datatype" : "shape");
	else if (strcmp(input->datatype, dtype_name(tensor->dtype)))
		fail(reader,
		     "input %.200s has the datatype %s, but the model takes %s",
		     input->name, input->datatype, dtype_name(tensor->dtype));
	else if (check_shape(reader, input, tensor)) {
		reader->given[number] = true;
		return tensor;
	}
	return nullptr;
}

/* Whether what is needed to understand "data" has been read. */
bool is_described(const struct input *input)
{
	return input->has_name && input->has_shape && *input->datatype;
}

bool read_input(struct reader *reader, ondemand::value value)
{
	const struct tensor *tensor = nullptr;
	struct input input = {};
	ondemand::object object;
	error_code error = value.get_object().get(object);

	if (error)
		return fail_json(reader, error, "an input", "an object");
	for (auto &&found : object) {
		std::string_view key;
		ondemand::field field;
		bool read = true;

		error = std::move(found).get(field);
		if (!error)
			error = field.unescaped_key().get(key);
		if (error)
			return fail_json(reader, error, "inputs", "an object");
		if (key == "name") {
			read = (!input.has_name ||
				fail(reader, "an input has two names")) &&
			       read_string(reader, field.value(), "name",
					   input.name, sizeof(input.name));
			input.has_name = true;
		} else if (key == "shape") {
			read = (!input.has_shape ||
				fail(reader, "an input has two shapes")) &&
			       read_shape(reader, field.value(), &input);
		} else if (key == "datatype") {
			read = (!*input.datatype ||
				fail(reader, "an input has two datatypes")) &&
			       read_string(reader, field.value(), "datatype",
					   input.datatype,
					   sizeof(input.datatype));
		} else if (key == "parameters") {
			read = read_tensor_parameters(reader, field.value(),
						      &input.parameters);
		} else if (key == "data" && input.has_data) {
			read = fail(reader, "an input has data twice");
		} else if (key == "data") {
			input.has_data = true;
			/* what comes before its description is read later */
			if (is_described(&input)) {
				tensor = check_input(reader, &input);
				read = tensor &&
				       store_data(reader, &input, tensor,
						  field.value());
			}
		} else {
			read = skip(reader, field.value(), 0);
		}
		if (!read)
			return false;
	}
	if (!input.has_name)
		return fail(reader, "an input has no name");
	if (input.has_data && input.parameters.has_binary_size)
		return fail(reader,
			    "input %.200s has both data and binary_data_size",
			    input.name);
	if (tensor)
		return true;
	tensor = check_input(reader, &input);
	if (!tensor)
		return false;
	if (input.parameters.has_binary_size)
		return store_binary(reader, tensor,
				    input.parameters.binary_size);
	if (!input.has_data)
		return fail(reader, "input %.200s has no data", input.name);
	ondemand::value data;
	error = object.reset().error();
	if (!error)
		error = object.find_field("data").get(data);
	return error ? fail_json(reader, error, "data", "an array")
		     : store_data(reader, &input, tensor, data);
}

} // namespace reading
