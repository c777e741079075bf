// SPDX-License-Identifier: Apache-2.0
/*
 * A request's body becomes tensors. simdjson reads the JSON, in one pass and
 * in place: no value of it is ever an object in memory, so that a request
 * takes no more than its own bytes, an index of them, and its tensors.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "reader.hpp"

static_assert(REQUEST_PADDING >= simdjson::SIMDJSON_PADDING,
	      "what simdjson reads");

namespace reading
{

bool read_sequence(struct reader *reader, ondemand::value value)
{
	char *to = reader->request->sequence;
	ondemand::json_type type{};
	uint64_t number = 0;
	error_code error = value.type().get(type);

	if (!error && type == ondemand::json_type::string) {
		*to = '$';
		return read_string(reader, value, "sequence_id", to + 1,
				   ID_SIZE - 1) &&
		       (to[1] || fail(reader, "sequence_id is empty"));
	}
	if (!error)
		error = value.get_uint64().get(number);
	if (error)
		return fail_json(reader, error, "sequence_id",
				 "a string or a number");
	if (!number) /* Triton's clients: no sequence */
		return true;
	snprintf(to, ID_SIZE, "#%llu", static_cast<unsigned long long>(number));
	return true;
}

bool read_request_parameters(struct reader *reader, ondemand::value value)
{
	struct request *request = reader->request;

	return for_fields(
		reader, value, "parameters",
		[&](std::string_view key, ondemand::value of) {
			if (key == "binary_data_output")
				return read_bool(reader, of,
						 "binary_data_output",
						 &reader->binary_output);
			if (key == "sequence_id")
				return read_sequence(reader, of);
			if (key == "sequence_start")
				return read_bool(reader, of, "sequence_start",
						 &request->sequence_start);
			if (key == "sequence_end")
				return read_bool(reader, of, "sequence_end",
						 &request->sequence_end);
			return skip(reader, of, 0);
		});
}

bool read_output(struct reader *reader, ondemand::value value)
{
	const struct signature *signature = reader->signature;
	struct request *request = reader->request;
	struct parameters parameters = {};
	struct wanted wanted = {};
	char name[1024 + 1] = "";

	if (!for_fields(reader, value, "an output",
			[&](std::string_view key, ondemand::value of) {
				if (key == "name")
					return read_string(reader, of, "name",
							   name, sizeof(name));
				if (key == "parameters")
					return read_tensor_parameters(
						reader, of, &parameters);
				return skip(reader, of, 0);
			}))
		return false;
	wanted.output = find(signature_outputs(signature),
			     signature->output_count, name);
	if (wanted.output == signature->output_count)
		return fail(reader, "the model has no output %.200s", name);
	for (uint32_t i = 0; i < request->wanted_count; i++)
		if (request->wanted[i].output == wanted.output)
			return fail(reader, "output %.200s is asked for twice",
				    name);
	/* what the request says of all outputs may come after this: 2 */
	wanted.binary = parameters.binary;
	reader->given[signature->input_count + wanted.output] =
		parameters.has_binary;
	request->wanted[request->wanted_count++] = wanted;
	return true;
}

bool read_body(struct reader *reader, ondemand::value body, bool *has_inputs,
	       bool *has_outputs)
{
	struct request *request = reader->request;

	return for_fields(
		reader, body, "the request",
		[&](std::string_view key, ondemand::value of) {
			if (key == "id")
				return read_string(reader, of, "id",
						   request->id, ID_SIZE);
			if (key == "parameters")
				return read_request_parameters(reader, of);
			if (key == "inputs") {
				if (*has_inputs)
					return fail(reader,
						    "the request has inputs "
						    "twice");
				*has_inputs = true;
				return for_elements(reader, of, "inputs",
						    [&](ondemand::value input) {
							    return read_input(
								    reader,
								    input);
						    });
			}
			if (key == "outputs") {
				if (*has_outputs)
					return fail(reader,
						    "the request has outputs "
						    "twice");
				*has_outputs = true;
				return for_elements(
					reader, of, "outputs",
					[&](ondemand::value output) {
						return read_output(reader,
								   output);
					});
			}
			return skip(reader, of, 0);
		});
}

/* What only the whole request shows. */
bool check_whole(struct reader *reader)
{
	const struct signature *signature = reader->signature;
	struct request *request = reader->request;

	for (uint32_t i = 0; i < signature->input_count; i++)
		if (!reader->given[i])
			return fail(reader, "input %.200s is missing",
				    signature->tensors[i].name);
	if (reader->binary_left)
		return fail(reader,
			    "%zu bytes follow the JSON that no input's "
			    "binary_data_size accounts for",
			    reader->binary_left);
	if (signature->stateful && !*request->sequence)
		return fail(reader, "the model keeps state: give the "
				    "parameters sequence_id and, in the first "
				    "request of a sequence, sequence_start");
	if (!signature->stateful && *request->sequence)
		return fail(reader, "the model keeps no state, so it takes no "
				    "sequence_id");
	for (uint32_t i = 0; i < request->wanted_count; i++) {
		struct wanted *wanted = request->wanted + i;

		if (!reader->given[signature->input_count + wanted->output])
			wanted->binary = reader->binary_output;
	}
	if (request->wanted_count)
		return true;
	for (uint32_t i = 0; i < signature->output_count; i++)
		request->wanted[i] = { i, reader->binary_output };
	request->wanted_count = signature->output_count;
	return true;
}

} // namespace reading

using namespace reading;

unsigned int request_read(struct request *request,
			  const struct signature *signature, const char *body,
			  size_t size, size_t json_size, uint32_t most_samples)
{
	/* its memory is kept from one request to the next */
	static thread_local ondemand::parser parser;
	struct reader reader = {};
	ondemand::document document;
	ondemand::value root;
	bool has_inputs = false;
	bool has_outputs = false;
	error_code error = SUCCESS;

	*request = {};
	reader.request = request;
	reader.signature = signature;
	reader.most_samples = most_samples;
	if (json_size > size) {
		fail(&reader, "the JSON has %zu bytes, but the body only %zu",
		     json_size, size);
		return reader.status;
	}
	reader.binary = reinterpret_cast<const uint8_t *>(body) + json_size;
	reader.binary_left = size - json_size;
	request->wanted = static_cast<struct wanted *>(
		calloc(signature->output_count + 1, sizeof(*request->wanted)));
	if (!request->wanted) {
		fail(&reader, "no memory for the request");
		return 503;
	}
	error = parser.iterate(body, json_size, json_size + REQUEST_PADDING)
			.get(document);
	if (!error)
		error = document.get_value().get(root);
	if (error) {
		fail_json(&reader, error, "its begin", "an object");
		return reader.status;
	}
	if (read_body(&reader, root, &has_inputs, &has_outputs) &&
	    document.current_location().error() != OUT_OF_BOUNDS)
		fail(&reader, "something follows the JSON");
	if (!reader.status)
		check_whole(&reader);
	return reader.status;
}

void request_free(struct request *request)
{
	if (!request->inputs_in_body)
		free(request->inputs);
	free(request->wanted);
	*request = {};
}
