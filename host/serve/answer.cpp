// SPDX-License-Identifier: Apache-2.0
/* Bodies that are written. std::to_chars gives the shortest exact number. */
#include <charconv>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <simdjson.h>

#include "numbers.hpp"
#include "protocol.h"

/* More room than there is. */
static char *text_enlarge(struct text *text, size_t size)
{
	size_t room = text->room ? text->room : 512;

	if (text->failed)
		return nullptr;
	while (room - text->size < size && room < SIZE_MAX / 2)
		room *= 2;
	if (room != text->room) {
		char *data = static_cast<char *>(realloc(text->data, room));

		if (!data || room - text->size < size) {
			free(data ? data : text->data);
			*text = {};
			text->failed = true;
			return nullptr;
		}
		text->data = data;
		text->room = room;
	}
	return text->data + text->size;
}

static inline char *text_grow(struct text *text, size_t size)
{
	if (text->room - text->size >= size && text->room)
		return text->data + text->size;
	return text_enlarge(text, size);
}

void text_put(struct text *text, const void *data, size_t size)
{
	char *to = text_grow(text, size);

	if (to && size) {
		memcpy(to, data, size);
		text->size += size;
	}
}

static inline void put(struct text *text, const char *string)
{
	text_put(text, string, strlen(string));
}

static void put_integer(struct text *text, int64_t number)
{
	const size_t longest = 20;
	char *to = text_grow(text, longest);

	if (to)
		text->size += std::to_chars(to, to + longest, number).ptr - to;
}

void text_print(struct text *text, const char *format, ...)
{
	char line[1024] = "";
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	put(text, line);
}

static bool is_plain(const char *string)
{
	for (; *string; string++)
		if (*string < 0x20 || *string > 0x7e || *string == '"' ||
		    *string == '\\')
			return false;
	return true;
}

void text_quote(struct text *text, const char *string)
{
	if (is_plain(string)) {
		put(text, "\"");
		put(text, string);
		put(text, "\"");
		return;
	}
	/* what was cut to fit a message may end in the middle of a character */
	bool valid = simdjson::validate_utf8(string, strlen(string));

	put(text, "\"");
	for (const char *c = string; *c; c++) {
		if (*c == '"' || *c == '\\')
			put(text, *c == '"' ? "\\\"" : "\\\\");
		else if (static_cast<unsigned char>(*c) < 0x20)
			text_print(text, "\\u%04x", *c);
		else if (!valid && *c & 0x80)
			put(text, "?");
		else
			text_put(text, c, 1);
	}
	put(text, "\"");
}

void text_free(struct text *text)
{
	free(text->data);
	*text = {};
}

template <typename Number>
static bool put_numbers(struct text *text, const uint8_t *data, uint64_t count,
			bool first)
{
	for (uint64_t i = 0; i < count; i++) {
		const size_t longest = 40;
		char *to = text_grow(text, longest + 1);
		char *begin = to;
		Number number{};

		if (!to)
			return true;
		memcpy(&number, data + i * sizeof(number), sizeof(number));
		if (!std::isfinite(static_cast<double>(number)))
			return false;
		if (!first || i)
			*to++ = ',';
		to = std::to_chars(to, to + longest, number).ptr;
		text->size += to - begin;
	}
	return true;
}

static bool put_bools(struct text *text, const uint8_t *data, uint64_t count,
		      bool first)
{
	for (uint64_t i = 0; i < count; i++) {
		put(text, first && !i ? "" : ",");
		put(text, data[i] ? "true" : "false");
	}
	return true;
}

/* Whether JSON can carry the numbers. */
static bool put_elements(struct text *text, const struct tensor *tensor,
			 const uint8_t *data, bool first)
{
	return by_number(
		tensor->dtype,
		[&](auto number) {
			return put_numbers<decltype(number)>(
				text, data, tensor->elements, first);
		},
		[&] { return put_bools(text, data, tensor->elements, first); });
}

