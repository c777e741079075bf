// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <tzml/status.h>

#include "session.h"

static _Thread_local char last_error[512];

struct words {
	uint32_t status;
	const char *name;
	const char *what;
	const char *remedy;
};

static const struct words *words_of(uint32_t status)
{
	static const struct words words[] = {
#define TZML_STATUS_WORDS(name, code, what, remedy) \
	{ TZML_ERROR_##name, #name, what, remedy },
		TZML_STATUS_LIST(TZML_STATUS_WORDS)
#undef TZML_STATUS_WORDS
	};
	static const struct words unknown = { 0, "UNKNOWN",
					      "an error nobody knows", "" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].status == status)
			return words + i;
	return &unknown;
}

enum tzml_status fail(enum tzml_status status, const char *about, ...)
{
	const struct words *words = words_of(status);
	char details[256] = "";
	va_list arguments;

	if (about) {
		va_start(arguments, about);
		vsnprintf(details, sizeof(details), about, arguments);
		va_end(arguments);
	}
	snprintf(last_error, sizeof(last_error), "%s%s%s; %s", words->what,
		 about ? ": " : "", details, words->remedy);
	return status;
}

const char *tzml_error(void)
{
	return last_error;
}

const char *tzml_status_name(uint32_t status)
{
	return status ? words_of(status)->name : "SUCCESS";
}
