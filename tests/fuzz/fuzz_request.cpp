// SPDX-License-Identifier: Apache-2.0
/*
 * Everything a client can put into the body of a request. The first byte says
 * which model, the next two how much of the rest is JSON; 0 is all of it. What
 * is accepted is answered, and the answer must be read again.
 */
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "protocol.cpp"

static struct tensor tensors[][5] = {
	{ { "image", TZML_FLOAT32, 3, { 1, 2, 2 }, 16, 4 },
	  { "score", TZML_FLOAT32, 1, { 1 }, 4, 1 } },
	{ { "a", TZML_INT8, 2, { 1, 3 }, 3, 3 },
	  { "b", TZML_BOOL, 2, { 1, 2 }, 2, 2 },
	  { "c", TZML_INT64, 1, { 1 }, 8, 1 },
	  { "d", TZML_FLOAT16, 1, { 1 }, 2, 1 } },
	{ { "a", TZML_UINT8, 1, { 2 }, 2, 2 },
	  { "b", TZML_INT16, 0, {}, 2, 1 },
	  { "c", TZML_INT32, 1, { 2 }, 8, 2 } },
	{ { "a", TZML_UINT16, 1, { 1 }, 2, 1 },
	  { "b", TZML_UINT32, 1, { 1 }, 4, 1 },
	  { "c", TZML_UINT64, 1, { 1 }, 8, 1 },
	  { "d", TZML_FLOAT64, 1, { 1 }, 8, 1 },
	  { "e", TZML_UINT64, 2, { 1, 2 }, 16, 2 } },
};

static const struct signature signatures[] = {
	{ tensors[0], 1, 1, 16, 4, 4, 1, true, false },
	{ tensors[1], 2, 2, 5, 10, 5, 2, true, false },
	{ tensors[2], 2, 1, 4, 8, 3, 2, false, true },
	{ tensors[3], 3, 2, 14, 24, 3, 3, true, false },
};

static void check(bool right)
{
	if (!right)
		abort();
}

static void answer(struct request *request, const struct signature *signature,
		   const uint8_t *data, size_t size)
{
	uint64_t bytes = signature->outputs_size * request->samples;
	uint8_t *outputs = static_cast<uint8_t *>(calloc(bytes + 1, 1));
	struct text text = {};
	size_t json_size = 0;
	simdjson::dom::parser parser;

	memcpy(outputs, data, size < bytes ? size : bytes);
	if (!answer_write(request, signature, "model", outputs, &text,
			  &json_size)) {
		check(json_size && json_size <= text.size);
		check(!parser.parse(text.data, json_size).error());
	} else {
		check(*request->error);
	}
	text_free(&text);
	free(outputs);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t count = sizeof(signatures) / sizeof(signatures[0]);
	struct request request = {};
	size_t json_size = 0;

	if (size < 3)
		return 0;
	const struct signature *signature = signatures + data[0] % count;
	json_size = data[1] | data[2] << 8;
	data += 3;
	size -= 3;
	/* a block of its own: AddressSanitizer sees what is read behind it */
	char *body = static_cast<char *>(malloc(size + REQUEST_PADDING));
	memcpy(body, data, size);
	memset(body + size, 0, REQUEST_PADDING);
	unsigned int status = request_read(&request, signature, body, size,
					   json_size ? json_size : size, 4);
	if (status) {
		struct text text = {};
		simdjson::dom::parser parser;

		check(*request.error);
		error_write(&text, request.error);
		check(!parser.parse(text.data, text.size).error());
		text_free(&text);
	} else {
		check(request.samples >= 1 && request.samples <= 4);
		check(request.wanted_count >= 1);
		answer(&request, signature, data, size);
	}
	request_free(&request);
	free(body);
	return 0;
}