static void put_shape(struct text *text, const struct tensor *tensor,
		      int64_t first)
{
	put(text, "\"shape\":[");
	for (uint32_t i = 0; i < tensor->dimension_count; i++) {
		put(text, i ? "," : "");
		put_integer(text, i ? int64_t{ tensor->dimensions[i] } : first);
	}
	put(text, "]");
}

static void put_tensor(struct text *text, const struct tensor *tensor,
		       int64_t first)
{
	put(text, "{\"name\":");
	text_quote(text, tensor->name);
	put(text, ",\"datatype\":\"");
	put(text, dtype_name(tensor->dtype));
	put(text, "\",");
	put_shape(text, tensor, first);
}

static uint64_t offset_of(const struct tensor *tensors, uint32_t index)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < index; i++)
		offset += tensors[i].size;
	return offset;
}

static unsigned int fail_json(struct request *request,
			      const struct tensor *tensor, const char *why)
{
	snprintf(request->error, sizeof(request->error),
		 "output %.200s %s, which JSON cannot carry: ask for it with "
		 "the parameter binary_data",
		 tensor->name, why);
	return 400;
}

unsigned int answer_write(struct request *request,
			  const struct signature *signature,
			  const char *model_name, const uint8_t *outputs,
			  struct text *text, size_t *json_size)
{
	const struct tensor *tensors = signature_outputs(signature);

	put(text, "{\"model_name\":");
	text_quote(text, model_name);
	if (*request->id) {
		put(text, ",\"id\":");
		text_quote(text, request->id);
	}
	put(text, ",\"outputs\":[");
	for (uint32_t i = 0; i < request->wanted_count; i++) {
		const struct wanted *wanted = request->wanted + i;
		const struct tensor *tensor = tensors + wanted->output;
		const uint8_t *data =
			outputs + offset_of(tensors, wanted->output);
		uint64_t first =
			tensor->dimension_count ? tensor->dimensions[0] : 1;

		put(text, i ? "," : "");
		put_tensor(text, tensor, first * request->samples);
		if (wanted->binary) {
			put(text, ",\"parameters\":{\"binary_data_size\":");
			put_integer(text,
				    static_cast<int64_t>(tensor->size *
							 request->samples));
			put(text, "}}");
			continue;
		}
		if (tensor->dtype == TZML_FLOAT16)
			return fail_json(request, tensor, "is FP16");
		put(text, ",\"data\":[");
		for (uint32_t j = 0; j < request->samples; j++)
			if (!put_elements(text, tensor,
					  data + j * signature->outputs_size,
					  !j))
				return fail_json(request, tensor,
						 "has NaN or an infinity");
		put(text, "]}");
	}
	put(text, "]}");
	*json_size = text->size;
	for (uint32_t i = 0; i < request->wanted_count; i++) {
		const struct wanted *wanted = request->wanted + i;
		const uint8_t *data =
			outputs + offset_of(tensors, wanted->output);

		for (uint32_t j = 0; wanted->binary && j < request->samples;
		     j++)
			text_put(text, data + j * signature->outputs_size,
				 tensors[wanted->output].size);
	}
	return 0;
}

void error_write(struct text *text, const char *message)
{
	put(text, "{\"error\":");
	text_quote(text, message);
	put(text, "}");
}

void server_metadata_write(struct text *text)
{
	put(text, "{\"name\":\"tzml-serve\",\"version\":\"" TZML_RELEASE
		  "\",\"extensions\":[\"binary_tensor_data\",\"sequence\"]}");
}

void model_metadata_write(struct text *text, const char *name,
			  const struct signature *signature)
{
	put(text, "{\"name\":");
	text_quote(text, name);
	put(text, ",\"platform\":\"tzml\",\"inputs\":[");
	for (uint32_t i = 0;
	     i < signature->input_count + signature->output_count; i++) {
		const struct tensor *tensor = signature->tensors + i;

		put(text, i == signature->input_count ? "],\"outputs\":["
			  : i			      ? ","
						      : "");
		put_tensor(text, tensor,
			   signature->stackable
				   ? INT64_C(-1)
				   : int64_t{ tensor->dimensions[0] });
		put(text, "}");
	}
	put(text, "]}");
}
